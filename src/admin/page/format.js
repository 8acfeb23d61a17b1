// From numbers to what a person reads. Pure.

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A count: whole up to 9,999, then with a k, M or G. */
export function count(n) {
  if (!Number.isFinite(n)) return "–";
  if (Math.abs(n) < 9999.5) return n % 1 && Math.abs(n) < 10 ? n.toFixed(1) : WHOLE.format(n);
  return scaled(n, 1000, ["k", "M", "G", "T", "P"]);
}

/** A mark of an axis: as short as it is true. */
export const short = (text) => text.replace(".0", "");

/** Bytes in powers of 1024. */
export function bytes(n) {
  if (!Number.isFinite(n)) return "–";
  return Math.abs(n) < 1024 ? `${WHOLE.format(n)} B` : scaled(n, 1024, [" KiB", " MiB", " GiB", " TiB", " PiB"]);
}

function scaled(n, base, units) {
  let at = -1;
  do {
    n /= base;
    at += 1;
    // What would be written as 1000 is written as 1 of the next unit.
  } while (Math.abs(n) >= base - 0.5 && at + 1 < units.length);
  return (Math.abs(n) < 99.95 ? n.toFixed(1) : WHOLE.format(n)) + units[at];
}

/** Seconds in the two units that matter. */
export function duration(seconds) {
  const n = Math.max(0, Math.floor(seconds));
  const parts = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
  const first = parts.findIndex(([, size]) => n >= size);
  if (first < 0) return "0s";
  const [unit, size] = parts[first];
  const next = parts[first + 1];
  const rest = next ? Math.floor((n % size) / next[1]) : 0;
  return `${Math.floor(n / size)}${unit}` + (rest ? ` ${rest}${next[0]}` : "");
}

/** How long ago, of two times in milliseconds. */
export function ago(then, now) {
  return now - then < 1000 ? "now" : `${duration((now - then) / 1000)} ago`;
}

/** The time of day of an RFC 3339 date, where the reader is. */
export function clock(date) {
  return new Date(date).toLocaleTimeString("en-GB");
}

/** When a time in seconds since 1970 was, where the reader is: the time of day, with the day if that is not today. */
export function when(seconds, now = new Date()) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString("en-GB");
  return date.toDateString() === now.toDateString() ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })}, ${time}`;
}

/** A share in percent, which says 100 of nothing less than all. */
export function percent(share) {
  if (!(share > 0)) return "0 %";
  if (share < 0.01) return "< 1 %";
  return `${share >= 1 ? Math.round(share * 100) : Math.min(99, Math.round(share * 100))} %`;
}
