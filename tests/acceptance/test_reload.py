"""A new config in the binary as it runs: by SIGHUP, and by a folder that is swapped as Kubernetes swaps what it mounts."""

import json
import signal

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from parts.child import wait_until
from parts.gateway import Gateway
from parts.upstreams import NodeEcho

CONFIG = """
[server]
auto_reload_interval = "{every}"

[[listen]]
address = "127.0.0.1:0"

[[route]]
name = "echo"
path = "/ws"
upstream = "{backend}"
origins = "any"
allow_missing_origin = true
"""


@pytest.fixture(scope="module")
def backend():
    with NodeEcho(deflate=False) as backend:
        yield backend


def says(gateway, message):
    def match(text):
        line = json.loads(text) if text.startswith("{") else {}
        return line if line.get("message", "").startswith(message) else None

    return match


def echoes(socket):
    socket.send("hello")
    return "hello" in socket.recv(timeout=20)


def test_sighup_takes_a_new_config_and_keeps_the_old_one_of_a_broken_file(tmp_path, backend):
    with Gateway(tmp_path, CONFIG.format(every="off", backend=backend.url)) as gateway:
        good = gateway.file.read_text()
        with connect(gateway.url("/ws"), proxy=None) as live:
            gateway.file.write_text(good.replace('path = "/ws"', 'path = "/new"'))
            gateway.signal(signal.SIGHUP)
            gateway.err.first(says(gateway, "a new config is obeyed"))
            assert gateway.count("wsgate_config_reloads_total", result="ok") == 1
            with pytest.raises(InvalidStatus, match="404"):
                connect(gateway.url("/ws"), proxy=None)
            with connect(gateway.url("/new"), proxy=None) as new:
                assert echoes(new)
            gateway.file.write_text(good.replace('path = "/ws"', "path = 7"))
            gateway.signal(signal.SIGHUP)
            told = gateway.err.first(says(gateway, "the new config is refused"))
            assert "route[0].path" in told["message"], told
            assert gateway.count("wsgate_config_last_reload_successful") == 0
            assert echoes(live)
            with connect(gateway.url("/new"), proxy=None) as new:
                assert echoes(new)
            gateway.file.write_text(good)
            gateway.signal(signal.SIGHUP)
            wait_until("it is well again", lambda: gateway.count("wsgate_config_last_reload_successful") == 1)
            assert echoes(live)


def test_a_config_map_that_kubernetes_swaps_is_taken(tmp_path, backend):
    def mount(number, text):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        (folder / "gateway.toml").write_text(text)
        (tmp_path / "..tmp").symlink_to(folder.name)
        (tmp_path / "..tmp").rename(tmp_path / "..data")

    text = CONFIG.format(every="50ms", backend=backend.url) + '\n[admin]\naddress = "127.0.0.1:0"\n'
    mount(1, "")
    (tmp_path / "gateway.toml").symlink_to("..data/gateway.toml")
    with Gateway(tmp_path, CONFIG.format(every="50ms", backend=backend.url)) as gateway:
        mount(2, text.replace('path = "/ws"', 'path = "/new"'))
        wait_until("it is taken", lambda: gateway.count("wsgate_config_reloads_total", result="ok") == 1)
        with connect(gateway.url("/new"), proxy=None) as new:
            assert echoes(new)
