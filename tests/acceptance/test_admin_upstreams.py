"""The operator's page on a pool whose servers live, die, fill and are drained, and on a config that is refused."""

import itertools
import json
import pathlib
import re
import signal
import threading

import pytest
from playwright.sync_api import expect

from parts.child import PATIENCE, wait_until
from parts.client import close_of, open_chat, refusal
from parts.gateway import Gateway
from parts.pages import contrast, focused, look, tab_to
from parts.upstreams import Chat

OUT = pathlib.Path(__file__).resolve().parent / "out"
ROOMS = itertools.count()
# What a path may be called, and would mean in a URL or in HTML.
HOSTILE = "/run/a?b#c%41<img src=x onerror=\\\"document.title='taken'\\\">.sock"
SHOWN = HOSTILE.replace("\\", "")


def config(alive, other):
    return f"""
[server]
drain_timeout = "100ms"
auto_reload_interval = "off"

[[listen]]
address = "127.0.0.1:0"

[upstream.chat]
servers = [
    {{ address = "127.0.0.1:{alive.port}", max_connections = 2 }},
    {{ address = "127.0.0.1:{other.port}", max_connections = 2 }},
    "unix:{HOSTILE}",
]
balance = "least_connections"
queue = 5
queue_timeout = "60s"
health = {{ type = "tcp", interval = "200ms", timeout = "200ms", rise = 1, fall = 1 }}

[[route]]
name = "chat"
path = "/rooms"
upstream = "chat"
"""


@pytest.fixture(scope="module")
def backends():
    with Chat() as alive, Chat() as other:
        yield alive, other


@pytest.fixture
def gateway(tmp_path, backends):
    with Gateway(tmp_path, config(*backends)) as gateway:
        yield gateway


@pytest.fixture
def looking(page, gateway):
    return look(page, gateway)


def server(page, text):
    return page.locator("#upstreams tbody tr", has_text=str(text))


def cells(page, text):
    """State and sessions of a server."""
    return server(page, text).locator("td").nth(0), server(page, text).locator("td").nth(3)


def joins(gateway):
    return open_chat(gateway.url(f"/rooms/{next(ROOMS)}"))


def talks(member):
    """Whether what it says comes back to it."""
    member.send("still here")
    while "still here" not in member.recv(PATIENCE):
        pass
    return True


def is_first_on(gateway, port):
    """Whether the oldest session is on this server."""
    return json.loads(gateway.page("/connections")[1])["connections"][0]["upstream"].endswith(f":{port}")


def test_each_server_is_shown_as_it_is_and_its_name_as_text(looking, gateway, backends):
    alive, other = backends
    expect(looking.locator("#upstreams tbody tr")).to_have_count(3)
    for port in (alive.port, other.port):
        expect(cells(looking, port)[0]).to_have_text("up")
        expect(cells(looking, port)[1]).to_have_text("0 of 2")
    state, sessions = cells(looking, "unix:")
    expect(state).to_have_text("down: its checks fail")
    expect(state.locator("span").first).to_have_class("state-bad")
    expect(sessions).to_have_text("0")
    expect(looking.locator("#upstreams-shown")).to_have_text("2 of 3 up")
    assert server(looking, "unix:").locator(".said").nth(1).inner_text() == f"unix:{SHOWN}"
    server(looking, "unix:").get_by_role("button").click()
    expect(looking.locator("#question-facts")).to_contain_text(SHOWN)
    looking.keyboard.press("Escape")
    assert looking.locator("#upstreams img, dialog img").count() == 0 and looking.title() == "wsgate: running"
    with joins(gateway), joins(gateway), joins(gateway), joins(gateway):
        expect(cells(looking, alive.port)[1]).to_have_text("2 of 2")
        expect(cells(looking, alive.port)[1].locator("span")).to_have_class("state-warn")
        # The dead one is not tried while another lives, full as they are.
        def wait_and_leave():
            with joins(gateway):
                pass

        waiting = threading.Thread(target=wait_and_leave)
        waiting.start()
        try:
            expect(looking.locator("#upstreams-shown")).to_have_text("2 of 3 up, 1 wait for a server of chat")
        except BaseException:
            gateway.signal(signal.SIGTERM)
            raise
    waiting.join()
    expect(looking.locator("#upstreams-shown")).to_have_text("2 of 3 up")


