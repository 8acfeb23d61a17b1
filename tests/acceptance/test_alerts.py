"""The alert rules of `docker/prometheus`: promtool reads them, each fires when it should, alone, and not before or else."""

import json
import pathlib
import re
import subprocess

import pytest

from parts.prometheus import PROMTOOL

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docker/prometheus"
RULES = FOLDER / "wsgate.rules.yml"
DAY = 86400
# In all of these: what stands at every scrape of a gateway that is well.
WELL = {
    'up{job="wsgate"}': "1x60",
    "wsgate_start_time_seconds": "1000x60",
    'wsgate_sessions_active{route="chat"}': "500x60",
    'wsgate_handshakes_total{route="chat",result="admitted"}': "0+600x60",
    'wsgate_handshakes_total{route="none",result="no_route"}': "0+6x60",
    'wsgate_requests_total{route="chat",result="forwarded"}': "0+600x60",
    'wsgate_requests_total{route="chat",result="token_expired"}': "0+6x60",
    'wsgate_request_answers_total{route="chat",code="2xx"}': "0+600x60",
    'wsgate_request_answers_total{route="chat",code="5xx"}': "0+1x60",
    "wsgate_config_last_reload_successful": "1x60",
    # Time begins at 0 in these.
    'wsgate_certificate_not_after_timestamp_seconds{listener="a:1",certificate="chain.pem"}': f"{60 * DAY}x60",
    "wsgate_upgrade_failures_total": "0x60",
    "wsgate_access_log_errors_total": "0x60",
    'wsgate_upstream_server_up{upstream="chat",server="a:1"}': "1x60",
    'wsgate_upstream_server_ejections_total{upstream="chat",server="a:1"}': "0x60",
    'wsgate_upstream_queue{upstream="chat"}': "0x60",
    'wsgate_upstream_lookup_failures_total{upstream="chat"}': "0x60",
}


def handshakes(result, values, route="chat"):
    return {f'wsgate_handshakes_total{{route="{route}",result="{result}"}}': values}


def requests(result, values):
    return {f'wsgate_requests_total{{route="chat",result="{result}"}}': values}


def certificate(days):
    """It ends so many days after the beginning."""
    return {'wsgate_certificate_not_after_timestamp_seconds{listener="a:1",certificate="chain.pem"}': f"{days * DAY:.0f}x60"}


def ends(reason, values, side="gateway"):
    return {f'wsgate_sessions_ended_total{{route="chat",side="{side}",reason="{reason}"}}': values}


