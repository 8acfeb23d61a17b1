"""The dashboard and the alert rules on a real gateway with everything in use, scraped by a real Prometheus: every query has
an answer, every metric is there, nothing fires; and what breaks is seen to fire."""

import collections
import json
import pathlib
import re
import runpy
import urllib.request

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from parts.child import PATIENCE, free_port, wait_until
from parts.client import close_of, open_chat, refusal
from parts.gateway import Gateway
from parts.issuer import Issuer, Signer, key_set
from parts.prometheus import Prometheus
from parts.redis import Redis
from parts.tokens import ISSUER

DOCKER = pathlib.Path(__file__).resolve().parents[2] / "docker"
FILE = DOCKER / "grafana/dashboards/wsgate.json"
RULES = DOCKER / "prometheus/wsgate.rules.yml"
BOARD = json.loads(FILE.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
# What Prometheus itself makes.
NOT_OURS = {"up", "ALERTS"}
# Everything that has metrics of its own is in use.
CONFIG = """
[[listen]]
address = "127.0.0.1:0"

[[listen]]
address = "127.0.0.1:0"
tls = {{ certificate = "{certificate}", key = "{key}" }}

[access_log]
refusals = {{ rate = "1r/m", burst = 1 }}

[redis]
url = "{redis.url}"

[revocation]
store = "redis"

[jwt.main]
algorithms = ["ES256"]
jwks = "{issuer.url}/keys"
issuer = "{name}"
audience = "chat"

[tracing]
endpoint = "http://127.0.0.1:{dead}"
sample = 1.0

[zone.users]
key = "subject"
rate = "100r/s"

[[route]]
name = "chat"
path = "/chat"
upstream = "{chat.url}/"
jwt = "main"
handshakes = {{ zone = "users", burst = 100, nodelay = true }}
messages = {{ rate = "1r/s", burst = 1, on_excess = "drop" }}
connections = {{ total = 100, per_ip = 50 }}

[[route]]
name = "tried"
path = "/tried"
upstream = "{chat.url}/"
handshakes = {{ rate = "1r/m", dry_run = true }}

[upstream.pool]
servers = ["127.0.0.1:{chat.port}", "127.0.0.1:{dead}"]
path = "/"
health = {{ type = "tcp", interval = "500ms", timeout = "500ms", fall = 1 }}

[[route]]
name = "pool"
path = "/pool"
upstream = "pool"
http = "forward"

[[route]]
name = "dead"
path = "/dead"
upstream = "http://127.0.0.1:{dead}"
"""


# Queries that have no answer here, by a part of each, and why.
SILENT = {
    "wsgate_renewals_total": "nobody renews a token",
    "upstream_connect|upstream_refused|upstream_timeout": "no handshake fails at an upstream: the test of the alerts has one",
    "wsgate_redis_errors_total": "Redis is well",
    "wsgate_redis_fallbacks_total": "Redis is well",
    "changes(wsgate_start_time_seconds": "nothing starts anew",
}


def names_in(expression):
    """The metrics of an expression: words that are neither in quotes, nor labels, nor functions."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", "", bare)
    return {name for name in re.findall(r"[a-zA-Z_]\w+", bare) if name.startswith(("wsgate_", "process_")) or name in NOT_OURS}


def queries():
    """Every query of the dashboard, as Grafana sends it when everything is chosen."""
    said = [target["expr"] for panel in PANELS for target in panel["targets"]]
    said += [annotation["expr"] for annotation in BOARD["annotations"]["list"]]
    for name, value in (("$__rate_interval", "5m"), ("$instance", ".*"), ("$route", ".*")):
        said = [one.replace(name, value) for one in said]
    assert not any("$" in one for one in said), said
    return said


def use(gateway, signer, port):
    """Traffic of every kind; at the port of one server nobody listens."""
    with open_chat(gateway.url("/chat/rooms/board"), signer.token()) as connection:
        for _ in range(5):
            connection.send("hello")
            connection.recv(timeout=PATIENCE)
            if gateway.count("wsgate_messages_dropped_total", route="chat"):
                break
    # The second is over a rate that is only tried; the upstream closes both.
    for _ in range(2):
        with open_chat(gateway.url("/tried/leave/4000")) as connection:
            assert close_of(connection)[0] == 4000
    dead = {"upstream": "pool", "server": f"127.0.0.1:{port}"}
    wait_until("it is out", lambda: gateway.count("wsgate_upstream_server_up", **dead) == 0)
    with open_chat(gateway.url("/pool/rooms/board")) as connection:
        asks(gateway, "/connections?route=pool", "DELETE")
        assert close_of(connection) == (1008, "kicked")
    with urllib.request.urlopen(gateway.url("/pool/openapi.json", scheme="http"), timeout=PATIENCE) as answer:
        assert json.load(answer)["openapi"]
    gateway.file.write_text(gateway.file.read_text() + "# again\n")
    assert asks(gateway, "/reload", "POST")["result"] == "ok"
    assert refusal(gateway.url("/chat/rooms/board")).status_code == 403
    for _ in range(3):
        assert refusal(gateway.url("/nowhere")).status_code == 404


def asks(gateway, path, method):
    """What the admin listener answers."""
    request = urllib.request.Request(gateway.admin + path, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory, chat, authority):
    """A gateway that has had traffic of every kind, and the Prometheus that saw it."""
    signer = Signer("first")
    with Redis(tmp_path_factory.mktemp("redis")) as redis, Issuer() as issuer:
        issuer.pages["/keys"] = key_set(signer)
        certificate, key = authority.files("chat.example.com")
        dead = free_port()
        more = {"certificate": certificate, "key": key, "dead": dead}
        config = CONFIG.format(redis=redis, issuer=issuer, name=ISSUER, chat=chat, **more)
        with (
            Gateway(tmp_path_factory.mktemp("gateway"), config) as gateway,
            Prometheus(tmp_path_factory.mktemp("prometheus"), gateway.admin.removeprefix("http://"), [RULES]) as prometheus,
        ):
            wait_until("Redis is asked", lambda: gateway.count("wsgate_redis_breaker") == 0)
            # What is counted before the first scrape has come by no rate.
            wait_until("a scrape", lambda: prometheus.query("wsgate_build_info"))
            use(gateway, signer, dead)
            [seen] = prometheus.query("count_over_time(wsgate_build_info[5m])").values()
            more = f"count_over_time(wsgate_build_info[5m]) >= {seen + 2}"
            wait_until("two more scrapes", lambda: prometheus.query(more))
            yield gateway, prometheus


def test_the_file_is_what_its_script_writes():
    assert runpy.run_path(str(DOCKER / "grafana/dashboard.py"))["DASHBOARD"] == BOARD


def lost(written, read, path="dashboard"):
    """Where what was read back differs from what was written."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from lost(value, read[key], f"{path}.{key}") if key in read else [f"{path}.{key}"]
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for nth, pair in enumerate(zip(written, read)):
            yield from lost(*pair, f"{path}[{nth}]")
    elif written != read:
        yield f"{path}: {written} {read}"


def test_grafanas_own_types_know_every_field():
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(BOARD), cls=JSONEncoder))
    assert list(lost(BOARD, read)) == []
    # It would be seen.
    wrong = json.loads(FILE.read_text())
    wrong["panels"][1]["options"]["grapMode"] = wrong["panels"][1]["fieldConfig"]["defaults"]["unitt"] = "x"
    read = json.loads(json.dumps(Dashboard.from_json(wrong), cls=JSONEncoder))
    assert len(list(lost(wrong, read))) == 2


