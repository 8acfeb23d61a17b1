"""Frames that RFC 6455 forbids, and what is over a limit: a Close with the right code, one count, and a told upstream."""

import json
import struct

import pytest

from parts.child import PATIENCE
from parts.client import close_of, open_chat
from parts.gateway import Gateway
from parts.upstreams import NodeEcho
from parts.wire import connect, frame

LIMIT = 10_000


@pytest.fixture(scope="module")
def backend():
    with NodeEcho(deflate=True) as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, backend):
    config = '[[listen]]\naddress = "127.0.0.1:0"\n'
    for name, messages in {"raw": "", "close": "close", "drop": "drop", "delay": "delay"}.items():
        rate = "10r/s" if messages == "delay" else "1r/m"
        limit = f'messages = {{ rate = "{rate}", burst = 2, on_excess = "{messages}" }}\n' if messages else ""
        config += f"""
[[route]]
name = "{name}"
path = "/{name}"
upstream = "{backend.url}"
max_message_size = {LIMIT}
close_timeout = "200ms"
{limit}"""
    with Gateway(tmp_path_factory.mktemp("frames"), config) as gateway:
        yield gateway


def close(payload):
    return frame(0x88, payload)


BAD = {
    "not masked": frame(0x81, b"hello", mask=False),
    "a ping that is not masked": frame(0x89, b"hello", mask=False),
    "RSV1 without permessage-deflate": frame(0xC1, b"hello"),
    "RSV2": frame(0xA1, b"hello"),
    "RSV3": frame(0x91, b"hello"),
    "a reserved data opcode": frame(0x83, b"hello"),
    "a reserved control opcode": frame(0x8B, b"hello"),
    "a ping in fragments": frame(0x09, b"hello"),
    "a ping of 126 bytes": frame(0x89, b"x" * 126),
    "a continuation of nothing": frame(0x80, b"hello"),
    "a continuation of a whole message": frame(0x81, b"one") + frame(0x80, b"more"),
    "a new message in an unfinished one": frame(0x01, b"one") + frame(0x81, b"two"),
    "a text inside a binary message": frame(0x02, b"one") + frame(0x01, b"two"),
    "a short length in 16 bits": frame(0x81, b"x" * 125, length=struct.pack("!BH", 126, 125)),
    "a short length in 64 bits": frame(0x81, b"x" * 126, length=struct.pack("!BQ", 127, 126)),
    "a length of 2^63": frame(0x82, b"x", length=struct.pack("!BQ", 127, 1 << 63)),
    "a Close of one byte": close(b"\x03"),
    "a Close with 1005": close(struct.pack("!H", 1005)),
    "a Close with 999": close(struct.pack("!H", 999)),
    "a Close with 5000": close(struct.pack("!H", 5000)),
    "a Close whose reason is no UTF-8": close(struct.pack("!H", 1000) + b"\xff\xfe"),
}


@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_frame_ends_the_session_with_1002_and_is_counted_once(gateway, backend, case, split):
    since = len(backend.out)
    with gateway.ends_one("bad_frame", "client", "raw") as line:
        with connect(gateway.ports[0]) as wire:
            wire.upgrade()
            for at in range(len(BAD[case])) if split else [slice(None)]:
                wire.send(bytes([BAD[case][at]]) if split else BAD[case])
            assert wire.close_code() == (1002, "bad_frame")
    assert line["close_code"] == 1002
    # The backend is told by a Close of its own, never by the bad frame.
    assert backend.out.first(json.loads, since)["code"] == 1002


OVERSIZED = {
    # Only the header: it is refused before any of its payload is here.
    "one frame": frame(0x82, length=struct.pack("!BQ", 127, 1 << 40)),
    "one byte over": frame(0x82, length=struct.pack("!BH", 126, LIMIT + 1)),
    "over its fragments": frame(0x02, b"x" * (LIMIT - 1)) + frame(0x00, b"y") + frame(0x80, b"z"),
}


@pytest.mark.parametrize("case", OVERSIZED)
def test_a_message_over_the_limit_ends_the_session_with_1009(gateway, backend, case):
    since = len(backend.out)
    with gateway.ends_one("message_too_big", "client", "raw") as line:
        with connect(gateway.ports[0]) as wire:
            wire.upgrade()
            wire.send(OVERSIZED[case])
            assert wire.close_code() == (1009, "message_too_big")
    assert line["messages_to_client"] == 0
    assert backend.out.first(json.loads, since)["code"] == 1009


def test_a_message_of_exactly_the_limit_passes_and_so_do_many_after_it(gateway):
    with gateway.ends_one("closed", "client", "raw") as line:
        with open_chat(gateway.url("/raw"), compression=None) as connection:
            for _ in range(3):
                connection.send(b"x" * LIMIT)
                assert connection.recv(timeout=PATIENCE) == b"x" * LIMIT
    assert line["messages_to_upstream"] == 3


def test_what_came_before_a_bad_frame_still_arrives(gateway):
    with gateway.ends_one("bad_frame", "client", "raw"):
        with connect(gateway.ports[0]) as wire:
            wire.upgrade()
            wire.send(frame(0x82, b"first"))
            assert wire.frame() == (0x82, b"first")
            wire.send(frame(0x82, b"x", mask=False))
            assert wire.close_code() == (1002, "bad_frame")


def test_over_its_rate_a_client_is_closed_with_4029(gateway):
    with gateway.ends_one("message_rate", "gateway", "close") as line:
        with open_chat(gateway.url("/close")) as connection:
            # One at once, two of burst, and one too many, which is the last: behind a Close nothing can be sent.
            for at in range(4):
                connection.send(f"message {at}")
            assert close_of(connection) == (4029, "message_rate")
    assert (line["messages_to_upstream"], line["close_code"]) == (3, 4029)


def test_over_its_rate_messages_are_dropped_whole_and_the_session_goes_on(gateway):
    dropped = gateway.count("wsgate_messages_dropped_total", route="drop")
    with gateway.ends_one("closed", "client", "drop") as line:
        with open_chat(gateway.url("/drop"), ping_interval=None) as connection:
            for at in range(10):
                connection.send([f"message {at}", ", in two parts"])
            heard = [connection.recv(timeout=PATIENCE) for _ in range(3)]
            # A pong comes behind all that was echoed: nothing else is on its way.
            assert connection.ping().wait(PATIENCE)
    assert heard == [f"message {at}, in two parts" for at in range(3)]
    assert (line["messages_to_upstream"], line["messages_to_client"]) == (3, 3)
    assert gateway.count("wsgate_messages_dropped_total", route="drop") - dropped == 7


def test_over_its_rate_a_client_is_slowed_and_nothing_is_lost(gateway):
    delayed = gateway.count("wsgate_messages_delayed_total", route="delay")
    with gateway.ends_one("closed", "client", "delay") as line:
        with open_chat(gateway.url("/delay"), ping_interval=None) as connection:
            for at in range(11):
                connection.send(f"message {at}")
            heard = [connection.recv(timeout=PATIENCE) for _ in range(11)]
    assert heard == [f"message {at}" for at in range(11)]
    # At 10 a second, the eleventh may not be there before the second is over.
    assert line["duration_ms"] >= 950
    assert gateway.count("wsgate_messages_delayed_total", route="delay") - delayed == 10