# By alert: the minute at which it has to fire, which is later than its `for` where a rate has to show itself first; series
# with which it does; and series which are near it, with which nothing fires. A series holds a value for each minute, in
# promtool's notation: first+step x count.
ALERTS = {
    "WsgateDown": (1, {'up{job="wsgate"}': "0x60"}, {'up{job="wsgate"}': "1 1 0 1 1 0 1x54"}),
    "WsgateRestarting": (
        6,
        {"wsgate_start_time_seconds": "1000 1000 1120 1120 1180 1240 1300x54"},
        {"wsgate_start_time_seconds": "1000 1000 1120x58"},
    ),
    "WsgateInternalError": (
        5,
        {**ends("internal", "0 0 1x58"), **handshakes("internal", "0x60")},
        {**ends("internal", "3x60"), **handshakes("internal", "1x60")},
    ),
    "WsgateDescriptorsLow": (
        2,
        {'process_open_fds{job="wsgate"}': "950x60", 'process_max_fds{job="wsgate"}': "1000x60"},
        {'process_open_fds{job="wsgate"}': "890x60", 'process_max_fds{job="wsgate"}': "1000x60"},
    ),
    "WsgateAcceptErrors": (
        3,
        {'wsgate_accept_errors_total{listener="a:1"}': "0+1x60"},
        {'wsgate_accept_errors_total{listener="a:1"}': "7x60"},
    ),
    "WsgateServerOut": (
        2,
        {'wsgate_upstream_server_up{upstream="chat",server="a:1"}': "0x60", 'wsgate_upstream_server_up{upstream="chat",server="b:1"}': "1x60"},
        {'wsgate_upstream_server_up{upstream="chat",server="a:1"}': "0 0 1 0 0 1x55"},
    ),
    "WsgateNoServerWell": (
        3,
        {'wsgate_upstream_panics_total{upstream="chat"}': "0+1x60"},
        {'wsgate_upstream_panics_total{upstream="chat"}': "7x60"},
    ),
    "WsgateServerFlaps": (
        20,
        {'wsgate_upstream_server_ejections_total{upstream="chat",server="a:1"}': "0 1 2 3 4 5 6 7 8x52"},
        {'wsgate_upstream_server_ejections_total{upstream="chat",server="a:1"}': "0 1 2 3 4x56"},
    ),
    "WsgateQueueWaits": (
        5,
        {'wsgate_upstream_queue{upstream="chat"}': "3x60"},
        {'wsgate_upstream_queue{upstream="chat"}': "3 3 3 0 3 3 3 0x53"},
    ),
    "WsgateUpstreamFull": (2, handshakes("upstream_full", "0+1x60"), {**handshakes("upstream_full", "9x60"), **requests("upstream_full", "9x60")}),
    "WsgateLookupsFail": (
        11,
        {'wsgate_upstream_lookup_failures_total{upstream="chat"}': "0+1x60"},
        {'wsgate_upstream_lookup_failures_total{upstream="chat"}': "0 1 2x58"},
    ),
    # Streams that an upstream cut, as its restart does, are something else.
    "WsgateRequestsUnanswered": (
        3,
        requests("upstream_timeout", "0+60x60"),
        {**requests("upstream_timeout", "0+12x60"), **requests("upstream_lost", "0+120x60")},
    ),
    "WsgateRequestErrors": (
        6,
        {'wsgate_request_answers_total{route="chat",code="5xx"}': "0+60x60"},
        {'wsgate_request_answers_total{route="chat",code="5xx"}': "0+12x60"},
    ),
    "WsgateRequestsRefused": (11, requests("token_missing", "0+1200x60"), requests("token_missing", "0+300x60")),
    "WsgateReloadFailed": (1, {"wsgate_config_last_reload_successful": "0x60"}, {"wsgate_config_last_reload_successful": "1 0 1 0 1x56"}),
    # The second begins where the first ends, and knows what is over already.
    "WsgateCertificateEndsSoon": (15, certificate(13.9), certificate(14.1)),
    "WsgateCertificateEnds": (5, certificate(1.9), certificate(60)),
    "WsgateUpgradeFailed": (5, {"wsgate_upgrade_failures_total": "0 0 1x58"}, {"wsgate_upgrade_failures_total": "1x60"}),
    "WsgateAccessLogErrors": (5, {"wsgate_access_log_errors_total": "0 0 5x58"}, {"wsgate_access_log_errors_total": "5x60"}),
    "WsgateAccessLogSuppressed": (
        10,
        {'wsgate_access_log_suppressed_total{reason="no_route"}': "0+600x60"},
        {'wsgate_access_log_suppressed_total{reason="no_route"}': "0 600 600x58"},
    ),
    "WsgateWorkerLate": (
        5,
        {'wsgate_worker_lag_seconds{worker="0"}': "0x60", 'wsgate_worker_lag_seconds{worker="1"}': "0.2x60"},
        {'wsgate_worker_lag_seconds{worker="0"}': "0.2 0 0 0.2 0x56"},
    ),
    "WsgateOverloaded": (3, handshakes("overloaded", "0+1x60"), handshakes("overloaded", "9x60")),
    "WsgateConnectionsShed": (
        11,
        {'wsgate_handshakes_shed_total{listener="a:1"}': "0+120x60"},
        {'wsgate_handshakes_shed_total{listener="a:1"}': "0+30x60"},
    ),
    "WsgateReceiversSlow": (
        5,
        {"wsgate_buffered_bytes": "60x60", "wsgate_buffered_limit_bytes": "100x60"},
        {"wsgate_buffered_bytes": "60 60 40x58", "wsgate_buffered_limit_bytes": "100x60"},
    ),
    "WsgateAccessLogDropped": (
        5,
        {"wsgate_access_log_dropped_total": "0 0 5x58"},
        {"wsgate_access_log_dropped_total": "5x60"},
    ),
    "WsgateSpansLost": (
        12,
        {'wsgate_trace_spans_total{result="failed"}': "0+1x60", 'wsgate_trace_spans_total{result="exported"}': "0x60"},
        {'wsgate_trace_spans_total{result="failed"}': "7x60", 'wsgate_trace_spans_total{result="exported"}': "0+9x60"},
    ),
    # Twice as many as are admitted; and the same share of next to nothing.
    "WsgateRefusalsHigh": (
        11,
        handshakes("no_route", "0+1200x60", "none"),
        {**handshakes("admitted", "0+1x60"), **handshakes("no_route", "0+30x60", "none")},
    ),
    "WsgateSessionsFell": (
        22,
        {'wsgate_sessions_active{route="chat"}': "500x19 200x40"},
        {'wsgate_sessions_active{route="chat"}': "90x19 10x40"},
    ),
    "WsgateHandshakesSlow": (
        11,
        {
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="2.5"}': "0+80x60",
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="5.0"}': "0+100x60",
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="+Inf"}': "0+100x60",
        },
        {
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="2.5"}': "0+97x60",
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="5.0"}': "0+100x60",
            'wsgate_handshake_duration_seconds_bucket{route="chat",le="+Inf"}': "0+100x60",
        },
    ),
    "WsgateFramesRefused": (15, ends("bad_frame", "0+30x60"), ends("bad_frame", "0+2x60")),
    "WsgateUpstreamUnreachable": (2, handshakes("upstream_connect", "0+60x60"), handshakes("upstream_connect", "0+6x60")),
    "WsgateUpstreamRefusing": (6, handshakes("upstream_refused", "0+120x60"), handshakes("upstream_refused", "0+30x60")),
    "WsgateUpstreamLost": (5, ends("upstream_lost", "0 0 40x58", "upstream"), ends("upstream_lost", "0+1x60", "upstream")),
    "WsgateCapNearlyFull": (
        5,
        {'wsgate_cap_used{scope="total"}': "95x60", 'wsgate_cap_limit{scope="total"}': "100x60"},
        {'wsgate_cap_used{scope="total"}': "95 95 80x58", 'wsgate_cap_limit{scope="total"}': "100x60"},
    ),
    "WsgateCapFull": (2, handshakes("total_cap", "0+1x60"), handshakes("total_cap", "5x60")),
    "WsgateKeysNearCap": (
        15,
        {'wsgate_cap_keys_near_limit{scope="ip",route="chat"}': "2x60"},
        {'wsgate_cap_keys_near_limit{scope="ip",route="chat"}': "2x10 0x49"},
    ),
    "WsgateLimitsActing": (
        11,
        {'wsgate_limit_exceeded_total{route="chat",limit="messages",action="delay",dry_run="false"}': "0+600x60"},
        {'wsgate_limit_exceeded_total{route="chat",limit="messages",action="delay",dry_run="true"}': "0+600x60"},
    ),
    "WsgateZoneFull": (2, {'wsgate_zone_full_total{zone="users"}': "0+1x60"}, {'wsgate_zone_full_total{zone="users"}': "4x60"}),
    "WsgateSlowConsumers": (15, ends("slow_consumer", "0+30x60"), ends("slow_consumer", "0+1x60")),
    "WsgateKeysUnavailable": (
        2,
        {'wsgate_jwks_keys{jwt="main"}': "0x60"},
        {'wsgate_jwks_keys{jwt="main"}': "0 2x59", **handshakes("keys_unavailable", "3x60")},
    ),
    "WsgateKeysNotFetched": (
        11,
        {'wsgate_jwks_refreshes_total{jwt="main",result="failed"}': "0+1x60"},
        {'wsgate_jwks_refreshes_total{jwt="main",result="failed"}': "0 1 2x58"},
    ),
    "WsgateUnknownKeys": (
        11,
        {'wsgate_jwks_unknown_kids_total{jwt="main"}': "0+120x60"},
        {'wsgate_jwks_unknown_kids_total{jwt="main"}': "0+30x60"},
    ),
    "WsgateTokensRefused": (11, handshakes("token_expired", "0+300x60"), handshakes("token_expired", "0+60x60")),
    "WsgateOriginsRefused": (15, handshakes("origin_forbidden", "0+30x60"), handshakes("origin_forbidden", "0+2x60")),
    "WsgateRevocationsNotSaved": (
        5,
        {"wsgate_revocation_file_errors_total": "0 0 1x58"},
        {"wsgate_revocation_file_errors_total": "1x60"},
    ),
    "WsgateRevocationsNearlyFull": (
        5,
        {"wsgate_revocations": "95x60", "wsgate_revocations_capacity": "100x60"},
        {"wsgate_revocations": "85x60", "wsgate_revocations_capacity": "100x60"},
    ),
    "WsgateRedisAway": (1, {"wsgate_redis_breaker": "2x60"}, {"wsgate_redis_breaker": "0 2 0x58"}),
    "WsgateRedisSlow": (
        11,
        {
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="0.025"}': "0+90x60",
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="0.05"}': "0+100x60",
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="+Inf"}': "0+100x60",
        },
        {
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="0.025"}': "0+100x60",
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="0.05"}': "0+100x60",
            'wsgate_redis_duration_seconds_bucket{operation="charge",le="+Inf"}': "0+100x60",
            'wsgate_redis_duration_seconds_bucket{operation="connect",le="0.025"}': "0+1x60",
            'wsgate_redis_duration_seconds_bucket{operation="connect",le="0.05"}': "0+100x60",
            'wsgate_redis_duration_seconds_bucket{operation="connect",le="+Inf"}': "0+100x60",
        },
    ),
    # Time begins at 0 in these; a list that is in step was loaded half a minute ago.
    "WsgateRevocationsBehind": (
        4,
        {"wsgate_revocations_loaded_timestamp_seconds": "0x60"},
        {"wsgate_revocations_loaded_timestamp_seconds": "-30+60x60", "wsgate_revocations_unpublished": "0 1 0x58"},
    ),
    "WsgateRevocationsBroken": (
        5,
        {"wsgate_revocations_broken_total": "0 0 1x58"},
        {"wsgate_revocations_broken_total": "1x60"},
    ),
}


