"""Malformed handshakes: each gets a clear answer, is counted once, and never reaches the upstream."""

import socket
import time

import pytest

from parts.gateway import Gateway
from parts.wire import connect, head

CONFIG = """
[server]
max_header_size = "8k"

[[listen]]
address = "127.0.0.1:0"
handshake_timeout = "1s"

[[route]]
name = "raw"
path = "/raw"
upstream = "http://127.0.0.1:{port}"
connect_timeout = "1s"
response_timeout = "1s"

[[route]]
name = "pages"
path = "/pages"
upstream = "http://127.0.0.1:{port}"
origins = ["https://app.example.com"]

[[route]]
name = "slowly"
path = "/slowly"
upstream = "http://127.0.0.1:{port}"
response_timeout = "1s"
handshakes = {{ rate = "1r/m" }}

[[route]]
name = "nobody"
path = "/nobody"
upstream = "http://127.0.0.1:{nobody}"
"""


@pytest.fixture(scope="module")
def silent():
    """An upstream that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, silent):
    # Bound but not listening: whoever connects is refused, and nobody else takes the port meanwhile.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        config = CONFIG.format(port=silent.getsockname()[1], nobody=nobody.getsockname()[1])
        with Gateway(tmp_path_factory.mktemp("handshakes"), config) as gateway:
            yield gateway


def was_asked(server):
    try:
        server.accept()[0].close()
        return True
    except BlockingIOError:
        return False


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# What is sent, the status of the answer, and the reason.
MALFORMED = {
    "a plain GET": (head(drop=("Connection", "Upgrade")), 426, "not_websocket"),
    "POST": (head(method="POST"), 426, "not_websocket"),
    "Connection without upgrade": (head(Connection="keep-alive"), 426, "not_websocket"),
    "upgrade to h2c": (head(Upgrade="h2c"), 426, "not_websocket"),
    "upgrade to two things": (head(Upgrade="websocket, h2c"), 426, "not_websocket"),
    "version 8": (head(Sec_WebSocket_Version="8"), 426, "not_websocket"),
    "no version": (head(drop=("Sec_WebSocket_Version",)), 426, "not_websocket"),
    "no key": (head(drop=("Sec_WebSocket_Key",)), 400, "bad_handshake"),
    "a short key": (head(Sec_WebSocket_Key="c2hvcnQ="), 400, "bad_handshake"),
    "two keys": (head(Sec_WebSocket_Key=[KEY, KEY]), 400, "bad_handshake"),
    "two versions": (head(Sec_WebSocket_Version=["13", "8"]), 400, "bad_handshake"),
    "no Host": (head(drop=("Host",)), 400, "bad_handshake"),
    "two Hosts": (head(Host=["a.example.com", "b.example.com"]), 400, "bad_handshake"),
    "two Origins": (head(Origin=["https://a.example.com"] * 2), 400, "bad_handshake"),
    "two Authorizations": (head(Authorization=["Bearer a", "Bearer b"]), 400, "bad_handshake"),
    "a body": (head(Content_Length="5") + b"hello", 400, "bad_handshake"),
    "a chunked body": (head(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400, "bad_handshake"),
    "HTTP/1.0": (head(version="HTTP/1.0"), 400, "bad_handshake"),
    "a target elsewhere": (head(path="http://elsewhere.example.com/raw"), 400, "bad_handshake"),
    "a path that climbs": (head(path="/pages/../raw"), 400, "bad_handshake"),
    "the same, escaped": (head(path="/pages/%2e%2e/raw"), 400, "bad_handshake"),
    "an escaped slash": (head(path="/raw%2fx"), 400, "bad_handshake"),
    "no path that is known": (head(path="/rawest"), 404, "no_route"),
    "no HTTP at all": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400, "bad_handshake"),
    "TLS on a plain port": (bytes.fromhex("16030100a5010000a10303") + b"\0" * 160, 400, "bad_handshake"),
    "a header without a colon": (head()[:-2] + b"nonsense\r\n\r\n", 400, "bad_handshake"),
    "a blank before a colon": (head()[:-2] + b"Origin : https://a\r\n\r\n", 400, "bad_handshake"),
    "a folded header": (head()[:-2] + b"X-Long: a\r\n b\r\n\r\n", 400, "bad_handshake"),
    "a head over its limit": (head(X_Padding="x" * 9000), 431, "bad_handshake"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_handshake_is_answered_and_counted_once(gateway, silent, case):
    sent, status, reason = MALFORMED[case]
    with gateway.refuses_one(reason) as line:
        with connect(gateway.ports[0]) as wire:
            wire.send(sent)
            answered, headers = wire.answer()
    assert answered == status
    assert "close" in headers.get("connection", "close").lower()
    if status == 426:
        assert headers["sec-websocket-version"] == "13" and "upgrade" in headers["connection"].lower()
    assert line.get("why") or reason == "no_route", line
    assert not was_asked(silent)


def test_half_a_head_gets_408_when_its_time_is_over(gateway, silent):
    with gateway.refuses_one("handshake_timeout"):
        with connect(gateway.ports[0]) as wire:
            began = time.monotonic()
            wire.send(head()[:40])
            assert wire.answer()[0] == 408
            assert 0.9 < time.monotonic() - began < 5
    assert not was_asked(silent)


def test_a_missing_origin_is_another_reason_than_a_forbidden_one(gateway, silent):
    for origin, reason in [(None, "origin_missing"), ("null", "origin_forbidden"), ("https://app.example.com.evil", "origin_forbidden")]:
        headers = {} if origin is None else {"Origin": origin}
        with gateway.refuses_one(reason, "pages"):
            with connect(gateway.ports[0]) as wire:
                wire.send(head(path="/pages", **headers))
                assert wire.answer()[0] == 403
    assert not was_asked(silent)


def test_an_upstream_that_is_not_there_is_502(gateway):
    with gateway.refuses_one("upstream_connect", "nobody"):
        with connect(gateway.ports[0]) as wire:
            wire.send(head(path="/nobody"))
            assert wire.answer()[0] == 502


def test_an_upstream_that_says_nothing_is_504_and_has_seen_nothing_but_the_request(gateway, silent):
    with gateway.refuses_one("upstream_timeout", "raw"):
        with connect(gateway.ports[0]) as wire:
            # A frame that comes along with the request has to wait for the 101, which never comes.
            wire.send(head() + b"\x82\x84\0\0\0\0abcd")
            assert wire.answer()[0] == 504
    asked, _ = silent.accept()
    with asked:
        asked.settimeout(10)
        seen = b""
        while piece := asked.recv(65536):
            seen += piece
    assert seen.startswith(b"GET /raw HTTP/1.1\r\n") and seen.endswith(b"\r\n\r\n")


def test_too_many_handshakes_get_429_and_are_told_when_to_come_again(gateway):
    with gateway.refuses_one("upstream_timeout", "slowly"):
        with connect(gateway.ports[0]) as wire:
            wire.send(head(path="/slowly"))
            assert wire.answer()[0] == 504
    with gateway.refuses_one("handshake_rate", "slowly"):
        with connect(gateway.ports[0]) as wire:
            wire.send(head(path="/slowly"))
            status, headers = wire.answer()
    assert status == 429 and 0 < int(headers["retry-after"]) <= 63
