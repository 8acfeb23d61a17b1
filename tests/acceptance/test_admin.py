"""The operator's page in a real browser, on a real gateway with real traffic."""

import contextlib
import json
import os
import pathlib
import ssl
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import websockets.exceptions
from playwright.sync_api import expect

from parts.child import PATIENCE, Child, free_port, wait_until
from parts.client import open_chat
from parts.gateway import BINARY, Gateway
from parts.pages import contrast, focused, look, tab_to
from parts.tokens import SECRET
from parts.upstreams import Chat

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
OUT = pathlib.Path(__file__).resolve().parent / "out"
TOKEN = "0123456789abcdef0123456789abcdef"
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"


def config(chat, more="", upstream=None):
    return f"""
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[zone.logins]
rate = "1000r/s"

[[route]]
name = "chat"
path = "/chat"
upstream = "{upstream or f"{chat.url}/"}"
jwt = "main"
connections = {{ total = 200, per_subject = 150, warn_at = 0.5 }}
handshakes = {{ zone = "logins", burst = 100, nodelay = true }}
messages = {{ rate = "100r/s", burst = 200 }}

[[route]]
name = "board"
path = "/board"
upstream = "{chat.url}/"
jwt = "main"
connections = {{ total = 2 }}
{more}"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat):
    with Gateway(tmp_path_factory.mktemp("admin"), config(chat), env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture
def looking(page, gateway):
    """The page, once it shows something."""
    return look(page, gateway)


@pytest.fixture
def joined(gateway, token):
    """Opens sessions of a subject, all closed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def joined(subject, route="chat", count=1):
            all = []
            for _ in range(count):
                socket = open_chat(gateway.url(f"/{route}/rooms/{time.monotonic_ns()}"), token(subject=subject))
                all.append(stack.enter_context(socket))
                socket.recv(PATIENCE)
            return all[0] if count == 1 else all

        yield joined
    wait_until("its sessions are over", lambda: gateway.count("wsgate_worker_sessions", worker="0") == 0 or gateway.is_idle())


def row(page, text):
    return page.locator("#table tbody tr", has_text=text)


def chart(page, title):
    return page.locator("figure.chart", has=page.locator("h3", has_text=title)).locator("b")


def test_live_numbers_move(looking, joined):
    expect(chart(looking, "Sessions")).to_have_text("0")
    alice = joined("alice")
    expect(row(looking, "alice")).to_have_count(1)
    expect(chart(looking, "Sessions")).to_have_text("1")
    # The chat answers each message: in the table's row both directions go up, and both lines of the charts leave zero.
    stop = threading.Event()

    def talk():
        while not stop.is_set():
            alice.send("hello")
            alice.recv(PATIENCE)
            stop.wait(0.02)

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        expect(row(looking, "alice").locator("td").nth(4)).not_to_have_text("0")
        for title in ("Messages", "Bytes"):
            for line in (0, 1):
                expect(chart(looking, title).nth(line)).not_to_have_text("0" if title == "Messages" else "0 B")
    finally:
        stop.set()
        talking.join()
    assert "M" in looking.locator("figure.chart path.line-0").first.get_attribute("d")


def test_a_refusal_is_counted_by_reason_and_listed_with_what_was_wrong(looking, gateway, token):
    with pytest.raises(websockets.exceptions.InvalidStatus):
        open_chat(gateway.url("/chat/rooms/1"))
    with pytest.raises(websockets.exceptions.InvalidStatus):
        open_chat(gateway.url("/chat/rooms/1"), token(subject="late", exp=1))
    expect(looking.locator("#reasons", has_text="token_missing")).to_have_count(1)
    listed = looking.locator("#refusals tbody tr")
    expect(listed.first).to_contain_text("token_expired")
    expect(listed.first).to_contain_text("chat")
    expect(listed.nth(1)).to_contain_text("token_missing")