def promtool(*arguments):
    """What it says, if it has no complaint."""
    ran = subprocess.run([PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=55)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def with_instance(series):
    """The series as Prometheus keeps them: with the target in their labels."""
    name, _, labels = series.partition("{")
    return f'{name}{{instance="gate:9100",{labels or "}"}'


def case(name, series, minutes, firing):
    """A test of promtool: which alerts fire at a minute, or at each of several, of all that there are, by name."""
    series = {**WELL, **series}
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing]
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": with_instance(one), "values": values} for one, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{minute}m",
                "exp_samples": expected,
            }
            for minute in (minutes if isinstance(minutes, tuple) else (minutes,))
        ],
    }


def names():
    return re.findall(r"^ +- alert: (\w+)$", RULES.read_text(), re.MULTILINE)


@pytest.fixture
def run(tmp_path):
    def run(*cases):
        # JSON is YAML too.
        file = tmp_path / "test.yml"
        file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(cases)}))
        return promtool("test", "rules", file)

    return run


def test_promtool_has_no_complaint_about_rules_and_config(tmp_path):
    assert f"{len(names())} rules found" in promtool("check", "rules", RULES)
    # It wants to see the file of the admin listener's token too.
    (tmp_path / "admin_token").write_text("secret")
    (tmp_path / RULES.name).write_text(RULES.read_text())
    config = tmp_path / "prometheus.yml"
    config.write_text((FOLDER / "prometheus.yml").read_text().replace("/run/secrets", str(tmp_path)))
    assert f"{len(names())} rules found" in promtool("check", "config", config)


