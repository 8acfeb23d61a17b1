"""`wsgate top` in a real terminal: what is seen, what keys do, and that the terminal is as it was."""

import os
import signal
import subprocess

import pytest
import websockets.exceptions

from parts.child import PATIENCE, Child, wait_until
from parts.client import open_chat, refusal
from parts.gateway import BINARY, Gateway
from parts.terminal import Terminal
from parts.tokens import ISSUER, SECRET

CONFIG = f"""
[[listen]]
address = "127.0.0.1:0"
[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
issuer = "{ISSUER}"
audience = "chat"
[[route]]
name = "chat"
path = "/chat"
upstream = "{{chat.url}}/"
jwt = "main"
connections = {{{{ total = 10 }}}}
"""
ENV = {"JWT_SECRET": SECRET, "ADMIN_TOKEN": "0123456789abcdef-of-the-operator"}


@pytest.fixture
def gateway(tmp_path, chat):
    with Gateway(tmp_path, CONFIG.format(chat=chat), env=ENV) as gateway:
        yield gateway


def command(gateway, *more):
    return [BINARY, "top", "--url", gateway.admin, "--token", "env:ADMIN_TOKEN", "--interval", "200ms", *more]


@pytest.fixture
def top(gateway):
    with Terminal(*command(gateway), env=ENV) as top:
        top.wait_for("running")
        yield top


def is_restored(top):
    assert top.settings() == top.before
    last = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
    wait_until("the screen is given back", lambda: top.text().rstrip().endswith(last))


def test_what_goes_on_is_seen_and_a_connection_is_closed_by_a_key(gateway, top, token):
    url = gateway.url("/chat/rooms/top")
    with open_chat(url, token(sub="alice")) as alice, open_chat(url, token(sub="bob")) as bob:
        assert refusal(url).status_code == 403
        for connection in (alice, bob):
            connection.recv(timeout=PATIENCE)
        top.wait_for("sessions 2")
        top.wait_for("alice")
        top.wait_for("cap route chat               [####................] 2 of 10")

        def moves():
            for connection in (alice, bob):
                connection.send("hello")
                connection.recv(timeout=PATIENCE)
            return any(line.startswith("up ") and not line.startswith("up 0 ") for line in top.screen())

        # A rate is of one look: it is there in some of them.
        wait_until("the rate", moves)
        top.type("/bob\r")
        line = top.wait_for("1 of 2 connections")
        assert "filter" in line and not any("alice" in line for line in top.screen())
        top.type("x")
        top.wait_for("y: yes, any other key: no")
        top.type("n")
        top.wait_for("not closed")
        top.type("xy")
        top.wait_for("is told to close")
        with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
            while True:
                bob.recv(timeout=PATIENCE)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "kicked")
        top.type("\x1b")
        top.wait_for("1 of 1 connections")
        top.wait_for("token_missing")
        top.type("?")
        top.wait_for("any key goes back")
    top.type("q")
    top.type("q")
    assert top.wait() == 0
    is_restored(top)


def test_it_follows_the_size_and_stands_still_when_told(gateway, top):
    top.resize(12, 50)
    wait_until("the new size", lambda: 0 < len(top.screen()) <= 12 and max(map(len, top.screen())) <= 50)
    top.type("p")
    top.resize(40, 140)
    top.wait_for("PAUSED")
    top.type("p")
    wait_until("it goes on", lambda: not any("PAUSED" in line for line in top.screen()))


def test_refusals_upstreams_and_a_config_that_was_refused_are_a_key_away(gateway, top, chat, token):
    assert refusal(gateway.url("/nowhere")).status_code == 404
    top.wait_for("upstreams: 1 of 1 servers up")
    top.type("2")
    line = top.wait_for("/nowhere")
    assert "404" in line and "no_route" in line
    top.type("\t")
    assert " up " in top.wait_for(f"127.0.0.1:{chat.port}")
    top.type("\t")
    top.wait_for("cap route chat               [....................] 0 of 10")
    good = gateway.file.read_text()
    gateway.file.write_text(good + "\n[[route]\n")
    gateway.process.send_signal(signal.SIGHUP)
    top.wait_for("A NEWER ONE WAS REFUSED")
    gateway.file.write_text(good)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until("it is taken again", lambda: not any("REFUSED" in line for line in top.screen()))


