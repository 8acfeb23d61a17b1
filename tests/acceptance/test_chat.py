"""An application that nobody changed, reached through the gateway by people with tokens."""

import json
import time

import pytest

from parts.child import PATIENCE
from parts.client import close_of, open_chat, refusal
from parts.gateway import Gateway
from parts.tokens import SECRET

CONFIG = """
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
issuer = "https://id.example.com/"
audience = ["chat"]
leeway = "0s"

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat}/"
jwt = "main"
token_from = ["header", "query:token", "cookie:session", "subprotocol"]
origins = ["https://app.example.com"]
allow_missing_origin = true

[[route]]
name = "strict"
path = "/strict"
upstream = "{chat}/"
pass_upstream_errors = false
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat):
    config = CONFIG.format(chat=chat.url)
    with Gateway(tmp_path_factory.mktemp("chat"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


def receive(connection):
    return json.loads(connection.recv(timeout=PATIENCE))


def test_two_people_chat_and_the_application_knows_who_they_are(gateway, token):
    url = gateway.url("/chat/rooms/lobby")
    with open_chat(url, token(subject="alice")) as alice:
        assert receive(alice) == {"joined": "alice"}
        with open_chat(url, token(subject="bob")) as bob:
            assert receive(alice) == receive(bob) == {"joined": "bob"}
            alice.send("hello")
            assert receive(alice) == receive(bob) == {"from": "alice", "text": "hello"}
            bob.send("grüß dich ☺")
            assert receive(alice) == receive(bob) == {"from": "bob", "text": "grüß dich ☺"}
        assert receive(alice) == {"left": "bob", "code": 1000}


def test_a_message_to_one_room_is_not_heard_in_another(gateway, token):
    with open_chat(gateway.url("/chat/rooms/a"), token(subject="alice")) as alice:
        with open_chat(gateway.url("/chat/rooms/b"), token(subject="bob")) as bob:
            assert (receive(alice), receive(bob)) == ({"joined": "alice"}, {"joined": "bob"})
            bob.send("only b")
            alice.send("only a")
            assert receive(alice)["text"] == "only a"
            assert receive(bob)["text"] == "only b"


def test_the_subprotocol_that_the_application_chose_reaches_the_client(gateway, token):
    url = gateway.url("/chat/rooms/protocols")
    with open_chat(url, token(), subprotocols=["chat.v1", "chat.v2"]) as connection:
        assert connection.subprotocol == "chat.v2"
    with open_chat(url, subprotocols=["chat.v2", f"bearer.{token()}"]) as connection:
        assert connection.subprotocol == "chat.v2"
        assert receive(connection) == {"joined": "alice"}


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("size", [1, 125, 126, 65_535, 65_536, 1_000_000])
def test_messages_of_every_size_arrive_whole(gateway, token, compression, size):
    with open_chat(gateway.url("/chat/rooms/sizes"), token(), compression=compression) as connection:
        agreed = connection.response.headers.get("Sec-WebSocket-Extensions", "")
        assert ("permessage-deflate" in agreed) == (compression == "deflate")
        receive(connection)
        text = ("0123456789abcdef" * (size // 16 + 1))[:size]
        connection.send(text)
        assert receive(connection)["text"] == text


def test_a_message_in_fragments_arrives_as_one(gateway, token):
    with open_chat(gateway.url("/chat/rooms/fragments"), token()) as connection:
        receive(connection)
        connection.send(["one ", "two ", "three"])
        assert receive(connection)["text"] == "one two three"


@pytest.mark.parametrize("compression", ["deflate", None])
def test_the_application_may_send_far_more_than_a_client_may(gateway, token, compression):
    with open_chat(gateway.url("/chat/large/8000000"), token(), compression=compression) as connection:
        assert connection.recv(timeout=PATIENCE) == "ü" * 4_000_000
        connection.send("thanks")


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4100])
def test_a_clients_close_code_reaches_the_application(gateway, token, code):
    url = gateway.url("/chat/rooms/leaving")
    with open_chat(url, token(subject="alice")) as alice:
        receive(alice)
        with open_chat(url, token(subject="bob")) as bob:
            receive(alice)
            bob.close(code, "bye")
        assert receive(alice) == {"left": "bob", "code": code}
        line = gateway.line(subject="bob", side="client", close_code=code)
        assert line["reason"] == "closed"


@pytest.mark.parametrize("code", [1000, 1003, 1011, 4999])
def test_the_applications_close_code_reaches_the_client(gateway, token, code):
    with open_chat(gateway.url(f"/chat/leave/{code}"), token()) as connection:
        assert close_of(connection) == (code, "the application says goodbye")
    assert gateway.line(side="upstream", close_code=code)["reason"] == "closed"


def test_the_applications_own_refusals_pass_as_what_they_are(gateway, token):
    with gateway.refuses_one("upstream_refused", "chat"):
        assert refusal(gateway.url("/chat/rooms/staff"), token()).status_code == 403
    with gateway.refuses_one("upstream_refused", "chat"):
        assert refusal(gateway.url("/chat/rooms/nowhere"), token()).status_code == 404


def test_a_route_may_hide_the_applications_own_refusals(gateway):
    answer = refusal(gateway.url("/strict/rooms/staff"))
    assert (answer.status_code, answer.body.split(b":")[0]) == (502, b"upstream_refused")


@pytest.mark.parametrize("place", ["header", "query", "cookie", "subprotocol"])
def test_the_application_never_sees_the_token(gateway, token, place):
    secret = token(subject="carol")
    how = {
        "header": {"token": secret},
        "query": {},
        "cookie": {"headers": {"Cookie": f"theme=dark; session={secret}"}},
        "subprotocol": {"subprotocols": ["chat.v2", f"bearer.{secret}"]},
    }[place]
    query = f"&token={secret}" if place == "query" else ""
    with open_chat(gateway.url(f"/chat/headers?page=1{query}"), **how) as connection:
        seen = receive(connection)
    text = json.dumps(seen)
    assert "carol" in text and "page=1" in seen["target"]
    for piece in secret.split("."):
        assert piece not in text, place
    assert secret not in "\n".join(gateway.out.since(0) + gateway.err.since(0)), "the token stands in a log"


def test_a_subject_that_a_client_claims_is_not_believed(gateway, token):
    spoofed = {"X-Auth-Subject": "root", "x_auth_subject": "root", "X_AUTH-subject": "root"}
    with open_chat(gateway.url("/chat/headers"), token(subject="mallory"), headers=spoofed) as connection:
        seen = receive(connection)["headers"]
    subjects = [value for name, value in seen if "auth" in name.lower()]
    assert subjects == ["mallory"], seen


def test_what_a_client_says_of_its_own_address_is_not_believed(gateway, token):
    spoofed = {"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7", "X-Real-IP": "10.9.8.7"}
    with open_chat(gateway.url("/chat/headers"), token(), headers=spoofed) as connection:
        seen = receive(connection)["headers"]
    assert "10.9.8.7" not in json.dumps(seen)
    assert ["x-forwarded-for", "127.0.0.1"] in seen and ["x-forwarded-proto", "http"] in seen


def test_a_page_that_is_not_on_the_list_gets_403_and_one_that_is_gets_in(gateway, token):
    url = gateway.url("/chat/rooms/pages")
    with gateway.refuses_one("origin_forbidden", "chat") as line:
        answer = refusal(url, token(), origin="https://evil.example.com")
    assert (answer.status_code, answer.body.split(b":")[0]) == (403, b"origin_forbidden")
    assert line["origin"] == "https://evil.example.com"
    with open_chat(url, token(), origin="https://app.example.com") as connection:
        assert connection.response.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert "Origin" in connection.response.headers["Vary"]


def test_a_session_ends_with_its_token_in_the_middle_of_a_chat(gateway, token):
    url = gateway.url("/chat/rooms/expiry")
    with open_chat(url, token(subject="witness")) as witness:
        receive(witness)
        expires = int(time.time()) + 2
        with gateway.ends_one("token_expired", "gateway", "chat") as line:
            with open_chat(url, token(subject="brief", exp=expires)) as brief:
                receive(witness)
                brief.send("still here")
                assert receive(brief) == {"joined": "brief"}
                assert receive(brief) == receive(witness) == {"from": "brief", "text": "still here"}
                assert close_of(brief) == (4001, "token_expired")
                assert abs(time.time() - expires) < 1.5
            # The application is told too, and the others stay.
            assert receive(witness) == {"left": "brief", "code": 4001}
        assert (line["subject"], line["close_code"], line["messages_to_upstream"]) == ("brief", 4001, 1)
        witness.send("alone now")
        assert receive(witness)["text"] == "alone now"
