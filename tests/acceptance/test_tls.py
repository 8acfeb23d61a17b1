"""TLS as OpenSSL, Python and curl see it: versions, SNI, what is refused; and the first line of a handshake."""

import socket
import ssl
import subprocess

import pytest

from parts.child import Child, PATIENCE
from parts.client import talk_over_tls
from parts.gateway import Gateway
from parts.tokens import SECRET, by_pyjwt, claims
from parts.wire import KEY, head


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, authority):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[listen.tls]
{authority.issue("first.example.com", "127.0.0.1")}
[[listen.tls.additional]]
{authority.issue("second.example.com", "*.second.example.com")}

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[[route]]
name = "tls"
upstream = "{chat.url}"
jwt = "main"
"""
    with Gateway(tmp_path_factory.mktemp("tls"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


def s_client(gateway, *options):
    """What `openssl s_client` tells of the connection; it hangs up at once."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.ports[0]}", *map(str, options)]
    ran = subprocess.run(command, input="", capture_output=True, text=True, timeout=PATIENCE)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("option, version", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_openssl_agrees_on_either_version_and_verifies(gateway, authority, option, version):
    code, said = s_client(gateway, option, "-servername", "first.example.com", "-CAfile", authority.file, "-brief")
    assert code == 0 and f"Protocol version: {version}" in said and "Verification: OK" in said, said


@pytest.mark.parametrize("option", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused_and_counted(gateway, option):
    with gateway.refuses_one("bad_handshake"):
        code, said = s_client(gateway, option, "-cipher", "ALL:@SECLEVEL=0")
    assert code != 0 and "SSL alert number" in said, said


@pytest.mark.parametrize(
    "name, certificate",
    [
        ("first.example.com", "first.example.com"),
        ("second.example.com", "second.example.com"),
        ("a.second.example.com", "second.example.com"),
        ("SECOND.example.com", "second.example.com"),
        ("unknown.example.com", "first.example.com"),
        (None, "first.example.com"),
    ],
)
def test_the_name_that_a_client_asks_for_chooses_the_certificate(gateway, name, certificate):
    asked = ["-servername", name] if name else ["-noservername"]
    assert f"subject=CN = {certificate}\n" in s_client(gateway, *asked)[1].replace("CN=", "CN = ")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_verifies_the_host_and_chats(gateway, authority, keys, version):
    context = ssl.create_default_context(cafile=authority.file)
    context.minimum_version = context.maximum_version = version
    url = f"wss://a.second.example.com:{gateway.ports[0]}/rooms/tls"
    token = by_pyjwt(keys, "HS256", claims())
    agreed, [joined, long] = talk_over_tls(url, context, gateway.ports[0], ["x" * 200_000], token)
    assert agreed == version.name.replace("_", ".")
    assert "joined" in joined and "x" * 200_000 in long


def test_a_client_that_trusts_nobody_is_counted_as_a_bad_handshake(gateway):
    with gateway.refuses_one("bad_handshake"):
        with pytest.raises(ssl.SSLCertVerificationError):
            with socket.create_connection(("127.0.0.1", gateway.ports[0]), PATIENCE) as plain:
                ssl.create_default_context().wrap_socket(plain, server_hostname="first.example.com")


def test_a_plain_request_on_the_tls_port_is_refused_and_counted(gateway):
    with gateway.refuses_one("bad_handshake"):
        with socket.create_connection(("127.0.0.1", gateway.ports[0]), PATIENCE) as plain:
            plain.sendall(head())
            while plain.recv(65536):
                pass


class Curl(Child):
    """curl, run against the gateway. With --include, the head's lines come first, and curl waits for more."""

    def __init__(self, gateway, authority, *options):
        where = f"first.example.com:{gateway.ports[0]}"
        elsewhere = ["--noproxy", "*", "--connect-to", f"{where}:127.0.0.1:{gateway.ports[0]}"]
        command = ["curl", "--silent", "--show-error", "--no-buffer", "--http1.1", "--cacert", authority.file]
        super().__init__(*command, *elsewhere, *options, f"https://{where}/rooms/curl")

    def head(self):
        self.out.first(lambda line: line == "")
        lines = self.out.since(0)
        first, *headers = lines[: lines.index("")]
        return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in headers)}


def handshake(*more):
    headers = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}", *more)
    return ["--include", *(option for header in headers for option in ("--header", header))]


def test_curl_sees_the_101_with_a_token(gateway, authority, keys):
    token = by_pyjwt(keys, "HS256", claims())
    with Curl(gateway, authority, *handshake(f"Authorization: Bearer {token}")) as curl:
        first, headers = curl.head()
    assert first == "HTTP/1.1 101 Switching Protocols"
    # RFC 6455 s1.3 gives this answer to this key.
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_curl_tells_a_person_why_not(gateway, authority):
    with Curl(gateway, authority, *handshake()) as curl:
        assert curl.head()[0] == "HTTP/1.1 403 Forbidden"
        assert curl.wait() == 0
        assert curl.out.tail(1) == "token_missing: the route wants a token and there is none"
    with Curl(gateway, authority) as curl:
        assert curl.wait() == 0
        assert curl.out.tail(1) == "not_websocket: the request does not ask for a WebSocket of version 13"
