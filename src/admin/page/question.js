// What is asked before something is done that can't be undone, and what is said once it was.

import { announce, at, h, said, write } from "./dom.js";

/** Asks, and calls `then` if the answer is yes; the focus comes back to `opener`. `facts` are pairs of a name and a text, `text` is what
 * happens, `no` and `yes` are the words on the buttons. The first press does nothing: the focus is on `no`. */
export function question({ title, facts, text, no, yes }, opener, then) {
  const dialog = at("question");
  write(at("h-question"), title);
  at("question-facts").replaceChildren(...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, said(value))]));
  at("question-text").replaceChildren(...text);
  write(at("question-no"), no);
  write(at("question-yes"), yes);
  dialog.returnValue = "no";
  dialog.onclose = () => {
    if (opener.isConnected) opener.focus();
    if (dialog.returnValue === "yes") then();
  };
  dialog.showModal();
  at("question-no").focus();
}

/** Says what became of it, to eyes and ears. */
export function tell(text) {
  write(at("notice"), text);
  at("notice").hidden = false;
  announce(text);
}
