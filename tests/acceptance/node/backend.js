// An echo server of `ws`. Says its port on standard output, then one line of JSON for each connection that ended.
//
// Text messages may be commands: "close CODE REASON" closes, "ping TEXT" pings the client and tells of its pong, "deaf" reads
// nothing any more, "pour" sends for ever what the client takes.
'use strict';

const { WebSocketServer } = require('ws');

const deflate = process.argv[2] === 'deflate';
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  // A threshold of 0 compresses the smallest message too.
  perMessageDeflate: deflate ? { threshold: 0 } : false,
});

const drop = Buffer.alloc(100_000, 'x');
const pour = (socket) => socket.send(drop, (error) => error || pour(socket));

server.on('connection', (socket) => {
  const pings = [];
  socket.on('ping', (data) => pings.push(data.toString()));
  socket.on('pong', (data) => socket.send(`pong ${data}`));
  socket.on('message', (data, isBinary) => {
    const [command, argument, rest] = isBinary ? [] : data.toString().split(' ', 3);
    if (command === 'close') socket.close(Number(argument), rest);
    else if (command === 'ping') socket.ping(argument);
    else if (command === 'deaf') socket.pause();
    else if (command === 'pour') pour(socket);
    else socket.send(data, { binary: isBinary });
  });
  socket.on('close', (code, reason) => {
    console.log(JSON.stringify({ code, reason: reason.toString(), pings, extensions: socket.extensions }));
  });
});

server.on('listening', () => console.log(JSON.stringify({ port: server.address().port })));