def test_a_gateway_behind_tls_is_asked_over_tls_with_the_token(tmp_path, chat, authority, token):
    certificate, key = authority.files("admin.example.com", "127.0.0.1")
    tls = f'tls = {{ certificate = "{certificate}", key = "{key}" }}\n'
    with Gateway(tmp_path, CONFIG.format(chat=chat), env=ENV, admin_keys=tls, ca=authority.file) as gateway:
        with Terminal(*command(gateway, "--ca", authority.file), env=ENV) as top:
            top.wait_for("running")
        with Terminal(*command(gateway, "--ca", authority.file), env={**ENV, "ADMIN_TOKEN": "not-that-of-the-operator"}) as top:
            top.wait_for("401: it wants a token")
        with Terminal(*command(gateway), env=ENV) as top:
            top.wait_for("--ca names an authority of your own")


@pytest.mark.parametrize("way", ["ctrl-c", "SIGINT", "SIGTERM", "SIGHUP"])
def test_however_it_ends_the_terminal_is_as_it_was(gateway, top, way):
    assert top.settings() != top.before
    if way == "ctrl-c":
        top.type("\x03")
    else:
        top.process.send_signal(getattr(signal, way))
    assert top.wait() == 0
    is_restored(top)


def test_a_gateway_that_is_gone_is_said_to_be(tmp_path, chat):
    gateway = Gateway(tmp_path, CONFIG.format(chat=chat), env=ENV)
    with gateway, Terminal(*command(gateway), env={**ENV, "NO_COLOR": "1"}) as top:
        top.wait_for("running")
        gateway.process.terminate()
        assert gateway.wait() == 0
        top.wait_for("GONE: no connection")
        assert "\x1b[31m" not in top.text(), "NO_COLOR"
        # On the same address again.
        address = gateway.admin.removeprefix("http://")
        text = gateway.file.read_text().replace('[admin]\naddress = "127.0.0.1:0"', f'[admin]\naddress = "{address}"')
        gateway.file.write_text(text)
        with Child(BINARY, "run", "--config", gateway.file, env=ENV):
            top.wait_for("it answers again")
            top.wait_for("running")
            top.type("q")
            assert top.wait() == 0


def test_a_subject_can_not_speak_to_the_terminal(gateway, top, token):
    # A token whose subject has control characters is refused as such; these turn the rest of a line around.
    evil = "a\u202egro.elpmaxe\u2066"
    with open_chat(gateway.url("/chat/rooms/evil"), token(sub=evil)) as connection:
        connection.recv(timeout=PATIENCE)
        top.wait_for("a\ufffdgro.elpmaxe\ufffd")
        assert "\u202e" not in top.text() and "\u2066" not in top.text()


def test_once_prints_a_frame_as_text(gateway, token):
    with open_chat(gateway.url("/chat/rooms/once"), token(sub="alice")) as connection:
        connection.recv(timeout=PATIENCE)
        ran = subprocess.run(
            command(gateway, "--once"), env={**os.environ, **ENV}, capture_output=True, text=True, timeout=PATIENCE
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert "running" in lines[0] and "sessions 1" in lines[1] and "messages/s" in lines[2]
    assert any("alice" in line for line in lines) and "\x1b" not in ran.stdout


def test_what_can_not_be_is_said(gateway):
    def fails(*arguments, code):
        ran = subprocess.run(
            [BINARY, "top", *arguments], env={**os.environ, **ENV}, capture_output=True, text=True, timeout=PATIENCE
        )
        assert (ran.returncode, ran.stdout) == (code, "")
        return ran.stderr

    assert "401: it wants a token" in fails("--url", gateway.admin, "--once", code=3)
    assert "no connection" in fails("--url", "http://127.0.0.1:1", "--once", code=3)
    assert "this is no terminal" in fails("--url", gateway.admin, code=2)
    assert "hunter2" not in fails("--token", "hunter2", "--once", code=2)
