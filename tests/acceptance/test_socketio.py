"""A real Socket.IO server and client with the gateway between: polling, polling that becomes a socket, and a socket alone."""

import json

import pytest

from parts.child import PATIENCE, Child
from parts.gateway import Gateway
from parts.tokens import SECRET
from parts.upstreams import NODE

CONFIG = """
[[listen]]
address = "127.0.0.1:0"
[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
[[route]]
name = "io"
path = "/socket.io"
upstream = "URL"
http = "forward"
jwt = "main"
token_from = ["header", "cookie:session", "query:token"]
origins = ["https://app.example.com"]
allow_missing_origin = true
requests = { rate = "200r/s", burst = 400, nodelay = true }
connections = { per_subject = 1 }
[[route]]
name = "sockets"
path = "/sockets"
upstream = "URL/socket.io"
"""


@pytest.fixture(scope="module")
def server():
    with Child("node", "socketio.js", cwd=NODE) as server:
        server.url = f"http://127.0.0.1:{server.out.first(json.loads)['port']}"
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, server):
    config = CONFIG.replace("URL", server.url)
    with Gateway(tmp_path_factory.mktemp("io"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


def client(gateway, transports, place, token="", path="/socket.io/"):
    """What socketio-client.js told."""
    url = gateway.url("", scheme="http")
    with Child("node", "socketio-client.js", url, path, transports, place, token, cwd=NODE) as client:
        assert client.wait(2 * PATIENCE) == 0, client.err.tail()
        return client.out.first(json.loads)


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
@pytest.mark.parametrize("transports", ["polling,websocket", "polling", "websocket"])
def test_every_message_comes_back_whatever_the_transport_and_wherever_the_token(
    gateway, server, token, transports, place
):
    since, ended = len(gateway.out), len(server.out)
    told = client(gateway, transports, place, token(subject="alice"))
    assert told["good"] and told["echoes"] > 20, told
    assert (told["subject"], told["authorization"]) == ("alice", None)
    first, last = transports.split(",")[0], transports.split(",")[-1]
    assert told["transports"][-1] == last and told["transports"][0] in (first, last)
    assert server.out.first(json.loads, ended)["transport"] == last
    if "polling" in transports:
        # A GET that opens it, and POSTs that carry what the client says.
        assert gateway.line(since, event="request", route="io", method="GET", subject="alice")["status"] == 200
        assert gateway.line(since, event="request", route="io", method="POST")["bytes_to_upstream"] > 0
    if "websocket" in transports:
        assert gateway.line(since, event="session_ended", route="io")["subject"] == "alice"
    assert not any('"request_refused"' in line for line in gateway.out.since(since))


def test_without_a_token_no_transport_gets_in(gateway):
    for transports in ("polling", "websocket"):
        told = client(gateway, transports, "none")
        assert "error" in told, told
    assert gateway.line(event="request_refused", route="io", reason="token_missing")["status"] == 403


def test_where_http_is_refused_the_socket_alone_works(gateway):
    assert client(gateway, "websocket", "none", path="/sockets/")["good"]
    told = client(gateway, "polling", "none", path="/sockets/")
    assert told["status"] == 426, told
