// From samples of counters to what happened each second. Pure.

/** The differences of a counter, each by the seconds that passed since the sample before; one fewer than there are samples.
 * Where a counter fell, as the sum over routes does when a reload takes one away, nothing is known to have come. */
export function perSecond(times, counter) {
  const rates = [];
  for (let i = 1; i < counter.length; i++) {
    const seconds = (times[i] - times[i - 1]) / 1000;
    rates.push(seconds > 0 ? Math.max(0, counter[i] - counter[i - 1]) / seconds : 0);
  }
  return rates;
}

/** The lines of the charts: for each a list of points, and when each was. Ages are seconds before the last sample. */
export function series(history) {
  const times = history.time_ms;
  const last = times[times.length - 1];
  const age = (ms) => (ms - last) / 1000;
  const rate = (name) => perSecond(times, history[name]);
  return {
    at: times.map(age),
    between: times.slice(1).map(age),
    sessions: history.sessions,
    messages: [rate("messages_to_upstream"), rate("messages_to_client")],
    bytes: [rate("bytes_to_upstream"), rate("bytes_to_client")],
    handshakes: [rate("admitted"), rate("refused")],
  };
}

/** The marks of an axis from 0 that has room for `most`: steps of 1, 2 or 5 times a power of ten; with
 * `base` 1024, of a power of two. */
export function ticks(most, base = 10) {
  if (!(most > 0)) return [0, 1];
  const raw = most / 3;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 5, 10].map((n) => n * magnitude).find((n) => n >= raw);
  // Bytes go by powers of two, so that a KiB is a mark.
  if (base === 1024) step = 2 ** Math.ceil(Math.log2(raw));
  // Of what is whole, half a piece is no mark.
  else if (most >= 1) step = Math.max(step, 1);
  const marks = [0];
  while (marks[marks.length - 1] < most) marks.push(marks.length * step);
  return marks;
}
