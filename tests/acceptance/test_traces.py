"""Spans of handshakes, read by OpenTelemetry's own types; and a backend with OpenTelemetry's own instrumentation, whose spans
are children of the gateway's."""

import json

import pytest

from parts.child import PATIENCE, free_port, wait_until
from parts.client import open_chat, refusal
from parts.collector import Collector
from parts.gateway import Gateway
from parts.tokens import ISSUER, SECRET
from parts.upstreams import Chat

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
THEIRS = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=x"}
CONFIG = """
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"
issuer = "{issuer}"
audience = "chat"

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat}/"
jwt = "main"
token_from = ["query:token"]

[[route]]
name = "dead"
path = "/dead"
upstream = "http://127.0.0.1:{dead}"

[server]
{server}
{tracing}
"""
TRACING = """
[tracing]
endpoint = "{collector.url}"
headers = {{ x-scope = "env:OTLP_SCOPE" }}
service_name = "edge"
"""
ENV = {"JWT_SECRET": SECRET, "OTLP_SCOPE": "tenant-1"}


@pytest.fixture(scope="module")
def backend():
    with Chat("traced") as backend:
        yield backend


@pytest.fixture
def collector():
    with Collector() as collector:
        yield collector


@pytest.fixture
def gateway(tmp_path, backend, collector):
    """Starts one whose `[tracing]` says this besides."""

    def start(tracing="", server="", with_tracing=True):
        about = TRACING.format(collector=collector) + tracing if with_tracing else ""
        said = CONFIG.format(issuer=ISSUER, chat=backend.url, dead=free_port(), tracing=about, server=server)
        return Gateway(tmp_path, said, env=ENV)

    return start


def spoken_to(backend, since):
    """What the backend's own instrumentation says of the connection that it got."""

    def match(text):
        line = json.loads(text) if text.startswith("{") else {}
        # Its spans for each message are children of this one, and have more in their name.
        return line if line.get("name") == "HTTP /rooms/traces" else None

    return backend.out.first(match, since)


def test_a_handshake_a_dial_and_a_backends_own_span_are_one_trace_and_the_end_is_linked_to_it(
    gateway, collector, backend, token
):
    since = len(backend.out)
    with gateway("sample = 1.0\nsubject = true") as running:
        secret = token()
        with open_chat(running.url(f"/chat/rooms/traces?token={secret}")) as connection:
            connection.recv(timeout=PATIENCE)
            connection.send("hello")
            connection.recv(timeout=PATIENCE)
        handshake = collector.first(lambda span: span.name == "GET chat")
        dial = collector.first(lambda span: span.name == "GET")
        ended = collector.first(lambda span: span.name == "session ended")
        theirs = spoken_to(backend, since)
        wait_until("they are counted", lambda: running.count("wsgate_trace_spans_total", result="exported") == 3)
    assert (handshake.trace, handshake.id) == (dial.trace, dial.parent) and handshake.parent == ""
    assert (theirs["trace"], theirs["parent"]) == (dial.trace, dial.id)
    assert (handshake.kind, dial.kind, ended.kind) == (2, 3, 1)
    assert handshake.resource["service.name"] == "edge"
    assert (
        handshake.attributes.items()
        >= {
            "http.request.method": "GET",
            "http.response.status_code": 101,
            "url.scheme": "http",
            "url.path": "/chat/rooms/traces",
            "client.address": "127.0.0.1",
            "server.address": "127.0.0.1",
            "server.port": running.ports[0],
            "wsgate.route": "chat",
            "user.id": "alice",
        }.items()
    )
    assert secret not in repr(handshake) and "wsgate.reason" not in handshake.attributes
    assert dial.attributes.items() >= {"server.port": backend.port, "http.response.status_code": 101}.items()
    assert handshake.start <= dial.start <= dial.end <= handshake.end
    assert (ended.links, ended.trace == handshake.trace) == ([(handshake.trace, handshake.id)], False)
    assert handshake.attributes["wsgate.connection_id"] == ended.attributes["wsgate.connection_id"]
    assert (
        ended.attributes.items()
        >= {"wsgate.side": "client", "wsgate.reason": "closed", "wsgate.messages_to_upstream": 1}.items()
    )
    path, headers = collector.headers[0]
    assert (path, headers["x-scope"], headers["content-type"]) == ("/v1/traces", "tenant-1", "application/json")


