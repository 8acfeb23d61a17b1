"""A real Redis that keeps nothing, and can be killed, held up, emptied and started again where it was."""

import signal
import subprocess

from .child import PATIENCE, Child, free_port, program, wait_until


class Redis:
    """redis-server on a port of its own, which stays the same however often it is started. `options` as on its command
    line: `"--requirepass", "secret"`."""

    def __init__(self, folder, *options):
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder, self._options, self._child = folder, options, None
        self.start()

    def start(self):
        """Empty, since nothing is ever written to a disk."""
        where = ("--port", self.port, "--bind", "127.0.0.1", "--dir", self._folder)
        self._child = Child(program("redis-server"), *where, "--save", "", "--appendonly", "no", *self._options)
        self._child.out.first(lambda line: "Ready to accept connections" in line)

    def kill(self):
        """As by a machine that loses its power: who is connected is reset, and who comes is refused."""
        self._child.kill()
        self._child.stop()

    def hang(self):
        """It still takes connections, or the kernel does, and never answers."""
        self._child.signal(signal.SIGSTOP)
        wait_until("it stands still", lambda: self._state() == "T")

    def resume(self):
        self._child.signal(signal.SIGCONT)

    def _state(self):
        with open(f"/proc/{self._child.process.pid}/stat") as stat:
            return stat.read().rpartition(") ")[2][0]

    def flush(self):
        assert self.ask("FLUSHALL") == "OK"

    def ask(self, *command):
        """What redis-cli prints as the answer."""
        how = [program("redis-cli"), "-p", str(self.port), *command]
        ran = subprocess.run(how, capture_output=True, text=True, timeout=PATIENCE)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout.rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # One that stands still would not hear that it is to end.
        self.resume()
        self._child.stop()


class Sentinel(Child):
    """Watches a master under the name of `master`, and half a second after it is gone puts its replica in its place."""

    def __init__(self, folder, watched):
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}"
        file = folder / "sentinel.conf"
        file.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor master 127.0.0.1 {watched.port} 1\nsentinel down-after-milliseconds master 500\n"
        )
        super().__init__(program("redis-sentinel"), file)
        self.out.first(lambda line: "+slave" in line)

    def has_switched(self):
        """Waits for it."""
        return self.out.first(lambda line: "+switch-master" in line)
