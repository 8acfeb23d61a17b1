// The servers of each upstream: how they are, what they hold, and the way to take one out and let it in again.

import { ask } from "./api.js";
import { at, h, said, write } from "./dom.js";
import { count } from "./format.js";
import { question, tell } from "./question.js";
import { rows } from "./rows.js";

// An upstream may have 256 servers. Where there are more, those that are not well are shown first.
const SHOWN = 200;

// Of the words for a server's state: how bad it is, why it is so in a few words, and what that means. Any other word is written
// down as it is.
const STATES = {
  up: ["good", "", "It gets handshakes"],
  down: ["bad", ": its checks fail", "Its health checks fail: it gets nothing until they go well"],
  ejected: ["bad", ": handshakes failed", "Handshakes failed there: it is left out for a while, then one tries it"],
  drained: ["warn", " by an operator", "An operator took it out: it gets nothing until it is let in again"],
  gone: ["warn", " from the config or its name", "It is no longer among the servers, and has sessions still"],
};

/** `refresh` asks for a new round at once. */
export function mount(refresh) {
  const table = at("upstreams");
  const head = ["State", "Upstream", "Server"].map((name) => h("th", { scope: "col" }, name));
  table.tHead.append(h("tr", {}, ...head, h("th", { scope: "col", class: "number" }, "Sessions"),
    h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Drain or let in"))));
  const place = rows(table.tBodies[0], { key: ({ upstream, server }) => JSON.stringify([upstream, server]), make: line, heir: () => at("connections") });

  function line({ upstream, server }) {
    const [state, why, sessions] = [h("span"), h("span", { class: "soft wide" }), h("span")];
    const act = h("button", { type: "button", class: "small", onclick: () => (last.state === "drained" ? send(last, "undrain") : confirm(last, act)) });
    const element = h("tr", {}, h("td", {}, state, why), h("td", {}, said(upstream)), h("td", { class: "mono" }, said(server)),
      h("td", { class: "number" }, sessions), h("td", { class: "act" }, act));
    let last;
    return {
      element,
      write(now) {
        last = now;
        const [badness, because, meaning] = STATES[now.state] ?? ["", "", ""];
        mark(state, badness, now.state, meaning);
        write(why, because);
        const full = now.limit !== undefined && now.sessions >= now.limit;
        const room = now.limit === undefined ? "" : ` of ${count(now.limit)}`;
        mark(sessions, full ? "warn" : "", count(now.sessions) + room, full ? "It is full" : "");
        const word = now.state === "drained" ? "Let in" : "Drain";
        write(act, word);
        act.setAttribute("aria-label", `${word} ${server} of ${upstream}`);
        // What is gone gets nothing anyway.
        act.hidden = now.state === "gone";
      },
    };
  }

  function confirm(one, opener) {
    const facts = [["Upstream", one.upstream], ["Server", one.server], ["Sessions", count(one.sessions)]];
    const text = ["Nothing new goes there. Its sessions get a Close with 1012 and ", h("code", {}, "upstream_drained"), ", spread over ",
      h("code", {}, "drain_timeout"), ", until it is let in again."];
    if (one.isLast) text.push(" ", h("strong", {}, "No other server of this upstream is left: new handshakes will be refused with 503."));
    question({ title: "Drain this server?", facts, text, no: "Leave it in", yes: "Drain it" }, opener, () => send(one, "drain"));
  }

  async function send(one, act) {
    tell(await outcome(one, act));
    refresh();
  }

  return function draw({ upstreams }) {
    const all = upstreams.flatMap(servers);
    const well = all.filter(({ state }) => state === "up").length;
    const waits = upstreams.filter(({ queue }) => queue > 0);
    const queues = waits.map(({ upstream, queue }) => h("span", { class: "state-warn" }, `${count(queue)} wait for a server of `, said(upstream)));
    const summary = [`${count(well)} of ${count(all.length)} up`, ...(all.length > SHOWN ? [`${count(SHOWN)} are shown: /upstreams has them all`] : []), ...queues];
    at("upstreams-shown").replaceChildren(...summary.flatMap((one, nth) => (nth ? [", ", one] : [one])));
    place(all.length > SHOWN ? all.sort((a, b) => (a.state === "up") - (b.state === "up")).slice(0, SHOWN) : all);
  };
}

/** Each with its upstream's name, and whether nobody else there could be given handshakes. */
function servers({ upstream, servers: all }) {
  const takes = all.filter(({ state }) => state !== "drained" && state !== "gone").length;
  return all.map((one) => ({ ...one, upstream, isLast: takes === 1 && one.state !== "drained" && one.state !== "gone" }));
}

/** A sign beside the colour, since colour alone says nothing to some. */
function mark(element, badness, text, title) {
  write(element, text);
  element.className = badness ? `state-${badness}` : "";
  element.title = title;
}

async function outcome({ upstream, server }, act) {
  const whom = `${server} of ${upstream}`;
  try {
    const path = `/upstreams/${encodeURIComponent(upstream)}/${encodeURIComponent(server)}/${act}`;
    const { changed, sessions } = await ask(path, "POST");
    if (act === "undrain") return changed ? `Let in again: ${whom}.` : `${whom} was in already.`;
    return changed ? `Drained: ${whom}. Sessions that are told to go: ${count(sessions)}.` : `${whom} was drained already.`;
  } catch (error) {
    return `${act === "drain" ? "Not drained" : "Not let in"}: ${error.message}`;
  }
}
