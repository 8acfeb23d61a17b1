"""nginx itself, with the limits of a test, in front of a backend."""

import socket

from .child import Child, free_port, program, wait_until

# One process, whoever starts it, and nothing outside its folder.
CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection upgrade;
    {zones}
    server {{
        listen 127.0.0.1:{port} {listen};
        server_name everyone;
        {locations}
    }}
}}
"""


class Nginx(Child):
    """`zones` are lines of its `http`, `locations` the lines of each path, which is passed to the
    backend; `listen` are words behind its address."""

    def __init__(self, folder, backend, zones, locations, listen=""):
        self.port = free_port()
        written = [f"location {path} {{ {lines} proxy_pass {backend}; }}" for path, lines in locations.items()]
        config = {"zones": "\n".join(zones), "locations": "\n".join(written), "port": self.port, "folder": folder}
        config["listen"] = listen
        file = folder / "nginx.conf"
        file.write_text(CONFIG.format(**config))
        # Said before the file is read, so that it does not look for its log where Debian has it.
        super().__init__(program("nginx"), "-p", folder, "-c", file, "-e", "stderr")
        wait_until("nginx listens", self._listens)

    def _listens(self):
        assert self.process.poll() is None, self.err.tail()
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def url(self, path):
        return f"ws://127.0.0.1:{self.port}{path}"
