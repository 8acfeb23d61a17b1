"""A whole site through one port: the page, its login, its stream of events, its socket; and pages from elsewhere."""

import json
import subprocess

import pytest

from parts.gateway import Gateway
from parts.pages import chromium
from parts.tokens import SECRET
from parts.upstreams import Chat

CONFIG = """
[[listen]]
address = "127.0.0.1:0"
[jwt.main]
algorithms = ["HS256"]
secret = "env:JWT_SECRET"

[[route]]
name = "page"
path = "/"
upstream = "URL"
http = "forward"
origins = ["http://127.0.0.1:SITE", "http://site.example.com"]
max_body_size = "200m"

[[route]]
name = "api"
path = "/api"
upstream = "URL"
http = "forward"
origins = ["http://127.0.0.1:SITE"]
[route.cors]
allow_methods = ["GET", "PUT"]
allow_headers = ["X-Mine"]
expose_headers = ["X-Total"]
credentials = true

[[route]]
name = "ws"
path = "/ws"
upstream = "URL"
jwt = "main"
token_from = ["cookie:session"]
origins = ["http://site.example.com"]

[[route]]
name = "events"
path = "/events"
upstream = "URL"
http = "forward"
jwt = "main"
token_from = ["cookie:session"]
origins = ["http://site.example.com"]
"""


@pytest.fixture(scope="module")
def backend():
    with Chat("whole", env={"JWT_SECRET": SECRET}) as backend:
        yield backend


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, backend, site):
    config = CONFIG.replace("URL", backend.url).replace("SITE", str(site))
    with Gateway(tmp_path_factory.mktemp("site"), config, env={"JWT_SECRET": SECRET}) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def browser(gateway):
    """One that takes site.example.com for the gateway."""
    with chromium(f"--host-resolver-rules=MAP site.example.com:80 127.0.0.1:{gateway.ports[0]}") as browser:
        yield browser


def test_page_login_socket_and_events_work_through_one_port(gateway, page):
    page.goto("http://site.example.com/")
    assert page.inner_text("h1") == "the page itself"
    assert page.evaluate("socket('too early')") == "refused"
    assert gateway.line(event="handshake_refused", route="ws")["reason"] == "token_missing"
    assert page.evaluate("login('alice')") == 200
    assert page.evaluate("socket('hello')") == "alice: hello"
    heard = page.evaluate("events(3)")
    assert heard == [f"{number} for alice" for number in range(3)]
    line = gateway.line(event="request", route="events", method="GET")
    assert (line["subject"], line["status"], line["reason"]) == ("alice", 200, "client_lost")


def fetch(page, url, **options):
    """What a script of the page gets: status, headers that it may read, text; or the error."""
    return page.evaluate(
        """async ([url, options]) => {
            try {
                const answer = await fetch(url, options);
                return { status: answer.status, type: answer.type, total: answer.headers.get("X-Total"),
                         text: await answer.text() };
            } catch (error) { return { error: error.name }; }
        }""",
        [url, options],
    )


def test_a_page_of_the_list_may_send_and_read_what_cors_allows(gateway, page, site):
    api = gateway.url("/api/things", scheme="http")
    page.goto(f"http://127.0.0.1:{site}/")
    page.evaluate("document.cookie = 'mine=1'")
    since = len(gateway.out)
    got = fetch(page, api, method="PUT", headers={"X-Mine": "1"}, body="four", credentials="include")
    assert (got["status"], got["total"]) == (200, "7")
    assert json.loads(got["text"]) == {"method": "PUT", "bytes": 4, "cookies": ["mine"]}
    assert gateway.line(since, event="request", route="api")["method"] == "PUT"
    # The browser asks first, and is told no.
    for options in ({"method": "DELETE"}, {"method": "PUT", "headers": {"X-Other": "1"}}):
        since = len(gateway.out)
        assert fetch(page, api, **options) == {"error": "TypeError"}
        assert gateway.line(since, event="request_refused", route="api")["reason"] == "preflight_refused"


def test_a_hostile_page_can_read_nothing_and_change_nothing(gateway, backend, page, site):
    api = gateway.url("/api/hostile", scheme="http")
    # Another host, and so another site.
    page.goto(f"http://localhost:{site}/")
    for options in (
        {"method": "PUT", "headers": {"X-Mine": "1"}},
        {"method": "POST", "body": "x", "mode": "no-cors", "credentials": "include"},
        {"credentials": "include"},
        {"mode": "no-cors", "credentials": "include"},
    ):
        since = len(gateway.out)
        got = fetch(page, api, **options)
        assert "error" in got or (got["type"] == "opaque" and got["text"] == ""), (options, got)
        assert gateway.line(since, event="request_refused", route="api")["reason"] == "origin_forbidden"
    since = len(gateway.out)
    page.evaluate("(url) => { const form = document.createElement('form'); form.method = 'POST'; form.action = url;"
                  " document.body.append(form); form.submit(); }", api)
    assert gateway.line(since, event="request_refused", method="POST")["reason"] == "origin_forbidden"
    # A link leads there all the same.
    page.goto(f"http://localhost:{site}/")
    with page.expect_navigation():
        page.evaluate("(url) => { location.href = url; }", gateway.url("/api/link", scheme="http"))
    assert json.loads(page.inner_text("pre"))["method"] == "GET"
    assert not [line for line in backend.out.since(0) if "hostile" in line]


def curl(*arguments):
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "120", "--noproxy", "*", *arguments],
        capture_output=True, check=True,
    )
    return done.stdout.decode()


def test_a_large_upload_passes_through_a_gateway_that_stays_small(gateway, tmp_path):
    file = tmp_path / "large"
    with file.open("wb") as large:
        large.truncate(100 << 20)
    before = gateway.count("process_resident_memory_bytes")
    url = gateway.url("/size", scheme="http")
    for more in ([], ["-H", "Transfer-Encoding: chunked"]):
        told = curl("-X", "POST", "-T", str(file), "-H", "Origin: http://site.example.com", *more, url)
        assert told == str(100 << 20)
    assert gateway.count("process_resident_memory_bytes") - before < 32 << 20
    assert gateway.count("wsgate_request_bytes_total", route="page", direction="to_upstream") >= 200 << 20


def test_curl_keeps_its_connection(gateway):
    url = gateway.url("/api/kept", scheme="http")
    told = curl("-w", "%{num_connects}\n", "-o", "/dev/null", url, "-o", "/dev/null", url)
    assert told.split() == ["1", "0"]
