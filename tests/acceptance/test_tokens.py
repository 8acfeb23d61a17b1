"""Wrong tokens of every kind are refused, each with its reason; what a good one may say besides. See `test_minters.py`."""

import jwt
import pytest

from parts import tokens
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.tokens import SECRET, by_jose, by_pyjwt, claims, forged, hs256

HMAC = ["HS256", "HS384", "HS512"]
ROUTES = {"hs": HMAC, "rs": ["RS256", "PS256"], "es": ["ES256"], "ed": ["EdDSA"], "set": ["RS256", "ES256", "EdDSA"]}


def config(keys, chat):
    text = '[[listen]]\naddress = "127.0.0.1:0"\n'
    for name, algorithms in ROUTES.items():
        key = {
            "hs": 'secret = "env:JWT_SECRET"',
            "set": f'jwks = "{keys.jwks_file}"',
        }.get(name, f'public_key = "{keys.public_file(algorithms[0])}"')
        status = 401 if name == "es" else 403
        text += f"""
[jwt.{name}]
algorithms = {algorithms}
{key}
issuer = "{tokens.ISSUER}"
audience = ["chat", "another"]
status = {status}

[[route]]
name = "{name}"
path = "/{name}"
upstream = "{chat.url}/"
jwt = "{name}"
"""
    return text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, keys, chat):
    with Gateway(tmp_path_factory.mktemp("tokens"), config(keys, chat), env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.mark.parametrize("algorithm", ROUTES["set"])
def test_the_key_set_has_the_key_that_the_token_names(gateway, keys, algorithm):
    token = by_pyjwt(keys, algorithm, claims(subject=algorithm), headers={"kid": f"key-{algorithm}"})
    with open_chat(gateway.url("/set/rooms/x"), token) as connection:
        assert algorithm in connection.recv(timeout=10)


@pytest.mark.parametrize(
    "said",
    [
        {"aud": ["somebody", "another"]},
        {"exp": claims()["exp"] + 0.5},
        {"nbf": claims()["iat"] - 10},
        {"sub": None},
        {"scope": "chat", "roles": ["a", {"b": None}]},
    ],
    ids=str,
)
def test_claims_may_be_more_or_other_than_the_usual(gateway, keys, said):
    with open_chat(gateway.url("/hs/rooms/x"), by_pyjwt(keys, "HS256", claims(**said))) as connection:
        assert "joined" in connection.recv(timeout=10)


NOW = claims()["iat"]
WRONG_CLAIMS = {
    "expired": ({"exp": NOW - 3600}, "token_expired"),
    "expired beyond the leeway": ({"exp": NOW - 30}, "token_expired"),
    "without an end": ({"exp": None}, "token_invalid"),
    "an end that is a text": ({"exp": str(NOW + 600)}, "token_invalid"),
    "an end that is true": ({"exp": True}, "token_invalid"),
    "not yet": ({"nbf": NOW + 600}, "token_invalid"),
    "another audience": ({"aud": "billing"}, "token_invalid"),
    "no audience": ({"aud": None}, "token_invalid"),
    "an audience that only begins alike": ({"aud": "chatter"}, "token_invalid"),
    "another issuer": ({"iss": "https://evil.example.com/"}, "token_invalid"),
    "no issuer": ({"iss": None}, "token_invalid"),
    "issuer with other case": ({"iss": "https://ID.example.com/"}, "token_invalid"),
    "a subject with a line break": ({"sub": "alice\r\nX-Admin: yes"}, "token_invalid"),
    "a subject that is a number": ({"sub": 7}, "token_invalid"),
}


@pytest.mark.parametrize("case", WRONG_CLAIMS)
def test_a_signed_token_with_wrong_claims_is_refused(gateway, case):
    said, reason = WRONG_CLAIMS[case]
    # Signed by hand: the libraries refuse to make some of these.
    token = forged({"alg": "HS256", "typ": "JWT"}, claims(**said), hs256(SECRET.encode()))
    with gateway.refuses_one(reason, "hs") as line:
        answer = refusal(gateway.url("/hs/rooms/x"), token)
    assert (answer.status_code, answer.body.decode().split(":")[0]) == (403, reason)
    assert line["status"] == 403 and "subject" not in line


def wrong_tokens(keys):
    good = by_pyjwt(keys, "HS256", claims())
    head, body, signature = good.split(".")
    other = claims(subject="root")
    public = keys.public_pem("RS256")
    rs = by_pyjwt(keys, "RS256", claims())
    flipped = signature[:10] + ("A" if signature[10] != "A" else "B") + signature[11:]
    return {
        "alg none": ("hs", forged({"alg": "none"}, other)),
        "alg none, written otherwise": ("hs", forged({"alg": "nOnE"}, other)),
        "alg none with a signature": ("rs", forged({"alg": "none"}, other, lambda _: b"x")),
        "no alg": ("hs", forged({"typ": "JWT"}, other, hs256(SECRET.encode()))),
        "signed HS256 with the RSA public key": ("rs", forged({"alg": "HS256"}, other, hs256(public))),
        "the same, its last line break left out": ("rs", forged({"alg": "HS256"}, other, hs256(public.strip()))),
        "the same at the key set": ("set", forged({"alg": "HS256", "kid": "key-RS256"}, other, hs256(public))),
        "the signature cut off": ("hs", f"{head}.{body}."),
        "the signature's bits changed": ("hs", f"{head}.{body}.{flipped}"),
        "claims changed after signing": ("hs", f"{head}.{tokens.part(other)}.{signature}"),
        "another's secret": ("hs", jwt.encode(claims(), "x" * 64, algorithm="HS256")),
        "an algorithm that is not allowed": ("rs", by_jose(keys, "RS384", claims())),
        "an algorithm of another key": ("es", rs),
        "a kid that the set has not": ("set", by_pyjwt(keys, "RS256", claims(), headers={"kid": "unknown"})),
        "a kid of another kind of key": ("set", by_pyjwt(keys, "RS256", claims(), headers={"kid": "key-ES256"})),
        "crit": ("hs", forged({"alg": "HS256", "crit": ["exp"]}, other, hs256(SECRET.encode()))),
        "its own key": ("rs", by_pyjwt(keys, "ES256", claims(), headers={"jwk": keys.jwk("ES256")})),
        "two parts": ("hs", f"{head}.{body}"),
        "four parts": ("hs", good + ".x"),
        "no token at all": ("hs", "hello"),
        "padded": ("hs", good + "="),
        "over 8 KiB": ("hs", by_pyjwt(keys, "HS256", claims(padding="x" * 9000))),
    }


def test_every_wrong_token_is_refused_once_and_the_application_not_even_asked(gateway, keys, chat):
    for case, (place, token) in wrong_tokens(keys).items():
        asked = len(chat.err) + len(chat.out)
        with gateway.refuses_one("token_invalid", place) as line:
            answer = refusal(gateway.url(f"/{place}/rooms/x"), token)
        said = (answer.status_code, answer.body.decode().split(":")[0])
        assert said == (401 if place == "es" else 403, "token_invalid"), case
        assert line["why"], case
        assert len(chat.err) + len(chat.out) == asked, f"{case}: the application saw it"
        assert token not in gateway.out.tail(), case


def test_without_a_token_there_is_no_way_in(gateway):
    for headers in ({}, {"Authorization": "Basic YWxpY2U6cHc="}, {"Authorization": "Bearer "}):
        with gateway.refuses_one("token_missing", "hs"):
            assert refusal(gateway.url("/hs/rooms/x"), headers=headers).status_code == 403


def test_a_token_where_the_route_does_not_look_is_none(gateway, keys):
    token = by_pyjwt(keys, "HS256", claims())
    with gateway.refuses_one("token_missing", "hs"):
        assert refusal(gateway.url(f"/hs/rooms/x?token={token}"), headers={"Cookie": f"token={token}"}).status_code == 403


def test_a_route_may_answer_401_with_a_challenge(gateway):
    answer = refusal(gateway.url("/es/rooms/x"))
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    answer = refusal(gateway.url("/es/rooms/x"), "a.b.c")
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