def test_a_connection_is_closed_by_keyboard_alone(looking, joined, gateway):
    alice, bob = joined("alice"), joined("bob")
    expect(row(looking, "alice")).to_have_count(1)
    expect(row(looking, "bob")).to_have_count(1)

    # The order of the page is the order of the keyboard: first by subject, so that alice is the first.
    tab_to(looking, "Subject")
    looking.keyboard.press("Enter")
    expect(looking.locator("th[aria-sort=ascending]")).to_have_text("Subject")
    tab_to(looking, "Close alice")
    with gateway.ends_one("kicked", "gateway", "chat"):
        looking.keyboard.press("Enter")
        expect(looking.locator("#question")).to_be_visible()
        expect(looking.locator("#question-facts")).to_contain_text("alice")
        # The first press can't close anybody: the focus is on the word that keeps.
        assert focused(looking) == "Keep it"
        tab_to(looking, "Close it")
        looking.keyboard.press("Enter")
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            alice.recv(PATIENCE)
    assert (alice.close_code, alice.close_reason) == (1008, "kicked")
    expect(looking.locator("#notice")).to_contain_text("Closed: alice")
    expect(looking.locator("#said")).to_contain_text("Closed: alice")
    expect(row(looking, "alice")).to_have_count(0)
    # The focus is not lost with the row: it goes on with the next.
    wait_until("the focus is in the page", lambda: "Close bob" in focused(looking))
    looking.keyboard.press("Enter")
    looking.keyboard.press("Escape")
    expect(looking.locator("#question")).not_to_be_visible()
    bob.send("still here")
    assert "still here" in bob.recv(PATIENCE)


def test_what_a_client_is_called_is_text_and_breaks_nothing(looking, joined):
    subjects = [HOSTILE, "\u202egnp.exe", "مرحبا بالعالم", "W" * 256, "&amp;&#x27;"]
    for subject in subjects:
        joined(subject)
    expect(looking.locator("#table tbody tr")).to_have_count(len(subjects))
    shown = looking.locator("#table tbody .who").all_inner_texts()
    # Marks that turn text around are replaced where the log replaces them.
    assert HOSTILE in shown and "مرحبا بالعالم" in shown and "&amp;&#x27;" in shown
    assert not any("\u202e" in text for text in shown) and "W" * 256 in shown
    assert looking.locator("#table img, #table script").count() == 0
    looking.locator("#table tbody tr", has_text="<img").get_by_role("button").click()
    expect(looking.locator("#question-facts")).to_contain_text(HOSTILE)
    assert looking.locator("dialog img, dialog script").count() == 0
    looking.keyboard.press("Escape")
    assert looking.title() == "wsgate: running"
    for width in (390, 1280):
        looking.set_viewport_size({"width": width, "height": 800})
        # The charts are drawn anew once their room has changed.
        fits = f"document.documentElement.scrollWidth <= {width}"
        wait_until(f"{width} px are enough", lambda: looking.evaluate(fits))
    # Were there a line that takes text for HTML, the browser would not run it.
    with pytest.raises(Exception, match="TrustedHTML"):
        looking.evaluate("document.body.innerHTML = '<b>no</b>'")


def test_many_connections_are_sorted_filtered_and_cut_into_pages_by_the_gateway(looking, joined):
    joined("carol", count=70)
    dave = joined("dave")
    dave.send("x" * 5000)
    dave.recv(PATIENCE)
    rows, shown = looking.locator("#table tbody tr"), looking.locator("#shown")
    expect(shown).to_have_text("1 to 50 of 71")
    expect(rows).to_have_count(50)
    looking.get_by_role("button", name="Next").click()
    expect(shown).to_have_text("51 to 71 of 71")
    expect(rows).to_have_count(21)
    looking.get_by_role("button", name="Bytes up").click()
    expect(shown).to_have_text("1 to 50 of 71")
    expect(rows.first).to_contain_text("dave")
    looking.get_by_role("button", name="Bytes up").click()
    expect(rows.first).to_contain_text("carol")
    looking.fill("#search", "DAV")
    expect(shown).to_have_text("1 to 1 of 1 that match")
    looking.fill("#search", "")
    looking.fill("#client", "10.0.0.0/8")
    expect(looking.locator("#none")).to_have_text("No connection matches.")
    looking.fill("#client", "10.0.")
    expect(looking.locator("#connections-wrong")).to_contain_text("client is an address or a network")
    looking.fill("#client", "127.0.0.1")
    expect(looking.locator("#connections-wrong")).not_to_be_visible()
    looking.select_option("#route", "board")
    expect(rows).to_have_count(0)
    looking.select_option("#route", "chat")
    looking.fill("#subject", "dave")
    expect(rows).to_have_count(1)


