"""Who may open which room, and how an application without a login of its own learns who it is."""

import base64
import json
import time
import urllib.parse

import jwt
import pytest

from parts.child import PATIENCE
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.tokens import ISSUER, SECRET
from parts.upstreams import Chat


@pytest.fixture(scope="module")
def app(keys):
    with Chat("trusting", env={"GATEWAY_KEY": keys.public_pem("ES256").decode()}) as app:
        yield app


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, app, keys):
    folder = tmp_path_factory.mktemp("identity")
    (folder / "gateway.key").write_text(keys.signer("ES256"))
    (folder / "gateway.key").chmod(0o600)
    config = f"""
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
issuer = "{ISSUER}"

[assertion.internal]
algorithm = "ES256"
private_key = "file:gateway.key"
audience = "chat"
claims = ["email", "tenant.id"]

[[route]]
name = "rooms"
path = "/rooms/{{room}}"
upstream = "{app.url}"
jwt = "main"
require = {{ scope = "chat:read", roles = {{ any = ["member", "admin"] }}, "tenant.id" = "acme", room = "{{room}}" }}
claim_headers = {{ email = "X-Auth-Email", roles = "X-Auth-Roles", "tenant.id" = "X-Auth-Tenant" }}
assertion = "internal"
"""
    with Gateway(folder, config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


MEMBER = {
    "subject": "alice",
    "email": "zoë@example.com",
    "roles": ["guest", "member"],
    "tenant": {"id": "acme"},
    "scope": "openid chat:read",
    "room": "red",
}


def hello(gateway, path, token, **more):
    since = len(gateway.out)
    with open_chat(gateway.url(path), token, **more) as connection:
        said = json.loads(connection.recv(timeout=PATIENCE))
    # Its end is not to be taken for something that comes after it.
    gateway.line(since, event="session_ended")
    return said


def test_the_application_learns_who_it_is_from_headers_and_from_what_is_signed(gateway, token):
    said = hello(gateway, "/rooms/red", token(**MEMBER))
    headers = dict(said["headers"])
    assert len(headers) == len(said["headers"]) == 5, said["headers"]
    assert headers["x-auth-subject"] == "alice"
    assert urllib.parse.unquote(headers["x-auth-email"]) == "zoë@example.com" and headers["x-auth-email"].isascii()
    assert headers["x-auth-roles"] == "guest,member" and headers["x-auth-tenant"] == "acme"
    claims = said["claims"]
    assert {name: claims[name] for name in ("sub", "iss", "aud", "origin_iss", "email", "tenant.id")} == {
        "sub": "alice",
        "iss": "wsgate",
        "aud": "chat",
        "origin_iss": ISSUER,
        "email": "zoë@example.com",
        "tenant.id": "acme",
    }
    assert claims["exp"] - claims["iat"] == 60 and abs(claims["iat"] - time.time()) < 10
    assert hello(gateway, "/rooms/red", token(**MEMBER))["claims"]["jti"] != claims["jti"]


def test_what_a_client_says_of_itself_never_arrives(gateway, token, keys):
    made_up = jwt.encode({"sub": "root"}, SECRET, algorithm="HS256")
    names = ("X-Auth-Subject", "X-Auth-Email", "X-Auth-Roles", "X-Auth-Assertion", "x_auth_email", "X-AUTH-TENANT")
    forged = {name: made_up if "Assertion" in name else "root" for name in names}
    # Neither beside the gateway's own nor where it has nothing to say.
    for claims in (MEMBER, {**MEMBER, "email": None}):
        said = hello(gateway, "/rooms/red", token(**claims), headers=forged)
        assert said["claims"]["sub"] == "alice"
        assert not [pair for pair in said["headers"] if pair[1] in ("root", made_up)], said["headers"]


def test_past_the_gateway_a_header_is_worth_nothing(app, keys):
    url = f"ws://127.0.0.1:{app.port}/rooms/red"
    now = int(time.time())
    good = {"sub": "root", "iss": "wsgate", "aud": "chat", "iat": now, "exp": now + 60, "jti": "x"}
    wrong = [
        {},
        {"X-Auth-Assertion": jwt.encode(good, SECRET, algorithm="HS256")},
        {"X-Auth-Assertion": jwt.encode({**good, "exp": now - 1}, keys.signer("ES256"), algorithm="ES256")},
    ]
    for headers in wrong:
        assert refusal(url, headers={"X-Auth-Subject": "root", **headers}).status_code == 403


def test_a_token_for_one_room_opens_one_room(gateway, token):
    for room in ("blue", "Red", "red2", "re", "{room}"):
        with gateway.refuses_one("token_forbidden", "rooms"):
            answer = refusal(gateway.url(f"/rooms/{urllib.parse.quote(room)}"), token(**MEMBER))
        assert answer.status_code == 403
    assert hello(gateway, "/rooms/blue", token(**{**MEMBER, "room": "blue"}))["room"] == "blue"


def test_the_room_is_what_the_application_takes_for_it_however_it_is_written(gateway, token):
    assert hello(gateway, "/rooms/r%65d", token(**MEMBER))["room"] == "red"
    with gateway.refuses_one("token_forbidden", "rooms"):
        refusal(gateway.url("/rooms/red%20"), token(**MEMBER))
    # What a gateway and a backend could take for two different paths is nobody's room.
    for path in ("/rooms/red%2Fblue", "/rooms/red/../blue", "/rooms/./red", "/rooms/blue/%2e%2e/red"):
        assert refusal(gateway.url(path), token(**MEMBER)).status_code == 400, path


@pytest.mark.parametrize(
    "lacks",
    [
        {"scope": None},
        {"scope": "chat:reader"},
        {"scope": "chat:read:all openid"},
        {"roles": ["guest"]},
        {"roles": []},
        {"tenant": {"id": "other"}},
        {"tenant": "acme"},
        {"tenant": {"id": ["acme2"]}},
        {"room": None},
        {"room": ["blue", "green"]},
    ],
    ids=str,
)
def test_each_demand_has_to_hold(gateway, token, lacks):
    with gateway.refuses_one("token_forbidden", "rooms") as line:
        assert refusal(gateway.url("/rooms/red"), token(**{**MEMBER, **lacks})).status_code == 403
    assert line["subject"] == "alice"


@pytest.mark.parametrize("has", [{"scope": ["chat:read"]}, {"roles": "admin"}, {"room": ["blue", "red"]}], ids=str)
def test_a_claim_may_be_a_text_or_a_list(gateway, token, has):
    assert hello(gateway, "/rooms/red", token(**{**MEMBER, **has}))["claims"]["sub"] == "alice"


def test_the_assertion_is_not_the_clients_token(gateway, token):
    mine = token(**MEMBER)
    said = hello(gateway, "/rooms/red", mine)
    assertion = dict(said["headers"])["x-auth-assertion"]
    assert jwt.get_unverified_header(assertion)["alg"] == "ES256"
    assert mine not in json.dumps(said)
    payload = assertion.split(".")[1]
    assert "scope" not in json.loads(base64.urlsafe_b64decode(payload + "=="))
