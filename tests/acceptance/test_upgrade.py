"""A new binary takes over under load, by SIGUSR2 and by systemd's sockets, and what a service manager is told."""

import asyncio
import contextlib
import datetime
import json
import os
import re
import signal
import socket
import ssl
import time
import urllib.request

import pytest
import websockets.asyncio.client
import websockets.exceptions

from parts.child import PATIENCE, Child, wait_until
from parts.client import close_of, open_chat
from parts.gateway import BINARY, Gateway
from parts.line import Held, Line, Manager, is_over
from parts.upstreams import NodeEcho

CONFIG = """
[server]
workers = {workers}
drain_timeout = "{drain}"
upgrade_timeout = "{timeout}"
handshakes_in_flight_per_ip = 2000
max_lag = "1h"

[[listen]]
address = "127.0.0.1:0"
{tls}
[[route]]
name = "main"
path = "/main"
upstream = "{upstream}/"
idle_timeout = "1h"
"""
# Messages of one client under way at once.
WINDOW = 3


@pytest.fixture(scope="module")
def echo():
    with NodeEcho(deflate=False) as echo:
        yield echo


def config(echo, workers=2, drain="1s", timeout="30s", tls=""):
    return CONFIG.format(upstream=echo.url, workers=workers, drain=drain, timeout=timeout, tls=tls)


class Load:
    """Clients that send and count, in one event loop. What goes wrong is kept, with all that is known of it."""

    def __init__(self, urls, context):
        self.urls, self.context = urls, context
        self.wrong, self.echoed, self.drained, self.came, self.open = [], 0, 0, 0, 0
        self.stopped = False

    def _connect(self, at):
        url = self.urls[at % len(self.urls)]
        more = {"ssl": self.context, "server_hostname": "upgrade.example.com"} if url.startswith("wss") else {}
        return websockets.asyncio.client.connect(
            url, proxy=None, open_timeout=PATIENCE, close_timeout=PATIENCE, ping_interval=None, compression=None, **more
        )

    async def _talk(self, connection, name, enough):
        """Every message comes back once and in its order, until the Close."""
        sent = received = 0
        try:
            while not self.stopped and received < enough:
                while sent < min(received + WINDOW, enough):
                    await connection.send(f"{name} {sent}")
                    sent += 1
                message = await asyncio.wait_for(connection.recv(), PATIENCE)
                if message != f"{name} {received}":
                    self.wrong.append(f"{name}: {received} was expected, and {message!r} came")
                received += 1
                self.echoed += 1
                await asyncio.sleep(0.02)
        except websockets.exceptions.ConnectionClosed as closed:
            if closed.rcvd is None or (closed.rcvd.code, closed.rcvd.reason) != (1012, "draining"):
                self.wrong.append(f"{name} after {received} messages: {closed!r}")
            self.drained += 1

    async def stay(self, at):
        """One that lives as long as it may, and comes back at once."""
        life = 0
        while not self.stopped:
            try:
                async with self._connect(at) as connection:
                    self.open += 1
                    await self._talk(connection, f"{at}.{life}", 1 << 60)
                    self.open -= 1
            except Exception as error:  # noqa: BLE001: whatever it is, it is to be told
                self.wrong.append(f"{at}.{life}: {error!r}")
                await asyncio.sleep(0.1)
            life += 1

    async def come_and_go(self, at):
        """New connections all the time."""
        while not self.stopped:
            try:
                async with self._connect(at) as connection:
                    await self._talk(connection, f"new {at}", 2)
                self.came += 1
            except Exception as error:  # noqa: BLE001
                self.wrong.append(f"a new one: {error!r}")
                await asyncio.sleep(0.1)


async def until(what, condition):
    deadline = asyncio.get_running_loop().time() + 3 * PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.02)


