"""A session that outlives its token: a page renews it with fetch; a client whose session ended comes back with a new one."""

import datetime
import json
import time
import urllib.error
import urllib.request

import pytest

from parts.child import PATIENCE, wait_until
from parts.client import close_of, open_chat
from parts.gateway import Gateway
from parts.issuer import Issuer, answer
from parts.tokens import SECRET


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, authority, site):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[listen.tls]
{authority.issue("renewal.example.com", "127.0.0.1")}

[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
leeway = "0s"

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat.url}/"
jwt = "main"
token_from = ["header", "subprotocol"]
origins = ["http://127.0.0.1:{site}"]
allow_missing_origin = true
renew = "/ws/renew"
"""
    with Gateway(tmp_path_factory.mktemp("renewal"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


def renewals(gateway):
    counts = gateway.counts()
    return {dict(labels)["result"]: value for (name, labels), value in counts.items() if name == "wsgate_renewals_total" and value}


@pytest.mark.parametrize("in_body", [False, True], ids=["in the header", "in the body"])
def test_a_page_renews_its_socket_which_then_ends_with_the_new_token(gateway, chat, token, held, in_body):
    socket = gateway.url("/chat/rooms/renewed", scheme="wss")
    renewal = gateway.url("/ws/renew", scheme="https")
    before = renewals(gateway).get("renewed", 0)
    held.visit()
    # The page has these seconds to connect and renew, and those between them to say something, also on a busy machine.
    first, second = time.time() + 2, time.time() + 4
    assert held.call("connect", socket, token(subject="page", exp=first)) == {"message": {"joined": "page"}}
    said = held.call("renew", renewal, token(subject="page", exp=second), in_body)
    assert said["status"] == 200, said
    assert json.loads(said["body"])["renewed"] == 1
    wait_until("the first token is over", lambda: time.time() > first + 0.3)
    assert held.call("say", "still here") == {"message": {"from": "page", "text": "still here"}}
    # Nobody joined meanwhile, and the renewal is none of the application's business.
    assert not [line for line in chat.out.since(0) + chat.err.since(0) if "/ws/renew" in line]
    assert held.call("step") == {"code": 4001, "reason": "token_expired", "clean": True}
    assert second <= time.time() < second + 2
    assert renewals(gateway)["renewed"] == before + 1


def test_a_page_elsewhere_renews_nothing(gateway, token, held):
    held.visit(host="localhost")
    with open_chat(gateway.url("/chat/rooms/elsewhere", listener=1), token(exp=int(time.time()) + 60)):
        since, before = len(gateway.out), renewals(gateway)
        for in_body in (False, True):
            # With the header the preflight fails. Without it the browser sends the request, and it is the gateway that
            # refuses it.
            assert held.call("renew", gateway.url("/ws/renew", scheme="https"), token(), in_body) == {"error": "TypeError"}
        for line in (gateway.line(since), gateway.line(since + 1)):
            assert (line["reason"], line["status"], line["sessions"]) == ("origin_forbidden", 403, 0)
        assert renewals(gateway) == {**before, "origin_forbidden": before.get("origin_forbidden", 0) + 2}


def post(url, token):
    request = urllib.request.Request(url, b"", {"Authorization": f"Bearer {token}"}, method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode().partition(":")[0]


def test_only_a_later_token_of_the_same_person_moves_the_end(gateway, token):
    url, now = gateway.url("/ws/renew", listener=1, scheme="http"), time.time()
    mine = token(subject="alice", sid="phone", exp=now + 300)
    with open_chat(gateway.url("/chat/rooms/same", listener=1), mine):
        for other in ({"subject": "bob", "sid": "phone"}, {"subject": "alice", "sid": "laptop"}, {"subject": "alice"}):
            assert post(url, token(**other)) == (404, "no_session"), other
        assert post(url, token(subject="alice", sid="phone", exp=now + 200)) == (404, "no_session")
        assert post(url, token(subject="alice", sid="phone", exp=now - 9)) == (403, "token_expired")
        assert post(url, mine[:-4] + "AAAA") == (403, "token_invalid")
        status, said = post(url, token(subject="alice", sid="phone", exp=int(now) + 400))
        ends = datetime.datetime.fromisoformat(said["expires"])
        assert (status, said["renewed"], ends.timestamp()) == (200, 1, int(now) + 400)


class Login:
    """A login endpoint: it knows one password, until the user is gone."""

    def __init__(self, issuer, token):
        self.issuer, self.token, self.known, self.ends = issuer, token, True, []
        issuer.pages["/login"] = self.page

    def page(self, handler):
        allowed = self.known and handler.headers["Authorization"] == "Bearer refresh-me"
        if not allowed:
            return answer({"error": "invalid_grant"}, status=401)(handler)
        self.ends.append(time.time() + 1.5)
        return answer({"access_token": self.token(subject="phone", exp=self.ends[-1])})(handler)


def fetch_token(login):
    """What an app does with its long-lived credential; none if that is no longer good."""
    request = urllib.request.Request(f"{login.issuer.url}/login", headers={"Authorization": "Bearer refresh-me"})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())["access_token"]
    except urllib.error.HTTPError as error:
        assert error.code == 401
        return None


def test_a_mobile_client_comes_back_with_a_new_token_for_as_long_as_it_may(gateway, token):
    url, seen = gateway.url("/chat/rooms/mobile", listener=1), []
    with Issuer() as issuer:
        login = Login(issuer, token)
        while (fresh := fetch_token(login)) is not None:
            with open_chat(url, fresh) as connection:
                assert json.loads(connection.recv(timeout=PATIENCE)) == {"joined": "phone"}
                connection.send(f"from session {len(seen)}")
                assert json.loads(connection.recv(timeout=PATIENCE))["text"] == f"from session {len(seen)}"
                seen.append(close_of(connection))
            assert time.time() >= login.ends[-1]
            # Logged out during the second session: no new token, so the client stops instead of knocking for ever.
            login.known = len(seen) < 2
    assert seen == [(4001, "token_expired")] * 2
    assert issuer.asked["/login"] == 3
