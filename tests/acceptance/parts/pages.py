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


def look(page, gateway):
    """The operator's page of a gateway, once it shows something."""
    page.goto(gateway.admin + "/")
    page.wait_for_selector("html[data-ready=true]")
    return page


def focused(page):
    """What the focus is on, as it is called to those who listen. Of a region that scrolls, the text is all that stands in it."""
    return page.evaluate(
        """() => {
            const on = document.activeElement;
            return on.getAttribute("aria-label") ?? (on.matches("button, a, summary") ? on.innerText : "");
        }"""
    )


def tab_to(page, text):
    """Presses Tab until the focus is on what is called so."""
    for _ in range(60):
        if focused(page).startswith(text):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {text}")


def contrast(one, other):
    """WCAG 2.2's ratio of two colours, as `rgb(r, g, b)`."""

    def luminance(colour):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


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
