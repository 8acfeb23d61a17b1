"""The backends: uvicorn with the chat, and Node's `ws`; and a tap on the way to them."""

import json
import pathlib
import re
import socket
import sys
import threading

from .child import PATIENCE, Child

HERE = pathlib.Path(__file__).resolve().parent.parent
NODE = HERE / "node"


class Chat(Child):
    """The FastAPI chat, or another application of a folder, under uvicorn, as its own documentation starts it."""

    def __init__(self, app="app", env=None, folder=HERE / "chat", port=0):
        super().__init__(sys.executable, "-m", "uvicorn", "--port", str(port), f"{app}:app", cwd=folder, env=env)
        said = self.err.first(lambda line: re.search(r"running on http://127\.0\.0\.1:(\d+)", line))
        self.port = int(said[1])
        self.url = f"http://127.0.0.1:{self.port}"


class NodeEcho(Child):
    """Node's `ws` as an echo server, with permessage-deflate or without."""

    def __init__(self, deflate):
        super().__init__("node", "backend.js", "deflate" if deflate else "plain", cwd=NODE)
        self.port = self.out.first(json.loads)["port"]
        self.url = f"http://127.0.0.1:{self.port}"


class Tap:
    """A relay in front of a backend that keeps what was sent up to it, byte by byte."""

    def __init__(self, backend):
        self._backend = backend
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._up, self._lock = [], threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def seen(self):
        """Everything that came so far, over all connections."""
        with self._lock:
            return b"".join(bytes(one) for one in self._up)

    def _accept(self):
        while True:
            try:
                client = self._server.accept()[0]
            except OSError:
                return
            backend = socket.create_connection(("127.0.0.1", self._backend.port), PATIENCE)
            backend.settimeout(None)
            kept = bytearray()
            with self._lock:
                self._up.append(kept)
            threading.Thread(target=self._pass, args=(client, backend, kept), daemon=True).start()
            threading.Thread(target=self._pass, args=(backend, client, bytearray()), daemon=True).start()

    def _pass(self, source, sink, kept):
        try:
            while data := source.recv(65536):
                with self._lock:
                    kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # An accept that waits is woken by this, not by a close alone.
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
