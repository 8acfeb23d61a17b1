// A line chart of the last minutes: axes with units, the values of now, and those of any moment by pointer or arrow keys.

import { h, s, write } from "./dom.js";
import { duration, short } from "./format.js";
import { ticks } from "./rates.js";

const HEIGHT = 128;
const EDGE = { left: 52, right: 6, top: 10, bottom: 20 };

/** `lines` are their names; `show` writes a value, `per` is said behind it; `base` is 1024 for bytes. */
export class Chart {
  constructor({ title, lines, show, per = "", span, base = 10 }) {
    Object.assign(this, { title, names: lines, mark: (n) => short(show(n)), show, per, span, base, ages: [], values: [], cursor: null, width: 320 });
    this.grid = s("g", { class: "grid" });
    this.paths = lines.map((_, i) => s("path", { class: `line line-${i}` }));
    this.area = lines.length === 1 ? s("path", { class: "area line-0" }) : null;
    this.needle = s("line", { class: "needle", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    this.svg = s("svg", { height: HEIGHT, role: "img", "aria-label": title }, this.grid, this.area, ...this.paths, this.needle);
    this.when = h("span", { class: "when soft" });
    this.now = lines.map(() => h("b", {}));
    const legend = lines.map((name, i) => {
      const key = s("svg", { class: "key", width: 16, height: 8, "aria-hidden": "true" }, s("path", { class: `line line-${i}`, d: "M1 4H15" }));
      return h("li", {}, lines.length > 1 ? key : null, this.now[i], lines.length > 1 ? ` ${name}` : null);
    });
    const caption = h("figcaption", {}, h("h3", {}, h("span", {}, title, per ? h("span", { class: "per" }, " a second") : null), this.when), h("ul", { class: "legend" }, ...legend));
    const label = `${title}: the arrow keys go through the last ${duration(span)}`;
    this.element = h("figure", { class: "chart", tabindex: "0", "aria-label": label }, caption, this.svg);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("blur", () => this.look(null));
    new ResizeObserver(([entry]) => {
      this.width = Math.max(160, Math.floor(entry.contentRect.width));
      this.paint();
    }).observe(this.element);
  }

  /** `ages` are seconds, 0 for now and below for before; `values` as many lists as there are lines. */
  draw(ages, values) {
    Object.assign(this, { ages, values });
    if (this.cursor !== null) this.cursor = Math.min(this.cursor, ages.length - 1);
    this.paint();
  }

  x(age) {
    const room = this.width - EDGE.left - EDGE.right;
    return EDGE.left + room * (1 + Math.max(-this.span, age) / this.span);
  }

  paint() {
    if (this.ages.length === 0) return;
    const bottom = HEIGHT - EDGE.bottom;
    const marks = ticks(Math.max(0, ...this.values.flat()), this.base);
    const top = marks[marks.length - 1];
    const y = (value) => bottom - ((bottom - EDGE.top) * value) / top;
    const first = this.ages.findIndex((age) => age >= -this.span);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.setAttribute("width", this.width);
    this.grid.replaceChildren(...marks.map((mark) => this.level(y(mark), this.mark(mark))), ...this.moments(bottom));
    this.values.forEach((list, line) => {
      const points = list.slice(first).map((value, i) => `${this.x(this.ages[first + i]).toFixed(1)} ${y(value).toFixed(1)}`);
      const d = points.length > 1 ? `M${points.join("L")}` : "";
      this.paths[line].setAttribute("d", d);
      if (this.area) this.area.setAttribute("d", d && `${d}V${bottom}H${this.x(this.ages[first]).toFixed(1)}Z`);
    });
    this.read();
  }

  level(y, text) {
    const line = s("line", { x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y });
    return s("g", {}, line, s("text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, text));
  }

  moments(bottom) {
    return [-this.span, -this.span / 2, 0].map((age) => {
      const anchor = age === 0 ? "end" : age === -this.span ? "start" : "middle";
      const text = age === 0 ? "now" : `−${duration(-age)}`;
      return s("text", { x: this.x(age), y: bottom + 15, "text-anchor": anchor }, text);
    });
  }

  /** The numbers above the lines: of the moment that is looked at, else of now. */
  read() {
    const at = this.cursor ?? this.ages.length - 1;
    this.values.forEach((list, line) => write(this.now[line], this.show(list[at] ?? 0)));
    const looked = this.cursor !== null && this.ages.length > 0;
    write(this.when, looked ? `${duration(-this.ages[at])} ago` : "");
    this.needle.setAttribute("visibility", looked ? "visible" : "hidden");
    if (looked) {
      this.needle.setAttribute("x1", this.x(this.ages[at]));
      this.needle.setAttribute("x2", this.x(this.ages[at]));
    }
    const text = this.values.map((list, line) => `${this.names[line]} ${this.show(list[at] ?? 0)}${this.per}`).join(", ");
    this.svg.setAttribute("aria-label", `${this.title}: ${text}`);
  }

  look(at) {
    if (at === this.cursor) return;
    this.cursor = at;
    this.read();
  }

  point(event) {
    if (this.ages.length === 0) return;
    const box = this.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    let nearest = 0;
    this.ages.forEach((age, i) => {
      if (Math.abs(this.x(age) - x) < Math.abs(this.x(this.ages[nearest]) - x)) nearest = i;
    });
    this.look(nearest);
  }

  key(event) {
    const last = this.ages.length - 1;
    const at = this.cursor ?? last;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last, Escape: null }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    this.look(to === null ? null : Math.min(last, Math.max(0, to)));
  }
}