def test_nobody_is_refused_and_no_message_is_lost_while_new_binaries_take_over_under_load(tmp_path, echo, authority):
    stay, new = 200, 4
    tls = f'[[listen]]\naddress = "127.0.0.1:0"\n[listen.tls]\n{authority.issue("upgrade.example.com")}'
    with Line(tmp_path, config(echo, tls=tls)) as gateway:
        urls = [gateway.url("/main"), gateway.url("/main"), gateway.url("/main", listener=1, scheme="wss")]
        load = Load(urls, ssl.create_default_context(cafile=authority.file))

        async def drive():
            tasks = [asyncio.create_task(load.stay(at)) for at in range(stay)]
            tasks += [asyncio.create_task(load.come_and_go(at)) for at in range(new)]
            try:
                # Fewer workers than sockets, more than those, and the same again.
                for workers in (1, 3, 2):
                    came, drained, echoed = load.came, load.drained, load.echoed
                    await until("all are in", lambda: load.open == stay and load.echoed > echoed + 2 * stay)
                    await until("others come and go", lambda: load.came > came)
                    text = gateway.file.read_text()
                    gateway.file.write_text(text.replace(text[text.index("workers = ") :].partition("\n")[0], f"workers = {workers}"))
                    gateway.install()
                    old = await asyncio.to_thread(gateway.upgrade)
                    await until("the old process is gone", lambda: is_over(old))
                    await until("everybody has had a Close", lambda: load.drained >= drained + stay)
                    came, echoed = load.came, load.echoed
                    await until("the new one serves", lambda: load.echoed > echoed + 2 * stay and load.came > came + 2 * new)
                    status = json.loads(await asyncio.to_thread(lambda: gateway.page("/status")[1]))
                    assert len(status["workers"]) == workers
            finally:
                load.stopped = True
                await asyncio.gather(*tasks)

        asyncio.run(drive())
        assert load.wrong == []


def still_serves(gateway, person):
    person.send("hello")
    assert person.recv(timeout=PATIENCE) == "hello"
    with open_chat(gateway.url("/main")) as other:
        other.send("new")
        assert other.recv(timeout=PATIENCE) == "new"
    assert gateway.is_ready()


def test_a_new_binary_that_fails_leaves_the_old_one_serving_whatever_is_wrong_with_it(tmp_path, echo):
    with Line(tmp_path, config(echo)) as gateway, open_chat(gateway.url("/main")) as person:
        good = gateway.file.read_text()
        gateway.file.write_text(good.replace("workers = 2", "wrokers = 2"))
        assert gateway.fail_to_upgrade().startswith("its config is wrong")
        still_serves(gateway, person)
        gateway.file.write_text(good)
        gateway.install("exit 7")
        assert "gone" in gateway.fail_to_upgrade()
        gateway.program.unlink()
        assert "can't be started" in gateway.fail_to_upgrade()
        still_serves(gateway, person)
        assert gateway.count("wsgate_upgrade_failures_total") == 3
        # And then a good one.
        gateway.install()
        gateway.upgrade()
        assert close_of(person) == (1012, "draining")


def test_a_new_binary_that_hangs_is_ended(tmp_path, echo):
    with Line(tmp_path, config(echo, timeout="1s")) as gateway, open_chat(gateway.url("/main")) as person:
        pid = tmp_path / "pid"
        gateway.install(f"echo $$ > {pid}.new && mv {pid}.new {pid} && exec sleep 600")
        assert "nothing in time" in gateway.fail_to_upgrade()
        assert not pid.exists() or is_over(int(pid.read_text()))
        still_serves(gateway, person)
        person.close()


def test_a_second_upgrade_while_one_is_under_way_is_refused(tmp_path, echo):
    with Line(tmp_path, config(echo, timeout="1h")) as gateway:
        pid = tmp_path / "pid"
        gateway.install(f"echo $$ > {pid}.new && mv {pid}.new {pid} && exec sleep 600")
        gateway.signal(signal.SIGUSR2)
        wait_until("the new binary waits", pid.exists)
        gateway.signal(signal.SIGUSR2)
        gateway.said("no new binary is started: one is being started already")
        os.kill(int(pid.read_text()), signal.SIGKILL)
        gateway.said("the new binary did not take over")
        assert gateway.is_ready()


def test_revocations_go_over_to_the_new_process_without_a_file_and_with_one(tmp_path, echo):
    for number, file in enumerate(["", f'[revocation]\nfile = "{tmp_path}/revocations.json"\n']):
        folder = tmp_path / str(number)
        folder.mkdir()
        text = config(echo) + '\n[jwt.main]\nalgorithms = ["HS256"]\nsecret = "env:JWT_SECRET"\n' + file
        with Line(folder, text, env={"JWT_SECRET": "a secret of at least 32 bytes for tests"}) as gateway:

            def revoke(subject):
                request = urllib.request.Request(
                    gateway.admin + "/revocations",
                    json.dumps({"subject": subject}).encode(),
                    {"Content-Type": "application/json"},
                )
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    assert answer.status == 201

            def listed():
                page = json.loads(gateway.page("/revocations")[1])
                return [one["subject"] for one in page["revocations"]]

            revoke("alice")
            gateway.upgrade()
            assert listed() == ["alice"]
            revoke("bob")
            gateway.upgrade()
            assert listed() == ["alice", "bob"]
    kept = json.loads((tmp_path / "revocations.json").read_text())
    assert [one["subject"] for one in kept["revocations"]] == ["alice", "bob"]


