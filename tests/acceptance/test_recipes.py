"""The recipes of `docs/authentication.md` run as they stand there, on the ports of this test."""

import json
import sys
import time
import urllib.request

import pytest
import websockets.exceptions

from parts.child import PATIENCE, Child, wait_until
from parts.client import close_of, open_chat, refusal
from parts.gateway import Gateway
from parts.issuer import Issuer, Signer, answer, key_set
from parts.pages import Held
from parts.recipes import EXAMPLES, Shell, adapted, blocks, commands
from parts.tokens import SECRET, by_pyjwt, claims
from parts.upstreams import Chat

ENV = {"JWT_SECRET": SECRET}
TLS = 'certificate = "tls/fullchain.pem", key = "tls/privkey.pem"'
BACKEND = "http://127.0.0.1:8000"
# So that a token's end need not be waited for longer than the token says.
PROMPT = {"JWT_SECRET\"\n": "JWT_SECRET\"\nleeway = \"0s\"\n"}


def inline(authority):
    """The certificate, in the form that stands in one line."""
    return authority.issue("recipes.example.com", "127.0.0.1").strip().replace("\n", ", ")


def test_fastapi_learns_who_is_there_and_refuses_who_came_past(tmp_path):
    [config], [keys], [console] = (blocks("FastAPI", kind) for kind in ("toml", "sh", ""))
    shell = Shell(tmp_path, {}, ENV)
    assert shell.run(f"set -e; {keys}") == ("", 0)
    public = (tmp_path / "keys/assertion.pub.pem").read_text()
    with Chat("fastapi-identity", env={"GATEWAY_KEY": public}, folder=EXAMPLES) as app:
        with Gateway(tmp_path, adapted(config, {BACKEND: app.url}), env=ENV) as gateway:
            shell.addresses = {":8080": f":{gateway.ports[0]}", ":8000": f":{app.port}"}
            (setting, nothing), *connecting = commands(console)
            assert nothing == "" and len(connecting) == 2
            for command, printed in connecting:
                assert shell.run(f"{setting}\n{command}")[0] == printed
            roles = setting.replace("--claim", "--claim 'roles=[\"a, b\",\"moderator\"]' --claim", 1)
            said = shell.run(f"{roles}\necho hi | wsgate connect ws://127.0.0.1:8080/plain --token \"$TOKEN\"")[0]
            assert said.startswith("alice (moderator): hi\n")


@pytest.fixture
def in_browser(tmp_path, chat, authority, site, page):
    """The browser's recipe, its page on `host` with the script of the recipe, and a login that gives out `tokens`."""
    config = blocks("A browser", "toml")[0]
    changes = {TLS: inline(authority), BACKEND: chat.url, "https://app.example.com": f"http://127.0.0.1:{site}"}
    with Gateway(tmp_path, adapted(config, changes | PROMPT), env=ENV) as gateway:

        def start(login, host="127.0.0.1", renew="/renew"):
            page.expose_function("login", login)
            Held(page, site).visit(host)
            page.add_script_tag(path=EXAMPLES / "browser-reconnect.js")
            # What it waits is random: here it is always short.
            start = """([url, renewUrl]) => {
                Math.random = () => 0.05;
                window.seen = [];
                const on = { message: (text) => seen.push(text), stopped: (why) => seen.push("stopped: " + why) };
                window.chat = stayConnected({ url, renewUrl, getToken: () => login(), on });
            }"""
            page.evaluate(start, [gateway.url("/rooms/recipe", scheme="wss"), gateway.url(renew, scheme="https")])
            return lambda condition: page.wait_for_function(f"() => {condition}", timeout=1000 * PATIENCE)

        yield gateway, start, page


def admitted(gateway):
    return gateway.count("wsgate_handshakes_total", route="/rooms/{room}", result="admitted")


def test_the_browsers_script_renews_its_socket_before_the_token_is_over(in_browser, keys):
    gateway, start, page = in_browser
    began, lifetime = time.time(), 4
    until = start(lambda: by_pyjwt(keys, "HS256", claims("page", iat=time.time(), exp=time.time() + lifetime)))
    until("seen.length === 1")
    wait_until("the first token is over", lambda: page.evaluate("0") == 0 and time.time() > began + 2 * lifetime)
    page.evaluate("chat.send('still here')")
    until("seen.length === 2")
    assert json.loads(page.evaluate("seen[1]")) == {"from": "page", "text": "still here"}
    assert admitted(gateway) == 1
    assert gateway.count("wsgate_renewals_total", route="/rooms/{room}", result="renewed") >= 2
    page.evaluate("chat.close()")
    until("seen[2] === 'stopped: '")


