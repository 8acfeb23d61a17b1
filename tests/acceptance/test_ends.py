"""How things end: a drain, a backend that dies, a client that dies, and slow clients that hold up nobody."""

import contextlib
import json
import signal
import socket
import ssl
import struct
import time

import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import close_of, open_chat, refusal, talk_over_tls
from parts.gateway import Gateway
from parts.upstreams import Chat, NodeEcho
from parts.wire import connect, frame


def config(upstream, drain="1s"):
    return f"""
[server]
drain_timeout = "{drain}"

[[listen]]
address = "127.0.0.1:0"

[[route]]
name = "main"
path = "/main"
upstream = "{upstream}/"
close_timeout = "1s"
"""


@contextlib.contextmanager
def people_in(gateway, room, count):
    """So many people in one room of the chat, each of whom has heard that the last one came."""
    with contextlib.ExitStack() as stack:
        people = [stack.enter_context(open_chat(gateway.url(f"/main/rooms/{room}"))) for _ in range(count)]
        for at, person in enumerate(people):
            for _ in range(count - at):
                assert "joined" in person.recv(timeout=PATIENCE)
        yield people


def test_sigterm_drains_with_1012_and_ends_with_0(tmp_path, chat):
    with Gateway(tmp_path, config(chat.url)) as gateway, people_in(gateway, "drain", 5) as people:
        gateway.signal(signal.SIGTERM)
        wait_until("the load balancer is told", lambda: gateway.page("/readyz") == (503, "draining"))
        assert gateway.page("/healthz")[0] == 200
        assert {close_of(person) for person in people} == {(1012, "draining")}
        assert gateway.wait() == 0
        ended = [json.loads(line) for line in gateway.out.since(0)]
        assert [(line["side"], line["reason"]) for line in ended] == [("gateway", "draining")] * 5


def test_while_it_drains_nobody_new_gets_in(tmp_path, chat):
    with Gateway(tmp_path, config(chat.url, drain="3s")) as gateway, people_in(gateway, "late", 2) as people:
        gateway.signal(signal.SIGTERM)
        wait_until("it drains", lambda: gateway.page("/readyz")[0] == 503)

        def is_shut():
            try:
                socket.create_connection(("127.0.0.1", gateway.ports[0]), 1).close()
                return False
            except OSError:
                return True

        wait_until("the listener is closed", is_shut)
        assert {close_of(person) for person in people} == {(1012, "draining")}
        assert gateway.wait() == 0


def test_a_client_that_never_answers_its_close_does_not_hold_up_the_drain(tmp_path, chat):
    with Gateway(tmp_path, config(chat.url)) as gateway:
        with connect(gateway.ports[0]) as wire:
            wire.upgrade(path="/main/rooms/deaf")
            gateway.signal(signal.SIGTERM)
            began = time.monotonic()
            assert wire.close_code() == (1012, "draining")
            assert gateway.wait() == 0
            assert time.monotonic() - began < 10


def test_a_second_signal_ends_it_at_once(tmp_path, chat):
    text = config(chat.url, drain="1h")
    with Gateway(tmp_path, text) as gateway, people_in(gateway, "hurry", 3) as people:
        gateway.signal(signal.SIGINT)
        wait_until("it drains", lambda: gateway.page("/readyz")[0] == 503)
        gateway.signal(signal.SIGINT)
        assert gateway.wait() == 0
        assert len(gateway.out) == 3, "each session leaves its line"
        for person in people:
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                while True:
                    person.recv(timeout=PATIENCE)


def test_a_killed_backend_is_told_as_1014_and_the_next_client_gets_502(tmp_path):
    with Chat() as doomed, Gateway(tmp_path, config(doomed.url)) as gateway:
        with open_chat(gateway.url("/main/rooms/x")) as person:
            person.recv(timeout=PATIENCE)
            with gateway.ends_one("upstream_lost", "upstream", "main"):
                doomed.kill()
                assert close_of(person) == (1014, "upstream_lost")
        with gateway.refuses_one("upstream_connect", "main"):
            assert refusal(gateway.url("/main/rooms/x")).status_code == 502


def die_in(room, port, witness):
    """A client joins, and its connection is reset, as by a machine that went away."""
    with connect(port) as wire:
        wire.upgrade(path=room)
        assert "joined" in witness.recv(timeout=PATIENCE)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return json.loads(witness.recv(timeout=PATIENCE))


def test_a_client_that_dies_is_counted_and_the_application_notices_as_if_there_were_no_gateway(tmp_path, chat):
    with Gateway(tmp_path, config(chat.url)) as gateway, people_in(gateway, "death", 1) as [witness]:
        with gateway.ends_one("client_lost", "client", "main"):
            through = die_in("/main/rooms/death", gateway.ports[0], witness)
        assert through == die_in("/rooms/death", chat.port, witness)


def test_clients_that_say_nothing_or_half_a_tls_hello_delay_nobody(tmp_path, chat, authority):
    certificate = authority.issue("slow.example.com")
    text = config(chat.url) + f'[[listen]]\naddress = "127.0.0.1:0"\nhandshake_timeout = "30s"\n[listen.tls]\n{certificate}'
    with Gateway(tmp_path, text) as gateway:
        slow = [socket.create_connection(("127.0.0.1", gateway.ports[1]), PATIENCE) for _ in range(100)]
        for at, sock in enumerate(slow):
            # Nothing, the first bytes of a ClientHello, or a record that promises more than comes.
            sock.sendall([b"", bytes.fromhex("160301"), bytes.fromhex("16030102000100")][at % 3])
        wait_until("all are waiting", lambda: gateway.count("wsgate_handshakes_in_flight") == 100)
        context = ssl.create_default_context(cafile=authority.file)
        url = f"wss://slow.example.com:{gateway.ports[1]}/main/rooms/slow"
        longest = 0.0
        for _ in range(10):
            began = time.monotonic()
            talk_over_tls(url, context, gateway.ports[1], ["hello"])
            longest = max(longest, time.monotonic() - began)
        assert gateway.count("wsgate_handshakes_in_flight") == 100, "the slow ones are still there"
        assert longest < 2, longest
        for sock in slow:
            sock.close()


def test_a_client_that_does_not_read_delays_nobody_and_fills_no_memory(tmp_path):
    # Node keeps in memory what it can't send, so the client can go on sending what it will never read.
    with NodeEcho(deflate=False) as echo, Gateway(tmp_path, config(echo.url)) as gateway, connect(gateway.ports[0]) as deaf:
        deaf.upgrade(path="/main")
        message = frame(0x82, b"x" * 500_000)
        for _ in range(300):
            deaf.send(message)
        with open_chat(gateway.url("/main")) as other:
            for at in range(20):
                began = time.monotonic()
                other.send(f"message {at}")
                assert other.recv(timeout=PATIENCE) == f"message {at}"
                assert time.monotonic() - began < 2
        passed = gateway.count("wsgate_bytes_total", route="main", direction="to_upstream")
        assert passed > 149_000_000, "it took what the client sent"
        assert gateway.count("wsgate_bytes_total", route="main", direction="to_client") < 50_000_000
        assert gateway.count("process_resident_memory_bytes") < 100 << 20
