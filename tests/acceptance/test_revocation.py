"""An operator with curl logs people out, and closes what they have open."""

import json
import secrets
import subprocess
import time

import pytest
import websockets.exceptions

from parts.child import PATIENCE
from parts.client import close_of, open_chat
from parts.gateway import Gateway
from parts.tokens import SECRET

ENV = {"JWT_SECRET": SECRET, "ADMIN_TOKEN": secrets.token_hex(16)}


def config(chat, site, revocation=""):
    return f"""
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[revocation]
{revocation}
claims = ["tenant"]

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat.url}/"
jwt = "main"
token_from = ["header", "subprotocol"]
origins = ["http://127.0.0.1:{site}"]
allow_missing_origin = true
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, site):
    with Gateway(tmp_path_factory.mktemp("revocation"), config(chat, site), env=ENV) as gateway:
        yield gateway


def curl(gateway, method, path, body=None, bearer=ENV["ADMIN_TOKEN"], headers=()):
    """Status and body, as JSON where there is any, of one call that an operator types."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", str(PATIENCE), "--request", method]
    for header in (f"Authorization: Bearer {bearer}", *headers):
        command += ["--header", header]
    if body is not None:
        command += ["--header", "Content-Type: application/json", "--data", json.dumps(body)]
    command += ["--write-out", "\n%{http_code}", gateway.admin + path]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, check=True)
    text, _, status = ran.stdout.rpartition("\n")
    return int(status), json.loads(text) if text.startswith("{") else text


def hears_itself(connection):
    """Whether the session lives, whoever comes and goes in its room."""
    connection.send("still here")
    return any(json.loads(connection.recv(timeout=PATIENCE)).get("text") == "still here" for _ in range(10))


def joins(gateway, token):
    """Whether the token opens a session; if not, the word for it."""
    try:
        with open_chat(gateway.url("/chat/rooms/joins"), token) as connection:
            return "joined" in connection.recv(timeout=PATIENCE)
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response.body.decode().partition(":")[0]


def test_a_page_sees_4001_when_its_user_is_logged_out_and_stays_out(gateway, token, held):
    url = gateway.url("/chat/rooms/logout")
    mine, other = token(subject="mallory"), token(subject="alice")
    held.visit()
    with open_chat(url, other) as alice:
        assert held.call("connect", url, mine) == {"message": {"joined": "mallory"}}
        with gateway.ends_one("token_revoked", "gateway", "chat") as line:
            status, said = curl(gateway, "POST", "/revocations", {"subject": "mallory", "note": "reported"})
            answered = time.monotonic()
            assert held.call("step") == {"code": 4001, "reason": "token_revoked", "clean": True}
            assert time.monotonic() - answered < 1
        assert (status, said["sessions"], line["subject"], line["close_code"]) == (201, 1, "mallory", 4001)
        assert held.call("connect", url, mine)["code"] == 1006
        assert joins(gateway, token(subject="mallory")) == "token_revoked"
        assert hears_itself(alice)
    assert curl(gateway, "DELETE", f"/revocations/{said['id']}")[0] == 204
    assert joins(gateway, mine) is True


def test_a_revocation_is_of_one_token_or_of_the_old_ones_or_of_a_claim(gateway, token):
    now = int(time.time())
    stolen, kept = token(subject="bob", jti="stolen"), token(subject="bob", jti="kept")
    old, new = token(subject="carol", iat=now - 600), token(subject="carol")
    tenant, elsewhere = token(subject="dave", tenant="acme"), token(subject="dave", tenant="other")
    asked = [{"jti": "stolen"}, {"subject": "carol", "issued_before": now - 60}, {"claim": "tenant", "value": "acme"}]
    with open_chat(gateway.url("/chat/rooms/some"), old) as connection:
        made = [curl(gateway, "POST", "/revocations", body) for body in asked]
        assert [status for status, _ in made] == [201] * 3
        assert [said["sessions"] for _, said in made] == [0, 1, 0]
        assert close_of(connection) == (4001, "token_revoked")
    assert [joins(gateway, one) for one in (stolen, old, tenant)] == ["token_revoked"] * 3
    assert [joins(gateway, one) for one in (kept, new, elsewhere)] == [True] * 3
    listed = curl(gateway, "GET", "/revocations")[1]
    assert {said["id"] for _, said in made} <= {one["id"] for one in listed["revocations"]}
    for _, said in made:
        assert curl(gateway, "DELETE", f"/revocations/{said['id']}")[0] == 204
    assert [joins(gateway, one) for one in (stolen, old, tenant)] == [True] * 3


def test_a_revocation_outlives_a_gateway_that_is_killed(tmp_path, chat, site, token):
    text = config(chat, site, 'file = "revoked.json"')
    gone, here = token(subject="eve", jti="gone"), token(subject="eve", jti="here")
    with Gateway(tmp_path, text, env=ENV) as first:
        status, said = curl(first, "POST", "/revocations", {"jti": "gone", "expires_in": "2h"})
        assert (status, said["saved"]) == (201, True)
        assert joins(first, gone) == "token_revoked"
        first.kill()
    with Gateway(tmp_path, text, env=ENV) as second:
        assert [joins(second, one) for one in (gone, here)] == ["token_revoked", True]
        [listed] = curl(second, "GET", "/revocations")[1]["revocations"]
        assert listed == {name: value for name, value in said.items() if name not in ("sessions", "saved")}
        assert curl(second, "DELETE", f"/revocations/{said['id']}")[0] == 204
        second.kill()
    with Gateway(tmp_path, text, env=ENV) as third:
        assert joins(third, gone) is True


def test_a_kicked_client_reads_the_operators_code_and_reason(gateway, token):
    url = gateway.url("/chat/rooms/kick")
    with open_chat(url, token(subject="frank")) as one, open_chat(url, token(subject="frank")) as two:
        with open_chat(url, token(subject="grace")) as grace:
            sessions = curl(gateway, "GET", "/connections?subject=frank")[1]["connections"]
            with gateway.ends_one("kicked", "gateway", "chat") as line:
                path = f"/connections/{sessions[0]['id']}?code=4321&reason=wrong%20room"
                assert curl(gateway, "DELETE", path) == (200, {"closed": 1})
                assert close_of(one) == (4321, "wrong room")
            assert (line["subject"], line["close_code"]) == ("frank", 4321)
            with gateway.ends_one("kicked", "gateway", "chat"):
                assert curl(gateway, "DELETE", "/connections?subject=frank") == (200, {"closed": 1})
                assert close_of(two) == (1008, "kicked")
            assert hears_itself(grace)
            # A kick is no revocation.
            assert joins(gateway, token(subject="frank")) is True


def test_without_the_operators_token_or_from_a_page_nothing_is_changed(gateway, token):
    with open_chat(gateway.url("/chat/rooms/guarded"), token(subject="heidi")) as connection:
        for method, path in (("POST", "/revocations"), ("DELETE", "/connections?all=true"), ("GET", "/connections")):
            body = {"subject": "heidi"} if method == "POST" else None
            assert curl(gateway, method, path, body, bearer="x" * 32)[0] == 401
            assert curl(gateway, method, path, body, headers=["Origin: https://evil.example.com"])[0] == 403
        assert hears_itself(connection)
    assert joins(gateway, token(subject="heidi")) is True