def test_every_panel_has_what_a_reader_needs_and_a_place_of_its_own():
    assert len(PANELS) > 30
    assert max(collections.Counter(panel["id"] for panel in BOARD["panels"]).values()) == 1
    assert max(collections.Counter(panel["title"] for panel in PANELS).values()) == 1
    taken = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert cells and not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["title"] and panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel
        assert panel["targets"] and all(target["expr"] for target in panel["targets"]), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]


def test_every_query_of_the_dashboard_has_an_answer(scraped):
    _, prometheus = scraped
    known = prometheus.metrics() | NOT_OURS
    silent = []
    for expression in queries():
        unknown = {name for name in names_in(expression) if name not in known}
        assert names_in(expression) and not unknown, (expression, unknown)
        if not prometheus.query(expression):
            silent.append(expression)
    assert [one for one in silent if not any(part in one for part in SILENT)] == []
    # And what is let off needs it.
    assert [part for part in SILENT if not any(part in one for one in silent)] == []
    # What is chosen at the top.
    for variable in BOARD["templating"]["list"][1:]:
        series = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert series[2] == variable["name"]
        selector = series[1].replace("$instance", ".*")
        found = prometheus.get("/api/v1/series", **{"match[]": selector})
        assert found and all(series[2] in one for one in found)


# Metrics that stand neither on the dashboard nor in an alert, and why.
NOT_SHOWN = {}


def test_every_metric_is_on_the_dashboard_or_in_an_alert():
    shown = set().union(*map(names_in, [*queries(), *re.findall(r"expr: (?:>-\n)?((?:.|\n)*?)\n +(?:for|labels):", RULES.read_text())]))
    shown = {re.sub(r"_bucket$", "", name) for name in shown}
    table = (DOCKER.parent / "docs/metrics.md").read_text().split("<!-- table: ")[1]
    families = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(families) > 60
    assert [name for name in families if name not in shown | set(NOT_SHOWN)] == []
    assert set(NOT_SHOWN) <= set(families) - shown


def test_rules_are_loaded_and_nothing_fires_but_what_breaks(scraped):
    gateway, prometheus = scraped

    def rules():
        return {rule["name"]: rule for group in prometheus.get("/api/v1/rules")["groups"] for rule in group["rules"]}

    wait_until("all rules are evaluated", lambda: all(rule["health"] != "unknown" for rule in rules().values()))
    found = rules()
    assert len(found) == RULES.read_text().count("- alert: ")
    assert {name: rule["lastError"] for name, rule in found.items() if rule["health"] != "ok"} == {}
    # But for the server of the pool that is dead, if this takes so long.
    assert {name for name, rule in found.items() if rule["state"] == "firing"} <= {"WsgateServerOut"}
    known = prometheus.metrics() | NOT_OURS
    for name, rule in found.items():
        assert names_in(rule["query"]) <= known, name
    # A backend that is not there: pending for a minute before somebody is called, which promtool has tried.
    for _ in range(3):
        assert refusal(gateway.url("/dead")).status_code == 502
    pending = wait_until("the alert is pending", lambda: rules()["WsgateUpstreamUnreachable"]["alerts"])
    [alert] = pending
    assert (alert["state"], alert["labels"]["route"], alert["labels"]["severity"]) == ("pending", "dead", "critical")
    assert "do not reach its upstream" in alert["annotations"]["summary"]
