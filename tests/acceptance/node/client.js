// A client of `ws` that goes through one scenario and tells what it saw, as one line of JSON.
// Arguments: the URL, "deflate" or "plain", and the code that it closes with, or "command" to let the backend close.
'use strict';

const assert = require('node:assert');
const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const WebSocket = require('ws');

const [url, compression, ending] = process.argv.slice(2);
// Around each form of a frame's length (RFC 6455 s5.2), and at what fits one message of the gateway's default.
const SIZES = [0, 1, 2, 124, 125, 126, 127, 128, 1000, 4095, 4096, 16384, 65534, 65535, 65536, 65537, 262144, 1000000];

function compressible(size) {
  return Buffer.alloc(size, 'the quick brown fox jumps over the lazy dog, again and again; ');
}

async function main() {
  const socket = new WebSocket(url, { perMessageDeflate: compression === 'deflate' ? { threshold: 0 } : false });
  const echoes = [];
  let wake = () => {};
  socket.on('message', (data, isBinary) => {
    echoes.push({ data, isBinary });
    wake();
  });
  const next = async () => {
    while (echoes.length === 0) await new Promise((resolve) => (wake = resolve));
    return echoes.shift();
  };
  const expect = async (data, isBinary) => {
    const echo = await next();
    assert.strictEqual(echo.isBinary, isBinary);
    assert.ok(echo.data.equals(data), `an echo of ${data.length} bytes differs`);
  };
  await once(socket, 'open');

  let messages = 0;
  // One at a time, and then all at once.
  for (const size of SIZES) {
    const text = compressible(size);
    for (const [data, binary] of [[randomBytes(size), true], [text, true], [text, false]]) {
      socket.send(data, { binary });
      await expect(data, binary);
      messages += 1;
    }
  }
  const burst = SIZES.map((size) => randomBytes(size));
  for (const data of burst) socket.send(data);
  for (const data of burst) await expect(data, true);
  messages += burst.length;

  // Fragments, with a ping between them, which is allowed there (RFC 6455 s5.4).
  for (const parts of [['one'], ['one', 'two'], ['', '', 'x', ''], Array(200).fill('some more ')]) {
    parts.forEach((part, at) => {
      socket.send(part, { fin: at === parts.length - 1 });
      if (at === 0) socket.ping('between');
    });
    await expect(Buffer.from(parts.join('')), false);
    messages += 1;
  }

  // A ping and its pong go end to end, with their payload, both ways.
  const pongs = [];
  socket.on('pong', (data) => pongs.push(data.toString()));
  for (const payload of ['', 'a', 'x'.repeat(125)]) {
    socket.ping(payload);
    const [answer] = await once(socket, 'pong');
    assert.strictEqual(answer.toString(), payload);
  }
  socket.send('ping from-the-backend');
  assert.strictEqual((await next()).data.toString(), 'pong from-the-backend');
  messages += 1;

  if (ending === 'command') {
    socket.send('close 4321 told-to');
    messages += 1;
  } else {
    socket.close(Number(ending), 'of-my-own');
  }
  const [code, reason] = await once(socket, 'close');
  console.log(JSON.stringify({ messages, code, reason: reason.toString(), extensions: socket.extensions }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
