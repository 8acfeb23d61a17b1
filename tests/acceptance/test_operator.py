"""What an operator asks before and while a gateway runs: `wsgate check --explain`, and `/status` by curl."""

import contextlib
import json
import os
import subprocess

import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import open_chat
from parts.gateway import BINARY, Gateway
from parts.redis import Redis
from parts.tokens import SECRET
from parts.upstreams import NodeEcho

CONFIG = """
[server]
connections = {{ total = 40 }}

[[listen]]
address = "127.0.0.1:0"

[redis]
url = "{redis}"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[zone.people]
key = "subject"
rate = "10r/s"
store = "redis"

[zone.tenants]
key = "claim:tenant"

[[route]]
name = "chat"
path = "/ws/{{room}}"
upstream = "{backend}/"
jwt = "main"
origins = ["https://app.example.com"]
require = {{ room = "{{room}}" }}
handshakes = [{{ rate = "20r/s", burst = 30, nodelay = true }}, {{ zone = "people", burst = 20, nodelay = true }}]
connections = {{ total = 20, per_subject = 2, warn_at = 0.9, per_zone = [{{ zone = "tenants", max = 10 }}] }}
"""
APP = "https://app.example.com"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Redis(tmp_path_factory.mktemp("redis")) as redis, NodeEcho(deflate=False) as backend:
        text = CONFIG.format(redis=redis.url, backend=backend.url)
        with Gateway(tmp_path_factory.mktemp("operator"), text, env={"JWT_SECRET": SECRET}) as gateway:
            wait_until("Redis is asked", lambda: gateway.count("wsgate_redis_breaker") == 0)
            yield gateway


def explain(gateway, token, path, origin):
    """What the command prints, and its exit code."""
    command = [BINARY, "check", "--config", gateway.file, "--explain", "--path", path, "--origin", origin]
    env = {**os.environ, "JWT_SECRET": SECRET} | ({"WSGATE_TOKEN": token} if token else {})
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert SECRET not in ran.stdout + ran.stderr and not (token and token in ran.stdout + ran.stderr)
    return ran.stdout, ran.returncode


def verdict(gateway, token, path, origin):
    """What the gateway itself says of the same handshake: the word and the status, or that it is in."""
    try:
        with open_chat(gateway.url(path), token, origin=origin):
            return "admitted"
    except websockets.exceptions.InvalidStatus as refused:
        label = refused.response.body.decode().partition(":")[0]
        return f"refused: {label}, status {refused.response.status_code}"


def test_what_check_explains_is_what_the_gateway_then_does(gateway, token):
    ann = token(subject="ann", room="lobby", tenant="acme")
    for who, path, origin in [
        (ann, "/ws/lobby", APP),
        (ann, "/ws/kitchen", APP),
        (ann, "/nowhere", APP),
        (ann, "/ws/lobby", "https://evil.example.com"),
        (f"{ann}x", "/ws/lobby", APP),
        (token(subject="ann", room="lobby", exp=1_000_000_000), "/ws/lobby", APP),
        (None, "/ws/lobby", APP),
    ]:
        told, code = explain(gateway, who, path, origin)
        last = told.splitlines()[-1]
        said = verdict(gateway, who, path, origin)
        assert last.partition(" (")[0] == said, told
        assert code == (0 if said == "admitted" else 1)
    told, _ = explain(gateway, ann, "/ws/lobby", APP)
    for line in (
        "ok  `chat` at /ws/{room}, {room} is `lobby`",
        "ok  zone `people`, counted in Redis, which is not asked here, by subject (ann)",
        "ok  connections.per_subject: 2",
        "subject `ann`",
    ):
        assert line in told, told


def test_status_shows_who_is_near_a_cap(gateway, token):
    def status():
        command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--fail", f"{gateway.admin}/status"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
        page = json.loads(ran.stdout)
        return page, {cap["scope"]: cap for cap in page["caps"]}

    wait_until("nothing is held", gateway.is_idle)
    said = {"room": "lobby", "tenant": "acme"}
    with contextlib.ExitStack() as held:
        for subject in ("ann", "ann", "bob"):
            held.enter_context(open_chat(gateway.url("/ws/lobby"), token(subject=subject, **said), origin=APP))
        page, caps = status()
        assert (page["phase"], page["sessions"], page["handshakes_in_flight"]) == ("running", 3, 0)
        assert page["version"] in subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout
        assert (page["redis"], page["buffered"]["bytes"]) == ({"breaker": "closed"}, 0)
        assert [(caps[scope]["used"], caps[scope]["limit"]) for scope in ("total", "route")] == [(3, 40), (3, 20)]
        people = {"route": "chat", "used": 3, "limit": 2, "warned": True, "keys": 2, "keys_near_limit": 1}
        assert people.items() <= caps["subject"].items(), caps
        tenants = {"zone": "tenants", "used": 3, "limit": 10, "warned": False, "keys": 1, "keys_near_limit": 0}
        assert tenants.items() <= caps["zone"].items(), caps
        assert not caps["total"]["warned"]
        # The operator was told of it once, with the name.
        line = gateway.err.first(lambda text: "keys are near their cap" in text and json.loads(text))
        assert (line["cap"], line["subject"], line["max"]) == ("subject", "ann", 2)
    wait_until("all is given back", lambda: all(cap["used"] == 0 for cap in status()[1].values()))
