"""A terminal of our own: what a program draws in it, read as a person would, and what a person types."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import subprocess

from .child import PATIENCE, wait_until


class Terminal:
    """Runs a command in a pseudo-terminal. `screen` is what is seen, line by line: of the sequences that draw, the few that
    are used are obeyed, and an unknown one is an error."""

    def __init__(self, *command, rows=40, columns=140, env=None):
        self._ours, theirs = pty.openpty()
        self.resize(rows, columns, tell=False)
        self.before = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **(env or {})},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0),
        )
        self.raw, self._lock = b"", threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data

    def resize(self, rows, columns, tell=True):
        self.rows, self.columns = rows, columns
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self._ours, text.encode())

    def text(self):
        with self._lock:
            return self.raw.decode(errors="replace")

    def screen(self):
        """The lines of the last whole frame."""
        begin, end = "\x1b[?2026h\x1b[H", "\x1b[?2026l"
        whole = [frame for frame in self.text().split(begin)[1:] if end in frame]
        if not whole:
            return []
        lines = whole[-1].split(end)[0].split("\r\n")
        # What is cleared is cleared before the line is written: behind one that fills the width it would take a character.
        assert all("\x1b[K" not in line[3:] and "\x1b[J" not in line[3:] for line in lines), lines
        return [re.sub(r"\x1b\[(0|1|2|7|31|33)m|\x1b\[[KJ]", "", line).rstrip() for line in lines]

    def wait_for(self, what, patience=PATIENCE):
        """Until a line of the screen has this in it; that line."""
        found = lambda: next((line for line in self.screen() if what in line), None)  # noqa: E731
        try:
            return wait_until(what, found, patience)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen is:\n" + "\n".join(self.screen())) from None

    def settings(self):
        """The terminal's own settings, which a program may change and has to restore."""
        return termios.tcgetattr(self._theirs)

    def wait(self):
        return self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self._theirs)
        self._reader.join(PATIENCE)
        os.close(self._ours)