def test_a_server_is_drained_and_let_in_again_by_keyboard_alone(looking, gateway, backends):
    alive, other = backends
    with joins(gateway) as one, joins(gateway) as two:
        expect(cells(looking, other.port)[1]).to_have_text("1 of 2")
        gone, stays = (one, two) if is_first_on(gateway, other.port) else (two, one)
        tab_to(looking, f"Drain 127.0.0.1:{other.port} of chat")
        looking.keyboard.press("Enter")
        expect(looking.locator("#question")).to_be_visible()
        expect(looking.locator("#h-question")).to_have_text("Drain this server?")
        expect(looking.locator("#question-text")).not_to_contain_text("No other server")
        # The first press drains nothing.
        assert focused(looking) == "Leave it in"
        looking.keyboard.press("Enter")
        expect(looking.locator("#question")).not_to_be_visible()
        assert focused(looking) == f"Drain 127.0.0.1:{other.port} of chat"
        expect(cells(looking, other.port)[0]).to_have_text("up")
        looking.keyboard.press("Enter")
        tab_to(looking, "Drain it")
        looking.keyboard.press("Enter")
        expect(looking.locator("#notice")).to_have_text(f"Drained: 127.0.0.1:{other.port} of chat. Sessions that are told to go: 1.")
        expect(looking.locator("#said")).to_contain_text("Drained: ")
        expect(cells(looking, other.port)[0]).to_have_text("drained by an operator")
        expect(cells(looking, other.port)[1]).to_have_text("0 of 2")
        assert close_of(gone) == (1012, "upstream_drained")
        assert talks(stays)
        # The focus stayed, on what can be done now; it needs no question.
        assert focused(looking) == f"Let in 127.0.0.1:{other.port} of chat"
        looking.keyboard.press("Enter")
        expect(looking.locator("#notice")).to_have_text(f"Let in again: 127.0.0.1:{other.port} of chat.")
        expect(cells(looking, other.port)[0]).to_have_text("up")
        with joins(gateway):
            expect(cells(looking, other.port)[1]).to_have_text("1 of 2")
        assert talks(stays)


def test_the_last_server_that_takes_handshakes_is_drained_with_a_warning(looking, gateway, backends):
    alive, other = backends
    for upstream in (f"127.0.0.1:{alive.port}", "unix:"):
        server(looking, upstream).get_by_role("button", name="Drain").click()
        looking.get_by_role("button", name="Drain it").click()
        expect(cells(looking, upstream)[0]).to_have_text("drained by an operator")
    expect(looking.locator("#upstreams-shown")).to_have_text("1 of 3 up")
    server(looking, other.port).get_by_role("button", name="Drain").click()
    expect(looking.locator("#question-text")).to_contain_text("No other server of this upstream is left")
    looking.get_by_role("button", name="Drain it").click()
    expect(looking.locator("#upstreams-shown")).to_have_text("0 of 3 up")
    assert refusal(gateway.url("/rooms/1")).status_code == 503
    # The path of a socket has slashes, quotes and brackets.
    server(looking, "unix:").get_by_role("button", name="Let in").click()
    expect(cells(looking, "unix:")[0]).to_have_text("down: its checks fail")


def test_an_upstream_that_is_a_url_is_drained_and_let_in_too(page, backends, tmp_path):
    alone, _ = backends
    text = f'[[listen]]\naddress = "127.0.0.1:0"\n[[route]]\npath = "/rooms"\nupstream = "{alone.url}"\n'
    with Gateway(tmp_path, text) as gateway:
        look(page, gateway)
        server(page, alone.url).get_by_role("button", name="Drain").click()
        expect(page.locator("#question-text")).to_contain_text("No other server of this upstream is left")
        page.get_by_role("button", name="Drain it").click()
        expect(cells(page, alone.url)[0]).to_have_text("drained by an operator")
        assert refusal(gateway.url("/rooms/1")).status_code == 503
        server(page, alone.url).get_by_role("button", name="Let in").click()
        expect(cells(page, alone.url)[0]).to_have_text("up")
        with joins(gateway) as member:
            assert talks(member)


def test_a_row_is_left_alone_by_what_comes_and_goes_beside_it(looking, gateway):
    """A reload takes a server away: its row goes, and the others stay the same elements, with what was selected."""
    rows = looking.locator("#upstreams tbody tr")
    expect(rows).to_have_count(3)
    looking.evaluate("document.querySelectorAll('#upstreams tbody tr').forEach((row, nth) => (row.dataset.mark = nth))")
    good = gateway.file.read_text()
    rows.nth(2).get_by_role("button").focus()
    gateway.file.write_text(good.replace(f'    "unix:{HOSTILE}",\n', ""))
    gateway.signal(signal.SIGHUP)
    expect(rows).to_have_count(2)
    assert looking.evaluate("[...document.querySelectorAll('#upstreams tbody tr')].map((row) => row.dataset.mark)") == ["0", "1"]
    # Whoever stood on the row that went stands on the next.
    assert focused(looking).startswith("Drain 127.0.0.1:")


