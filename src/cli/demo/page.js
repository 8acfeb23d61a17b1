// The demo's page: WebSockets through the gateway, what became of each, and what the gateway counted.
// Nothing is loaded from elsewhere, and nothing that was received is ever put into the page as HTML.
"use strict";

const FLOOD = 50;
const LOG_ROWS = 300;
const POLL_MS = 1000;
const TOLD = "/ws/told";

// Codes that no row of the gateway's table has: RFC 6455 s7.4.1.
const CODES = {
  1000: "closed as agreed",
  1001: "the other side goes away",
  1005: "closed without a code",
  1006: "no Close came: refused, or the connection was lost",
};

const at = (id) => document.getElementById(id);
const state = { setup: null, sockets: new Map(), current: null, count: 0, pending: 0, explained: {} };

// ---------------------------------------------------------------- sockets

async function open() {
  const route = at("route").value;
  const kind = at("token").value;
  const scheme = at("scheme").value;
  const number = ++state.count;
  state.pending += 1;
  try {
    const token = await tokenOf(kind);
    // A browser's script can set no header on a handshake: the token goes as a subprotocol. "bearer" is what the gateway
    // answers with, since a browser wants one of its offers chosen, and the token's is never named.
    const protocols = token ? ["bearer", "bearer." + token] : [];
    attach(new WebSocket(state.setup[scheme] + route, protocols), { number, route, kind, scheme });
  } catch (error) {
    state.pending -= 1;
    log("error", { number, what: [String(error.message || error)] });
  }
}

async function tokenOf(kind) {
  if (kind === "none") return null;
  const answer = await fetch("/token/" + (kind === "short" ? "short" : "long"));
  if (!answer.ok) throw new Error("no token: the demo has ended");
  const token = await answer.text();
  return kind === "broken" ? broken(token) : token;
}

// Another letter in the middle of the signature: its last one may hold bits that do not count.
function broken(token) {
  const place = token.length - 20;
  return token.slice(0, place) + (token[place] === "A" ? "B" : "A") + token.slice(place + 1);
}

function attach(ws, socket) {
  let opened = false;
  socket.ws = ws;
  ws.onopen = () => {
    opened = true;
    // Where a refusal is told by a Close, it is yet to come, and its count is to be explained by it.
    setTimeout(() => (state.pending -= 1), socket.route === TOLD ? 2 * POLL_MS : 0);
    if (socket.kind === "short") socket.ends = Date.now() + state.setup.short_seconds * 1000;
    state.sockets.set(socket.number, socket);
    select(socket);
    log("open", { number: socket.number, what: [bold("101"), ` ${socket.scheme === "tls" ? "wss" : "ws"} ${socket.route}`] });
  };
  ws.onmessage = (event) => log("received", { number: socket.number, what: [shown(event.data)] });
  ws.onclose = (event) => {
    if (!opened) return refused(socket, event);
    state.sockets.delete(socket.number);
    if (state.current === socket) select([...state.sockets.values()].pop() ?? null);
    else draw();
    closed(socket, event);
  };
}

async function closed(socket, event) {
  const row = state.setup.reasons.find((row) => row.label === event.reason && row.close === event.code);
  const what = [bold(`${event.code} ${event.reason}`.trim())];
  const more = row ? row.sentence : CODES[event.code];
  const entry = { number: socket.number, code: event.code, reason: event.reason, what, more };
  // Where refusals are told by a Close, the socket was open for a moment: the counters say which kind of end it was.
  if (socket.route === TOLD && explain(await poll(), event.reason)) {
    log("error", { ...entry, what: ["refused, and told by a Close: ", ...what] });
  } else {
    log("close", entry);
    poll();
  }
}

// Whether a handshake was refused for this reason, or any, that no line of this page has told of yet.
function explain(status, label) {
  const fresh = (one) => (!label || one.reason === label) && one.count > (state.explained[one.reason] ?? 0);
  const reason = status?.refused.find(fresh)?.reason;
  if (reason) state.explained[reason] = (state.explained[reason] ?? 0) + 1;
  return reason;
}

