// What the gateway stands on: its threads, its memory for slow receivers, Redis, the upstreams, its config.

import { h, said } from "./dom.js";
import { bytes, count, percent } from "./format.js";

export function mount(root) {
  return function draw(status) {
    root.replaceChildren(
      ...(status.not_ready ?? []).map((why) => row("not ready", why, "bad")),
      ...workers(status.workers),
      row("handshakes under way", count(status.handshakes_in_flight), ""),
      row("kept for slow receivers", kept(status.buffered), status.buffered.bytes > status.buffered.limit / 2 ? "warn" : "good"),
      ...(status.redis ? [redis(status.redis)] : []),
      ...upstreams(status.upstreams),
      ...(status.config ? config(status.config) : []),
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

// What a server's state is, of the words that there are for it; any other word is only written down.
const STATE = { up: "good", drained: "warn", gone: "warn", down: "bad", ejected: "bad" };

/** Each server of each upstream, and who waits for one. */
function upstreams(all = []) {
  return all.flatMap(({ upstream, queue, servers }) => {
    const waiting = queue ? [row(said(upstream), `${count(queue)} wait for a server`, "warn")] : [];
    return waiting.concat(servers.map(({ server, state, sessions, limit }) => {
      const name = upstream.endsWith(server) ? said(upstream) : h("span", {}, said(upstream), " ", said(server));
      const room = limit ? ` of ${count(limit)}` : "";
      return row(name, `${state}, ${count(sessions)}${room} sessions`, STATE[state] ?? "");
    }));
  });
}

/** Which config is obeyed; where a newer one was refused, the whole of why. */
function config({ hash, taken_at: at, last_reload_successful: good, error }) {
  const name = `config ${hash.slice(0, 8)}, since ${new Date(at * 1000).toLocaleString("en-GB")}`;
  if (good) return [row(name, "obeyed", "good")];
  const report = error ? h("details", {}, h("summary", {}, "What is wrong with it"), h("pre", {}, error)) : null;
  return [row(name, "a newer one was refused", "bad"), ...(report ? [report] : [])];
}