def test_the_browsers_script_comes_back_with_a_new_token_and_stops_without_one(in_browser, keys):
    gateway, start, page = in_browser
    given = []

    def login():
        given.append(time.time())
        if len(given) == 1:
            raise RuntimeError("the login service can't be reached")
        # The second is let in. While it lives the third is to renew it, where nothing is renewed; the fourth is let in.
        return by_pyjwt(keys, "HS256", claims("page", iat=time.time(), exp=time.time() + 1)) if len(given) < 5 else None

    until = start(login, renew="/nowhere")
    until("seen.at(-1) === 'stopped: logged out'")
    messages = page.evaluate("seen")
    assert [json.loads(one) for one in messages[:-1]] == [{"joined": "page"}] * 2
    assert admitted(gateway) == 2
    assert gateway.line(0, reason="token_expired")["close_code"] == 4001


def test_the_browsers_script_stops_where_it_may_not_be(in_browser, keys):
    gateway, start, page = in_browser
    until = start(lambda: by_pyjwt(keys, "HS256", claims("page")), host="localhost")
    until("seen[0] === 'stopped: origin_forbidden'")
    assert admitted(gateway) == 0


def test_the_mobile_script_comes_back_with_new_tokens_until_it_is_logged_out_or_kicked(tmp_path, chat, authority, keys):
    config = adapted(blocks("A mobile app, a script", "toml")[0], {TLS: inline(authority), BACKEND: chat.url, **PROMPT})
    lifetimes, script = [1.5, 1.5], EXAMPLES / "reconnect.py"

    def tokens(handler):
        if not lifetimes:
            return answer({"error": "invalid_grant"}, status=400)(handler)
        token = by_pyjwt(keys, "HS256", claims("phone", exp=time.time() + lifetimes.pop(0)))
        return answer({"access_token": token, "token_type": "Bearer"})(handler)

    env = {"REFRESH_TOKEN": "refresh-me", "SSL_CERT_FILE": str(authority.file), "no_proxy": "*"}
    with Gateway(tmp_path, config, env=ENV) as gateway, Issuer() as login:
        login.pages["/token"] = tokens
        where = gateway.url("/rooms/mobile", scheme="wss"), f"{login.url}/token"
        with Child(sys.executable, script, *where, env=env) as phone:
            assert phone.wait() == 0
            said = [line.partition(": again")[0] for line in phone.out.since(0)]
            joined = '{"joined":"phone"}'
            assert said == [joined, "token_expired", joined, "token_expired", "logged out"], phone.err.tail()
        lifetimes.append(600)
        with Child(sys.executable, script, *where, env=env) as phone:
            phone.out.first(lambda line: "joined" in line)
            request = urllib.request.Request(f"{gateway.admin}/connections?subject=phone", method="DELETE")
            assert json.load(urllib.request.urlopen(request, timeout=PATIENCE)) == {"closed": 1}
            assert phone.wait() == 0 and phone.out.since(0)[-1] == "kicked"


def test_an_openid_issuer_is_all_that_has_to_be_named(tmp_path, chat):
    signer, name = Signer("one"), "https://id.example.com/realms/main"
    with Issuer() as issuer:
        realm = f"{issuer.url}/realms/main"
        # The signer's keys are of a kind that is made faster than RSA's.
        changes = {BACKEND: chat.url, name: realm, "RS256": "ES256"}
        config = adapted(blocks("Keycloak, Auth0 and the like", "toml")[0], changes)
        with Gateway(tmp_path, config, ready=False) as gateway:
            [written] = blocks("Keycloak, Auth0 and the like", "")
            assert gateway.page("/readyz") == (503, written.strip().replace(name, realm))
            document = {"issuer": realm, "jwks_uri": f"{realm}/keys"}
            issuer.pages["/realms/main/.well-known/openid-configuration"] = answer(document)
            issuer.pages["/realms/main/keys"] = key_set(signer)
            wait_until("the keys are there", gateway.is_ready)
            said = {"iss": realm, "preferred_username": "alice"}
            member = signer.token(**said, realm_access={"roles": ["offline_access", "chat-user"]})
            with open_chat(gateway.url("/headers"), member) as connection:
                headers = dict(json.loads(connection.recv(timeout=PATIENCE))["headers"])
            assert (headers["x-auth-name"], headers["x-auth-roles"]) == ("alice", "offline_access,chat-user")
            assert refusal(gateway.url("/headers"), signer.token(**said)).status_code == 403


