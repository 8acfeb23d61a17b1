// How many were refused, and why: the last minutes first, since that is what somebody who looks wants to know.

import { h } from "./dom.js";
import { count, duration } from "./format.js";

export function mount(root, ends) {
  return function draw({ refused, ended, history }) {
    const span = duration(history.span_seconds);
    const rows = [...refused].sort((a, b) => b.recent - a.recent || b.count - a.count);
    const most = Math.max(1, ...rows.map((row) => row.recent));
    root.replaceChildren(
      rows.length ? table(rows.map((row) => line(row, row.recent / most)), ["reason", `last ${span}`, "since the start"])
        : h("p", { class: "soft" }, "Nobody was refused since the start."),
    );
    ends.replaceChildren(
      ended.length ? table([...ended].sort((a, b) => b.count - a.count).map(end), ["reason", "by", "since the start"])
        : h("p", { class: "soft" }, "None since the start."),
    );
  };
}

function table(rows, [first, second, third]) {
  const head = h("tr", {}, h("th", { scope: "col" }, first), h("th", { scope: "col", class: "number" }, second),
    h("th", { scope: "col", class: "number" }, third));
  return h("table", { class: "plain" }, h("thead", {}, head), h("tbody", {}, ...rows));
}

function line({ reason, fault, meaning, count: all, recent, routes }, share) {
  const where = routes.map((one) => `${one.route} ${one.count}`).join(", ");
  const bar = h("span", { class: "bar-behind", "aria-hidden": "true" });
  bar.style.width = `${100 * share}%`;
  return h("tr", { title: `${meaning}. Routes: ${where}` },
    h("td", { class: "behind" }, bar, h("span", { class: `fault fault-${fault}` }, reason)),
    h("td", { class: "number strong" }, count(recent)),
    h("td", { class: "number" }, count(all)));
}

function end({ reason, side, count: all }) {
  return h("tr", {}, h("td", {}, reason), h("td", { class: "number soft" }, side), h("td", { class: "number" }, count(all)));
}
