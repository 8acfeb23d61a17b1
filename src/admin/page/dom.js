// Elements made by hand. Text goes in as text: nothing in this page ever parses HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element with these attributes and children; `text` is a child as any other. */
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same of SVG. */
export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** What a client chose to be called: isolated, so that a text that runs from right to left turns nothing else around. */
export function said(text, attributes = {}) {
  return h("bdi", { class: "said", title: text, ...attributes }, text);
}

export const at = (id) => document.getElementById(id);

/** Sets text only where it changed, so that a reader that follows it is told once, and a selection stays. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says a thing to those who listen instead of looking. */
export function announce(text) {
  const region = at("said");
  region.textContent = "";
  // A region that gets the same text again says nothing: it has to be empty in between.
  requestAnimationFrame(() => { region.textContent = text; });
}
