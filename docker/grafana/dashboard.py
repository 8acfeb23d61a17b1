#!/usr/bin/env python3
"""Writes dashboards/wsgate.json: the dashboard, row by row, panel by panel. Run it after a change; a test compares."""

import itertools
import json
import pathlib

FILE = pathlib.Path(__file__).resolve().parent / "dashboards/wsgate.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# What is chosen at the top of the page.
HERE = 'instance=~"$instance"'
ROUTE = f'{HERE}, route=~"$route"'
# Grid units: a row is 24 wide.
WIDTH, HEIGHT = 24, 8


def rate(metric, by, where=ROUTE):
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(q, metric, by, where=ROUTE):
    return f"histogram_quantile({q}, {rate(metric + '_bucket', f'{by}, le', where)})"


def panel(kind, title, unit, description, *targets, width=8, height=HEIGHT, config=None, options=None):
    """A panel; its targets are pairs of an expression and a legend."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": [
            {"refId": ref, "datasource": DATASOURCE, "expr": expression, "legendFormat": legend, "range": True}
            for ref, (expression, legend) in zip("ABCDEF", targets, strict=False)
        ],
        "fieldConfig": {"defaults": {"unit": unit, **(config or {})}, "overrides": []},
        "options": options or {},
    }


def steps(warning, critical):
    """Green below the first, red above the second; or the other way round where the second is the lower one."""
    values = [("green", None), ("orange", warning), ("red", critical)]
    if critical < warning:
        values = [("red", None), ("orange", critical), ("green", warning)]
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for color, value in values],
    }


def lines(title, unit, description, *targets, width=8, stacked=False, top=None, marks=None):
    """What changes over time."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    config = {"custom": custom, "min": 0}
    if top is not None:
        config["max"] = top
    if marks is not None:
        custom["thresholdsStyle"] = {"mode": "line"}
        config["thresholds"] = steps(*marks)
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, unit, description, *targets, width=width, config=config, options=options)


