"""Keys by URL, from a server that rotates, lies, hangs, dies and comes back; and by OpenID Connect discovery."""

import concurrent.futures
import json
import secrets

import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.issuer import Issuer, Signer, answer, key_set
from parts.tokens import claims, part
from parts.wire import connect, head

LISTEN = '[[listen]]\naddress = "127.0.0.1:0"\n'


def published(name, chat, keys, *more):
    """A key set and a route, both of this name; `keys` is the line that says where they are."""
    return f"""
[jwt.{name}]
algorithms = ["ES256"]
{keys}
audience = "chat"
{"".join(f"{line}{chr(10)}" for line in more)}
[[route]]
name = "{name}"
path = "/{name}"
upstream = "{chat.url}/"
jwt = "{name}"
"""


@pytest.fixture
def issuer():
    with Issuer() as issuer:
        yield issuer


def why_not(gateway, name, token):
    """The word for the refusal; none if the token opens a session."""
    try:
        with open_chat(gateway.url(f"/{name}/rooms/{name}"), token) as connection:
            assert "joined" in json.loads(connection.recv(timeout=PATIENCE))
            return None
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.body.decode().partition(":")[0]


def opens(gateway, name, token):
    return why_not(gateway, name, token) is None


def until_it_opens(gateway, name, token):
    # A token that is refused may ask for a fetch once the cooldown is over.
    wait_until("the token's key is fetched", lambda: opens(gateway, name, token))


def refreshes(gateway, name, result):
    return gateway.count("wsgate_jwks_refreshes_total", jwt=name, result=result)


def test_keys_rotate_while_sessions_go_on(tmp_path, chat, authority):
    first, second, third = (Signer(kid) for kid in ("first", "second", "third"))
    with Issuer(authority.files("keys.example.com", "127.0.0.1")) as issuer:
        issuer.pages["/keys"] = key_set(first)
        keys = f'jwks = "{issuer.url}/keys"\njwks_ca = "{authority.file}"\njwks_cooldown = "1s"'
        with Gateway(tmp_path, LISTEN + published("main", chat, keys)) as gateway:
            with open_chat(gateway.url("/main/rooms/rotation"), first.token()) as old:
                assert issuer.asked["/keys"] == 1
                issuer.pages["/keys"] = key_set(first, second)
                assert opens(gateway, "main", second.token())
                assert issuer.asked["/keys"] == 2, "one fetch for the new kid"
                assert opens(gateway, "main", first.token())

                issuer.pages["/keys"] = key_set(second, third)
                until_it_opens(gateway, "main", third.token())
                assert why_not(gateway, "main", first.token()) == "token_invalid"
                old.send("still here")
                assert "still here" in [json.loads(old.recv(timeout=PATIENCE)).get("text") for _ in range(2)]
            counts = gateway.counts()
            said = {name: value for (name, labels), value in counts.items() if ("jwt", "main") in labels}
        assert said["wsgate_jwks_keys"] == 2 and 0 <= said["wsgate_jwks_age_seconds"] < 60
        assert said["wsgate_jwks_unknown_kids_total"] >= 3


def megabyte(signer):
    return answer({"keys": [signer.jwk], "padding": "x" * 1_000_000})


