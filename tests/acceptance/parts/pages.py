"""Headless Chromium, as Debian ships it, and a site with the pages that it visits."""

import contextlib
import functools
import http.server
import pathlib
import shutil
import threading

import playwright.sync_api

from .child import PATIENCE

# In milliseconds: what a page is to show may take as long as anything else.
playwright.sync_api.expect.set_options(timeout=PATIENCE * 1000)

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # It is to speak with this machine alone.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    # An exception by page would come after a first handshake that fails, and that is counted.
    "--ignore-certificate-errors",
]


@contextlib.contextmanager
def chromium(*more):
    """With more of its flags."""
    with playwright.sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, *more])
        try:
            yield browser
        finally:
            browser.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving():
    """The port of a site with the pages; 127.0.0.1 and localhost are two Origins of it."""
    folder = pathlib.Path(__file__).resolve().parent.parent / "page"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


class Held:
    """The page that holds one socket, `page/session.html`, in a browser."""

    def __init__(self, page, site):
        self._page, self._site = page, site

    def visit(self, host="127.0.0.1"):
        """Opens the page, as `host` serves it."""
        self._page.goto(f"http://{host}:{self._site}/session.html")

    def call(self, name, *arguments):
        """What a function of the page's script returns."""
        return self._page.evaluate(f"(arguments) => {name}(...arguments)", list(arguments))
