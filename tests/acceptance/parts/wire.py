"""A WebSocket client by hand, for what no library sends."""

import contextlib
import os
import socket
import struct

from .child import PATIENCE

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def head(path="/raw", method="GET", version="HTTP/1.1", drop=(), **headers):
    """A request's head. Its headers are those of a good handshake, with the given ones in place of them or on top;
    a list gives a header more than once."""
    good = {
        "Host": "gate.example.com",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": KEY,
    }
    lines = [f"{method} {path} {version}"]
    for name, values in {**good, **headers}.items():
        if name not in drop:
            for value in values if isinstance(values, list) else [values]:
                lines.append(f"{name.replace('_', '-')}: {value}")
    return "\r\n".join([*lines, "", ""]).encode()


def frame(first, payload=b"", length=None, mask=True):
    """A frame whose first byte is given: FIN 0x80, RSV1 0x40, opcode. `length` is the length field as it is to stand
    there, if it is not the payload's own in its shortest form."""
    bit = 0x80 if mask else 0
    if length is None:
        size = len(payload)
        if size < 126:
            length = struct.pack("!B", size)
        elif size < 65536:
            length = struct.pack("!BH", 126, size)
        else:
            length = struct.pack("!BQ", 127, size)
    header = bytes([first, length[0] | bit]) + length[1:]
    if not mask:
        return header + payload
    key = os.urandom(4)
    return header + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


class Wire:
    """One TCP connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._held = b""

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        self._held += data
        return len(data) > 0

    def answer(self):
        """Status, headers by name in lower case, and what of the body came with them, of one HTTP answer."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                raise AssertionError(f"no whole answer: {self._held!r}")
        text, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = text.decode().split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split(" ")[1]), headers

    def upgrade(self, **how):
        self.send(head(**how))
        status, headers = self.answer()
        assert status == 101, status
        return headers

    def take(self, count):
        """Exactly so many bytes, or None at the end of the stream."""
        while len(self._held) < count:
            if not self._more():
                assert not self._held, f"the stream ends inside a frame: {self._held!r}"
                return None
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def frame(self):
        """First byte and payload of the next frame from the gateway, or None at the end of the stream."""
        header = self.take(2)
        if header is None:
            return None
        assert header[1] & 0x80 == 0, "a server's frame is not masked"
        length = header[1]
        if length >= 126:
            length = int.from_bytes(self.take(2 if length == 126 else 8), "big")
        return header[0], self.take(length)

    def close_code(self):
        """The code of the Close that comes, past any other frames, and its reason; then the stream has to end."""
        while True:
            seen = self.frame()
            assert seen is not None, "the stream ends without a Close"
            if seen[0] == 0x88:
                break
        assert self.frame() is None, "something comes behind the Close"
        return int.from_bytes(seen[1][:2], "big"), seen[1][2:].decode()

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def connect(port):
    wire = Wire(port)
    try:
        yield wire
    finally:
        wire.close()
