// The last refusals: who, where, and what exactly was wrong. The newest comes first.

import { at, h, said, write } from "./dom.js";
import { clock, count } from "./format.js";

const COLUMNS = ["time", "reason", "status", "route", "client", "subject", "path", "why"];

export function mount(table) {
  table.tHead.append(h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name))));
  let newest = "";

  return function draw({ refusals, refusals_left_out: left }) {
    write(at("refusals-shown"), left ? `${count(left)} more came too fast to be listed` : "");
    const last = refusals[0];
    const mark = last ? `${last.time} ${refusals.length} ${left}` : "none";
    // What is read or selected stays until there is more.
    if (mark === newest) return;
    newest = mark;
    table.tBodies[0].replaceChildren(...(last ? refusals.map(line) : [none()]));
  };
}

const none = () => h("tr", {}, h("td", { colspan: COLUMNS.length, class: "soft" }, "Nobody was refused since the start."));

function line({ time, reason, fault, status, route, client, subject, path, why }) {
  const text = (value) => h("td", {}, value === undefined ? "" : said(value));
  return h("tr", {},
    h("td", { class: "mono" }, h("time", { datetime: time, title: time }, clock(time))),
    h("td", {}, h("span", { class: `fault fault-${fault}`, title: `whose doing: ${fault}` }, reason)),
    h("td", { class: "number" }, status === undefined ? "–" : String(status)),
    text(route), h("td", { class: "mono" }, client), text(subject), text(path), h("td", { class: "why" }, why === undefined ? "" : said(why)));
}
