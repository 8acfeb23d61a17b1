"""What several test files share, and the check that nothing is left behind."""

import os
import pathlib

import pytest

# Assertions in there shall show their values too; it has to be said before the imports.
pytest.register_assert_rewrite("parts")

from parts.child import Child, wait_until  # noqa: E402
from parts.pages import Held, chromium, serving  # noqa: E402
from parts.tls import Authority  # noqa: E402
from parts.tokens import Keys, by_pyjwt, claims  # noqa: E402
from parts.upstreams import Chat  # noqa: E402

# Every process that a test starts inherits it, so that one that was forgotten is found.
MARK = "WSGATE_ACCEPTANCE_RUN"


def left_behind(mark):
    """Command lines of living processes, other than this one, that carry the mark."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                if f"{MARK}={mark}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                # It ended meanwhile, or is another user's.
                continue
    return [command for command in found if command]


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left_behind():
    mark = str(os.getpid())
    os.environ[MARK] = mark
    yield
    assert not Child.running, [child.process.args for child in Child.running]
    wait_until("every process is gone", lambda: not left_behind(mark))


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    return Keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def chat():
    with Chat() as chat:
        yield chat


@pytest.fixture(scope="session")
def site():
    with serving() as port:
        yield port


@pytest.fixture(scope="module")
def browser():
    # For one file only: while it lives, its event loop is the thread's, and other tests want one of their own.
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser):
    """A page with a memory of its own."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture
def held(page, site):
    return Held(page, site)


@pytest.fixture
def token(keys):
    return lambda **said: by_pyjwt(keys, "HS256", claims(**said))
