"""A token is looked for in everything that a gateway says, wherever the token came from and whatever became of it."""

import base64
import time
import urllib.error
import urllib.request

import jwt
import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import open_chat
from parts.gateway import Gateway
from parts.tokens import ISSUER, SECRET, part
from parts.upstreams import Tap

# Each way to send a token: the place in the config, and what a client puts there.
WAYS = {
    "header": ("header", lambda token: {"headers": {"Authorization": f"Bearer {token}"}}),
    "named header": ("header:X-Token", lambda token: {"headers": {"X-Token": token}}),
    "cookie": ("cookie:session", lambda token: {"headers": {"Cookie": f"theme=dark; session={token}; lang=en"}}),
    "query": ("query:access_token", lambda token: {"query": f"?v=1&access_token={token}&room=x"}),
    "escaped query": ("query:access_token", lambda token: {"query": f"?v=1&access%5Ftoken={escaped(token)}"}),
    "subprotocol": ("subprotocol", lambda token: {"subprotocols": ["chat.v2", f"bearer.{token}"]}),
    "encoded subprotocol": (
        "subprotocol",
        lambda token: {"subprotocols": [f"base64url.bearer.authorization.{part(token.encode())}", "chat.v2"]},
    ),
    "prefixed subprotocol": ("subprotocol:auth-", lambda token: {"subprotocols": [f"auth-{token}", "chat.v2"]}),
}


def escaped(text):
    return "".join(f"%{byte:02X}" for byte in text.encode())


def forms(token):
    """Its signature, which nothing else has in it, as a text may hold it."""
    signature = token.rpartition(".")[2]
    yield "as it is", signature
    for shift in range(3):
        # Somewhere within a text that was encoded: both ends depend on their neighbours, so they are left out.
        encoded = part(signature[shift:].encode())[2:-4]
        yield "in base64url", encoded
        yield "in base64", encoded.replace("-", "+").replace("_", "/")
    for form in (escaped(signature), escaped(signature).lower()):
        yield "percent-encoded", form
        yield "in hexadecimal", form.replace("%", "")
    yield "its bytes in hexadecimal", base64.urlsafe_b64decode(signature + "==").hex()


def found(token, text):
    return sorted({name for name, form in forms(token) if form in text})


@pytest.fixture(scope="module")
def tap(chat):
    with Tap(chat) as tap:
        yield tap


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, tap):
    config = f"""
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
issuer = "{ISSUER}"
"""
    for name, (place, _) in WAYS.items():
        slug = name.replace(" ", "-")
        config += f"""
[[route]]
name = "{name}"
path = "/{slug}"
upstream = "{tap.url}/"
jwt = "main"
token_from = ["{place}"]
origins = "any"
allow_missing_origin = true
renew = "/renew/{slug}"

[[route]]
name = "{name}, forwarded"
path = "/forwarded/{slug}"
upstream = "{tap.url}/"
jwt = "main"
token_from = ["{place}"]
origins = "any"
allow_missing_origin = true
forward_token = true
"""
    # Whatever any part of it has to say.
    env = {"JWT_SECRET": SECRET, "RUST_LOG": "trace"}
    with Gateway(tmp_path_factory.mktemp("secrets"), config, env=env) as gateway:
        yield gateway


def pages(gateway):
    return [gateway.page(page)[1] for page in ("/", "/metrics", "/readyz", "/connections", "/revocations", "/nowhere")]


def handshake(gateway, path, way, token):
    """What came of it, and everything that the client got to see and the admin's pages said meanwhile."""
    send = WAYS[way][1](token)
    try:
        with open_chat(gateway.url(f"{path}/rooms/x{send.pop('query', '')}"), **send) as connection:
            heard = connection.recv(timeout=PATIENCE)
            return "admitted", [str(connection.response.headers), heard, *pages(gateway)]
    except websockets.exceptions.InvalidStatus as refused:
        body = refused.response.body.decode()
        return body.partition(":")[0], [str(refused.response.headers), body, *pages(gateway)]


def renewal(gateway, way, token):
    """The same for a renewal, with the token as the body where its place is one that a POST has not."""
    send = WAYS[way][1](token)
    url = gateway.url(f"/renew/{way.replace(' ', '-')}{send.get('query', '')}", scheme="http")
    body = token.encode() if "subprotocols" in send else b""
    request = urllib.request.Request(url, body, {**send.get("headers", {}), "Content-Type": "text/plain"}, method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=PATIENCE) as answer:
            return "renewed", [str(answer.headers), answer.read().decode()]
    except urllib.error.HTTPError as error:
        body = error.read().decode()
        return body.partition(":")[0], [str(error.headers), body]


def everywhere(gateway, tap, told):
    """All that is written by now, by name."""
    return {
        "standard output": "\n".join(gateway.out.since(0)),
        "standard error": "\n".join(gateway.err.since(0)),
        "the upstream": tap.seen().decode("latin-1"),
        "an answer or a page": "\n".join(told),
    }


@pytest.mark.parametrize("way", WAYS)
def test_no_token_is_in_anything_that_the_gateway_says(gateway, tap, token, way):
    path, now = f"/{way.replace(' ', '-')}", int(time.time())
    good, late = token(jti=f"good {way}"), token(jti=f"late {way}", exp=now - 60)
    wrong = jwt.encode({"iss": ISSUER, "sub": "alice", "exp": now + 60, "jti": way}, "x" * 64, algorithm="HS256")
    before = len(gateway.out)
    came = [
        handshake(gateway, path, way, good),
        handshake(gateway, path, way, late),
        handshake(gateway, path, way, wrong),
        renewal(gateway, way, good),
        renewal(gateway, way, late),
        renewal(gateway, way, wrong),
    ]
    said = ["admitted", "token_expired", "token_invalid", "no_session", "token_expired", "token_invalid"]
    assert [word for word, _ in came] == said
    # One line for each, and they are here.
    wait_until("the lines are written", lambda: len(gateway.out) - before >= len(came))
    for place, text in everywhere(gateway, tap, [text for _, told in came for text in told]).items():
        assert len(text) > 100, f"{place}: hardly anything to look at"
        assert [found(one, text) for one in (good, late, wrong)] == [[], [], []], place


@pytest.mark.parametrize("way", WAYS)
def test_where_the_backend_shall_have_the_token_this_search_finds_it(gateway, tap, token, way):
    mine = token(jti=f"forwarded {way}")
    word, told = handshake(gateway, f"/forwarded/{way.replace(' ', '-')}", way, mine)
    assert word == "admitted"
    for place, text in everywhere(gateway, tap, told).items():
        assert bool(found(mine, text)) == (place == "the upstream"), place


@pytest.mark.parametrize("way", WAYS)
def test_a_token_in_a_place_where_nobody_looks_is_not_written_down_either(gateway, tap, token, way):
    mine = token(jti=f"elsewhere {way}")
    other = "cookie" if way != "cookie" else "header"
    word, told = handshake(gateway, f"/{other}", way, mine)
    assert word == "token_missing"
    wait_until("it is refused", lambda: "token_missing" in gateway.out.tail(3))
    for place, text in everywhere(gateway, tap, told).items():
        assert not found(mine, text), place
