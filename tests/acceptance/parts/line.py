"""A gateway and the processes that take over from it; and what a service manager is told meanwhile."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import struct

from .child import wait_until
from .gateway import BINARY, Gateway


def is_over(pid):
    """Whether a process that need not be a child of this one has ended; who should have waited for it may not have."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class Line(Gateway):
    """A gateway whose binary can be exchanged: it is started by a path of its own. `pid` is who serves now."""

    def __init__(self, folder, config, **more):
        self.program = folder / "wsgate"
        self.install()
        super().__init__(folder, config, program=self.program, **more)
        self.pid = self.process.pid
        self.pids = [self.pid]

    def install(self, script=None):
        """Puts another file under the path, as a package manager does: what runs has no name any more."""
        new = self.program.with_suffix(".new")
        if script is None:
            shutil.copy(BINARY, new)
        else:
            new.write_text(f"#!/bin/sh\n{script}\n")
            new.chmod(0o755)
        new.replace(self.program)

    def signal(self, number):
        os.kill(self.pid, number)

    def said(self, message, since=0):
        """The first line on standard error that begins so."""

        def match(text):
            line = json.loads(text) if text.startswith("{") else {}
            return line if line.get("message", "").startswith(message) else None

        return self.err.first(match, since)

    def upgrade(self):
        """Has a new process take over; the old one's pid."""
        old, since = self.pid, len(self.err)
        self.signal(signal.SIGUSR2)
        self.pid = self.said("the new binary serves", since)["pid"]
        self.pids.append(self.pid)
        return old

    def fail_to_upgrade(self):
        """Why the new process did not take over."""
        since = len(self.err)
        self.signal(signal.SIGUSR2)
        return self.said("the new binary did not take over", since)["error"]

    def __exit__(self, *failure):
        try:
            if failure[0] is None and not is_over(self.pid):
                wait_until("all that was held is given back", self.is_idle)
                self.signal(signal.SIGTERM)
                for pid in self.pids:
                    wait_until(f"the end of {pid}", lambda pid=pid: is_over(pid))
        finally:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.stop()


class Manager:
    """What a service manager listens on: NOTIFY_SOCKET. Each datagram comes with who sent it."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self.heard = []

    def hear(self):
        """All that came so far: pid and assignment, one by one."""
        while True:
            try:
                text, control, _, _ = self._socket.recvmsg(65536, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return self.heard
            [(_, _, credentials)] = control
            pid, _, _ = struct.unpack("iii", credentials)
            self.heard += [(pid, line) for line in text.decode().splitlines()]

    def first(self, pid, prefix, since=0):
        """The first of this process that begins so."""

        def found():
            return next((line for who, line in self.hear()[since:] if who == pid and line.startswith(prefix)), None)

        return wait_until(f"{prefix} of {pid}", found)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


class Held:
    """A thread of a child that stands still: ptrace(2). Other threads go on."""

    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, pid, name):
        threads = pathlib.Path(f"/proc/{pid}/task").iterdir()
        [self._tid] = [int(one.name) for one in threads if (one / "comm").read_text().strip() == name]
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._libc.ptrace.restype = ctypes.c_long

    def _ptrace(self, request):
        if self._libc.ptrace(request, self._tid, None, None) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def __enter__(self):
        self._ptrace(self.SEIZE)
        self._ptrace(self.INTERRUPT)
        os.waitpid(self._tid, self.WALL)
        return self

    def __exit__(self, *_):
        self._ptrace(self.DETACH)
