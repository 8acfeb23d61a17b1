// Socket.IO's own client: connects, has a few things echoed, and says what it saw.
// Arguments: URL, path, transports with commas, where the token goes (header, query, cookie, none), the token.
const { io } = require("socket.io-client");

const [url, path, transports, place, token] = process.argv.slice(2);
const given = {
  header: { extraHeaders: { Authorization: `Bearer ${token}` } },
  query: { query: { token } },
  cookie: { extraHeaders: { Cookie: `theme=dark; session=${token}` } },
  none: {},
}[place];
const socket = io(url, { path, transports: transports.split(","), reconnection: false, forceNew: true, ...given });
const seen = [];
const say = (what) => {
  console.log(JSON.stringify(what));
  socket.disconnect();
};

socket.on("connect_error", (error) => say({ error: error.message, status: error.context?.status ?? null }));
socket.on("who", async (subject, authorization) => {
  const engine = socket.io.engine;
  seen.push(engine.transport.name);
  const last = transports.split(",").at(-1);
  // Messages flow before, during and after the upgrade.
  const echoes = [];
  for (let at = 0; at < 20 || engine.transport.name !== last; at += 1) {
    const what = at % 3 ? `message ${at}` : Buffer.alloc(at * 500, at);
    const back = await socket.emitWithAck("echo", what);
    echoes.push(Buffer.isBuffer(what) ? what.equals(Buffer.from(back)) : what === back);
  }
  // Longer than a ping, so that a poll has to wait for one.
  await new Promise((over) => setTimeout(over, 800));
  echoes.push((await socket.emitWithAck("echo", "late")) === "late");
  seen.push(engine.transport.name);
  say({ subject, authorization, transports: seen, echoes: echoes.length, good: echoes.every(Boolean) });
});
