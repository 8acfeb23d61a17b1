// Rows of a table that stay what they are as long as what they stand for is shown, so that the focus and a selection stay too.

/** Gives a function that shows these items in this order. `key` names an item, `make` gives its `{ element, write(item) }`.
 * Where the focused row goes, the focus goes on with the row that came up, or else with what `heir` gives. */
export function rows(body, { key, make, heir }) {
  const known = new Map();

  return function place(items) {
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Set(items.map(key));
    let left = 0;
    for (const [name, row] of known) {
      if (kept.has(name)) continue;
      if (focused && row.element.contains(focused)) left = [...body.rows].indexOf(row.element);
      row.element.remove();
      known.delete(name);
    }
    let next = body.firstElementChild;
    for (const item of items) {
      let row = known.get(key(item));
      if (!row) known.set(key(item), (row = make(item)));
      row.write(item);
      if (row.element === next) next = next.nextElementSibling;
      else body.insertBefore(row.element, next);
    }
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    // Whoever closed by keyboard goes on with the row that came up.
    else if (focused) (body.rows[Math.min(left, body.rows.length - 1)]?.querySelector("button") ?? heir()).focus({ preventScroll: true });
  };
}
