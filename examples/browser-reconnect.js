// Keeps a WebSocket open for as long as its user may have it: renews the token before its end, reads why a socket was
// closed, and comes back or stops.
//
//   url       wss://.., a route with token_from = ["subprotocol"] and deny = "close"
//   renewUrl  https://.., that route's `renew`
//   getToken  fetches a fresh token from the login service; null once the user is logged out
//   on        what becomes of it: message(text), stopped(why)
function stayConnected({ url, renewUrl, getToken, on }) {
  let socket, opened, renewal, failures = 0, over = false;

  async function connect() {
    if (over) return;
    const token = await getToken().catch(() => undefined);
    if (token === undefined) return later();
    if (token === null) return on.stopped("logged out");
    opened = performance.now();
    socket = new WebSocket(url, ["bearer", "bearer." + token]);
    socket.onmessage = (event) => on.message(event.data);
    socket.onclose = ended;
    renewBefore(token);
  }

  function ended({ code, reason }) {
    clearTimeout(renewal);
    // An `open` says little: with deny = "close" a refusal opens too. That it lasted says more.
    if (performance.now() - opened > 10_000) failures = 0;
    // 1000 is the application's own goodbye, 1008 kicked, 4003 not allowed.
    if ([1000, 1008, 4003].includes(code)) return on.stopped(reason);
    // 4001 wants a new token, and gets it at once; a second one in a row waits like everything else.
    if (code !== 4001 || failures > 0) return later();
    failures = 1;
    connect();
  }

  function later() {
    // Anywhere up to 1 s, 2 s, 4 s .. 1 min, so that the clients of a gateway that restarts do not come back together.
    setTimeout(connect, Math.random() * Math.min(60_000, 1000 * 2 ** failures++));
  }

  function renewBefore(token) {
    clearTimeout(renewal);
    const { iat, exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    // Of the token's own two times: what this machine's clock says does not matter.
    renewal = setTimeout(renew, Math.min((exp - iat) * 800, 2 ** 31 - 1));
  }

  async function renew() {
    const token = await getToken().catch(() => null);
    const answer = token && (await fetch(renewUrl, { method: "POST", body: token }).catch(() => null));
    // If it failed, the socket ends with its token: 4001.
    if (answer?.ok) renewBefore(token);
  }

  connect();
  return { send: (text) => socket.send(text), close: () => ((over = true), socket?.close(1000)) };
}