def test_caps_that_are_nearly_full_are_warned_of_in_words(looking, joined):
    joined("erin", "board", count=2)
    board = looking.locator("#fill li", has_text="board")
    expect(board).to_contain_text("2 of 2")
    expect(board).to_contain_text("near its limit")
    assert board.get_by_role("meter").get_attribute("aria-valuenow") == "100"


def test_a_gateway_that_goes_and_comes_back_is_survived(page, chat, tmp_path):
    port = free_port()
    with Gateway(tmp_path, config(chat), env={"JWT_SECRET": SECRET}, admin=f"127.0.0.1:{port}") as gateway:
        look(page, gateway)
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
    expect(page.locator("#live")).to_have_attribute("data-state", "gone")
    expect(page.locator("#live")).to_contain_text("does not answer")
    expect(page.locator("#main")).to_have_attribute("data-stale", "true")
    with Gateway(tmp_path, config(chat), env={"JWT_SECRET": SECRET}, admin=f"127.0.0.1:{port}"):
        expect(page.locator("#live")).to_have_attribute("data-state", "live")
        expect(page.locator("#said")).to_have_text("The gateway answers again.")
        expect(page.locator("#main")).to_have_attribute("data-stale", "false")


def test_the_page_asks_for_the_token_and_keeps_it_in_its_tab(browser, chat, authority, tmp_path):
    certificate, key = authority.files("admin.example.com", "127.0.0.1")
    tls = f'tls = {{ certificate = "{certificate}", key = "{key}" }}\n'
    env = {"JWT_SECRET": SECRET, "ADMIN_TOKEN": TOKEN}
    with Gateway(tmp_path, config(chat) , env=env, admin_keys=tls, ca=authority.file) as gateway:
        with browser.new_context() as context:
            page = context.new_page()
            asked = []
            page.on("request", lambda request: asked.append(request))
            page.goto(gateway.admin + "/")
            expect(page.locator("#login")).to_be_visible()
            expect(page.locator("#main")).not_to_be_visible()
            page.keyboard.type("not the right one")
            page.keyboard.press("Enter")
            expect(page.locator("#login-wrong")).to_contain_text("does not take this token")
            page.keyboard.type(TOKEN)
            page.keyboard.press("Enter")
            expect(page.locator("#live")).to_have_attribute("data-state", "live")
            expect(page.locator("#login")).not_to_be_visible()
            page.reload()
            expect(page.locator("#live")).to_have_attribute("data-state", "live")
            assert all(TOKEN not in request.url for request in asked)
            assert page.evaluate("localStorage.length") == 0 and context.cookies() == []
            # Another tab is another look: it is asked anew.
            other = context.new_page()
            other.goto(gateway.admin + "/")
            expect(other.locator("#login")).to_be_visible()
            page.get_by_role("button", name="Forget token").click()
            expect(page.locator("#login")).to_be_visible()
        # What a shell asks, over TLS with an authority of one's own.
        url = gateway.admin + "/readyz"
        with Child(BINARY, "health", "--url", url, "--ca", authority.file) as health:
            assert health.wait() == 0
        with Child(BINARY, "health", "--url", url) as health:
            assert health.wait() == 3 and "--ca" in health.err.tail()