// The script sees 1006 and no more. Which of the gateway's counters went up says why.
async function refused(socket, event) {
  const status = await poll();
  state.pending -= 1;
  const reason = explain(status);
  const row = state.setup.reasons.find((row) => row.label === reason);
  const entry = { number: socket.number, code: event.code, reason };
  if (row) {
    const what = ["refused: ", bold(`${row.status} ${reason}`)];
    log("error", { ...entry, what, more: `${row.sentence}; the browser's script is told ${event.code} only` });
  } else if (!status) {
    log("error", { ...entry, what: ["the demo has ended"] });
  } else if (socket.scheme === "tls") {
    const what = ["no TLS: the certificate is not accepted yet. Open ", link(state.setup.certificate), ", accept it, try again"];
    log("error", { ...entry, what });
  } else {
    log("error", { ...entry, what: [bold(String(event.code)), " no connection"] });
  }
}

function select(socket) {
  state.current = socket;
  draw();
}

// ---------------------------------------------------------------- sending

function send(text, words) {
  const socket = state.current;
  if (!socket) return;
  socket.ws.send(text);
  log("sent", { number: socket.number, what: [words ?? text] });
}

function flood() {
  const socket = state.current;
  if (!socket) return;
  for (let i = 1; i <= FLOOD; i += 1) socket.ws.send(`flood ${i}`);
  log("sent", { number: socket.number, what: [`${FLOOD} messages at once: flood 1 to flood ${FLOOD}`] });
}

function big() {
  const size = state.setup.max_message_size + 1;
  send("x".repeat(size), `one message of ${size} bytes, a byte more than the route takes`);
}

// ---------------------------------------------------------------- what is shown

function shown(data) {
  const text = typeof data === "string" ? data : `[binary, ${data.size} bytes]`;
  return text.length > 300 ? `${text.slice(0, 300)}… (${text.length} characters)` : text;
}

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

const bold = (text) => element("b", "", text);

function link(url) {
  const made = element("a", "", url);
  made.href = url;
  made.target = "_blank";
  made.rel = "noopener";
  return made;
}

function log(kind, { number, code, reason, what, more }) {
  const row = element("li");
  row.dataset.kind = kind;
  row.dataset.socket = number;
  if (code) row.dataset.code = code;
  if (reason) row.dataset.reason = reason;
  const now = new Date();
  const time = element("time", "", now.toTimeString().slice(0, 8));
  time.dateTime = now.toISOString();
  row.append(time, element("span", "who", `#${number}`), element("span", "what", ...what));
  if (more) row.append(element("span", "more", more));
  const list = at("log");
  list.prepend(row);
  while (list.children.length > LOG_ROWS) list.lastChild.remove();
  at("empty").hidden = true;
}

function draw() {
  const chips = [...state.sockets.values()].map((socket) => {
    const left = socket.ends ? ` ${Math.max(0, Math.ceil((socket.ends - Date.now()) / 1000))}s` : "";
    const chip = element("button", "", `#${socket.number} ${socket.route}${left}`);
    chip.type = "button";
    chip.setAttribute("aria-pressed", String(socket === state.current));
    chip.onclick = () => {
      select(socket);
      at("sockets").querySelector("[aria-pressed=true]")?.focus();
    };
    return element("li", "", chip);
  });
  // Redrawn by the second: the keyboard stays where it is.
  const focused = [...at("sockets").querySelectorAll("button")].indexOf(document.activeElement);
  at("sockets").replaceChildren(...chips);
  if (focused >= 0) at("sockets").querySelectorAll("button")[focused]?.focus();
  for (const id of ["send", "flood", "big", "close"]) at(id).disabled = !state.current;
  at("close-all").disabled = state.sockets.size < 2;
}

function hint() {
  if (at("scheme").value === "tls") {
    at("hint").replaceChildren("Once, a browser wants the certificate accepted by hand: open ", link(state.setup.certificate),
      ", accept it, and come back. What answers there is not_websocket: the gateway speaks nothing else.");
  } else if (at("route").value === TOLD) {
    at("hint").replaceChildren("This route has deny = \"close\". Connect with a broken token or none, or open 5 more: a ",
      "refusal is a Close with 4001, 4003 or 4029 here, and 1006 on the other routes.");
  } else if (at("token").value === "short") {
    at("hint").replaceChildren(`The token is made when you connect and holds for ${state.setup.short_seconds} seconds: `,
      "then the session ends with 4001, whatever it was doing.");
  } else {
    at("hint").replaceChildren("Each route takes 3 sessions of this page's subject, and 2 handshakes a second with a burst of 5.");
  }
}

