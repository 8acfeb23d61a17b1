"""An identity provider's web server: it publishes keys, and answers worse than that when told to."""

import collections
import http.server
import json
import socket
import ssl
import threading

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from .tokens import claims


def answer(body, status=200, **headers):
    """A page: what one GET gets. A header's `_` stands for `-`."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def page(handler):
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return page


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A page that hangs is not waited for.
    block_on_close = False

    def handle_error(self, *_):
        # A client that gives up is what some of the tests are about.
        pass


class Issuer:
    """Listens on one port of the system's choice, which stays its own while it is stopped.

    `pages` says what each path gets, also by POST; `asked` counts."""

    def __init__(self, certificate=None):
        # Bound and never listening: the port is nobody else's, and refuses while the server is stopped.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.port = self._port.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.pages, self.asked = {}, collections.Counter()
        self._certificate, self._server, self._over = certificate, None, threading.Event()
        self.start()

    def start(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked[self.path] += 1
                issuer.pages.get(self.path, answer({"error": "not found"}, status=404))(self)

            def do_POST(self):
                # Read first: a socket that is closed with bytes in it is reset, and the answer may be lost.
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def log_message(self, *_):
                pass

        self._server = _Server(("127.0.0.1", self.port), Handler)
        if self._certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            # The handshake is for the connection's own thread, so that no client holds up the others.
            server = {"server_side": True, "do_handshake_on_connect": False}
            self._server.socket = context.wrap_socket(self._server.socket, **server)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def hangs(self, handler):
        """A page that never comes."""
        self._over.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._over.set()
        if self._server:
            self.stop()
        self._port.close()


class Signer:
    """A key pair with a name: what is published of it, and the tokens that it signs."""

    def __init__(self, kid):
        self.kid = kid
        self._private = ec.generate_private_key(ec.SECP256R1())
        written = jwt.get_algorithm_by_name("ES256").to_jwk(self._private.public_key(), as_dict=True)
        self.jwk = {**written, "kid": kid, "use": "sig", "alg": "ES256"}

    def token(self, **said):
        return jwt.encode(claims(**said), self._private, algorithm="ES256", headers={"kid": self.kid})


def key_set(*signers):
    """The page with their keys."""
    return answer({"keys": [signer.jwk for signer in signers]})
