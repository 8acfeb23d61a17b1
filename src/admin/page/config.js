// What is wrong with the newest config, where it was refused.

import { at, write } from "./dom.js";
import { when } from "./format.js";

/** The whole report stays as it was opened, and where it was scrolled to. */
export function draw({ config: { taken_at: taken, last_reload_successful: good, error } }) {
  at("config-wrong").hidden = good;
  if (good) return;
  write(at("config-said"), `The newest config was refused. The one of ${when(taken)} is obeyed.`);
  write(at("config-error"), error ?? "");
}
