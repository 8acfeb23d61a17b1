// A client of `ws` that floods until it is closed, and comes back for more. Tells what each of its sockets ended with, as one
// line of JSON. Arguments: the URL, what it sends ("pings", "fragments" or "messages"), and how many sockets.
'use strict';

const assert = require('node:assert');
const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');
const WebSocket = require('ws');

const [url, kind, sockets] = process.argv.slice(2);
// A gateway that closes nobody is told apart from one that does.
const MOST = 200_000;
const SEND = {
  pings: (socket) => socket.ping('x'),
  fragments: (socket) => socket.send('x', { fin: false }),
  messages: (socket) => socket.send('x'),
};

async function flood() {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  // What it writes after the other side is gone fails, as it should; the Close came before that.
  socket.on('error', () => {});
  const closed = once(socket, 'close');
  await once(socket, 'open');
  for (let sent = 0; sent < MOST && socket.readyState === WebSocket.OPEN; ) {
    for (const end = sent + 500; sent < end; sent += 1) SEND[kind](socket);
    await turn();
  }
  const [code, reason] = await closed;
  return `${code} ${reason}`;
}

async function main() {
  assert.ok(kind in SEND);
  const ends = [];
  for (let nth = 0; nth < Number(sockets); nth += 1) ends.push(await flood());
  console.log(JSON.stringify(ends));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
