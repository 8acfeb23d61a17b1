"""A child process whose lines can be waited for, and that never outlives the tests."""

import collections
import contextlib
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

# How long anything may take that should happen at once; generous, since other work may share the machine.
PATIENCE = 20.0
# What `ci/setup` unpacked because the system has none.
UNPACKED = pathlib.Path(__file__).resolve().parents[3] / ".tools/bin"


def program(name):
    """Where a server is that `ci/setup` sees to."""
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], str(UNPACKED)]))
    assert found, f"{name} is not there: run ci/setup"
    return found


def free_port():
    """For a program that can't say which port it got: free now, and below those that the system hands out."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until(what, condition, patience=PATIENCE):
    """The condition's first true value. It is looked at every 10 ms; `what` is said if it never comes."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.01)


class Lines:
    """The lines of one output, as they come."""

    def __init__(self, pipe):
        self._all = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe):
        for line in pipe:
            with self._more:
                self._all.append(line.rstrip("\n"))
                self._more.notify_all()

    def finish(self):
        """Waits for the end of the output, so that nothing of it is missed."""
        self._reader.join(PATIENCE)

    def __len__(self):
        with self._more:
            return len(self._all)

    def tail(self, count=30):
        with self._more:
            return "\n".join(self._all[-count:])

    def since(self, at):
        with self._more:
            return self._all[at:]

    def first(self, match, since=0, patience=PATIENCE):
        """What `match` makes of the first line, from the number `since` on, of which it makes anything."""
        deadline = time.monotonic() + patience
        at = since
        with self._more:
            while True:
                while at < len(self._all):
                    found = match(self._all[at])
                    if found:
                        return found
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0 or not self._more.wait(left):
                    raise AssertionError("no such line; the last ones were:\n" + "\n".join(self._all[-30:]))


class Child:
    """A program that runs in the background."""

    running = collections.deque()

    def __init__(self, *command, env=None, cwd=None, pass_fds=()):
        self.process = subprocess.Popen(
            # The kernel ends it if the tests themselves are killed.
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            pass_fds=pass_fds,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)
        Child.running.append(self)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, patience=PATIENCE):
        """Its exit code; negative: the signal that ended it. Then all that it said is here."""
        code = self.process.wait(patience)
        self.out.finish()
        self.err.finish()
        return code

    def stop(self):
        """Ends it, politely at first."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        if self in Child.running:
            Child.running.remove(self)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
