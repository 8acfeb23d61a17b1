// Who is connected: sorted, filtered and cut into pages by the gateway, so that many thousands are as quick as ten; and the
// way to close one.

import { Refused, ask } from "./api.js";
import { at, h, said, write } from "./dom.js";
import { ago, bytes, count } from "./format.js";
import { question, tell } from "./question.js";
import { rows } from "./rows.js";

const PAGE = 50;
const TYPED_MS = 250;

// What each is called here and to the gateway, and how it is first sorted.
const COLUMNS = [
  { name: "Subject", sort: "subject" },
  { name: "Client", sort: "client" },
  { name: "Route", sort: "route" },
  { name: "Since", sort: "since", down: true },
  { name: "Messages up", sort: "messages_to_upstream", down: true, number: true },
  { name: "Messages down", sort: "messages_to_client", down: true, number: true },
  { name: "Bytes up", sort: "bytes_to_upstream", down: true, number: true },
  { name: "Bytes down", sort: "bytes_to_client", down: true, number: true },
];

/** `refresh` asks for a new round at once. */
export function mount(refresh) {
  const table = at("table");
  const place = rows(table.tBodies[0], { key: ({ id }) => id, make: line, heir: () => at("search") });
  const view = { sort: "since", down: true, offset: 0 };
  const filters = ["search", "route", "subject", "client"].map(at);

  const heads = COLUMNS.map((column) => {
    const button = h("button", { type: "button", onclick: () => order(column) }, column.name);
    return h("th", { scope: "col", class: column.number ? "number" : undefined }, button);
  });
  table.tHead.append(h("tr", {}, ...heads, h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Close"))));
  mark();

  function order({ sort, down = false }) {
    view.down = view.sort === sort ? !view.down : down;
    view.sort = sort;
    turn(0);
    mark();
  }

  function mark() {
    COLUMNS.forEach(({ sort }, i) => {
      if (sort === view.sort) heads[i].setAttribute("aria-sort", view.down ? "descending" : "ascending");
      else heads[i].removeAttribute("aria-sort");
    });
  }

  function turn(offset) {
    view.offset = Math.max(0, offset);
    refresh();
  }

  let typed = 0;
  at("filters").addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => turn(0), TYPED_MS);
  });
  at("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    turn(0);
  });
  at("previous").addEventListener("click", () => turn(view.offset - PAGE));
  at("next").addEventListener("click", () => turn(view.offset + PAGE));

  function address() {
    const query = new URLSearchParams({ limit: PAGE, offset: view.offset, sort: view.sort, order: view.down ? "desc" : "asc" });
    for (const field of filters) if (field.value) query.set(field.id, field.value);
    return `/connections?${query}`;
  }

  /** Asks for what is to be shown, and shows it. */
  async function look() {
    try {
      draw(await ask(address()));
      at("connections-wrong").hidden = true;
    } catch (error) {
      // A filter that says nothing, as half an address: what is shown stays.
      if (!(error instanceof Refused) || error.status !== 400) throw error;
      at("connections-wrong").hidden = false;
      write(at("connections-wrong"), error.message);
    }
  }

  function draw({ connections, total }) {
    if (connections.length === 0 && total > 0) return turn(Math.floor((total - 1) / PAGE) * PAGE);
    const last = view.offset + connections.length;
    const filtered = filters.some((field) => field.value);
    write(at("shown"), total ? `${count(view.offset + 1)} to ${count(last)} of ${count(total)}${filtered ? " that match" : ""}` : "");
    at("none").hidden = total > 0;
    write(at("none"), filtered ? "No connection matches." : "Nobody is connected.");
    at("pager").hidden = total <= PAGE;
    at("previous").disabled = view.offset === 0;
    at("next").disabled = last >= total;
    place(connections);
  }

  function line(connection) {
    const cell = (type) => h("td", { class: type });
    const [since, upMessages, downMessages, upBytes, downBytes] = ["", "number", "number", "number", "number"].map(cell);
    const who = connection.subject ?? "no subject";
    const close = h("button", { type: "button", class: "small", "aria-label": `Close ${who} from ${connection.client}`, onclick: () => confirm(connection, close) }, "Close");
    const subject = connection.subject === undefined ? h("span", { class: "soft" }, "none") : said(connection.subject);
    const element = h("tr", { "data-id": connection.id }, h("td", { class: "who" }, subject), h("td", { class: "mono" }, connection.client),
      h("td", {}, said(connection.route)), since, upMessages, downMessages, upBytes, downBytes, h("td", { class: "act" }, close));
    since.title = connection.since;
    return {
      element,
      write(now) {
        write(since, ago(0, now.duration_seconds * 1000));
        write(upMessages, count(now.messages_to_upstream));
        write(downMessages, count(now.messages_to_client));
        write(upBytes, bytes(now.bytes_to_upstream));
        write(downBytes, bytes(now.bytes_to_client));
      },
    };
  }

  function confirm(connection, opener) {
    const facts = [["Subject", connection.subject ?? "none"], ["Client", connection.client], ["Route", connection.route], ["Id", connection.id]];
    const text = ["Both sides get a Close with 1008 and ", h("code", {}, "kicked"), ". Nobody is kept from coming back: for that, revoke."];
    question({ title: "Close this connection?", facts, text, no: "Keep it", yes: "Close it" }, opener, () => close(connection));
  }

  async function close({ id, subject, client }) {
    const whom = `${subject ?? "a connection without a subject"} from ${client}`;
    tell(await outcome(id, whom));
    refresh();
  }

  return { look };
}

async function outcome(id, whom) {
  try {
    const { closed } = await ask(`/connections/${encodeURIComponent(id)}`, "DELETE");
    return closed ? `Closed: ${whom}.` : `${whom} was told to go already.`;
  } catch (error) {
    if (error instanceof Refused && error.status === 404) return `${whom} was gone already.`;
    return `Not closed: ${error.message}`;
  }
}

/** The routes to choose from. */
export function routes(names) {
  const select = at("route");
  const known = [...select.options].slice(1).map((option) => option.value);
  if (known.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => h("option", { value: name }, name)));
  select.value = names.includes(chosen) ? chosen : "";
}