def test_a_process_that_claims_to_take_over_without_having_been_asked_does_not_start(tmp_path, echo):
    file = tmp_path / "gateway.toml"
    file.write_text(config(echo))
    with Child(BINARY, "run", "--config", file, env={"WSGATE_HANDOVER": "1"}) as alone:
        assert alone.wait() == 3
        assert "WSGATE_HANDOVER is set, but standard input is no socket" in alone.err.tail()


def activated(*descriptors):
    """Words before a command that give it these sockets, as systemd does."""
    moves = " ".join(f"{at + 3}<&{descriptor}" for at, descriptor in enumerate(descriptors))
    return ["bash", "-c", f'exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(descriptors)} exec "$0" "$@"']


def test_sockets_of_systemd_are_found_by_address_or_by_name_and_all_workers_share_them(tmp_path, echo):
    with contextlib.ExitStack() as stack:
        one, other, admin = (stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3))
        text = config(echo, tls='[[listen]]\naddress = "127.0.0.1:1"\nsocket = "web"\n')
        text = text.replace('address = "127.0.0.1:0"', f'address = "127.0.0.1:{one.getsockname()[1]}"', 1)
        descriptors = [other.fileno(), one.fileno()]
        env = {"LISTEN_FDNAMES": "web:wsgate.socket"}
        with Gateway(tmp_path, text, env=env, before=activated(*descriptors), pass_fds=descriptors) as gateway:
            assert gateway.ports == [one.getsockname()[1], other.getsockname()[1]]
            with contextlib.ExitStack() as people:
                for at in range(40):
                    person = people.enter_context(open_chat(gateway.url("/main", listener=at % 2)))
                    person.send("hello")
                    assert person.recv(timeout=PATIENCE) == "hello"
        # Still open here: what systemd opened does not go with the service.
        socket.create_connection(one.getsockname(), PATIENCE).close()
        # One that nothing names.
        descriptors.append(admin.fileno())
        env["LISTEN_FDNAMES"] += ":stray"
        before = activated(*descriptors)
        with Child(*before, BINARY, "run", "--config", gateway.file, env=env, pass_fds=descriptors) as wrong:
            assert wrong.wait() == 3
            assert f"127.0.0.1:{admin.getsockname()[1]} (stray)" in wrong.err.tail()
        # One that should be there.
        env["LISTEN_FDNAMES"] = "tube:wsgate.socket"
        before = activated(*descriptors[:2])
        with Child(*before, BINARY, "run", "--config", gateway.file, env=env, pass_fds=descriptors) as wrong:
            assert wrong.wait() == 3
            assert "listen[1].socket: no socket called `web` was handed over" in wrong.err.tail()


def test_a_service_manager_is_told_of_the_start_the_upgrade_and_the_stop(tmp_path, echo):
    with Manager(tmp_path) as manager:
        env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"}
        with Line(tmp_path, config(echo, drain="1h"), env=env) as gateway:
            first = gateway.pid
            manager.first(first, "READY=1")
            assert manager.first(first, "STATUS=") == "STATUS=running: 0 sessions, 2 workers"
            manager.first(first, "WATCHDOG=1")
            person = open_chat(gateway.url("/main"))
            gateway.upgrade()
            assert manager.first(first, "MAINPID=") == f"MAINPID={gateway.pid}"
            manager.first(gateway.pid, "READY=1")
            manager.first(gateway.pid, "WATCHDOG=1")
            # The old one is silent from then on.
            at = manager.hear().index((first, f"MAINPID={gateway.pid}"))
            assert [line for pid, line in manager.heard[at + 1 :] if pid == first] == []
            with person:
                assert close_of(person) == (1012, "draining")
            with open_chat(gateway.url("/main")) as person:
                gateway.signal(signal.SIGTERM)
                manager.first(gateway.pid, "STOPPING=1")
                # An hour, the longest close_timeout, and some to spare.
                extend = manager.first(gateway.pid, "EXTEND_TIMEOUT_USEC=")
                assert 3600 <= int(extend.partition("=")[2]) / 1e6 < 3700
                assert close_of(person) == (1012, "draining")
                wait_until("its end", lambda: is_over(gateway.pid))
            assert gateway.process.poll() == 0