def test_every_alert_is_tried():
    assert sorted(ALERTS) == sorted(names())


def test_nothing_fires_on_a_gateway_that_is_well(run):
    run(case("well", {}, (1, 5, 30), []))


# promtool reckons every rule for every minute of every case: all in one run would take a busy machine too long.
PARTS = 4
in_parts = pytest.mark.parametrize("some", [list(ALERTS.items())[part::PARTS] for part in range(PARTS)], ids=range(PARTS))


@in_parts
def test_each_alert_fires_when_it_should_and_no_other_does(run, some):
    run(*[case(f"{name} fires", fires, minute, [name]) for name, (minute, fires, _) in some])


def test_no_alert_fires_at_once_but_those_that_count_what_is_rare(run):
    at_once = {"WsgateInternalError", "WsgateRestarting", "WsgateUpstreamLost", "WsgateAccessLogDropped"}
    at_once |= {"WsgateRevocationsNotSaved", "WsgateRevocationsBroken", "WsgateAccessLogErrors", "WsgateUpgradeFailed"}
    for rule in re.split(r"^ +- alert: ", RULES.read_text(), flags=re.MULTILINE)[1:]:
        name = rule.split("\n", 1)[0]
        assert (" for: " in rule) == (name not in at_once), name
    waits = {name: minute for name, (minute, _, _) in ALERTS.items() if name not in at_once}
    run(*[case(f"{name} waits", ALERTS[name][1], 0, []) for name in waits])