function notice() {
  const { origin, elsewhere } = state.setup;
  const forbidden = location.origin !== origin;
  const words = forbidden
    ? [`This page was opened as ${location.origin}, and the routes let in pages of ${origin} alone: every handshake from here is
        refused with origin_forbidden. The page that may: `, link(origin)]
    : ["The same page under a name that is not on the routes' list of origins, to see it refused: ", link(elsewhere)];
  at("notice").replaceChildren(...words);
  at("notice").hidden = false;
  at("notice").dataset.forbidden = String(forbidden);
}

function codes() {
  const rows = state.setup.reasons.filter((row) => row.close).map((row) => [row.close, row.label, row.sentence]);
  rows.push(...Object.entries(CODES).map(([code, meaning]) => [Number(code), "", meaning]));
  rows.sort((a, b) => a[0] - b[0]);
  at("codes").replaceChildren(...rows.map((row) => element("tr", "", ...row.map((cell) => element("td", "", String(cell))))));
}

// ---------------------------------------------------------------- the gateway's counts

async function poll() {
  try {
    const answer = await fetch("/status");
    const status = await answer.json();
    show(status);
    return status;
  } catch {
    at("status").dataset.stale = "true";
    return null;
  }
}

function show(status) {
  at("status").dataset.stale = "false";
  for (const name of ["sessions", "admitted", "messages_to_upstream", "messages_to_client", "delayed", "dropped"]) {
    at(`count-${name}`).textContent = status[name];
  }
  live(status.connections);
  tally("refused", status.refused, (one) => one.reason);
  tally("ended", status.ended, (one) => (one.reason === "closed" ? `closed by ${one.side}` : one.reason));
}

function live(connections) {
  at("live").replaceChildren(...connections.map((one) => element("li", "", element("span", "", `${one.route} ${one.subject ?? ""}`),
    bold(`${one.messages_to_upstream}↑ ${one.messages_to_client}↓`))));
}

function tally(id, list, name) {
  at(id).replaceChildren(...list.map((one) => {
    const row = element("li", "", element("span", "", name(one)), bold(String(one.count)));
    row.dataset.reason = one.reason;
    return row;
  }));
}

// Each second: counts, and the seconds that are left of short tokens.
async function tick() {
  const status = await poll();
  // What was refused elsewhere, as by a terminal's curl, explains nothing of this page.
  if (status && state.pending === 0) {
    for (const { reason, count } of status.refused) {
      // Never down: this answer may be older than what was explained since.
      state.explained[reason] = Math.max(count, state.explained[reason] ?? 0);
    }
  }
  if ([...state.sockets.values()].some((socket) => socket.ends)) draw();
  setTimeout(tick, POLL_MS);
}

// ---------------------------------------------------------------- start

async function start() {
  state.setup = await (await fetch("/setup")).json();
  at("token").querySelector("[value=short]").textContent = `short: ${state.setup.short_seconds} seconds`;
  at("connection").onsubmit = (event) => {
    event.preventDefault();
    open();
  };
  at("sending").onsubmit = (event) => {
    event.preventDefault();
    send(at("message").value);
  };
  at("more").onclick = () => {
    for (let i = 0; i < 5; i += 1) open();
  };
  at("flood").onclick = flood;
  at("big").onclick = big;
  at("close").onclick = () => state.current?.ws.close(1000);
  at("close-all").onclick = () => state.sockets.forEach((socket) => socket.ws.close(1000));
  at("clear").onclick = () => {
    at("log").replaceChildren();
    at("empty").hidden = false;
  };
  at("scheme").onchange = hint;
  at("token").onchange = hint;
  at("route").onchange = hint;
  hint();
  notice();
  codes();
  await tick();
  document.documentElement.dataset.ready = "true";
}

start();