def told_of_a_reload(manager, gateway, ask):
    """What a service manager hears from what is asked on, until the reload is over: the assignments, without signs of life.
    The one that says when it began is checked against the manager's own clock."""
    since, before = len(manager.hear()), time.monotonic_ns() // 1000
    ask()
    manager.first(gateway.process.pid, "READY=1", since)
    heard = [line for _, line in manager.heard[since:] if not line.startswith("WATCHDOG=")]
    at = heard.index("RELOADING=1")
    began = int(heard[at + 1].removeprefix("MONOTONIC_USEC="))
    assert before <= began <= time.monotonic_ns() // 1000
    assert heard[at + 2] == "STATUS=reloading", heard
    ready = heard.index("READY=1")
    assert at < ready and heard.count("RELOADING=1") == heard.count("READY=1") == 1, heard
    return heard[ready + 1]


def test_a_service_manager_is_told_of_each_reload_whoever_asks_for_it_and_whatever_becomes_of_it(tmp_path, echo):
    with Manager(tmp_path) as manager:
        text = config(echo, drain="1h").replace("[server]", '[server]\nauto_reload_interval = "50ms"')
        with Gateway(tmp_path, text, env={"NOTIFY_SOCKET": manager.path}) as gateway:
            manager.first(gateway.process.pid, "READY=1")
            good = gateway.file.read_text()
            well = "STATUS=running: 0 sessions, 2 workers"
            reload = urllib.request.Request(f"{gateway.admin}/reload", method="POST")
            assert told_of_a_reload(manager, gateway, lambda: gateway.signal(signal.SIGHUP)) == well
            assert told_of_a_reload(manager, gateway, lambda: urllib.request.urlopen(reload).close()) == well
            before = datetime.datetime.now(datetime.UTC)
            said = told_of_a_reload(manager, gateway, lambda: gateway.file.write_text(good + "[nothing]\n"))
            refused = re.fullmatch(re.escape(well) + r"; the config read at (\S+) was refused, an older one is obeyed", said)
            read_at = datetime.datetime.fromisoformat(refused[1])
            # It is written in whole milliseconds.
            assert before - datetime.timedelta(milliseconds=1) <= read_at <= datetime.datetime.now(datetime.UTC)
            assert told_of_a_reload(manager, gateway, lambda: gateway.file.write_text(good + "# mended\n")) == well
            # Who leaves reads no config any more, and is not heard to be ready again.
            with open_chat(gateway.url("/main")), open_chat(gateway.url("/main")):
                gateway.signal(signal.SIGTERM)
                manager.first(gateway.process.pid, "STOPPING=1")
                since = len(manager.heard)
                gateway.signal(signal.SIGHUP)
                gateway.err.first(lambda line: "no reload" in line)
            wait_until("its end", lambda: gateway.process.poll() is not None)
            assert not {"RELOADING=1", "READY=1"} & {line for _, line in manager.hear()[since:]}


def test_a_worker_that_hangs_ends_the_signs_of_life(tmp_path, echo):
    with Manager(tmp_path) as manager:
        env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "400000"}
        with Gateway(tmp_path, config(echo), env=env) as gateway:
            pid = gateway.process.pid
            manager.first(pid, "WATCHDOG=1")

            def stuck():
                return sum("a worker does not come to its work" in line for line in gateway.err.since(0))

            try:
                with Held(pid, "worker-1"):
                    # What is said now may still be of a moment before.
                    said = stuck()
                    wait_until("it is noticed", lambda: stuck() >= said + 3)
                    beats = manager.hear().count((pid, "WATCHDOG=1"))
                    wait_until("it is noticed again", lambda: stuck() >= said + 6)
                    assert manager.hear().count((pid, "WATCHDOG=1")) == beats
            except PermissionError:
                pytest.skip("ptrace is not allowed here: no thread can be held")
            manager.first(pid, "WATCHDOG=1", since=len(manager.heard))