def test_a_token_opens_the_rooms_that_the_table_says(tmp_path, chat, token):
    with Gateway(tmp_path, adapted(blocks("Rooms", "toml")[0], {BACKEND: chat.url}), env=ENV) as gateway:
        opens = {"red": {"red"}, ("red", "blue"): {"red", "blue"}, None: set()}
        for room, expected in opens.items():
            mine = token(scope="chat:read", room=room)
            for path in ("red", "r%65d", "blue"):
                try:
                    with open_chat(gateway.url(f"/rooms/{path}"), mine):
                        assert path.replace("%65", "e") in expected
                except websockets.exceptions.InvalidStatus as refused:
                    assert path.replace("%65", "e") not in expected
                    assert refused.response.body.startswith(b"token_forbidden")


def test_each_of_the_four_revocations_ends_what_it_says(tmp_path, chat, token):
    # The first is of one gateway.
    fragment, [script] = blocks("Logging out", "toml fragment")[0], blocks("Logging out", "sh")
    config = blocks("Rooms", "toml")[0].replace('require = { scope = "chat:read", room = "{room}" }', "")
    config += fragment.partition("[admin]")[0]
    env = {**ENV, "ADMIN_TOKEN": "0123456789abcdef"}
    changes = {BACKEND: chat.url}
    with Gateway(tmp_path, adapted(config, changes), env=env) as gateway:
        shell = Shell(tmp_path, {"http://127.0.0.1:9100": gateway.admin}, env)
        define, end, calls = script.partition("}\n")
        calls = calls.splitlines()
        assert len(calls) == 4
        tokens = [{"jti": "b7c1"}, {"sid": "s-81"}, {}, {}]
        for nth, (call, said) in enumerate(zip(calls, tokens)):
            # The last one is of after the third's date, which is the next second.
            said["iat"] = int(time.time()) + (2 if nth == 3 else 0)
            with open_chat(gateway.url("/rooms/red"), token(subject="alice", **said)) as connection:
                printed, code = shell.run(define + end + call)
                assert code == 0 and json.loads(printed)["sessions"] == 1 and json.loads(printed)["saved"], printed
                assert close_of(connection) == (4001, "token_revoked")
        assert refusal(gateway.url("/rooms/red"), token(subject="alice", iat=time.time() + 2)).status_code == 403


def test_a_device_of_an_authority_made_with_openssl_is_known_by_its_certificate(tmp_path, chat, authority):
    authorities, bound = blocks("Client certificates", "sh")
    [config], [console] = blocks("Client certificates", "toml"), blocks("Client certificates", "")
    shell = Shell(tmp_path, {}, {**ENV, "SSL_CERT_FILE": str(authority.file)})
    assert shell.run(f"set -e; {authorities}")[1] == 0
    own = authority.issue("chat.example.com", "127.0.0.1")
    tls = 'certificate = "tls/fullchain.pem"\nkey = "tls/privkey.pem"\n'
    # The application of the other recipe, which says who is there in each answer.
    with Chat("fastapi-identity", env={"GATEWAY_KEY": "none"}, folder=EXAMPLES) as app:
        changes = {tls: own, "tls/devices-ca.pem": "devices-ca.pem", BACKEND: f"{app.url}/plain"}
        with Gateway(tmp_path, adapted(config, changes), env=ENV) as gateway:
            shell.addresses = {"chat.example.com:8443": f"127.0.0.1:{gateway.ports[0]}"}
            shown = list(commands(console))
            assert len(shown) == 2
            for command, printed in shown:
                assert shell.run(command)[0] == printed
            connect = "echo hello | wsgate connect --token \"$TOKEN\" wss://chat.example.com:8443/bound"
            hash_of, _, mint = bound.partition("\n")
            both = f"{hash_of}\nTOKEN=$({mint.strip()})\n{connect}"
            assert shell.run(f"{both} --cert sensor-7.pem --key sensor-7.key")[0].startswith("alice: hello\n")
            assert shell.run(both)[0].startswith("refused: 403 certificate_missing")