def test_a_server_that_lies_is_no_source_and_never_takes_a_good_set_away(tmp_path, chat, issuer):
    signer, stranger = Signer("one"), Signer("two")
    lies = {
        "html": answer(b"<!doctype html><title>Sign in</title>", Content_Type="text/html"),
        "shape": answer({"certificates": [signer.jwk]}),
        "list": answer([signer.jwk]),
        "secret": answer({"keys": [{"kty": "oct", "kid": "one", "alg": "HS256", "k": part(b"x" * 32)}]}),
        "redirect": answer(b"", status=302, Location="/elsewhere"),
        "megabyte": megabyte(signer),
        "broken": answer({"error": "down"}, status=500),
        "hang": issuer.hangs,
    }
    issuer.pages["/elsewhere"] = issuer.pages["/honest"] = key_set(signer)
    issuer.pages.update({f"/{name}": page for name, page in lies.items()})
    config = LISTEN
    for name in (*lies, "honest"):
        config += published(name, chat, f'jwks = "{issuer.url}/{name}"\njwks_cooldown = "1s"')
    with Gateway(tmp_path, config, ready=False) as gateway:
        wait_until("each was asked", lambda: all(issuer.asked[f"/{name}"] for name in lies))
        wait_until("the honest one was heard", lambda: refreshes(gateway, "honest", "ok"))
        status, said = gateway.page("/readyz")
        assert status == 503 and sorted(lies) == sorted(name for name in lies if f"jwt.{name}:" in said), said
        assert "honest" not in said
        for name in lies:
            assert why_not(gateway, name, signer.token()) == "keys_unavailable", name
        # The others are none of the honest one's business.
        assert opens(gateway, "honest", signer.token())

        issuer.pages.update({f"/{name}": key_set(signer) for name in lies})
        wait_until("every set is there", gateway.is_ready)
        for name in lies:
            assert refreshes(gateway, name, "failed") >= 1, name
            assert opens(gateway, name, signer.token()), name

        # The same lies again: a token of an unknown key has the set fetched, and the set that stands is kept.
        before = {name: refreshes(gateway, name, "failed") for name in lies}
        asked = issuer.asked["/hang"]
        issuer.pages.update({f"/{name}": page for name, page in lies.items()})

        def is_asked_again(name):
            assert why_not(gateway, name, stranger.token()) == "token_invalid"
            # The one that hangs fails later than anybody waits for it.
            return issuer.asked["/hang"] > asked if name == "hang" else refreshes(gateway, name, "failed") > before[name]

        with concurrent.futures.ThreadPoolExecutor(len(lies)) as pool:
            list(pool.map(lambda name: wait_until(f"{name} lies again", lambda: is_asked_again(name)), lies))
        for name in lies:
            assert opens(gateway, name, signer.token()), name
            assert gateway.count("wsgate_jwks_keys", jwt=name) == 1
        assert gateway.is_ready()
    assert issuer.asked["/elsewhere"] == 0, "a redirect was followed"


def test_a_server_that_is_down_delays_nothing_but_its_own_tokens(tmp_path, chat, issuer):
    signer, stranger = Signer("one"), Signer("two")
    issuer.pages["/keys"] = key_set(signer)
    issuer.stop()
    config = LISTEN + published("main", chat, f'jwks = "{issuer.url}/keys"')
    with Gateway(tmp_path, config, ready=False) as gateway:
        wait_until("it was tried", lambda: refreshes(gateway, "main", "failed"))
        assert gateway.page("/healthz")[0] == 200
        status, said = gateway.page("/readyz")
        assert status == 503 and "jwt.main" in said and issuer.url not in said
        with gateway.refuses_one("keys_unavailable", "main") as line:
            answer = refusal(gateway.url("/main/rooms/x"), signer.token())
        assert (answer.status_code, line["status"]) == (503, 503) and int(answer.headers["Retry-After"]) >= 1
        assert ("wsgate_jwks_age_seconds", frozenset({("jwt", "main")})) not in gateway.counts()

        issuer.start()
        wait_until("it is ready", gateway.is_ready)
        assert opens(gateway, "main", signer.token())

        issuer.stop()
        assert opens(gateway, "main", signer.token())
        assert why_not(gateway, "main", stranger.token()) == "token_invalid"
        assert gateway.is_ready() and opens(gateway, "main", signer.token())


def test_a_server_whose_certificate_nobody_vouches_for_is_no_source(tmp_path, chat, authority):
    signer = Signer("one")
    with Issuer(authority.files("other.example.com")) as stranger, Issuer(authority.files("system", "127.0.0.1")) as unknown:
        for issuer in (stranger, unknown):
            issuer.pages["/keys"] = key_set(signer)
        ca = f'jwks_ca = "{authority.file}"'
        config = LISTEN + published("stranger", chat, f'jwks = "{stranger.url}/keys"', ca)
        # Without jwks_ca it is the system's authorities that count.
        config += published("unknown", chat, f'jwks = "{unknown.url}/keys"')
        with Gateway(tmp_path, config, ready=False) as gateway:
            for name in ("stranger", "unknown"):
                wait_until("it was tried", lambda: refreshes(gateway, name, "failed"))
                assert why_not(gateway, name, signer.token()) == "keys_unavailable"
        assert not stranger.asked and not unknown.asked


