// Caps and zones, the fullest first. What is warned of is said in words too: colour alone says nothing to some.

import { h, said } from "./dom.js";
import { count, percent } from "./format.js";

// The rest is counted. There may be a thousand routes.
const SHOWN = 24;

export function mount(root) {
  return function draw({ caps, zones }) {
    const whole = caps.filter((cap) => cap.keys === undefined).map(capacity);
    const keyed = caps.filter((cap) => cap.keys !== undefined).map(byKey);
    const all = [...whole, ...keyed, ...zones.map(zone)];
    all.sort((a, b) => b.warned - a.warned || b.share - a.share);
    const rest = all.length - SHOWN;
    root.replaceChildren(
      h("ul", { class: "fills" }, ...all.slice(0, SHOWN).map(bar)),
      rest > 0 ? h("p", { class: "soft" }, `and ${rest} more, all of them less full: /status has them`) : "",
    );
  };
}

const WORDS = { ip: "by address", subject: "by subject", zone: "by zone" };

function capacity({ scope, route, used, limit, warned }) {
  const name = scope === "total" ? "all routes" : route;
  return { kind: "cap", name, share: used / limit, warned, text: `${count(used)} of ${count(limit)}` };
}

function byKey({ scope, route, zone, used, limit, warned, keys, keys_near_limit: near }) {
  const name = `${route}, ${scope === "zone" ? `zone ${zone}` : WORDS[scope] ?? scope}`;
  const text = `${count(used)} by ${count(keys)} ${keys === 1 ? "key" : "keys"}, ${count(limit)} each`;
  return { kind: "cap", name, share: keys ? near / keys : 0, warned, text, note: near ? `${count(near)} near the limit` : "" };
}

function zone({ zone: name, entries, capacity: room, full }) {
  const note = full ? `full ${count(full)} times` : "";
  return { kind: "zone", name, share: entries / room, warned: entries / room >= 0.9, text: `${count(entries)} of ${count(room)} keys`, note };
}

function bar({ kind, name, share, warned, text, note }) {
  const inner = h("span", { class: "filled" });
  inner.style.width = `${Math.min(100, 100 * share)}%`;
  const meter = h("span", { class: "meter", role: "meter", "aria-label": `${kind} ${name}`, "aria-valuemin": 0, "aria-valuemax": 100,
    "aria-valuenow": Math.round(100 * share), "aria-valuetext": text }, inner);
  const state = warned ? h("span", { class: "warned" }, note || `${percent(share)}, near its limit`) : note ? h("span", { class: "soft" }, note) : null;
  return h("li", { class: warned ? "is-warned" : undefined },
    h("span", { class: "what" }, h("span", { class: "kind soft" }, kind), " ", said(name)), h("span", { class: "number" }, text), meter, state);
}
