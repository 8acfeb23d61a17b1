"""HAProxy itself, as a balancer that passes bytes on, and as what receives them."""

import socket

from .child import Child, free_port, program, wait_until

CONFIG = """
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 20s
    timeout client 60s
    timeout server 60s
frontend in
    bind 127.0.0.1:{port} {bind}
    log global
    log-format "%ci:%cp"
    default_backend out
backend out
    server one {server}
"""


class Haproxy(Child):
    """`bind` are words behind its own address, `server` the address that it connects to, with words behind it. Each connection
    that has ended is a line: whose it was."""

    def __init__(self, folder, server, bind=""):
        self.port = free_port()
        file = folder / "haproxy.cfg"
        file.write_text(CONFIG.format(port=self.port, bind=bind, server=server))
        super().__init__(program("haproxy"), "-f", file, "-db")
        wait_until("HAProxy listens", self._listens)

    def _listens(self):
        assert self.process.poll() is None, self.err.tail()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0