def test_a_page_of_another_site_neither_reads_nor_closes_nor_frames(page, gateway, joined, site):
    frank = joined("frank")
    page.goto(f"http://127.0.0.1:{site}/")
    fetched = """([url, method]) => fetch(url, { method }).then((answer) => answer.status, () => "blocked")"""
    [(upstream, server)] = {(one["upstream"], one["servers"][0]["server"]) for one in json.loads(gateway.page("/upstreams")[1])["upstreams"]}
    drain = f"/upstreams/{urllib.parse.quote(upstream, safe='')}/{server}/drain"
    for path, method in (("/status", "GET"), ("/connections?all=true", "DELETE"), ("/metrics", "GET"), (drain, "POST")):
        assert page.evaluate(fetched, [gateway.admin + path, method]) == "blocked"
    # Not even sent unseen, as a form would.
    page.evaluate("""(url) => fetch(url, { method: "POST", mode: "no-cors" }).catch(() => {})""", gateway.admin + drain)
    assert '"drained"' not in gateway.page("/upstreams")[1]
    unseen = """(url) => fetch(url, { mode: "no-cors" }).then((answer) => answer.type, () => "blocked")"""
    assert page.evaluate(unseen, gateway.admin + "/status") == "blocked"
    framed = """(url) => new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.onload = () => { try { resolve(frame.contentDocument === null ? "elsewhere" : "empty"); } catch { resolve("elsewhere"); } };
        frame.src = url;
        document.body.append(frame);
    })"""
    page.evaluate(framed, gateway.admin + "/")
    assert [frame.query_selector("#main") for frame in page.frames[1:]] == [None]
    frank.send("still here")
    assert "still here" in frank.recv(PATIENCE)


def test_numbers_are_written_for_people(looking):
    shown = looking.evaluate("""async () => {
        const { ago, bytes, count, duration, percent } = await import("/page/format.js");
        return [[0, 7, 0.25, 999, 9999, 10000, 999960, 1.5e6, NaN].map(count),
            [0, 1023, 1024, 1048575, 5e9].map(bytes), [0, 59, 60, 3661, 90000].map(duration),
            [ago(0, 500), ago(0, 61000)], [0, 0.001, 0.5, 0.999, 1].map(percent)];
    }""")
    assert shown == [
        ["0", "7", "0.3", "999", "9,999", "10.0k", "1.0M", "1.5M", "–"],
        ["0 B", "1,023 B", "1.0 KiB", "1.0 MiB", "4.7 GiB"],
        ["0s", "59s", "1m", "1h 1m", "1d 1h"],
        ["now", "1m 1s ago"],
        ["0 %", "< 1 %", "50 %", "99 %", "100 %"],
    ]


def test_lines_are_differences_and_axes_have_round_marks(looking):
    rates, marks = looking.evaluate("""async () => {
        const { perSecond, ticks } = await import("/page/rates.js");
        const most = [[0], [0.4], [1], [7], [100], [1234], [1500, 1024], [3e6, 1024]];
        return [perSecond([0, 2000, 4000, 8000], [0, 10, 4, 12]), most.map((one) => ticks(...one))];
    }""")
    # A counter that fell says nothing.
    assert rates == [5, 0, 2]
    for most, list in zip([0, 0.4, 1, 7, 100, 1234, 1500, 3e6], marks):
        assert list[0] == 0 and list[-1] >= most and 2 <= len(list) <= 5, (most, list)
    assert marks[3] == [0, 5, 10] and marks[6] == [0, 512, 1024, 1536] and marks[7] == [0, 1 << 20, 2 << 20, 3 << 20]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_dark(browser, gateway, scheme):
    with browser.new_context(color_scheme=scheme, reduced_motion="reduce") as context:
        page = look(context.new_page(), gateway)
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        card = page.evaluate("getComputedStyle(document.getElementById('connections')).backgroundColor")
        assert (contrast(back, "rgb(0, 0, 0)") < 2) == (scheme == "dark"), back
        for selector in ("h2", "#uptime", "#shown", ".facts", "#phase", "th", ".legend", "label"):
            colour = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).color")
            assert contrast(colour, back) >= 4.5 and contrast(colour, card) >= 4.5, (selector, colour)


