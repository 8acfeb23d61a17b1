"""A browser, which nobody can talk into a header or out of its Origin, opens sockets from pages."""

import json
import time

import pytest

from parts.gateway import Gateway
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
token_from = ["subprotocol"]
origins = ["http://127.0.0.1:{site}"]
"""
    with Gateway(tmp_path_factory.mktemp("browser"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture
def visit(page, gateway, keys, site):
    """Opens the chat from a page on `host` with a token, as a script there does; returns what the script saw."""

    def visit(host="127.0.0.1", send=(), wanted=1000, **said):
        page.goto(f"http://{host}:{site}/")
        token = by_pyjwt(keys, "HS256", claims(**said))
        url = gateway.url("/chat/rooms/browser", scheme="wss")
        arguments = [url, ["chat.v2", f"bearer.{token}"], list(send), wanted]
        return page.evaluate("(arguments) => visit(...arguments)", arguments)

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
