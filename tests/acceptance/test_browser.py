"""A browser, which nobody can talk into a header or out of its Origin, opens sockets from pages."""

import base64
import json
import time

import pytest

from parts.child import wait_until
from parts.gateway import Gateway
from parts.pages import Held
from parts.tokens import SECRET, by_pyjwt, claims


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, authority, site):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[listen.tls]
{authority.issue("browser.example.com", "127.0.0.1")}

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
leeway = "0s"

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat.url}/"
jwt = "main"
token_from = ["subprotocol", "subprotocol:auth-"]
origins = ["http://127.0.0.1:{site}"]

[[route]]
name = "told"
path = "/told"
upstream = "{chat.url}/"
jwt = "main"
token_from = ["subprotocol"]
origins = ["http://127.0.0.1:{site}"]
connections = {{ per_ip = 1 }}
deny = "close"

[[route]]
name = "device"
path = "/device"
upstream = "{chat.url}/"
jwt = "main"
token_from = ["subprotocol"]
origins = ["http://127.0.0.1:{site}"]
connections = {{ per_subject = 1, on_full = "close_oldest" }}
"""
    with Gateway(tmp_path_factory.mktemp("browser"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture
def visit(page, gateway, keys, site):
    """Opens the chat from a page on `host` with a token, as a script there does; returns what the script saw. In `offer`,
    TOKEN and ENCODED stand for the token, plain and in base64url."""

    def visit(host="127.0.0.1", send=(), wanted=1000, route="chat", offer=("chat.v2", "bearer.TOKEN"), **said):
        page.goto(f"http://{host}:{site}/")
        token = by_pyjwt(keys, "HS256", claims(**said))
        encoded = base64.urlsafe_b64encode(token.encode()).rstrip(b"=").decode()
        url = gateway.url(f"/{route}/rooms/browser", scheme="wss")
        protocols = [entry.replace("TOKEN", token).replace("ENCODED", encoded) for entry in offer]
        return page.evaluate("(arguments) => visit(...arguments)", [url, protocols, list(send), wanted])

    return visit


def test_from_an_allowed_page_a_browser_chats_over_tls(gateway, visit):
    with gateway.ends_one("closed", "client", "chat") as line:
        seen = visit(send=["hello", "x" * 100_000], wanted=3, subject="browser")
    assert seen["opened"] and seen["protocol"] == "chat.v2" and "permessage-deflate" in seen["extensions"]
    joined, hello, long = map(json.loads, seen["messages"])
    assert (joined, hello) == ({"joined": "browser"}, {"from": "browser", "text": "hello"})
    assert long["text"] == "x" * 100_000
    assert (seen["code"], seen["reason"], seen["clean"]) == (4242, "seen enough", True)
    assert (line["subject"], line["close_code"]) == ("browser", 4242)


def test_a_page_elsewhere_sees_1006_and_the_log_says_why(gateway, site, visit):
    with gateway.refuses_one("origin_forbidden", "chat") as line:
        seen = visit(host="localhost")
    assert (seen["opened"], seen["code"], seen["clean"]) == (False, 1006, False)
    assert line["origin"] == f"http://localhost:{site}"


def test_a_page_with_a_bad_token_sees_1006_and_the_log_says_why(gateway, visit):
    with gateway.refuses_one("token_expired", "chat"):
        seen = visit(exp=int(time.time()) - 60)
    assert (seen["opened"], seen["code"]) == (False, 1006)


def test_a_page_sees_4001_when_its_token_expires(gateway, visit):
    with gateway.ends_one("token_expired", "gateway", "chat"):
        seen = visit(send=["hello"], exp=int(time.time()) + 2)
    assert seen["opened"] and len(seen["messages"]) == 2
    assert (seen["code"], seen["reason"], seen["clean"]) == (4001, "token_expired", True)


MARKED = ("bearer", "bearer.TOKEN")


@pytest.mark.parametrize(
    "offer",
    [
        MARKED,
        ("chat.v1", *MARKED),
        ("auth", "auth-TOKEN"),
        ("base64url.bearer.authorization", "base64url.bearer.authorization.ENCODED"),
        ("base64url.bearer.authorization.k8s.io", "base64url.bearer.authorization.k8s.io.ENCODED"),
    ],
)
def test_beside_a_marker_any_backend_will_do(gateway, visit, offer):
    with gateway.ends_one("closed", "client", "chat"):
        seen = visit(send=["hello"], wanted=2, offer=offer)
    marker = next(entry for entry in offer if "chat" not in entry)
    assert seen["opened"] and seen["protocol"] == marker, "the backend chose none, so the gateway did"
    assert json.loads(seen["messages"][1])["text"] == "hello"


def test_what_the_backend_chose_comes_before_the_marker(gateway, visit):
    with gateway.ends_one("closed", "client", "chat"):
        seen = visit(wanted=1, offer=("chat.v2", *MARKED))
    assert (seen["opened"], seen["protocol"]) == (True, "chat.v2")


def test_a_token_alone_leaves_a_browser_without_an_answer(gateway, visit):
    with gateway.counts_one("wsgate_sessions_ended_total", route="chat", side="client", reason="client_lost"):
        seen = visit(offer=("bearer.TOKEN",))
    assert (seen["opened"], seen["code"]) == (False, 1006)


def told(seen):
    """What a page is told by a Close: the socket was open for a moment."""
    assert seen["opened"] and seen["clean"] and seen["messages"] == [], seen
    return seen["code"], seen["reason"]


def test_where_refusals_are_told_by_a_close_a_page_reads_code_and_label(gateway, visit):
    expired = int(time.time()) - 60
    for refused, said in [
        ((4001, "token_expired"), {"exp": expired}),
        ((4001, "token_invalid"), {"offer": ("bearer", "bearer.TOKENx")}),
        ((4001, "token_missing"), {"offer": ("bearer", "chat.v2")}),
        ((4003, "origin_forbidden"), {"host": "localhost"}),
    ]:
        with gateway.refuses_one(refused[1], "told") as line:
            # What a page sends as soon as it may goes nowhere.
            seen = visit(route="told", send=["hello"], **{"offer": MARKED, **said})
        assert told(seen) == refused
        assert (line["status"], line["close_code"]) == (101, refused[0])
        with gateway.refuses_one(refused[1], "chat") as line:
            seen = visit(route="chat", **{"offer": MARKED, **said})
        assert (seen["opened"], seen["code"], seen["reason"]) == (False, 1006, "")
        assert line["status"] == 403 and "close_code" not in line


def test_a_page_beyond_a_cap_reads_4029(gateway, page, keys, site):
    since = len(gateway.out)
    page.goto(f"http://127.0.0.1:{site}/")
    token = by_pyjwt(keys, "HS256", claims())
    said = [gateway.url("/told/rooms/browser", scheme="wss"), ["bearer", f"bearer.{token}"]]
    first = """([url, protocols]) => new Promise((resolve) => {
        window.first = new WebSocket(url, protocols);
        first.onmessage = () => resolve(first.protocol);
    })"""
    assert page.evaluate(first, said) == "bearer"
    second = page.evaluate("(arguments) => visit(...arguments)", [*said, [], 1])
    assert told(second) == (4029, "ip_cap")
    assert gateway.line(since, reason="ip_cap")["close_code"] == 4029
    page.evaluate("() => first.close()")
    gateway.line(since, event="session_ended", route="told", side="client")


def test_the_second_devices_login_closes_the_first_ones_socket_which_reads_why(gateway, browser, token, site):
    with browser.new_context() as home, browser.new_context() as pocket, browser.new_context() as another:
        laptop, phone, stranger = (Held(device.new_page(), site) for device in (home, pocket, another))

        def login(device, name, subject):
            device.visit()
            said = device.call("connect", gateway.url(f"/device/rooms/{name}", scheme="wss"), token(subject=subject))
            assert said == {"message": {"joined": subject}}

        login(laptop, "laptop", "alice")
        login(stranger, "stranger", "bob")
        with gateway.ends_one("subject_cap", "gateway", "device") as line:
            login(phone, "phone", "alice")
            assert laptop.call("step") == {"code": 4029, "reason": "subject_cap", "clean": True}
        assert (line["subject"], line["close_code"]) == ("alice", 4029)
        for device, subject in ((phone, "alice"), (stranger, "bob")):
            assert device.call("say", "still here") == {"message": {"from": subject, "text": "still here"}}
    wait_until("their sessions are over", lambda: gateway.count("wsgate_sessions_active", route="device") == 0)
