"""Node's `ws` on both sides, with and without permessage-deflate: what one side says is what the other hears."""

import json

import pytest

from parts.child import Child, PATIENCE
from parts.client import open_chat
from parts.gateway import Gateway
from parts.upstreams import NODE, NodeEcho


@pytest.fixture(scope="module")
def backends():
    with NodeEcho(deflate=True) as deflate, NodeEcho(deflate=False) as plain:
        yield {"deflate": deflate, "plain": plain}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, backends, authority):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[[listen]]
address = "127.0.0.1:0"
[listen.tls]
{authority.issue("node.example.com", "127.0.0.1")}
"""
    for name, backend in backends.items():
        config += f'[[route]]\nname = "{name}"\npath = "/{name}"\nupstream = "{backend.url}"\n'
    with Gateway(tmp_path_factory.mktemp("node"), config) as gateway:
        yield gateway


def run_client(*arguments, env=None):
    """What client.js told."""
    with Child("node", "client.js", *arguments, cwd=NODE, env=env) as client:
        assert client.wait(PATIENCE) == 0, client.err.tail()
        return client.out.first(json.loads)


@pytest.mark.parametrize("client", ["deflate", "plain"])
@pytest.mark.parametrize("backend", ["deflate", "plain"])
def test_every_message_fragment_ping_and_close_arrives_as_it_was_sent(gateway, backends, client, backend):
    since = len(backends[backend].out)
    with gateway.ends_one("closed", "client", backend) as line:
        told = run_client(gateway.url(f"/{backend}"), client, "4123")
    both = client == backend == "deflate"
    assert (told["code"], told["reason"]) == (4123, "of-my-own")
    assert ("permessage-deflate" in told["extensions"]) == both
    seen = backends[backend].out.first(json.loads, since)
    assert (seen["code"], seen["reason"]) == (4123, "of-my-own")
    assert ("permessage-deflate" in seen["extensions"]) == both
    assert seen["pings"] == ["between"] * 4 + ["", "a", "x" * 125]
    # The same count on three sides: the client's, and both directions of the gateway's.
    assert told["messages"] == line["messages_to_upstream"] == line["messages_to_client"]
    assert line["close_code"] == 4123


@pytest.mark.parametrize("client", ["deflate", "plain"])
def test_the_same_over_tls_with_the_backend_closing(gateway, authority, client):
    with gateway.ends_one("closed", "upstream", "deflate"):
        url = gateway.url("/deflate", listener=1, scheme="wss")
        told = run_client(url, client, "command", env={"NODE_EXTRA_CA_CERTS": str(authority.file)})
    assert (told["code"], told["reason"]) == (4321, "told-to")


def test_a_node_backend_hears_a_python_client(gateway, backends):
    with open_chat(gateway.url("/deflate"), ping_interval=None) as connection:
        for data in ["text", b"\x00\xff" * 50_000, "ü" * 1000]:
            connection.send(data)
            assert connection.recv(timeout=PATIENCE) == data
        assert connection.ping("are you there").wait(PATIENCE)
