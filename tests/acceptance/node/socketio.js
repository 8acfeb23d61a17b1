// Socket.IO's own server, as its documentation starts it. Says on which port, and for each socket which transport it ended on.
const { createServer } = require("http");
const { Server } = require("socket.io");

const server = createServer();
// A short ping, so that a test sees a long poll come to its end.
const io = new Server(server, { pingInterval: 500, pingTimeout: 20000 });
io.on("connection", (socket) => {
  socket.emit("who", socket.handshake.headers["x-auth-subject"] ?? null, socket.handshake.headers.authorization ?? null);
  socket.on("echo", (what, answer) => answer(what));
  socket.on("disconnect", (reason) => console.log(JSON.stringify({ reason, transport: socket.conn.transport.name })));
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