@in_parts
def test_what_is_near_it_or_over_again_fires_nothing(run, some):
    run(*[case(f"{name} is quiet", near, (minute, 30), []) for name, (minute, _, near) in some])


# What one series leaves out: other ways to the same alert, and where one hands over to the next.
MORE = [
    ("WsgateUpstreamFull", 2, requests("upstream_full", "0+1x60")),
    ("WsgateInternalError", 5, requests("internal", "0 0 1x58")),
    ("WsgateInternalError", 5, handshakes("internal", "0 0 1x58")),
    ("WsgateCertificateEndsSoon", 15, certificate(2.1)),
    ("WsgateCertificateEnds", 5, certificate(-1)),
]


def test_every_way_to_an_alert_is_one(run):
    run(*[case(f"{name} fires too", series, minute, [name]) for name, minute, series in MORE])
    # A certificate of which two days are left while it is looked at: one alert ends, the other begins.
    run(case("the warning", certificate(2.02), 20, ["WsgateCertificateEndsSoon"]), case("both sides of it", certificate(2.02), 40, ["WsgateCertificateEnds"]))


def test_a_gateway_that_nobody_scrapes_is_down(run):
    gone = case("gone", {}, 2, ["WsgateDown"])
    gone["input_series"] = []
    run(gone)


def test_what_an_alert_says_is_put_together(run):
    said = case("summary", ALERTS["WsgateUpstreamUnreachable"][1], 10, ["WsgateUpstreamUnreachable"])
    said["alert_rule_test"] = [
        {
            "alertname": "WsgateUpstreamUnreachable",
            "eval_time": "10m",
            "exp_alerts": [
                {
                    "exp_labels": {"severity": "critical", "instance": "gate:9100", "route": "chat"},
                    "exp_annotations": {
                        "summary": "9.091% of the handshakes of route chat do not reach its upstream",
                        "runbook": "docs/operations.md#alarms",
                    },
                }
            ],
        }
    ]
    run(said)