def test_refusals_say_why_and_only_a_servers_failure_is_one(gateway, collector):
    with gateway("sample = 1.0") as running:
        assert refusal(running.url("/chat/rooms/x?token=nonsense")).status_code == 403
        assert refusal(running.url("/dead")).status_code == 502
        refused = collector.first(lambda span: span.name == "GET chat")
        failed = collector.first(lambda span: span.name == "GET dead")
        dial = collector.first(lambda span: span.name == "GET")
    assert (refused.attributes["wsgate.reason"], refused.attributes["http.response.status_code"]) == ("token_invalid", 403)
    assert refused.error is None and "error.type" not in refused.attributes and "nonsense" not in repr(refused)
    assert (failed.attributes["wsgate.reason"], failed.error) == ("upstream_connect", "upstream_connect")
    assert (dial.parent, dial.error, dial.attributes["error.type"]) == (failed.id, "upstream_connect", "upstream_connect")


@pytest.mark.parametrize(
    ("tracing", "server", "believed"),
    [
        ("sample = 1.0", "", False),
        ('sample = 1.0\nparents = "all"', "", True),
        ("sample = 0.0", 'trusted_proxies = ["127.0.0.1"]', True),
        ('sample = 1.0\nparents = "none"', 'trusted_proxies = ["127.0.0.1"]', False),
    ],
)
def test_a_parent_is_believed_of_whom_the_config_says(gateway, collector, backend, token, tracing, server, believed):
    since = len(backend.out)
    with gateway(tracing, server) as running:
        with open_chat(running.url(f"/chat/rooms/traces?token={token()}"), headers=THEIRS):
            pass
        handshake = collector.first(lambda span: span.name == "GET chat")
        theirs = spoken_to(backend, since)
    assert theirs["trace"] == handshake.trace
    if believed:
        assert (handshake.trace, handshake.parent, handshake.links) == (TRACE, SPAN, [])
        assert theirs["state"] == "vendor=x"
    else:
        assert handshake.trace != TRACE and handshake.parent == ""
        assert (handshake.links, theirs["state"]) == ([(TRACE, SPAN)], "")


def test_a_stranger_can_not_make_the_gateway_record(gateway, collector, token):
    with gateway("sample = 0.0") as running:
        with open_chat(running.url(f"/chat/rooms/traces?token={token()}"), headers=THEIRS):
            pass
        wait_until("the session is over", lambda: running.count("wsgate_sessions_active", route="chat") == 0)
    # What was left would have been sent when it ended.
    assert (collector.headers, collector.seen) == ([], [])


def test_without_tracing_a_context_passes_as_it_came_and_a_malformed_one_does_not(gateway, backend, token):
    with gateway(with_tracing=False) as running:
        for headers, parent in ((THEIRS, SPAN), ({**THEIRS, "traceparent": THEIRS["traceparent"] + "-x"}, None)):
            since = len(backend.out)
            with open_chat(running.url(f"/chat/rooms/traces?token={token()}"), headers=headers):
                pass
            theirs = spoken_to(backend, since)
            assert (theirs["parent"], theirs["trace"] == TRACE) == (parent, parent is not None)
            assert theirs["state"] == ("vendor=x" if parent else "")


def test_a_collector_that_is_busy_gets_the_same_spans_later_and_what_is_left_goes_out_at_the_end(gateway, collector):
    collector.statuses.extend([503, 429])
    with gateway("sample = 1.0") as running:
        assert refusal(running.url("/nowhere")).status_code == 404
        assert collector.first(lambda span: span.name == "GET").attributes["wsgate.reason"] == "no_route"
        assert len(collector.headers) == 3
        wait_until("it is said", lambda: any("spans are taken again" in line for line in running.err.since(0)))
        assert refusal(running.url("/elsewhere")).status_code == 404
    assert collector.first(lambda span: span.attributes["url.path"] == "/elsewhere", patience=0.1)


def test_without_a_collector_handshakes_go_on_and_the_gateway_ends(gateway, collector, token):
    with gateway("sample = 1.0\ntimeout = '100ms'") as running:
        # Nobody listens there any more.
        collector.__exit__()
        for _ in range(5):
            with open_chat(running.url(f"/chat/rooms/traces?token={token()}")) as connection:
                connection.recv(timeout=PATIENCE)
        wait_until("it is said", lambda: any("spans can't be sent" in line for line in running.err.since(0)))
