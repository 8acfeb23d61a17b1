// The page as a whole: asks every two seconds as long as somebody looks, and hands what comes to the rooms of the page.

import { Refused, ask, hasToken, use } from "./api.js";
import * as config from "./config.js";
import * as connections from "./connections.js";
import { announce, at, write } from "./dom.js";
import * as fill from "./fill.js";
import { count, duration } from "./format.js";
import * as health from "./health.js";
import { poll } from "./poll.js";
import * as reasons from "./reasons.js";
import * as refusals from "./refusals.js";
import * as traffic from "./traffic.js";
import * as upstreams from "./upstreams.js";

const EVERY_MS = 2000;

let refresh = () => {};
const table = connections.mount(() => refresh());
const rooms = [
  traffic.mount(at("traffic")),
  reasons.mount(at("reasons"), at("ended")),
  fill.mount(at("fill")),
  health.mount(at("health")),
  refusals.mount(at("refusals")),
  upstreams.mount(() => refresh()),
  config.draw,
  header,
];
let firstVersion;

async function round() {
  // Without a token there is nothing to ask for, and each refusal would be a line in the gateway's log.
  if (!at("login").hidden && !hasToken()) return;
  try {
    const status = await ask("/status");
    login(false);
    for (const draw of rooms) draw(status);
    connections.routes(status.routes.map(({ route }) => route));
    await table.look();
    state("live", "live");
    document.documentElement.dataset.ready = "true";
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return login(true);
    const why = error instanceof Refused ? `the gateway says ${error.status}: ${error.message}` : "the gateway does not answer";
    state("gone", `${why}; asking again`);
  }
}

function header({ phase, version, uptime_seconds: uptime, not_ready: missing, drain }) {
  firstVersion ??= version;
  at("phase").dataset.phase = missing ? "not-ready" : phase;
  write(at("phase"), phase === "running" && missing ? "running, not ready" : phase.replace("_", " "));
  write(at("version"), version === firstVersion ? version : `${version}; this page is of ${firstVersion}: load it anew`);
  const left = drain ? `, ${count(drain.left)} left, cut in ${duration(drain.deadline_seconds)}` : "";
  write(at("uptime"), `up ${duration(uptime)}${left}`);
  document.title = `wsgate: ${phase}`;
}

/** Whether what is shown is of now. Each change is said once, aloud too. */
function state(to, text) {
  const live = at("live");
  if (live.dataset.state !== to && live.dataset.state !== "waiting") announce(to === "live" ? "The gateway answers again." : text);
  live.dataset.state = to;
  write(live, text);
  at("main").dataset.stale = String(to === "gone");
}

/** The form for the token, in place of what it would show. */
function login(wanted) {
  const form = at("login");
  at("forget").hidden = wanted || !hasToken();
  at("main").hidden = wanted;
  if (!wanted) {
    form.hidden = true;
    return;
  }
  state("waiting", "waiting for the token");
  at("login-wrong").hidden = !hasToken();
  write(at("login-wrong"), "The gateway does not take this token.");
  use("");
  if (form.hidden) {
    form.hidden = false;
    at("token").focus();
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  use(at("token").value.trim());
  at("token").value = "";
  refresh();
});

at("forget").addEventListener("click", () => {
  use("");
  refresh();
});

refresh = poll(EVERY_MS, round, () => state("paused", "paused while this tab is hidden"));
