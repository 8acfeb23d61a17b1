"""Floods within a session, by Node's `ws`, and clients and backends that take nothing: what they cost others."""

import contextlib
import json
import select
import socket
import subprocess
import threading
import time

import pytest

from parts.child import PATIENCE, wait_until
from parts.client import open_chat
from parts.gateway import Gateway
from parts.upstreams import NODE, NodeEcho
from parts.wire import connect, frame

# How often each flooder comes back after it was closed.
SOCKETS = 20
# The terms of a route, the limit, and what a session ends with: code, word, and the side whose fault it is.
FLOODS = {
    "pings": ('control = { rate = "1r/s", burst = 20 }', "control", 4029, "control_rate", "gateway"),
    "fragments": ("fragments = { max = 100 }", "fragments", 1008, "too_many_fragments", "client"),
    "messages": ('messages = { rate = "1r/s", burst = 20 }', "messages", 4029, "message_rate", "gateway"),
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat):
    parts = ['[[listen]]\naddress = "127.0.0.1:0"\n']
    for name, terms in {"calm": "", **{name: terms for name, (terms, *_) in FLOODS.items()}}.items():
        parts.append(f'[[route]]\nname = "{name}"\npath = "/{name}"\nupstream = "{chat.url}/"\n{terms}\n')
    with Gateway(tmp_path_factory.mktemp("floods"), "\n".join(parts)) as gateway:
        yield gateway


class Flooder(threading.Thread):
    """Node's client in a process of its own; `ends` are what its sockets ended with."""

    def __init__(self, url, kind):
        super().__init__()
        self._command = ["node", "flood.js", url, kind, str(SOCKETS)]
        self.ends = None

    def run(self):
        ran = subprocess.run(self._command, cwd=NODE, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.ends = json.loads(ran.stdout) if ran.returncode == 0 else ran.stderr


def test_floods_are_closed_as_configured_while_others_are_served(gateway):
    with open_chat(gateway.url("/calm/rooms/calm")) as other:
        other.recv(timeout=PATIENCE)
        flooders = {kind: Flooder(gateway.url(f"/{kind}/rooms/{kind}"), kind) for kind in FLOODS}
        for flooder in flooders.values():
            flooder.start()
        longest, echoes = 0.0, 0
        while any(flooder.is_alive() for flooder in flooders.values()):
            began = time.monotonic()
            other.send(f"message {echoes}")
            assert json.loads(other.recv(timeout=PATIENCE))["text"] == f"message {echoes}"
            longest, echoes = max(longest, time.monotonic() - began), echoes + 1
    assert longest < 2, longest
    for kind, (_, limit, code, reason, side) in FLOODS.items():
        assert flooders[kind].ends == [f"{code} {reason}"] * SOCKETS
        exceeded = {"route": kind, "limit": limit, "direction": "to_upstream", "action": "close", "dry_run": "false"}
        assert gateway.count("wsgate_limit_exceeded_total", **exceeded) == SOCKETS
        assert gateway.count("wsgate_sessions_ended_total", route=kind, side=side, reason=reason) == SOCKETS
    assert gateway.count("process_resident_memory_bytes") < 100 << 20


# Sessions of each kind, and what is sent in each: more than the kernel takes from the gateway for a reader that does not
# read (`net.ipv4.tcp_wmem`). What it takes from the sender may be more, and then it is there that the rest is.
DEAF = 50
MUCH = 6 << 20


def told(stack, gateway, command):
    """A client with small buffers that takes nothing after this, and whose backend was told what to do."""
    wire = stack.enter_context(connect(gateway.ports[0]))
    for size in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        wire.socket.setsockopt(socket.SOL_SOCKET, size, 16384)
    wire.upgrade(path="/main")
    wire.send(frame(0x81, command))
    return wire.socket


def stuff(sockets):
    """Sends so much on each, or until none has taken anything for a while; how much all took."""
    message, poll = frame(0x82, b"x" * 500_000) * 2, select.poll()
    left = {one.fileno(): (one, MUCH) for one in sockets}
    for one in sockets:
        one.setblocking(False)
        poll.register(one, select.POLLOUT)
    while left and (ready := poll.poll(300)):
        for number, _ in ready:
            one, more = left[number]
            more -= one.send(message[(MUCH - more) % len(message) :][:more])
            left[number] = one, more
            if not more:
                poll.unregister(one)
                del left[number]
    return len(sockets) * MUCH - sum(more for _, more in left.values())


def test_clients_and_backends_that_take_nothing_fill_no_memory(tmp_path):
    with NodeEcho(deflate=False) as backend, contextlib.ExitStack() as stack:
        route = f'[[route]]\nname = "main"\npath = "/main"\nupstream = "{backend.url}/"\n'
        gateway = stack.enter_context(Gateway(tmp_path, f'[[listen]]\naddress = "127.0.0.1:0"\n{route}'))
        other = stack.enter_context(open_chat(gateway.url("/main")))
        before = gateway.count("process_resident_memory_bytes")
        for _ in range(DEAF):
            told(stack, gateway, b"pour")
        took = stuff([told(stack, gateway, b"deaf") for _ in range(DEAF)])

        def passed():
            directions = ("to_client", "to_upstream")
            return [gateway.count("wsgate_bytes_total", route="main", direction=one) for one in directions]

        wait_until("all are held up", lambda: len({tuple(passed()) for _ in range(20)}) == 1)
        poured, stuffed = passed()
        assert poured < DEAF * MUCH and stuffed < took, (poured, stuffed, took)
        assert 0 < gateway.count("wsgate_buffered_bytes") <= 2 * DEAF * (65536 + 14)
        assert gateway.count("wsgate_sessions_active", route="main") == 2 * DEAF + 1
        # 64 KiB for each at most, and 8 MiB for all else that sessions are made of.
        grown = gateway.count("process_resident_memory_bytes") - before
        assert grown < 2 * DEAF * (64 << 10) + (8 << 20), grown
        other.send("still here")
        assert other.recv(timeout=PATIENCE) == "still here"
        # They would be held until their backend had read nothing for a minute.
        backend.stop()
