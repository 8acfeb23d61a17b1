"""A real Prometheus scrapes the gateway: its target is up, its queries find the series, and promtool has no complaint."""

import pathlib
import subprocess
import time

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from parts.child import PATIENCE, wait_until
from parts.client import open_chat, refusal
from parts.gateway import Gateway
from parts.prometheus import PROMTOOL, Prometheus

PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, chat):
    config = f"""
[[listen]]
address = "127.0.0.1:0"
[[route]]
name = "chat"
path = "/chat"
upstream = "{chat.url}/"
origins = ["{PAGE}"]
connections = {{ total = 10 }}
"""
    with Gateway(tmp_path_factory.mktemp("metrics"), config) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory, gateway):
    with Prometheus(tmp_path_factory.mktemp("prometheus"), gateway.admin.removeprefix("http://")) as prometheus:
        yield prometheus


def test_the_target_is_up_and_nothing_of_it_is_refused(prometheus):
    wait_until("two scrapes", lambda: prometheus.query("count_over_time(up[1m])").get((), 0) >= 2)
    [target] = prometheus.get("/api/v1/targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    assert prometheus.query("up") == {(): 1}
    # Samples that Prometheus drops, as duplicates, are no error of the scrape.
    assert not [line for line in prometheus.err.since(0) if "level=warn" in line or "level=error" in line]


def test_every_series_that_the_gateway_shows_can_be_queried(prometheus, gateway):
    shown = {name for name, _ in gateway.counts()}
    known = wait_until("a scrape", lambda: prometheus.metrics() & shown)
    assert shown == known


def gateway_backend(chat):
    """The labels of the only server."""
    return (("server", chat.url.removeprefix("http://")), ("upstream", chat.url))


def test_what_happens_can_be_read_in_prometheus(prometheus, gateway, chat):
    url = gateway.url("/chat/rooms/metrics")
    with open_chat(url, origin=PAGE) as connection:
        connection.recv(timeout=PATIENCE)
        connection.send("x" * 100)
        connection.recv(timeout=PATIENCE)
        wait_until("the session is seen", lambda: prometheus.query("wsgate_sessions_active == 1"))
        assert prometheus.query('wsgate_cap_used{scope="route"} / wsgate_cap_limit') == {
            (("route", "chat"), ("scope", "route")): 0.1
        }
    for _ in range(3):
        assert refusal(url, origin="https://evil.example.com").status_code == 403
    refused = 'wsgate_handshakes_total{result="origin_forbidden"}'
    wait_until("the refusals are seen", lambda: list(prometheus.query(refused).values()) == [3])
    ended = prometheus.query("wsgate_sessions_ended_total > 0")
    assert ended == {(("reason", "closed"), ("route", "chat"), ("side", "client")): 1}
    assert prometheus.query("wsgate_messages_total") == {
        (("direction", "to_client"), ("route", "chat")): 2,
        (("direction", "to_upstream"), ("route", "chat")): 1,
    }
    sent = prometheus.query('histogram_quantile(0.5, wsgate_session_messages_bucket{direction="to_upstream"})')
    backend = gateway_backend(chat)
    handshakes = prometheus.query("wsgate_upstream_server_handshakes_total > 0")
    assert handshakes == {(("result", "ok"), *backend): 1}
    assert prometheus.query("wsgate_upstream_server_up") == {backend: 1}
    assert 0 < sent[(("direction", "to_upstream"), ("route", "chat"))] <= 1


def test_an_exemplar_leads_from_a_histogram_to_a_connections_line_in_the_log(prometheus, gateway):
    since = len(gateway.out)
    with open_chat(gateway.url("/chat/rooms/exemplars"), origin=PAGE) as connection:
        connection.recv(timeout=PATIENCE)
    line = gateway.line(since, event="session_ended")

    def known(histogram):
        now = time.time()
        found = prometheus.get("/api/v1/query_exemplars", query=histogram, start=now - 600, end=now + 60)
        return {exemplar["labels"]["connection_id"] for series in found for exemplar in series["exemplars"]}

    for histogram in ("wsgate_handshake_duration_seconds_bucket", "wsgate_session_duration_seconds_bucket"):
        wait_until(histogram, lambda: line["connection_id"] in known(histogram))


def test_promtool_has_no_complaint(gateway):
    text = gateway.page("/metrics")[1]
    ran = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_openmetrics_form_is_read_by_a_strict_parser(gateway):
    text = gateway.page("/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
    families = {family.name: family for family in openmetrics(text)}
    assert families["wsgate_handshakes"].type == "counter"
    assert families["wsgate_build"].type == "info"
    plain = {name for name, _ in gateway.counts()}
    assert {sample.name for family in families.values() for sample in family.samples} == plain


def test_queries_of_the_documentation_are_understood(prometheus):
    page = pathlib.Path(__file__).resolve().parents[2] / "docs/metrics.md"
    blocks = [block.split("```")[0] for block in page.read_text().split("```promql\n")[1:]]
    assert len(blocks) >= 5
    for block in blocks:
        for line in block.strip().splitlines():
            prometheus.query(line)