def test_a_config_that_is_refused_is_told_of_until_it_is_mended(looking, gateway):
    box, obeyed = looking.locator("#config-wrong"), looking.locator("#health .fact", has_text="config")
    expect(box).not_to_be_visible()
    expect(obeyed).to_contain_text("taken ")
    good = gateway.file.read_text()
    # The report shows the line that is wrong.
    gateway.file.write_text(good.replace('path = "/rooms"', "path = 7 # <img src=x onerror=\"document.title='taken'\">"))
    gateway.signal(signal.SIGHUP)
    expect(box).to_be_visible()
    expect(box.locator("#config-said")).to_have_text(re.compile(r"^The newest config was refused\. The one of \d\d:\d\d:\d\d is obeyed\.$"))
    expect(obeyed).to_contain_text("a newer one was refused")
    report = box.locator("#config-error")
    expect(report).not_to_be_visible()
    tab_to(looking, "What is wrong with it")
    looking.keyboard.press("Enter")
    expect(report).to_be_visible()
    expect(report).to_contain_text("route[0].path")
    assert report.inner_text() == json.loads(gateway.page("/status")[1])["config"]["error"].rstrip("\n")
    assert "<img" in report.inner_text() and box.locator("img").count() == 0 and looking.title() == "wsgate: running"
    # It stays open while the page goes on, and the focus where it was.
    at = looking.locator("#uptime").inner_text()
    expect(looking.locator("#uptime")).not_to_have_text(at)
    expect(report).to_be_visible()
    assert focused(looking) == "What is wrong with it"
    gateway.file.write_text(good)
    gateway.signal(signal.SIGHUP)
    expect(box).not_to_be_visible()
    expect(obeyed).to_contain_text("taken ")


def test_a_drain_is_counted_down_in_the_head(page, backends, tmp_path):
    text = config(*backends).replace('drain_timeout = "100ms"', 'drain_timeout = "1h"')
    with Gateway(tmp_path, text) as gateway:
        with joins(gateway), joins(gateway) as other:
            look(page, gateway)
            gateway.signal(signal.SIGTERM)
            expect(page.locator("#phase")).to_have_text("draining")
            # The first was told at once, and the second has up to an hour.
            expect(page.locator("#uptime")).to_contain_text(re.compile(r"1 left, cut in (1h|59m)"))
        wait_until("its end", lambda: gateway.process.poll() is not None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_wrong_is_readable_in_light_and_dark_and_fits_a_phone(browser, gateway, scheme):
    with browser.new_context(color_scheme=scheme, reduced_motion="reduce", viewport={"width": 360, "height": 800}) as context:
        page = look(context.new_page(), gateway)
        expect(cells(page, "unix:")[0]).to_have_text("down: its checks fail")
        gateway.file.write_text(gateway.file.read_text() + "[nothing]\n")
        gateway.signal(signal.SIGHUP)
        expect(page.locator("#config-wrong")).to_be_visible()
        page.locator("#config-wrong summary").click()
        for selector in ("#config-said", "#config-wrong summary", "#config-error", "#upstreams .state-bad", "#upstreams .state-good", "#upstreams button"):
            colours = """(selector) => {
                let element = document.querySelector(selector);
                const text = getComputedStyle(element).color;
                while (getComputedStyle(element).backgroundColor === "rgba(0, 0, 0, 0)") element = element.parentElement;
                return [text, getComputedStyle(element).backgroundColor];
            }"""
            assert contrast(*page.evaluate(colours, selector)) >= 4.5, selector
        wait_until("360 px are enough", lambda: page.evaluate("document.documentElement.scrollWidth <= 360"))
        # How it is, and what can be done, is in sight, wherever the rest is scrolled to.
        card = page.locator("section", has=page.locator("#upstreams"))
        inside = [cells(page, "unix:")[0].locator("span").first, server(page, "unix:").get_by_role("button")]
        (left, right), *edges = [(box["x"], box["x"] + box["width"]) for box in (one.bounding_box() for one in (card, *inside))]
        along = [left, *edges[0], *edges[1], right]
        assert along == sorted(along), along
        OUT.mkdir(exist_ok=True)
        page.screenshot(path=OUT / f"admin-upstreams-{scheme}.png", full_page=True)
