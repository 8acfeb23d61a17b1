"""Real proxies on either side of the gateway: who its client is, and whom it names to its backend."""

import socket
import subprocess

import pytest
import websockets.exceptions

from parts.child import PATIENCE, program, wait_until
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.haproxy import Haproxy
from parts.nginx import Nginx

CONFIG = """
[server]
trusted_proxies = ["127.0.0.1"]

[[listen]]
address = "127.0.0.1:0"
proxy_protocol = "{listens}"

[access_log]
output = ["stdout", "file:access.log"]

[[route]]
name = "chat"
path = "/chat"
upstream = "{upstream}/"
{keys}
"""


@pytest.fixture
def gateway(tmp_path):
    """Makes one; it ends with the test."""
    made = []

    def make(upstream, listens="off", keys=""):
        gateway = Gateway(tmp_path, CONFIG.format(upstream=upstream, listens=listens, keys=keys))
        made.append(gateway.__enter__())
        return gateway

    yield make
    for one in made:
        one.__exit__(None)


@pytest.mark.parametrize("sends", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options unique-id,crc32c"])
def test_behind_haproxy_the_client_is_its_client(tmp_path, chat, gateway, sends):
    gateway = gateway(chat.url, listens="required")
    (tmp_path / "front").mkdir()
    with Haproxy(tmp_path / "front", f"127.0.0.1:{gateway.ports[0]} {sends}", bind="accept-proxy") as haproxy:
        with socket.create_connection(("127.0.0.1", haproxy.port), PATIENCE) as tcp:
            # The balancer is told by another one in front, which is played here: a client from far away.
            tcp.sendall(b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n")
            with open_chat(f"ws://127.0.0.1:{haproxy.port}/chat/rooms/proxied", sock=tcp) as connection:
                connection.recv(timeout=PATIENCE)
                connection.send("through all of them")
                assert "through all of them" in connection.recv(timeout=PATIENCE)
        assert gateway.line(event="session_ended")["client"] == "2001:db8::7"


def test_haproxys_own_health_checks_leave_no_line(tmp_path, chat, gateway):
    gateway = gateway(chat.url, listens="required")
    (tmp_path / "front").mkdir()
    accepted = f"127.0.0.1:{gateway.ports[0]}"
    before = gateway.count("wsgate_accepted_total", listener=accepted)
    with Haproxy(tmp_path / "front", f"{accepted} send-proxy-v2 check inter 100ms"):
        wait_until("two checks", lambda: gateway.count("wsgate_accepted_total", listener=accepted) >= before + 2)
    assert len(gateway.out) == 0


def test_without_the_header_nobody_gets_in(chat, gateway):
    gateway = gateway(chat.url, listens="required")
    with pytest.raises((websockets.exceptions.InvalidMessage, OSError, EOFError)):
        open_chat(gateway.url("/chat/rooms/direct"))
    assert gateway.line(reason="bad_proxy_header")["why"] == "the connection does not begin with a PROXY header"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_as_the_backend_learns_who_the_client_is(tmp_path, chat, gateway, version):
    (tmp_path / "behind").mkdir()
    with Haproxy(tmp_path / "behind", chat.url.removeprefix("http://"), bind="accept-proxy") as haproxy:
        gateway = gateway(f"http://127.0.0.1:{haproxy.port}", keys=f'proxy_protocol = "{version}"')
        far = {"X-Forwarded-For": "203.0.113.7"}
        with open_chat(gateway.url("/chat/rooms/behind"), headers=far) as connection:
            connection.recv(timeout=PATIENCE)
        haproxy.out.first(lambda line: line == "203.0.113.7:0")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nginx_as_the_backend_learns_who_the_client_is(tmp_path, chat, gateway, version):
    (tmp_path / "behind").mkdir()
    whose = ["log_format whose '$proxy_protocol_addr';"]
    location = {"/": "access_log /dev/stdout whose;"}
    with Nginx(tmp_path / "behind", chat.url, whose, location, listen="proxy_protocol") as nginx:
        gateway = gateway(f"http://127.0.0.1:{nginx.port}", keys=f'proxy_protocol = "{version}"')
        with open_chat(gateway.url("/chat/rooms/behind"), headers={"X-Forwarded-For": "203.0.113.7"}) as connection:
            connection.recv(timeout=PATIENCE)
        nginx.out.first(lambda line: line == "203.0.113.7")


def test_logrotate_moves_the_log_and_the_gateway_goes_on_in_a_new_one(tmp_path, chat, gateway):
    gateway = gateway(chat.url)
    log = tmp_path / "access.log"
    rules = tmp_path / "logrotate.conf"
    rules.write_text(f"{log} {{\n rotate 2\n postrotate\n kill -USR1 {gateway.process.pid}\n endscript\n}}\n")
    rules.chmod(0o600)

    def refuse(path):
        assert refusal(gateway.url(path)).status_code == 404
        wait_until("the line", lambda: path in log.read_text())

    refuse("/before")
    ran = subprocess.run(
        [program("logrotate"), "--force", "--state", tmp_path / "state", rules],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    wait_until("a new file", log.exists)
    refuse("/after")
    assert "/after" not in (tmp_path / "access.log.1").read_text()
    assert "/before" not in log.read_text()
    assert [line.split('"path":"')[1].split('"')[0] for line in gateway.out.since(0)] == ["/before", "/after"]