class Scene:
    """Some minutes in the life of a gateway: people who talk, and others who should not have come."""

    def __init__(self, gateway, token, board=2):
        self._gateway, self._token, self._stop = gateway, token, threading.Event()
        names = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", HOSTILE[:28] + ">", "Zoë", "user-7f3a9c"]
        self._threads = [threading.Thread(target=self._talk, args=(name, n)) for n, name in enumerate(names)]
        self._threads += [threading.Thread(target=self._intrude)]
        self._threads += [threading.Thread(target=self._talk, args=(f"board-{n}", 40 + n, "board")) for n in range(board)]

    def _talk(self, name, n, route="chat"):
        with open_chat(self._gateway.url(f"/{route}/rooms/{n}"), self._token(subject=name)) as socket:
            socket.recv(PATIENCE)
            turn = 0
            while not self._stop.wait(0.05 + 0.03 * n):
                turn += 1
                # Some minutes are livelier than others.
                for _ in range(3 if (turn // 40) % 3 == 1 else 1):
                    socket.send("x" * (40 + 170 * (n % 5)))
                    socket.recv(PATIENCE)

    def _intrude(self):
        url = self._gateway.url
        expired = self._token(subject="late", exp=1)
        wrong = [("/chat/1", None), ("/chat/1", expired), ("/board/1", self._token(subject="one-too-many")),
                 ("/chat/1", "no.good.token"), ("/wp-login.php", None), ("/chat/1", expired)]
        turn = 0
        while not self._stop.wait(0.35):
            turn += 1
            path, token = wrong[turn % len(wrong)]
            with contextlib.suppress(websockets.exceptions.InvalidStatus):
                open_chat(url(path), token).close()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def size(picture):
    """Width and height of a PNG."""
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 30_000
    return struct.unpack(">II", data[16:24])


@pytest.fixture
def on_a_pool(tmp_path, chat):
    """A gateway whose chat has two servers that are well, one that an operator took out, and one that is dead."""
    with Chat() as second, Chat() as third:
        ports = [chat.port, second.port, third.port, free_port()]
        servers = ", ".join(f'{{ address = "127.0.0.1:{port}", max_connections = 500 }}' for port in ports)
        checks = '{ type = "tcp", interval = "500ms", timeout = "500ms", fall = 1 }'
        pool = f'[upstream.chat]\nservers = [{servers}]\npath = "/"\nhealth = {checks}\n'
        with Gateway(tmp_path, config(chat, pool, "chat"), env={"JWT_SECRET": SECRET}) as gateway:
            drain = f"{gateway.admin}/upstreams/chat/127.0.0.1:{third.port}/drain"
            urllib.request.urlopen(urllib.request.Request(drain, method="POST")).close()
            yield gateway


# With WSGATE_BLESS=1 the pictures of the documentation are made anew, of two minutes of traffic.
BLESS = os.environ.get("WSGATE_BLESS") == "1"


@pytest.mark.timeout(300)
def test_the_pages_picture_shows_every_room_and_nothing_overlaps(browser, on_a_pool, token):
    gateway = on_a_pool
    with Scene(gateway, token), contextlib.ExitStack() as stack:
        pages = {}
        for name, scheme, width in (("admin", "light", 1280), ("admin-dark", "dark", 1280), ("admin-phone", "light", 390)):
            viewport = {"width": width, "height": 900}
            context = stack.enter_context(browser.new_context(color_scheme=scheme, viewport=viewport))
            pages[name] = look(context.new_page(), gateway)
        if BLESS:
            time.sleep(120)
        for name, page in pages.items():
            expect(page.locator("#table tbody tr")).to_have_count(13)
            expect(page.locator("#refusals tbody tr").nth(4)).to_be_visible()
            expect(page.locator("#upstreams-shown")).to_have_text("3 of 5 up")
            expect(page.locator("#reasons tbody").first).to_contain_text("token_expired")
            width = page.viewport_size["width"]
            wait_until(f"{width} px are enough", lambda: page.evaluate(f"document.documentElement.scrollWidth <= {width}"))
            boxes = [box.bounding_box() for box in page.locator("main section, header, figure.chart").all()]
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] > 20 for box in boxes), boxes
            sections = [box.bounding_box() for box in page.locator("main > section, .columns > section").all()]
            for n, one in enumerate(sections):
                for other in sections[n + 1 :]:
                    apart = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
                    assert apart or one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
            picture = (DOCS if BLESS and name != "admin-phone" else OUT) / f"{name}.png"
            picture.parent.mkdir(exist_ok=True)
            page.screenshot(path=picture, full_page=True)
            assert size(picture)[0] == width
    wait_until("its sessions are over", gateway.is_idle)
    for name in ("admin", "admin-dark"):
        assert size(DOCS / f"{name}.png")[0] == 1280
