"""Clients' certificates as OpenSSL, curl, Python and the gateway's own `connect` present them."""

import base64
import hashlib
import ssl
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from parts.child import PATIENCE
from parts.client import talk_over_tls
from parts.gateway import BINARY, Gateway
from parts.tls import Authority
from parts.tokens import SECRET, by_pyjwt, claims


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, authority, devices):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[listen.tls]
client_ca = "{devices.file}"
{authority.issue("mtls.example.com", "127.0.0.1")}

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[[route]]
name = "certificate"
path = "/rooms"
upstream = "{chat.url}"
client_certificate = "required"
certificate_subject = "dn"
origins = "any"

[[route]]
name = "both"
path = "/bound"
upstream = "{chat.url}/rooms"
jwt = "main"
client_certificate = "required"
require_bound_token = true
origins = "any"
"""
    with Gateway(tmp_path_factory.mktemp("mtls"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """The authority of the clients, which is not the gateway's."""
    return Authority(tmp_path_factory.mktemp("devices"), "acceptance devices")


@pytest.fixture(scope="module")
def device(devices):
    return devices.files("device-1")


def context(authority, version, files=None):
    context = ssl.create_default_context(cafile=authority.file)
    context.minimum_version = context.maximum_version = version
    if files:
        context.load_cert_chain(*files)
    return context


def openssl(*arguments):
    ran = subprocess.run(["openssl", *map(str, arguments)], input="", capture_output=True, text=True, timeout=PATIENCE)
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_python_comes_in_as_the_name_that_openssl_prints(gateway, authority, device, version):
    url = f"wss://mtls.example.com:{gateway.ports[0]}/rooms/mtls"
    _, [joined] = talk_over_tls(url, context(authority, version, device), gateway.ports[0], [])
    name = openssl("x509", "-in", device[0], "-noout", "-subject", "-nameopt", "RFC2253,-esc_msb")[1]
    assert name.removeprefix("subject=").strip() in joined and "CN=device-1" in joined


@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_openssl_is_told_whose_certificates_are_wanted_and_that_it_has_none(gateway, option):
    with gateway.refuses_one("certificate_missing"):
        # It listens on, and hears the alert: in TLS 1.3 that comes after its own handshake.
        code, said = openssl("s_client", "-connect", f"127.0.0.1:{gateway.ports[0]}", option, "-ign_eof")
    assert "Acceptable client certificate CA names\nCN = acceptance devices" in said.replace("CN=", "CN = "), said
    assert "alert certificate required" in said or "SSL alert number 116" in said, said
    assert code != 0


def test_a_certificate_of_another_authority_is_refused_in_tls(gateway, authority):
    with gateway.refuses_one("bad_handshake"):
        files = authority.files("stranger")
        where = f"127.0.0.1:{gateway.ports[0]}"
        code, said = openssl("s_client", "-connect", where, "-ign_eof", "-cert", files[0], "-key", files[1])
    assert code != 0 and "alert unknown ca" in said, said


def test_curl_gets_to_the_route_with_its_certificate_and_no_further_without(gateway, authority, device):
    where = f"mtls.example.com:{gateway.ports[0]}"
    command = ["curl", "--silent", "--show-error", "--http1.1", "--noproxy", "*", "--cacert", authority.file]
    command += ["--connect-to", f"{where}:127.0.0.1:{gateway.ports[0]}", f"https://{where}/rooms/mtls"]
    command = [str(part) for part in command]
    with gateway.refuses_one("certificate_missing"):
        ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        # curl's own word for a failed receive is 56; a TLS that fails before it has sent is 35.
        assert ran.returncode in (35, 56) and "certificate required" in ran.stderr, ran.stderr
    with gateway.refuses_one("not_websocket"):
        mine = ["--cert", str(device[0]), "--key", str(device[1])]
        ran = subprocess.run([*command, *mine], capture_output=True, text=True, timeout=PATIENCE)
        assert ran.stdout.startswith("not_websocket: "), ran


def connect(gateway, authority, path, *more):
    command = [BINARY, "connect", "--ca", authority.file, *more, f"wss://127.0.0.1:{gateway.ports[0]}{path}"]
    command = [str(part) for part in command]
    return subprocess.run(command, input="hello\n", capture_output=True, text=True, timeout=PATIENCE)


def test_the_gateway_s_own_client_presents_a_certificate_and_a_token_that_is_bound_to_it(
    gateway, authority, devices, device, keys
):
    certificate = x509.load_pem_x509_certificate(device[0].read_bytes())
    thumbprint = hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).digest()
    thumbprint = base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode()
    token = by_pyjwt(keys, "HS256", claims(cnf={"x5t#S256": thumbprint}))
    mine = ["--cert", device[0], "--key", device[1]]
    ran = connect(gateway, authority, "/bound/mtls", *mine, "--token", token)
    assert ran.returncode == 0 and '"from":"alice","text":"hello"' in ran.stdout, ran
    other = devices.files("device-2")
    ran = connect(gateway, authority, "/bound/mtls", "--cert", other[0], "--key", other[1], "--token", token)
    assert ran.returncode == 1 and "refused: 403 token_invalid" in ran.stderr, ran
    ran = connect(gateway, authority, "/rooms/mtls", "--cert", device[0], "--key", other[1])
    assert ran.returncode == 3 and "--key: the key is not the certificate's" in ran.stderr, ran
