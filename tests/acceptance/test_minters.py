"""Three libraries mint tokens of every algorithm, each with its own keys: as a secret or PEM, and as a key set."""

import json
import subprocess

import pytest

from parts import minters, tokens
from parts.client import open_chat, refusal
from parts.gateway import BINARY, Gateway
from parts.minters import ALGORITHMS, PAIRS

LACKS = {"pyjwt": [], "python_jose": ["PS256", "PS384", "PS512", "EdDSA"], "node_jose": []}
EVERY = [(library, algorithm) for library in LACKS for algorithm in ALGORITHMS if algorithm not in LACKS[library]]
EVERY_PAIR = [(library, algorithm) for library, algorithm in EVERY if algorithm in PAIRS]


@pytest.fixture(scope="module")
def minted():
    # `sub` is each token's algorithm.
    said = {name: value for name, value in tokens.claims().items() if name != "sub"}
    return {library: getattr(minters, library)(said) for library in LACKS}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat, minted):
    folder = tmp_path_factory.mktemp("minters")
    text = '[[listen]]\naddress = "127.0.0.1:0"\n'

    def add(name, algorithms, key):
        return f"""
[jwt.{name}]
algorithms = {algorithms}
{key}
issuer = "{tokens.ISSUER}"
audience = "chat"

[[route]]
name = "{name}"
path = "/{name}"
upstream = "{chat.url}/"
jwt = "{name}"
"""

    for library, algorithm in EVERY:
        file, one = folder / f"{library}-{algorithm}", minted[library][algorithm]
        file.write_text(one.secret or one.pem)
        file.chmod(0o600)
        text += add(file.name, [algorithm], f'{"secret" if one.secret else "public_key"} = "file:{file}"')
    for library in LACKS:
        file = folder / f"{library}.json"
        file.write_text(json.dumps({"keys": [one.jwk for one in minted[library].values() if one.jwk]}))
        text += add(f"{library}-set", PAIRS, f'jwks = "{file}"')
    with Gateway(folder, text) as gateway:
        yield gateway


def test_these_are_all_the_algorithms_that_the_gateway_knows():
    schema = json.loads(subprocess.run([BINARY, "schema"], capture_output=True, check=True).stdout)
    assert sorted(schema["definitions"]["Algorithm"]["enum"]) == sorted(ALGORITHMS)


def test_the_libraries_have_them_all_but_for_four_of_python_jose(minted):
    assert minters.python_jose_lacks() == LACKS["python_jose"]
    assert {library: sorted(minted[library]) for library in LACKS} == {
        library: sorted(algorithm for owner, algorithm in EVERY if owner == library) for library in LACKS
    }


@pytest.mark.parametrize("library, algorithm", EVERY)
def test_a_token_opens_a_session_and_a_strangers_does_not(gateway, minted, library, algorithm):
    one, route = minted[library][algorithm], f"{library}-{algorithm}"
    with open_chat(gateway.url(f"/{route}/rooms/{route}"), one.token) as connection:
        assert json.loads(connection.recv(timeout=10)) == {"joined": algorithm}
    assert refusal(gateway.url(f"/{route}/rooms/{route}"), one.stranger).body.startswith(b"token_invalid:")


@pytest.mark.parametrize("library, algorithm", EVERY_PAIR)
def test_the_set_that_the_library_exports_has_the_key(gateway, minted, library, algorithm):
    one, route = minted[library][algorithm], f"{library}-set"
    with open_chat(gateway.url(f"/{route}/rooms/{algorithm}"), one.token) as connection:
        assert json.loads(connection.recv(timeout=10)) == {"joined": algorithm}
    assert refusal(gateway.url(f"/{route}/rooms/{algorithm}"), one.stranger).body.startswith(b"token_invalid:")
