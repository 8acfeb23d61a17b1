"""Clients with certificates of an authority that openssl keeps, in Python, in curl, and in our own `connect`."""

import json
import ssl
import subprocess
import time
import urllib.parse

import pytest
import websockets.exceptions

from parts.child import PATIENCE, wait_until
from parts.client import close_over_tls, talk_over_tls
from parts.gateway import BINARY, Gateway
from parts.openssl import ClientAuthority
from parts.tokens import SECRET, part
from parts.wire import KEY

REQUIRED, OPTIONAL, LISTED = 0, 1, 2
HOST = "mtls.example.com"
SPIFFE = "spiffe://example.com/sensor/7"


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    clients = ClientAuthority(tmp_path_factory.mktemp("clients") / "ours", "clients of the tests")
    clients.issue("sensor", "/O=Example/CN=sensor-7", names=f"URI:{SPIFFE},DNS:Sensor-7.example.com,email:ops@example.com")
    clients.issue("other", "/CN=other")
    clients.issue("server", "/CN=server", usage="serverAuth")
    clients.issue("expired", "/CN=expired", ends=time.time() - 3600)
    clients.issue("lost", "/CN=lost")
    clients.revoke("lost")
    return clients


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    # Of the same name, but with a key of its own.
    strangers = ClientAuthority(tmp_path_factory.mktemp("strangers") / "theirs", "clients of the tests")
    strangers.issue("sensor", "/O=Example/CN=sensor-7")
    return strangers


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, authority, clients):
    config = ""
    for more in ("", 'verify_client = "optional"\n', f'client_crl = "{clients.crl}"\n'):
        config += f'[[listen]]\naddress = "127.0.0.1:0"\n[listen.tls]\n{authority.issue(HOST, "127.0.0.1")}'
        config += f'client_ca = "{clients.file}"\n{more}\n'
    config += '[jwt.main]\nalgorithms = ["HS256"]\nsecret = "env:JWT_SECRET"\n'
    routes = {
        "open": "",
        "any": 'client_certificate = "optional"',
        "token": 'jwt = "main"',
        "bound": 'jwt = "main"\nclient_certificate = "required"\nrequire_bound_token = true',
    }
    for name in ("cn", "dn", "dns", "uri", "email"):
        routes[name] = f'client_certificate = "required"\ncertificate_subject = "{name}"'
    for name, lines in routes.items():
        config += f'[[route]]\nname = "{name}"\npath = "/{name}"\nupstream = "{chat.url}/"\norigins = "any"\n'
        # curl never answers a Close.
        config += f'allow_missing_origin = true\nclose_timeout = "100ms"\n{lines}\n'
    with Gateway(tmp_path_factory.mktemp("mtls"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture
def context(authority):
    """TLS as a client with this certificate, or with none, speaks it."""

    def context(files=None):
        made = ssl.create_default_context(cafile=authority.file)
        if files:
            made.load_cert_chain(*files)
        return made

    return context


def files(owner, name):
    return owner.folder / f"{name}.pem", owner.folder / f"{name}.key"


def joined(gateway, context, path, listener=OPTIONAL, token=None):
    """As whom the chat knows the client."""
    port = gateway.ports[listener]
    _, [first] = talk_over_tls(f"wss://{HOST}:{port}/{path}/rooms/{path}", context, port, [], token)
    return json.loads(first)["joined"]


def refused(gateway, context, path, listener=OPTIONAL, token=None):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        joined(gateway, context, path, listener, token)
    return refused.value.response.status_code, refused.value.response.body.decode().partition(":")[0]


def curl(gateway, authority, listener, path, certificate=None):
    """Exit code, the answer's first line, and what curl has to complain of, once its session is over."""
    where = f"{HOST}:{gateway.ports[listener]}"
    command = ["curl", "--silent", "--show-error", "--http1.1", "--noproxy", "*", "--include", "--cacert", authority.file]
    command += ["--connect-to", f"{where}:127.0.0.1:{gateway.ports[listener]}", "--max-time", str(PATIENCE)]
    if certificate:
        command += ["--cert", certificate[0], "--key", certificate[1]]
    headers = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")
    for header in headers:
        command += ["--header", header]
    # The application leaves at once, so that curl has an end to wait for.
    command.append(f"https://{where}/{path}/leave/1000")
    ran = subprocess.run(list(map(str, command)), capture_output=True, timeout=2 * PATIENCE)
    # The gateway waits a moment for its Close: what is counted next must not have this end in it.
    wait_until("the session is over", gateway.is_idle)
    return ran.returncode, ran.stdout.decode(errors="replace").partition("\r\n")[0], ran.stderr.decode()


SUBJECTS = {
    "cn": "sensor-7",
    "dn": "CN=sensor-7,O=Example",
    "dns": "sensor-7.example.com",
    "uri": SPIFFE,
    "email": "ops@example.com",
}


@pytest.mark.parametrize("route", SUBJECTS)
@pytest.mark.parametrize("listener", [REQUIRED, OPTIONAL])
def test_a_certificate_is_who_the_client_is(gateway, clients, context, route, listener):
    # The application gets what is no plain ASCII, and the percent sign, in escapes; there is none in these.
    assert joined(gateway, context(files(clients, "sensor")), route, listener) == SUBJECTS[route]


def test_curl_gets_in_with_a_certificate_and_reads_why_not_without(gateway, authority, clients):
    mine = files(clients, "sensor")
    for listener in (REQUIRED, OPTIONAL, LISTED):
        assert curl(gateway, authority, listener, "cn", mine)[:2] == (0, "HTTP/1.1 101 Switching Protocols"), listener
    with gateway.refuses_one("certificate_missing", "cn"):
        assert curl(gateway, authority, OPTIONAL, "cn")[:2] == (0, "HTTP/1.1 403 Forbidden")
    assert curl(gateway, authority, OPTIONAL, "any")[1] == "HTTP/1.1 101 Switching Protocols"


def test_where_it_is_required_nobody_gets_past_tls_without(gateway, authority, context):
    with gateway.refuses_one("certificate_missing") as line:
        code, _, complaint = curl(gateway, authority, REQUIRED, "open")
    assert code != 0 and "certificate required" in complaint, complaint
    assert "status" not in line
    with gateway.refuses_one("certificate_missing"):
        with pytest.raises((ssl.SSLError, OSError, EOFError, websockets.exceptions.InvalidMessage)):
            joined(gateway, context(), "open", REQUIRED)


@pytest.mark.parametrize("name", ["server", "expired"])
@pytest.mark.parametrize("listener", [REQUIRED, OPTIONAL])
def test_a_certificate_that_does_not_hold_ends_in_tls(gateway, authority, clients, name, listener):
    with gateway.refuses_one("bad_handshake") as line:
        code, _, complaint = curl(gateway, authority, listener, "open", files(clients, name))
    assert code != 0 and "alert" in complaint and "certificate" in line["why"], (complaint, line)


def test_an_authority_of_the_same_name_is_another(gateway, context, strangers):
    with gateway.refuses_one("bad_handshake"):
        with pytest.raises((ssl.SSLError, OSError, EOFError, websockets.exceptions.InvalidMessage)):
            joined(gateway, context(files(strangers, "sensor")), "cn")


def test_a_revoked_certificate_is_refused_where_there_is_a_list(gateway, authority, clients):
    with gateway.refuses_one("bad_handshake") as line:
        assert curl(gateway, authority, LISTED, "cn", files(clients, "lost"))[0] != 0
    assert "revoked" in line["why"]
    assert curl(gateway, authority, REQUIRED, "cn", files(clients, "lost"))[1] == "HTTP/1.1 101 Switching Protocols"


def test_a_bound_token_holds_with_its_certificate_alone(gateway, clients, context, token):
    mine, other = context(files(clients, "sensor")), context(files(clients, "other"))
    bound = token(subject="alice", cnf={"x5t#S256": part(clients.fingerprint("sensor"))})
    for route in ("bound", "token"):
        assert joined(gateway, mine, route, token=bound) == "alice"
        assert refused(gateway, other, route, token=bound) == (403, "token_invalid")
    assert refused(gateway, context(), "token", token=bound) == (403, "token_invalid")
    assert refused(gateway, context(), "bound", token=bound) == (403, "certificate_missing")
    loose = token(subject="alice")
    assert refused(gateway, mine, "bound", token=loose) == (403, "token_invalid")
    assert joined(gateway, context(), "token", token=loose) == "alice"


def test_a_session_ends_with_its_certificate(gateway, clients, context):
    ends = int(time.time()) + 3
    short, port = context(clients.issue("short", "/CN=short", ends=ends)), gateway.ports[REQUIRED]
    with gateway.ends_one("certificate_expired", "gateway", "cn") as line:
        seen = close_over_tls(f"wss://{HOST}:{port}/cn/rooms/short", short, port)
    assert seen == (4001, "certificate_expired") and line["subject"] == "short"
    # Its last second still counts (RFC 5280 s4.1.2.5).
    assert ends + 1 <= time.time() < ends + 4
    with gateway.refuses_one("bad_handshake"):
        with pytest.raises((ssl.SSLError, OSError, EOFError, websockets.exceptions.InvalidMessage)):
            joined(gateway, short, "cn")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_is_told_whose_certificates_are_wanted_and_that_it_has_none(gateway, version):
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.ports[REQUIRED]}", version, "-ign_eof"]
    with gateway.refuses_one("certificate_missing"):
        # It listens on, and hears the alert: in TLS 1.3 that comes after its own handshake.
        ran = subprocess.run(command, input="", capture_output=True, text=True, timeout=PATIENCE)
    said = (ran.stdout + ran.stderr).replace("CN=", "CN = ")
    assert "Acceptable client certificate CA names\nCN = clients of the tests" in said, said
    assert ran.returncode != 0 and "alert certificate required" in said, said


def test_the_name_of_a_certificate_is_the_one_that_openssl_prints(gateway, clients, context):
    mine = clients.issue("named", "/O=Example, Inc./CN=<seven> #7; a\\+b")
    command = ["openssl", "x509", "-in", mine[0], "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb"]
    printed = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout.decode()
    subject = urllib.parse.unquote(joined(gateway, context(mine), "dn"))
    assert subject == printed.removeprefix("subject=").strip()
    assert subject == r"CN=\<seven\> #7\; a\+b,O=Example\, Inc."


def test_the_gateway_s_own_client_presents_a_certificate(gateway, authority, clients, token):
    bound = token(subject="alice", cnf={"x5t#S256": part(clients.fingerprint("sensor"))})

    def connect(certificate, key):
        command = [BINARY, "connect", "--ca", authority.file, "--cert", certificate, "--key", key, "--token", bound]
        command.append(f"wss://127.0.0.1:{gateway.ports[REQUIRED]}/bound/rooms/connect")
        ran = subprocess.run(list(map(str, command)), input="hello\n", capture_output=True, text=True, timeout=PATIENCE)
        return ran.returncode, ran.stdout, ran.stderr

    mine, other = files(clients, "sensor"), files(clients, "other")
    code, said, _ = connect(*mine)
    assert code == 0 and '"from":"alice","text":"hello"' in said, said
    code, _, complaint = connect(*other)
    assert code == 1 and "refused: 403 token_invalid" in complaint, complaint
    code, _, complaint = connect(mine[0], other[1])
    assert code == 3 and "--key: the key is not the certificate's" in complaint, complaint
