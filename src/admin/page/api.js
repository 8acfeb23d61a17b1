// What this page asks of the gateway, and as whom.

// Of this tab alone, and gone with it.
const KEY = "wsgate-admin-token";
const PATIENCE_MS = 10_000;

let token = sessionStorage.getItem(KEY) ?? "";

export const hasToken = () => token !== "";

/** Takes a token, or forgets it. */
export function use(given) {
  token = given;
  if (given) sessionStorage.setItem(KEY, given);
  else sessionStorage.removeItem(KEY);
}

/** An answer that is no good one. */
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The JSON of an answer. Throws [Refused], or whatever fetch throws where there is no answer. */
export async function ask(path, method = "GET") {
  // Never in the URL, which ends in histories and logs; and in no cookie, which goes along unasked.
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const options = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  const response = await fetch(path, options);
  const text = await response.text();
  if (!response.ok) throw new Refused(response.status, text.trim() || response.statusText);
  return JSON.parse(text);
}
