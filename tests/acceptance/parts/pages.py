"""Headless Chromium, as Debian ships it."""

import contextlib
import shutil

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
def chromium():
    with playwright.sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()