def number(title, unit, description, expression, width=4, marks=None, graph="area", config=None):
    """What is so now, large."""
    options = {
        "colorMode": "value" if marks else "none",
        "graphMode": graph,
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "wideLayout": True,
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    config = {**({"thresholds": steps(*marks)} if marks else {}), **(config or {})}
    return panel("stat", title, unit, description, (expression, ""), width=width, height=4, config=config, options=options)


def bars(title, unit, description, *targets, width=8, top=None, marks=None):
    """How full things are now, side by side."""
    options = {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "minVizHeight": 16,
        "minVizWidth": 8,
        "showUnfilled": True,
        "valueMode": "color",
        "namePlacement": "auto",
        "sizing": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    config = {"min": 0, "thresholds": steps(*marks), **({} if top is None else {"max": top})}
    return panel("bargauge", title, unit, description, *targets, width=width, config=config, options=options)


HANDSHAKES = "wsgate_handshakes_total"
REFUSED = f'{HERE}, route=~"$route|none", result!="admitted"'
TOKENS = "token_missing|token_invalid|token_expired|token_forbidden|token_revoked|keys_unavailable"
UPSTREAM = "upstream_connect|upstream_refused|upstream_timeout"

ROWS = {
    "Overview": [
        number("Sessions", "short", "Sessions that are open", f"sum(wsgate_sessions_active{{{ROUTE}}})"),
        number(
            "Admitted",
            "reqps",
            "Handshakes that became sessions",
            f'sum(rate({HANDSHAKES}{{{ROUTE}, result="admitted"}}[$__rate_interval]))',
        ),
        number(
            "Refused",
            "percentunit",
            "Share of handshakes that were refused, those without a route among them",
            f"sum(rate({HANDSHAKES}{{{REFUSED}}}[$__rate_interval]))"
            f' / sum(rate({HANDSHAKES}{{{HERE}, route=~"$route|none"}}[$__rate_interval]))',
            marks=(0.2, 0.5),
        ),
        number(
            "Message rate", "cps", "Messages passed on, both ways", f"sum(rate(wsgate_messages_total{{{ROUTE}}}[$__rate_interval]))"
        ),
        number("Byte rate", "Bps", "Bytes passed on, both ways", f"sum(rate(wsgate_bytes_total{{{ROUTE}}}[$__rate_interval]))"),
        number(
            "Alerts",
            "none",
            "Alerts of wsgate.rules.yml that fire",
            'count(ALERTS{alertname=~"Wsgate.*", alertstate="firing"}) or vector(0)',
            marks=(1, 5),
            graph="none",
        ),
        lines(
            "Sessions by route",
            "short",
            "Sessions that are open",
            (f"sum by (route) (wsgate_sessions_active{{{ROUTE}}})", "{{route}}"),
            stacked=True,
        ),
        lines(
            "Handshakes",
            "reqps",
            "Handshakes that ended: those that became sessions, and all others",
            (f'sum(rate({HANDSHAKES}{{{ROUTE}, result="admitted"}}[$__rate_interval]))', "admitted"),
            (f"sum(rate({HANDSHAKES}{{{REFUSED}}}[$__rate_interval]))", "refused"),
        ),
        lines(
            "Up",
            "s",
            "Time since each gateway started: a fall is a restart",
            (f"time() - wsgate_start_time_seconds{{{HERE}}}", "{{instance}}"),
        ),
    ],
    "Traffic": [
        lines(
            "Messages",
            "cps",
            "Messages passed on; control frames are none",
            (rate("wsgate_messages_total", "route, direction"), "{{route}} {{direction}}"),
        ),
        lines(
            "Bytes",
            "Bps",
            "Bytes passed on, frame headers included, TLS not",
            (rate("wsgate_bytes_total", "route, direction"), "{{route}} {{direction}}"),
        ),
        lines(
            "Handshake duration",
            "s",
            "From accept to the answer, TLS and refusals included: half stay under the first, 99 of 100 under the second",
            (quantile(0.5, "wsgate_handshake_duration_seconds", "route"), "{{route}} p50"),
            (quantile(0.99, "wsgate_handshake_duration_seconds", "route"), "{{route}} p99"),
        ),
        lines(
            "Sessions that ended",
            "cps",
            "By who ended them and why; closed is a Close of that side",
            (rate("wsgate_sessions_ended_total", "side, reason") + " > 0", "{{side}} {{reason}}"),
            stacked=True,
        ),
        lines(
            "Age at the end",
            "s",
            "Median age of the sessions that ended",
            (quantile(0.5, "wsgate_session_duration_seconds", "route"), "{{route}}"),
        ),
        lines(
            "Messages of a session",
            "short",
            "Median of the sessions that ended",
            (quantile(0.5, "wsgate_session_messages", "route, direction"), "{{route}} {{direction}}"),
        ),
    ],
    "Refusals": [
        lines(
            "Refused handshakes by reason",
            "reqps",
            "The words of docs/reasons.md",
            (rate(HANDSHAKES, "result", REFUSED) + " > 0", "{{result}}"),
            width=12,
            stacked=True,
        ),
        lines(
            "Refused handshakes by route",
            "reqps",
            "none: refused before the route was known",
            (rate(HANDSHAKES, "route", REFUSED) + " > 0", "{{route}}"),
            width=12,
            stacked=True,
        ),
        lines(
            "Before the handshake",
            "cps",
            "Accepted, closed at once, and failed to be accepted, by listener",
            (rate("wsgate_accepted_total", "listener", HERE), "accepted {{listener}}"),
            (rate("wsgate_handshakes_shed_total", "listener", HERE), "shed {{listener}}"),
            (rate("wsgate_accept_errors_total", "listener", HERE), "failed {{listener}}"),
        ),
        lines(
            "Under way",
            "short",
            "Handshakes under way",
            (f"sum by (instance) (wsgate_handshakes_in_flight{{{HERE}}})", "{{instance}}"),
        ),
        lines(
            "Sessions ended by the gateway",
            "cps",
            "By reason: limits, lifetimes, frames that are not allowed, receivers that do not keep up",
            (rate("wsgate_sessions_ended_total", "reason", f'{ROUTE}, side="gateway"') + " > 0", "{{reason}}"),
            stacked=True,
        ),
    ],
    "Limits": [
        bars(
            "Caps",
            "percentunit",
            "Places taken of each cap; at 1 everybody new is refused",
            (f'max by (scope, route) (wsgate_cap_used{{{HERE}, route=~"$route|"}} / wsgate_cap_limit)', "{{scope}} {{route}}"),
            top=1,
            marks=(0.8, 0.9),
        ),
        lines(
            "Keys near their cap",
            "short",
            "Addresses, subjects or keys of a zone that hold warn_at of their places or more",
            (f"sum by (route, scope, zone) (wsgate_cap_keys_near_limit{{{ROUTE}}})", "{{route}} {{scope}} {{zone}}"),
        ),
        bars(
            "Zones",
            "percentunit",
            "Keys that a zone remembers, of those it can; keys that owe nothing give way",
            (f"max by (zone) (wsgate_zone_entries{{{HERE}}} / wsgate_zone_capacity)", "{{zone}}"),
            top=1,
            marks=(0.9, 0.98),
        ),
        lines(
            "Limits that act",
            "cps",
            "What exceeded a limit, by what became of it",
            (
                rate("wsgate_limit_exceeded_total", "route, limit, zone, action", f'{ROUTE}, dry_run="false"') + " > 0",
                "{{route}} {{limit}} {{zone}}: {{action}}",
            ),
        ),
        lines(
            "Limits in dry run",
            "cps",
            "What they would have done",
            (
                rate("wsgate_limit_exceeded_total", "route, limit, zone, action", f'{ROUTE}, dry_run="true"') + " > 0",
                "{{route}} {{limit}} {{zone}}: {{action}}",
            ),
        ),
        lines(
            "Messages delayed and dropped",
            "cps",
            "Messages that waited for their turn, and that a limit left out",
            (rate("wsgate_messages_delayed_total", "route"), "{{route}} delayed"),
            (rate("wsgate_messages_dropped_total", "route"), "{{route}} dropped"),
        ),
        lines(
            "Zones without room",
            "cps",
            "Handshakes refused since a zone was full of keys that owe something",
            (rate("wsgate_zone_full_total", "zone", HERE), "{{zone}}"),
        ),
        lines(
            "Warnings of caps",
            "cps",
            "Warnings that a cap is nearly full",
            (rate("wsgate_cap_warnings_total", "instance", HERE), "{{instance}}"),
        ),
        bars(
            "Places of keys",
            "short",
            "Keys that hold a place of a cap by key",
            (f"sum by (route, scope, zone) (wsgate_cap_keys{{{ROUTE}}})", "{{route}} {{scope}} {{zone}}"),
            marks=(1e9, 1e9),
        ),
    ],
    "Identity": [
        lines(
            "Tokens refused",
            "reqps",
            "A rise of token_expired: clients with old tokens, or a clock that runs away",
            (rate(HANDSHAKES, "result", f'{ROUTE}, result=~"{TOKENS}"'), "{{result}}"),
        ),
        lines(
            "Age of key sets",
            "s",
            "Time since each was fetched; without an answer it serves for jwks_max_stale",
            (f"max by (jwt) (wsgate_jwks_age_seconds{{{HERE}}})", "{{jwt}}"),
        ),
        lines(
            "Keys", "short", "Keys of a set that can check a token", (f"min by (jwt) (wsgate_jwks_keys{{{HERE}}})", "{{jwt}}")
        ),
        lines(
            "Fetches of key sets",
            "cps",
            "By result",
            (rate("wsgate_jwks_refreshes_total", "jwt, result", HERE), "{{jwt}} {{result}}"),
            (rate("wsgate_jwks_unknown_kids_total", "jwt", HERE), "{{jwt}} unknown key"),
        ),
        lines(
            "Renewals and expiry",
            "cps",
            "Renewals by result, and sessions that outlive their token by on_expiry",
            (rate("wsgate_renewals_total", "result") + " > 0", "{{result}}"),
            (rate("wsgate_sessions_expired_total", "route"), "{{route}} goes on"),
        ),
        lines(
            "Revocations",
            "short",
            "Those that count now, of those that there may be; and those that could not be written down in an hour",
            (f"sum by (instance) (wsgate_revocations{{{HERE}}})", "{{instance}}"),
            (f"sum by (instance) (wsgate_revocations_capacity{{{HERE}}})", "{{instance}} may be"),
            (f"sum by (instance) (increase(wsgate_revocation_file_errors_total{{{HERE}}}[1h]))", "{{instance}} not written"),
        ),
    ],
    "Upstreams": [
        lines(
            "Handshakes that upstreams did not take",
            "reqps",
            "upstream_connect: no connection; upstream_refused: no valid 101; upstream_timeout: no answer in time",
            (rate(HANDSHAKES, "route, result", f'{ROUTE}, result=~"{UPSTREAM}"') + " > 0", "{{route}} {{result}}"),
        ),
        lines(
            "Sessions that upstreams lost",
            "cps",
            "Their connection ended without a Close",
            (rate("wsgate_sessions_ended_total", "route", f'{ROUTE}, reason="upstream_lost"'), "{{route}}"),
        ),
        lines(
            "Sessions that upstreams closed",
            "cps",
            "Ended by the upstream, by reason",
            (
                rate("wsgate_sessions_ended_total", "route, reason", f'{ROUTE}, side="upstream"') + " > 0",
                "{{route}} {{reason}}",
            ),
        ),
        lines(
            "Servers that are out",
            "short",
            "By how many gateways: their checks or handshakes fail, or an operator drained them; none here, and none is out",
            (f"count by (upstream, server) (wsgate_upstream_server_up{{{HERE}}} == 0)", "{{upstream}} {{server}}"),
        ),
        lines(
            "Servers that are up",
            "short",
            "Of each upstream, over all gateways, and how many there are",
            (f"sum by (upstream) (wsgate_upstream_server_up{{{HERE}}})", "{{upstream}} up"),
            (f"count by (upstream) (wsgate_upstream_server_up{{{HERE}}})", "{{upstream}} all"),
        ),
        lines(
            "Sessions by server",
            "short",
            "Sessions that each has, handshakes under way included",
            (f"sum by (upstream, server) (wsgate_upstream_server_sessions{{{HERE}}})", "{{upstream}} {{server}}"),
            stacked=True,
        ),
        lines(
            "Handshakes by server",
            "reqps",
            "Handshakes and ordinary requests, by result; one that is tried on a second server counts at both",
            (
                rate("wsgate_upstream_server_handshakes_total", "upstream, server, result", HERE) + " > 0",
                "{{upstream}} {{server}} {{result}}",
            ),
        ),
        lines(
            "Time to an answer by server",
            "s",
            "From connecting to the 101, or to the head of an answer: half stay under the first, 99 of 100 under the second",
            (quantile(0.5, "wsgate_upstream_server_handshake_seconds", "upstream, server", HERE), "{{upstream}} {{server}} p50"),
            (quantile(0.99, "wsgate_upstream_server_handshake_seconds", "upstream, server", HERE), "{{upstream}} {{server}} p99"),
        ),
        lines(
            "Checks and ejections",
            "cps",
            "Health checks that failed, and how often a server was left out since its handshakes failed",
            (
                rate("wsgate_upstream_server_health_checks_total", "upstream, server", f'{HERE}, result="failed"') + " > 0",
                "{{upstream}} {{server}} checks",
            ),
            (rate("wsgate_upstream_server_ejections_total", "upstream, server", HERE), "{{upstream}} {{server}} ejected"),
        ),
        lines(
            "Queues",
            "short",
            "Handshakes that wait since every server has its max_connections",
            (f"sum by (upstream) (wsgate_upstream_queue{{{HERE}}})", "{{upstream}}"),
        ),
        lines(
            "Upstreams in trouble",
            "cps",
            "Handshakes sent although no server was thought to be well, and lookups of names that failed",
            (rate("wsgate_upstream_panics_total", "upstream", HERE), "{{upstream}} none well"),
            (rate("wsgate_upstream_lookup_failures_total", "upstream", HERE), "{{upstream}} not looked up"),
        ),
    ],
    "Ordinary requests": [
        lines(
            "Requests by result",
            "reqps",
            "forwarded: the answer was passed on whole; else why it was refused or cut",
            (rate("wsgate_requests_total", "route, result") + " > 0", "{{route}} {{result}}"),
            stacked=True,
        ),
        lines(
            "Answers by class",
            "reqps",
            "What upstreams answered",
            (rate("wsgate_request_answers_total", "route, code") + " > 0", "{{route}} {{code}}"),
            stacked=True,
        ),
        lines(
            "Request duration",
            "s",
            "To the end of the answer, refusals included: half stay under the first, 99 of 100 under the second",
            (quantile(0.5, "wsgate_request_duration_seconds", "route"), "{{route}} p50"),
            (quantile(0.99, "wsgate_request_duration_seconds", "route"), "{{route}} p99"),
        ),
        lines(
            "Bytes of bodies",
            "Bps",
            "Of requests, to the upstream, and of their answers, to the client",
            (rate("wsgate_request_bytes_total", "route, direction"), "{{route}} {{direction}}"),
        ),
        lines(
            "Requests under way",
            "short",
            "Streams of events are among them",
            (f"sum by (route) (wsgate_requests_active{{{ROUTE}}})", "{{route}}"),
        ),
        lines(
            "Connections of requests",
            "short",
            "Those that wait for the next request too; http_connections bounds them",
            (f"sum by (instance) (wsgate_http_connections{{{HERE}}})", "{{instance}}"),
        ),
    ],
    "Config": [
        number(
            "Config refused",
            "none",
            "Gateways that refused their newest config or certificate, and obey an older one",
            f"sum(wsgate_config_last_reload_successful{{{HERE}}} == bool 0)",
            marks=(1, 2),
            graph="none",
        ),
        number(
            "Different configs",
            "none",
            "How many there are, by the hash of the file and those that it names; 1 where all gateways have the same",
            f"count(count by (hash) (wsgate_config_info{{{HERE}}}))",
            graph="none",
        ),
        bars(
            "Days left of certificates",
            "d",
            "Until a listener's certificate, or one of its chain, ends",
            (
                f"(min by (listener, certificate) (wsgate_certificate_not_after_timestamp_seconds{{{HERE}}}) - time()) / 86400",
                "{{listener}} {{certificate}}",
            ),
            marks=(14, 2),
        ),
        lines(
            "Reloads",
            "short",
            "New configs within five minutes, by result",
            (f"sum by (result) (increase(wsgate_config_reloads_total{{{HERE}}}[5m]))", "{{result}}"),
        ),
        lines(
            "Age of the config",
            "s",
            "Time since what is obeyed was taken",
            (f"time() - wsgate_config_last_reload_success_timestamp_seconds{{{HERE}}}", "{{instance}}"),
        ),
        lines(
            "Which config",
            "short",
            "How many gateways obey which, by the hash of the file and those that it names",
            (f"count by (hash) (wsgate_config_info{{{HERE}}})", "{{hash}}"),
            stacked=True,
        ),
        lines(
            "Upgrades that failed",
            "short",
            "New binaries that SIGUSR2 started within an hour, and that did not take over",
            (f"sum by (instance) (increase(wsgate_upgrade_failures_total{{{HERE}}}[1h]))", "{{instance}}"),
        ),
    ],
    "Redis": [
        lines(
            "Time to answer",
            "s",
            "99 of 100 calls stay under it",
            (quantile(0.99, "wsgate_redis_duration_seconds", "operation", HERE), "{{operation}}"),
        ),
        lines(
            "Calls without an answer",
            "cps",
            "By kind; open: it was not asked",
            (rate("wsgate_redis_errors_total", "operation, kind", HERE) + " > 0", "{{operation}} {{kind}}"),
            (rate("wsgate_redis_fallbacks_total", "on_error", HERE) + " > 0", "decided without: {{on_error}}"),
        ),
        lines(
            "Breaker",
            "none",
            "0: Redis is asked. 1: a probe is under way. 2: it is not asked, and limits do as on_error says",
            (f"max by (instance) (wsgate_redis_breaker{{{HERE}}})", "{{instance}}"),
            top=2,
        ),
        lines(
            "Shared revocations",
            "s",
            "Time since the list was in step with Redis last",
            (f"time() - wsgate_revocations_loaded_timestamp_seconds{{{HERE}}} < 1e9", "{{instance}}"),
        ),
        lines(
            "Revocations that others can't know of",
            "short",
            "Taken in here and not published yet; and what was found in Redis and is no revocation, in an hour",
            (f"sum by (instance) (wsgate_revocations_unpublished{{{HERE}}})", "{{instance}} unpublished"),
            (f"sum by (instance) (increase(wsgate_revocations_broken_total{{{HERE}}}[1h]))", "{{instance}} broken"),
        ),
    ],
    "Process": [
        lines(
            "Worker lag",
            "s",
            "How late each worker comes to its tick; above max_lag it lets nobody in",
            (f"max by (instance, worker) (wsgate_worker_lag_seconds{{{HERE}}})", "{{instance}} {{worker}}"),
            marks=(0.05, 0.1),
        ),
        lines(
            "Sessions by worker",
            "short",
            "How even the kernel spreads them",
            (f"sum by (instance, worker) (wsgate_worker_sessions{{{HERE}}})", "{{instance}} {{worker}}"),
        ),
        lines(
            "CPU",
            "percentunit",
            "1 is one core",
            (rate("process_cpu_seconds_total", "instance", f'job="wsgate", {HERE}'), "{{instance}}"),
        ),
        lines(
            "Memory",
            "bytes",
            "Resident",
            (f'process_resident_memory_bytes{{job="wsgate", {HERE}}}', "{{instance}}"),
        ),
        lines(
            "Kept for receivers",
            "percentunit",
            "Of max_buffered: what slow receivers did not take yet, and what waits for its rate",
            (f"wsgate_buffered_bytes{{{HERE}}} / wsgate_buffered_limit_bytes", "{{instance}}"),
            top=1,
            marks=(0.5, 0.9),
        ),
        lines(
            "File descriptors",
            "percentunit",
            "Open, of those that may be",
            (f'process_open_fds{{job="wsgate", {HERE}}} / process_max_fds', "{{instance}}"),
            top=1,
            marks=(0.8, 0.9),
        ),
        lines(
            "Log lines lost",
            "cps",
            "Lines of the access log that were dropped since its reader was too slow, and writes that failed",
            (rate("wsgate_access_log_dropped_total", "instance", HERE), "{{instance}} dropped"),
            (rate("wsgate_access_log_errors_total", "instance", HERE), "{{instance}} failed"),
        ),
        lines(
            "Refusals without a line",
            "cps",
            "Left out of the access log, since there were more of that reason than its refusals allow",
            (rate("wsgate_access_log_suppressed_total", "reason", HERE) + " > 0", "{{reason}}"),
        ),
        lines(
            "Spans",
            "cps",
            "Spans for OpenTelemetry, by what became of them",
            (rate("wsgate_trace_spans_total", "result", HERE), "{{result}}"),
        ),
        lines(
            "Versions",
            "short",
            "How many gateways run which version",
            (f"count by (version) (wsgate_build_info{{{HERE}}})", "{{version}}"),
            stacked=True,
        ),
    ],
}


def laid_out(rows):
    """All panels, each with a place below the title of its row, left to right."""
    ids = itertools.count(1)
    panels, y = [], 0
    for title, inside in rows.items():
        panels.append(
            {
                "type": "row",
                "id": next(ids),
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
                "panels": [],
            }
        )
        x, y, deep = 0, y + 1, 0
        for one in inside:
            at = one["gridPos"]
            if x + at["w"] > WIDTH:
                x, y, deep = 0, y + deep, 0
            panels.append({**one, "id": next(ids), "gridPos": {"x": x, "y": y, **at}})
            x, deep = x + at["w"], max(deep, at["h"])
        y += deep
    return panels


def chosen(name, label, query):
    """A choice of several values of a label, all of them at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
        "skipUrlSync": False,
    }


DASHBOARD = {
    "uid": "wsgate",
    "title": "wsgate",
    "description": "A WebSocket gateway: sessions, refusals, limits, identity, upstreams, ordinary requests, config, process",
    "tags": ["wsgate", "websocket"],
    "schemaVersion": 41,
    "editable": True,
    "graphTooltip": 1,
    "refresh": "30s",
    "time": {"from": "now-1h", "to": "now"},
    "timezone": "browser",
    "fiscalYearStartMonth": 0,
    "templating": {
        "list": [
            {
                "type": "datasource",
                "name": "datasource",
                "label": "Data source",
                "query": "prometheus",
                "refresh": 1,
                "hide": 0,
                "multi": False,
                "includeAll": False,
                "skipUrlSync": False,
            },
            chosen("instance", "Gateway", "label_values(wsgate_build_info, instance)"),
            chosen("route", "Route", 'label_values(wsgate_sessions_active{instance=~"$instance"}, route)'),
        ]
    },
    "annotations": {
        "list": [
            {
                "name": "Starts",
                "datasource": DATASOURCE,
                "enable": True,
                "hide": False,
                "iconColor": "blue",
                "expr": f"changes(wsgate_start_time_seconds{{{HERE}}}[$__rate_interval]) > 0",
            },
            {
                "name": "Reloads",
                "datasource": DATASOURCE,
                "enable": True,
                "hide": False,
                "iconColor": "purple",
                "expr": f"changes(wsgate_config_last_reload_success_timestamp_seconds{{{HERE}}}[$__rate_interval]) > 0",
            },
        ]
    },
    "links": [],
    "panels": laid_out(ROWS),
}


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(DASHBOARD, indent=1) + "\n")
