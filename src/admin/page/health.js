// What the gateway stands on: its threads, its memory for slow receivers, Redis, its config.

import { h } from "./dom.js";
import { bytes, count, percent, when } from "./format.js";

export function mount(root) {
  return function draw(status) {
    root.replaceChildren(
      ...(status.not_ready ?? []).map((why) => row("not ready", why, "bad")),
      ...workers(status.workers),
      row("handshakes under way", count(status.handshakes_in_flight), ""),
      row("kept for slow receivers", kept(status.buffered), status.buffered.bytes > status.buffered.limit / 2 ? "warn" : "good"),
      ...(status.redis ? [redis(status.redis)] : []),
      ...config(status.config),
    );
  };
}

/** One fact: a sign beside the colour, since colour alone says nothing to some. */
function row(name, text, state) {
  const words = { good: "well", warn: "look at this", bad: "not well" };
  return h("div", { class: "fact" }, h("span", { class: "name" }, name), h("span", { class: `value state-${state}`, title: words[state] }, text));
}

const kept = ({ bytes: n, limit }) => `${bytes(n)} of ${bytes(limit)}, ${percent(n / limit)}`;

const PACE = { keeps: "good", behind: "warn", far_behind: "bad" };

/** Of many threads, the latest; of few, each. */
function workers(all) {
  if (all.length > 8) {
    const worst = all.reduce((a, b) => (b.lag_ms > a.lag_ms ? b : a));
    return [row(`${all.length} workers, the latest`, lag(worst), PACE[worst.pace])];
  }
  return all.map((worker, i) => row(`worker ${i}`, lag(worker), PACE[worker.pace]));
}

const lag = ({ lag_ms: ms, pace }) => (pace === "keeps" ? `${ms} ms late` : `${ms} ms late, ${pace.replace("_", " ")}: lets nobody in`);

function redis({ breaker }) {
  const words = { closed: "answers", open: "does not answer", half_open: "is asked once more" };
  return row("Redis", words[breaker] ?? breaker, { closed: "good", half_open: "warn" }[breaker] ?? "bad");
}

/** Which config is obeyed. One that is no file has no hash. */
function config({ hash, taken_at: at, last_reload_successful: good }) {
  if (!hash) return [];
  return [row(`config ${hash.slice(0, 8)}`, good ? `taken ${when(at)}` : "a newer one was refused", good ? "good" : "bad")];
}
