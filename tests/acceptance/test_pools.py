"""Several backends behind one name, one of which is killed, one stopped and continued, one drained, while clients come and go."""

import contextlib
import itertools
import json
import signal
import urllib.request

import pytest
from websockets.exceptions import ConnectionClosed

from parts.child import PATIENCE, wait_until
from parts.client import open_chat
from parts.gateway import Gateway
from parts.upstreams import Chat

ROOMS = itertools.count()


def config(backends):
    servers = ", ".join(f'"127.0.0.1:{backend.port}"' for backend in backends)
    return f"""
[[listen]]
address = "127.0.0.1:0"
[upstream.chat]
servers = [{servers}]
balance = "least_connections"
fail_timeout = "2s"
health = {{ type = "websocket", path = "/rooms/health", interval = "1s", timeout = "1s", rise = 1, fall = 2 }}
[[route]]
name = "chat"
path = "/rooms"
upstream = "chat"
response_timeout = "2s"
"""


class Member:
    """A client alone in its room: what it says comes back."""

    def __init__(self, gateway):
        self.connection = open_chat(gateway.url(f"/rooms/{next(ROOMS)}")).__enter__()
        assert json.loads(self.connection.recv(timeout=PATIENCE)) == {"joined": "somebody"}

    def talks(self, text="hello"):
        self.connection.send(text)
        return json.loads(self.connection.recv(timeout=PATIENCE))["text"] == text

    def end(self):
        """The code of the Close that comes."""
        with pytest.raises(ConnectionClosed) as closed:
            self.connection.recv(timeout=PATIENCE)
        return closed.value.rcvd.code


def servers(gateway):
    """Each server's state and sessions, by its port."""
    [upstream] = json.loads(gateway.page("/upstreams")[1])["upstreams"]
    return {int(one["server"].rpartition(":")[2]): (one["state"], one["sessions"]) for one in upstream["servers"]}


def come_and_go(gateway, count):
    """So many clients, one after the other, none of which sees anything of a backend that is not well."""
    for _ in range(count):
        member = Member(gateway)
        assert member.talks()
        member.connection.close()


def on(gateway, connections, port):
    """Which of the members are on this server, by their place among the oldest."""
    shown = json.loads(gateway.page("/connections")[1])["connections"]
    assert len(shown) == len(connections)
    return [member for member, one in zip(connections, shown) if one["upstream"].endswith(f":{port}")]


@pytest.fixture
def pool(tmp_path):
    with contextlib.ExitStack() as stack:
        backends = [stack.enter_context(Chat()) for _ in range(3)]
        gateway = stack.enter_context(Gateway(tmp_path, config(backends)))
        ports = [backend.port for backend in backends]
        wait_until("all are up", lambda: all(servers(gateway)[port][0] == "up" for port in ports))
        yield gateway, backends


def test_a_backend_that_is_killed_is_seen_by_its_own_sessions_alone_and_is_back_when_it_is(pool):
    gateway, backends = pool
    members = [Member(gateway) for _ in range(6)]
    assert [sessions for _, sessions in servers(gateway).values()] == [2, 2, 2]
    killed = backends[0]
    lost = on(gateway, members, killed.port)
    assert len(lost) == 2
    killed.kill()
    assert [member.end() for member in lost] == [1014, 1014]
    # At once, without a wait for any check: a connection that can't be made is made to another.
    come_and_go(gateway, 10)
    left = [member for member in members if member not in lost]
    assert all(member.talks() for member in left)
    wait_until("it is not up any more", lambda: servers(gateway)[killed.port][0] != "up")
    come_and_go(gateway, 5)
    with Chat(port=killed.port):
        wait_until("it is up again", lambda: servers(gateway)[killed.port][0] == "up")
        # It has none, and the others two each.
        back = Member(gateway)
        assert back.talks() and servers(gateway)[killed.port][1] >= 1
        assert all(member.talks() for member in left)
        for member in [back, *left]:
            member.connection.close()
        wait_until("all have left", gateway.is_idle)


def test_a_backend_that_is_stopped_gets_nothing_new_and_loses_nothing_when_it_goes_on(pool):
    gateway, backends = pool
    members = [Member(gateway) for _ in range(3)]
    stopped = backends[1]
    [hung] = on(gateway, members, stopped.port)
    stopped.signal(signal.SIGSTOP)
    try:
        hung.connection.send("said while it stood still")
        wait_until("it is not up any more", lambda: servers(gateway)[stopped.port][0] != "up")
        come_and_go(gateway, 10)
        assert all(member.talks() for member in members if member is not hung)
        assert servers(gateway)[stopped.port][1] >= 1
    finally:
        stopped.signal(signal.SIGCONT)
    assert json.loads(hung.connection.recv(timeout=PATIENCE))["text"] == "said while it stood still"
    assert hung.talks()
    wait_until("it is up again", lambda: servers(gateway)[stopped.port][0] == "up")
    for member in members:
        member.connection.close()


def test_a_backend_that_is_drained_closes_its_sessions_with_1012_and_is_empty_then(pool):
    gateway, backends = pool
    members = [Member(gateway) for _ in range(6)]
    drained = backends[2]
    leaving = on(gateway, members, drained.port)
    path = f"/upstreams/chat/127.0.0.1:{drained.port}"
    with urllib.request.urlopen(urllib.request.Request(f"{gateway.admin}{path}/drain?window=1s", method="POST")) as answer:
        assert json.load(answer)["sessions"] == len(leaving) == 2
    assert [member.end() for member in leaving] == [1012, 1012]
    wait_until("it is empty", lambda: servers(gateway)[drained.port] == ("drained", 0))
    come_and_go(gateway, 5)
    left = [member for member in members if member not in leaving]
    assert all(member.talks() for member in left)
    with urllib.request.urlopen(urllib.request.Request(f"{gateway.admin}{path}/undrain", method="POST")) as answer:
        assert json.load(answer)["changed"]
    back = Member(gateway)
    assert servers(gateway)[drained.port] == ("up", 1)
    for member in [back, *left]:
        member.connection.close()
