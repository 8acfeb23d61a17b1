"""`wsgate demo` as a person meets it: the page in a browser, and the lines to paste."""

import re
import subprocess

import pytest
from playwright.sync_api import expect

from parts.child import PATIENCE, Child
from parts.gateway import BINARY

# The page's short token holds for 15 seconds, and its gateway allows one more.
EXPIRY = 40_000


class Demo(Child):
    """On free ports; what it says of them is read from its welcome, as a person reads it."""

    def __init__(self):
        free = [option for name in ("port", "tls-port", "page-port", "admin-port") for option in (f"--{name}", "0")]
        super().__init__(BINARY, "demo", *free)
        self.page = self.out.first(lambda line: re.match(r"\s*page\s+(http://127\.0\.0\.1:\d+)/", line))[1]
        self.out.first(lambda line: "Ctrl-C" in line)
        self.welcome = self.out.since(0)

    def pasted(self, start):
        """The command that begins so, with the lines that go on after a backslash, and with its variables set."""
        sets = "\n".join(line for line in self.welcome if re.match("[A-Z]+=", line))
        text = "\n".join(self.welcome)
        command = text[text.index(start) :]
        return f"{sets}\n" + re.match(r"(?:.*\\\n)*.*", command)[0]


@pytest.fixture(scope="module")
def demo():
    with Demo() as demo:
        yield demo


@pytest.fixture
def shown(page, demo):
    """The demo's page, opened under one of its two names, connected as the form says."""

    def shown(host="127.0.0.1", scheme="plain", token="long", route="/ws"):
        page.goto(demo.page.replace("127.0.0.1", host) + "/")
        page.wait_for_selector("html[data-ready=true]")
        page.select_option("#scheme", scheme)
        page.select_option("#token", token)
        page.select_option("#route", route)
        page.click("#connect")
        return page

    return shown


def line(page, kind, code=None):
    """The entry of the page's log of this kind, and with this close code."""
    return page.locator(f'#log li[data-kind="{kind}"]' + (f'[data-code="{code}"]' if code else ""))


@pytest.mark.parametrize("scheme", ["plain", "tls"])
def test_a_message_comes_back(shown, scheme):
    page = shown(scheme=scheme)
    expect(line(page, "open")).to_have_count(1)
    page.fill("#message", "grüß dich <b>☺</b>")
    page.click("#send")
    expect(line(page, "received").first).to_contain_text("grüß dich <b>☺</b>")
    page.click("#close")
    expect(line(page, "close", 1000)).to_have_count(1)


def test_under_its_other_name_the_page_is_a_forbidden_origin(shown, demo):
    since = len(demo.out)
    page = shown(host="localhost")
    expect(line(page, "error", 1006)).to_contain_text("origin_forbidden")
    expect(line(page, "open")).to_have_count(0)
    demo.out.first(lambda text: "origin_forbidden" in text and "http://localhost" in text, since)


def test_a_broken_token_is_refused_and_the_page_tells_why(shown):
    page = shown(token="broken")
    expect(line(page, "error", 1006)).to_contain_text("token_invalid")


def test_a_route_that_tells_by_a_close_lets_the_page_read_why(shown):
    page = shown(token="broken", route="/ws/told")
    expect(line(page, "error", 4001)).to_contain_text("refused, and told by a Close: 4001 token_invalid")
    page.select_option("#token", "none")
    page.click("#connect")
    expect(line(page, "error", 4001)).to_have_count(2)
    expect(line(page, "error", 4001).first).to_contain_text("token_missing")
    # A good token there is let in, and its end is an end and no refusal.
    page.select_option("#token", "long")
    page.click("#connect")
    page.click("#flood")
    expect(line(page, "close", 4029)).to_contain_text("message_rate")


def test_under_its_other_name_the_page_is_told_4003_where_refusals_are_told(shown):
    page = shown(host="localhost", route="/ws/told")
    expect(line(page, "error", 4003)).to_contain_text("origin_forbidden")


def test_a_flood_is_closed_with_4029(shown):
    page = shown()
    expect(line(page, "open")).to_have_count(1)
    page.click("#flood")
    expect(line(page, "close", 4029)).to_contain_text("message_rate")


def test_a_message_that_is_too_big_is_closed_with_1009(shown):
    page = shown()
    expect(line(page, "open")).to_have_count(1)
    page.click("#big")
    expect(line(page, "close", 1009)).to_contain_text("message_too_big")


def test_the_page_sees_4001_when_its_token_expires(shown):
    page = shown(token="short", route="/ws/drop", scheme="tls")
    expect(line(page, "open")).to_have_count(1)
    page.click("#send")
    expect(line(page, "received").first).to_contain_text("hello")
    expect(line(page, "close", 4001)).to_contain_text("token_expired", timeout=EXPIRY)


def test_the_lines_to_paste_do_what_they_say(demo):
    def run(command):
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=PATIENCE, input="hello\n")

    curl = demo.pasted("curl --http1.1")
    assert "101 Switching Protocols" in run(curl).stdout
    without = re.sub(r'-H "Authorization[^"]*"', "", curl)
    assert without != curl and "HTTP/1.1 403 Forbidden" in run(without).stdout
    talk = run(demo.pasted(f"{BINARY} connect --ca"))
    assert talk.returncode == 0 and "hello" in talk.stdout, talk
    assert run(demo.pasted(f"{BINARY} token")).stdout.count(".") == 2
