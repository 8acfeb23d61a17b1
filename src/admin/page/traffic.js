// The charts: what flows, and who comes.

import { Chart } from "./chart.js";
import { bytes, count } from "./format.js";
import { series } from "./rates.js";

export function mount(root) {
  let charts = null;

  function make(span) {
    // Up is to the upstream, down is to the client.
    const lines = ["up", "down"];
    charts = {
      sessions: new Chart({ title: "Sessions", lines: ["sessions"], show: count, span }),
      messages: new Chart({ title: "Messages", lines, show: count, per: "/s", span }),
      bytes: new Chart({ title: "Bytes", lines, show: bytes, per: "/s", span, base: 1024 }),
      handshakes: new Chart({ title: "Handshakes", lines: ["admitted", "refused"], show: count, per: "/s", span }),
    };
    root.replaceChildren(...Object.values(charts).map((chart) => chart.element));
  }

  return function draw({ history }) {
    if (!charts) make(history.span_seconds);
    const lines = series(history);
    charts.sessions.draw(lines.at, [lines.sessions]);
    charts.messages.draw(lines.between, lines.messages);
    charts.bytes.draw(lines.between, lines.bytes);
    charts.handshakes.draw(lines.between, lines.handshakes);
  };
}