def test_ten_thousand_made_up_kids_cost_one_fetch_and_nobody_elses_handshake(tmp_path, chat, issuer):
    signer = Signer("one")
    issuer.pages["/keys"] = key_set(signer)
    keys = f'jwks = "{issuer.url}/keys"\njwks_cooldown = "1h"'
    total, threads = 10_000, 8
    body = part(claims())

    def flood(count):
        statuses = set()
        for _ in range(count):
            made_up = f"{part({'alg': 'ES256', 'kid': secrets.token_hex(8)})}.{body}.{part(b'x' * 64)}"
            with connect(gateway.ports[0]) as wire:
                wire.send(head(path="/main/rooms/x", Authorization=f"Bearer {made_up}"))
                statuses.add(wire.answer()[0])
        return statuses

    with Gateway(tmp_path, LISTEN + published("main", chat, keys)) as gateway:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            floods = [pool.submit(flood, total // threads) for _ in range(threads)]
            wait_until("it floods", lambda: gateway.count("wsgate_jwks_unknown_kids_total", jwt="main") > 100)
            assert opens(gateway, "main", signer.token())
            assert set().union(*(flood.result() for flood in floods)) == {403}
        assert gateway.count("wsgate_jwks_unknown_kids_total", jwt="main") == total
        assert issuer.asked["/keys"] == 2, "the first fetch, and one for all the kids"


DISCOVERY = ".well-known/openid-configuration"
# The issuer's path and that of its keys. Auth0's issuer ends with a slash, Keycloak's does not.
SHAPES = {
    "keycloak": ("/realms/x", "/realms/x/protocol/openid-connect/certs"),
    "auth0": ("/", "/.well-known/jwks.json"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_openid_issuer_is_asked_where_its_keys_are(tmp_path, chat, authority, shape):
    path, keys = SHAPES[shape]
    signer = Signer("one")
    with Issuer(authority.files(f"{shape}.example.com", "127.0.0.1")) as issuer:
        name = issuer.url + path
        document = {
            "issuer": name,
            "authorization_endpoint": f"{issuer.url}/auth",
            "token_endpoint": f"{issuer.url}/token",
            "jwks_uri": issuer.url + keys,
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        discovery = f"{path.rstrip('/')}/{DISCOVERY}"
        issuer.pages.update({discovery: answer(document), keys: key_set(signer)})
        lines = f'issuer_url = "{name}"\njwks_ca = "{authority.file}"'
        with Gateway(tmp_path, LISTEN + published("main", chat, lines)) as gateway:
            assert dict(issuer.asked) == {discovery: 1, keys: 1}
            assert opens(gateway, "main", signer.token(iss=name))
            # To the letter: whose tokens these are is not a matter of taste.
            other = name.rstrip("/") if name.endswith("/") else f"{name}/"
            assert why_not(gateway, "main", signer.token(iss=other)) == "token_invalid"


def test_a_document_that_speaks_for_another_issuer_is_refused(tmp_path, chat, issuer):
    signer = Signer("one")
    issuer.pages[f"/realms/evil/{DISCOVERY}"] = answer({"issuer": f"{issuer.url}/realms/x", "jwks_uri": f"{issuer.url}/keys"})
    issuer.pages["/keys"] = key_set(signer)
    config = LISTEN + published("main", chat, f'issuer_url = "{issuer.url}/realms/evil"')
    with Gateway(tmp_path, config, ready=False) as gateway:
        wait_until("it was tried", lambda: refreshes(gateway, "main", "failed"))
        assert why_not(gateway, "main", signer.token(iss=f"{issuer.url}/realms/evil")) == "keys_unavailable"
        assert issuer.asked["/keys"] == 0


def test_two_issuers_with_one_kid_do_not_vouch_for_each_other(tmp_path, chat, issuer):
    ours, theirs = Signer("one"), Signer("one")
    issuer.pages.update({"/ours": key_set(ours), "/theirs": key_set(theirs)})
    config = LISTEN
    for name in ("ours", "theirs"):
        config += f'[jwt.{name}]\nalgorithms = ["ES256"]\njwks = "{issuer.url}/{name}"\nissuer = "https://{name}.example.com"\n'
    config += f'[[route]]\nname = "both"\npath = "/both"\nupstream = "{chat.url}/"\njwt = ["ours", "theirs"]\n'
    with Gateway(tmp_path, config) as gateway:
        for signer, name in ((ours, "ours"), (theirs, "theirs")):
            assert opens(gateway, "both", signer.token(iss=f"https://{name}.example.com"))
        for signer, name in ((ours, "theirs"), (theirs, "ours")):
            assert why_not(gateway, "both", signer.token(iss=f"https://{name}.example.com")) == "token_invalid"
        assert why_not(gateway, "both", ours.token(iss="https://nobody.example.com")) == "token_invalid"
    # A signature that does not hold, and an issuer that nobody knows, are no reason to fetch anything.
    assert issuer.asked == {"/ours": 1, "/theirs": 1}
