use std::collections::{BTreeMap, BTreeSet};

use super::family::{self, Kind};
use super::*;
use crate::deny::Direction;
use crate::id::Id;
use crate::policy::limit::{Action, LimitId, LimitInfo, What};
use crate::policy::roll::Roll;

const EXAMPLE: Example = Example { id: Id(0xabc), wall: 1_700_000_000_500 };

const OPENMETRICS: Option<&str> = Some("application/openmetrics-text");

fn cap(scope: &'static str, route: Option<&str>, used: u64, limit: Option<u64>) -> CapFill {
    CapFill { scope, route: route.map(Into::into), zone: None, used, limit, warned: false, keys: None }
}

fn metrics() -> Metrics {
    let limit = LimitInfo {
        route: "a\"b".into(),
        what: What::Handshakes,
        zone: "logins".into(),
        direction: None,
        dry_run: true,
        actions: &[Action::Refuse, Action::Delay],
    };
    let sources = Sources {
        zones: Box::new(|| vec![ZoneFill { zone: "per_ip".into(), entries: 3, capacity: 65_536, full: 2 }]),
        caps: Box::new(|| {
            vec![
                cap("total", None, 7, Some(10_000)),
                cap("route", Some("chat"), 6, Some(1000)),
                cap("route", Some("a\"b"), 1, None),
                CapFill {
                    zone: Some("tenants".into()),
                    keys: Some(KeysFill { keys: 3, keys_near_limit: 2 }),
                    ..cap("zone", Some("chat"), 9, Some(4))
                },
            ]
        }),
        key_sets: Box::new(|| {
            let fetched =
                KeySetFill { jwt: "main".into(), age_ms: Some(1500), keys: 3, fetched: 12, failed: 2, unknown_kids: 9 };
            vec![fetched.clone(), KeySetFill { jwt: "new".into(), age_ms: None, keys: 0, ..fetched }]
        }),
        in_flight: Box::new(|| 4),
        http_connections: Box::new(|| 6),
        revocations: Box::new(|| (8, 9)),
        buffered: Box::new(|| (10, 11)),
        worker_lags: Box::new(|| vec![1, 250]),
        shared_revocations: Some(Arc::default()),
        redis: Some(Arc::default()),
        reloads: Arc::default(),
        certificates: Box::new(|| {
            vec![CertificateEnd { listener: "0.0.0.0:8443".into(), certificate: "a.pem".into(), not_after: 12 }]
        }),
        upstreams: Box::new(|| vec![upstreams::tests::upstream()]),
        spans: Arc::default(),
        log_dropped: Box::new(|| 5),
        log_errors: Box::new(|| 12),
        log_suppressed: Box::new(|| vec![(Deny::NoRoute, 13), (Deny::Kicked, 0)]),
    };
    let roll = Roll { limits: vec![limit], ..(*Roll::of(["chat", "a\"b"])).clone() };
    let started = Now { mono: 0, wall: 1_700_000_000_500 };
    Metrics::new(&roll, 2, &["0.0.0.0:8443".to_owned()], started, sources)
}

/// Every sample of a scrape by its name and labels.
fn samples(metrics: &Metrics) -> BTreeMap<String, f64> {
    let body = metrics.render(OPENMETRICS).body;
    let samples = body.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(" # {").next().unwrap());
    let pairs: Vec<_> = samples.map(|line| line.rsplit_once(' ').unwrap()).collect();
    let by_name: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.parse().unwrap())).collect();
    assert_eq!(by_name.len(), pairs.len(), "a sample stands twice");
    by_name
}

fn starting_with<'a>(samples: &'a BTreeMap<String, f64>, start: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    samples.iter().filter(move |(name, _)| name.starts_with(start)).map(|(name, value)| (name.as_str(), *value))
}

#[test]
fn a_scrape_has_every_metric_of_the_table_and_no_other() {
    let body = metrics().render(None).body;
    let described: BTreeSet<(&str, String)> = body
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, kind)| (name, kind.to_owned()))
        .collect();
    let kind = |kind: Kind| if kind == Kind::Info { "gauge".to_owned() } else { kind.to_string() };
    assert_eq!(described, family::ALL.iter().map(|family| (family.name, kind(family.kind))).collect());
    for family in family::ALL {
        let sampled = body.lines().any(|line| line.starts_with(family.name));
        assert!(sampled, "{} has no sample", family.name);
    }
}

#[test]
fn every_sample_has_its_familys_labels() {
    for name in samples(&metrics()).keys() {
        let (name, labels) = name.split_once('{').unwrap_or((name, ""));
        let family = family::ALL
            .iter()
            .find(|family| {
                let suffix = name.strip_prefix(family.name);
                suffix == Some("")
                    || family.kind == Kind::Histogram && matches!(suffix, Some("_sum" | "_count" | "_bucket"))
            })
            .unwrap_or_else(|| panic!("{name} is in no family"));
        let keys: Vec<&str> = labels
            .trim_end_matches('}')
            .split("\",")
            .filter_map(|pair| Some(pair.split_once("=\"")?.0))
            .filter(|key| *key != "le")
            .collect();
        // In the family's order; an empty value is left out.
        let known: Vec<&str> = family.labels.iter().copied().filter(|label| keys.contains(label)).collect();
        assert!(known == keys && keys.len() + 2 >= family.labels.len(), "{name} {keys:?}");
    }
}

#[test]
fn what_can_happen_stands_at_zero_from_the_start() {
    let samples = samples(&metrics());
    let results = |route: &str| {
        let start = format!("wsgate_handshakes_total{{route=\"{route}\",");
        let found = starting_with(&samples, &start).map(|(name, value)| {
            assert!(value == 0.0, "{name} {value}");
            name[start.len()..].trim_start_matches("result=\"").trim_end_matches("\"}").to_owned()
        });
        found.collect::<BTreeSet<_>>()
    };
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let of_route = [
        "admitted",
        "origin_missing",
        "origin_forbidden",
        "certificate_missing",
        "certificate_expired",
        "token_missing",
        "token_invalid",
        "token_expired",
        "token_forbidden",
        "token_revoked",
        "handshake_rate",
        "zone_full",
        "store_unavailable",
        "ip_cap",
        "keys_unavailable",
        "subject_cap",
        "zone_cap",
        "route_cap",
        "total_cap",
        "overloaded",
        "upstream_connect",
        "upstream_refused",
        "upstream_timeout",
        "upstream_full",
        "client_lost",
        "draining",
        "internal",
    ];
    assert_eq!(results("chat"), set(&of_route));
    let unrouted = [
        "not_websocket",
        "bad_handshake",
        "bad_proxy_header",
        "handshake_timeout",
        "no_route",
        "certificate_missing",
        "total_cap",
        "client_lost",
        "draining",
        "internal",
    ];
    assert_eq!(results("none"), set(&unrouted));

    let start = "wsgate_sessions_ended_total{route=\"chat\",";
    let ended: Vec<_> = starting_with(&samples, start).map(|(name, _)| name[start.len()..].replace('"', "")).collect();
    let by_side = [
        ("client", "bad_frame client_lost closed message_too_big slow_consumer too_many_fragments"),
        (
            "gateway",
            "byte_rate certificate_expired control_rate draining idle_timeout internal ip_cap kicked lifetime_over message_rate policy_changed store_unavailable subject_cap \
             token_expired token_revoked upstream_drained zone_cap",
        ),
        ("upstream", "bad_frame closed slow_consumer too_many_fragments upstream_lost"),
    ];
    let expected: Vec<_> = by_side
        .iter()
        .flat_map(|(side, reasons)| reasons.split(' ').map(move |reason| format!("side={side},reason={reason}}}")))
        .collect();
    assert_eq!(ended, expected);
}

#[test]
fn what_should_not_happen_is_shown_all_the_same_once_it_does() {
    let metrics = metrics();
    metrics.handshake(Some(0), Err(Deny::BadHandshake), 1, EXAMPLE);
    metrics.handshake(None, Err(Deny::IpCap), 1, EXAMPLE);
    metrics.session_ended(0, (Side::Upstream, Some(Deny::MessageTooBig)), 1, [0, 0], EXAMPLE);
    let samples = samples(&metrics);
    assert_eq!(samples[r#"wsgate_handshakes_total{route="chat",result="bad_handshake"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_handshakes_total{route="none",result="ip_cap"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_sessions_ended_total{route="chat",side="upstream",reason="message_too_big"}"#], 1.0);
}

#[test]
fn handshakes_are_counted_by_route_and_result_and_timed_by_route() {
    let metrics = metrics();
    metrics.handshake(Some(0), Ok(()), 250, EXAMPLE);
    metrics.handshake(Some(0), Ok(()), 500, EXAMPLE);
    metrics.handshake(Some(1), Err(Deny::TokenExpired), 0, EXAMPLE);
    metrics.handshake(None, Err(Deny::NoRoute), 9_999, EXAMPLE);
    let samples = samples(&metrics);
    assert_eq!(samples[r#"wsgate_handshakes_total{route="chat",result="admitted"}"#], 2.0);
    assert_eq!(samples[r#"wsgate_handshakes_total{route="a\"b",result="token_expired"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_handshakes_total{route="none",result="no_route"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_handshake_duration_seconds_bucket{le="0.25",route="chat"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_handshake_duration_seconds_sum{route="chat"}"#], 0.75);
    let timed: f64 = starting_with(&samples, "wsgate_handshake_duration_seconds_count").map(|(_, value)| value).sum();
    assert_eq!(timed, 3.0);
}

#[test]
fn traffic_is_the_sum_over_the_workers() {
    let metrics = metrics();
    let here = metrics.traffic(0, 0).enter();
    let (there, too) = (metrics.traffic(1, 0).enter(), metrics.traffic(1, 1).enter());
    here.passed(Direction::ToUpstream, 2);
    there.passed(Direction::ToUpstream, 3);
    too.carried(Direction::ToClient, 100);
    there.delayed(1);
    there.dropped(1);
    let before = samples(&metrics);
    assert_eq!(before[r#"wsgate_messages_total{route="chat",direction="to_upstream"}"#], 5.0);
    assert_eq!(before[r#"wsgate_messages_total{route="chat",direction="to_client"}"#], 0.0);
    assert_eq!(before[r#"wsgate_bytes_total{route="a\"b",direction="to_client"}"#], 100.0);
    assert_eq!(before[r#"wsgate_messages_delayed_total{route="chat"}"#], 1.0);
    assert_eq!(before[r#"wsgate_messages_dropped_total{route="chat"}"#], 1.0);
    assert_eq!(before[r#"wsgate_sessions_active{route="chat"}"#], 2.0);
    assert_eq!(before[r#"wsgate_worker_sessions{worker="0"}"#], 1.0);
    assert_eq!(before[r#"wsgate_worker_sessions{worker="1"}"#], 2.0);

    drop((here, there, too));
    let after = samples(&metrics);
    for (name, active) in
        starting_with(&after, "wsgate_sessions_active").chain(starting_with(&after, "wsgate_worker_sessions"))
    {
        assert_eq!(active, 0.0, "{name}");
    }
}

#[test]
fn the_end_of_a_session_fills_its_histograms() {
    let metrics = metrics();
    metrics.session_ended(0, (Side::Client, None), 4_000_000, [0, 50], EXAMPLE);
    let samples = samples(&metrics);
    assert_eq!(samples[r#"wsgate_sessions_ended_total{route="chat",side="client",reason="closed"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_session_duration_seconds_bucket{le="3600.0",route="chat"}"#], 0.0);
    assert_eq!(samples[r#"wsgate_session_duration_seconds_bucket{le="14400.0",route="chat"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_session_messages_bucket{le="0.0",route="chat",direction="to_upstream"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_session_messages_sum{route="chat",direction="to_client"}"#], 50.0);
}

#[test]
fn a_bucket_names_the_last_connection_that_fell_into_it_where_the_format_can_say_so() {
    let metrics = metrics();
    metrics.handshake(Some(1), Ok(()), 250, Example { id: Id(1), ..EXAMPLE });
    metrics.handshake(Some(1), Ok(()), 240, EXAMPLE);
    metrics.session_ended(1, (Side::Client, None), 4_000_000, [0, 50], EXAMPLE);
    let body = metrics.render(OPENMETRICS).body;
    let examples: Vec<&str> = body.lines().filter(|line| line.contains(" # {")).collect();
    assert_eq!(
        examples,
        [
            r#"wsgate_handshake_duration_seconds_bucket{le="0.25",route="a\"b"} 2 # {connection_id="0000000000000abc"} 0.24 1700000000.5"#,
            r#"wsgate_session_duration_seconds_bucket{le="14400.0",route="a\"b"} 1 # {connection_id="0000000000000abc"} 4000.0 1700000000.5"#,
            r#"wsgate_session_messages_bucket{le="0.0",route="a\"b",direction="to_upstream"} 1 # {connection_id="0000000000000abc"} 0.0 1700000000.5"#,
            r#"wsgate_session_messages_bucket{le="100.0",route="a\"b",direction="to_client"} 1 # {connection_id="0000000000000abc"} 50.0 1700000000.5"#,
        ]
    );
    let classic = metrics.render(None).body;
    assert!(!classic.contains("connection_id"), "{classic}");
    assert!(
        classic.contains("wsgate_handshake_duration_seconds_bucket{le=\"0.25\",route=\"a\\\"b\"} 2\n"),
        "{classic}"
    );
}

#[test]
fn sources_are_read_at_the_scrape() {
    let metrics = metrics();
    let _ = metrics.exceeded(Exceeded { limit: LimitId(0), action: Action::Refuse }, 2);
    metrics.cap_warned();
    let samples = samples(&metrics);
    for (name, value) in [
        (r#"wsgate_zone_entries{zone="per_ip"}"#, 3.0),
        (r#"wsgate_zone_capacity{zone="per_ip"}"#, 65_536.0),
        (r#"wsgate_zone_full_total{zone="per_ip"}"#, 2.0),
        (r#"wsgate_cap_used{scope="total"}"#, 7.0),
        (r#"wsgate_cap_limit{scope="route",route="chat"}"#, 1000.0),
        (r#"wsgate_cap_used{scope="route",route="a\"b"}"#, 1.0),
        (r#"wsgate_upstream_server_up{upstream="chat",server="10.0.0.1:80"}"#, 1.0),
        (r#"wsgate_upstream_server_up{upstream="chat",server="10.0.0.2:80"}"#, 0.0),
        (r#"wsgate_upstream_server_sessions{upstream="chat",server="10.0.0.2:80"}"#, 2.0),
        (r#"wsgate_upstream_server_handshakes_total{upstream="chat",server="10.0.0.2:80",result="ok"}"#, 1.0),
        (
            r#"wsgate_upstream_server_handshakes_total{upstream="chat",server="10.0.0.2:80",result="upstream_timeout"}"#,
            1.0,
        ),
        (r#"wsgate_upstream_server_handshakes_total{upstream="chat",server="10.0.0.1:80",result="ok"}"#, 0.0),
        (r#"wsgate_upstream_server_handshake_seconds_count{upstream="chat",server="10.0.0.2:80"}"#, 1.0),
        (r#"wsgate_upstream_server_ejections_total{upstream="chat",server="10.0.0.2:80"}"#, 1.0),
        (r#"wsgate_upstream_server_health_checks_total{upstream="chat",server="10.0.0.2:80",result="failed"}"#, 1.0),
        (r#"wsgate_upstream_queue{upstream="chat"}"#, 3.0),
        (r#"wsgate_upstream_panics_total{upstream="chat"}"#, 4.0),
        (r#"wsgate_upstream_lookup_failures_total{upstream="chat"}"#, 5.0),
        (r#"wsgate_cap_keys{scope="zone",route="chat",zone="tenants"}"#, 3.0),
        (r#"wsgate_cap_keys_near_limit{scope="zone",route="chat",zone="tenants"}"#, 2.0),
        ("wsgate_cap_warnings_total", 1.0),
        ("wsgate_handshakes_in_flight", 4.0),
        ("wsgate_access_log_dropped_total", 5.0),
        ("wsgate_access_log_errors_total", 12.0),
        (r#"wsgate_access_log_suppressed_total{reason="no_route"}"#, 13.0),
        ("wsgate_revocations", 8.0),
        ("wsgate_revocations_capacity", 9.0),
        ("wsgate_buffered_bytes", 10.0),
        ("wsgate_buffered_limit_bytes", 11.0),
        (r#"wsgate_worker_lag_seconds{worker="1"}"#, 0.25),
        (
            r#"wsgate_limit_exceeded_total{route="a\"b",limit="handshakes",zone="logins",action="refuse",dry_run="true"}"#,
            2.0,
        ),
        (
            r#"wsgate_limit_exceeded_total{route="a\"b",limit="handshakes",zone="logins",action="delay",dry_run="true"}"#,
            0.0,
        ),
        ("wsgate_start_time_seconds", 1_700_000_000.5),
    ] {
        assert_eq!(samples[name], value, "{name}");
    }
    assert!(!samples.contains_key(r#"wsgate_cap_limit{scope="route",route="a\"b"}"#));
    assert!(!samples.contains_key(r#"wsgate_cap_used{scope="zone",route="chat"}"#), "used of all keys, limit of one");
}

#[test]
fn listeners_are_counted_apart_from_routes() {
    let metrics = metrics();
    metrics.accepted(0);
    metrics.accepted(0);
    metrics.accept_failed(0);
    metrics.shed(0);
    let samples = samples(&metrics);
    assert_eq!(samples[r#"wsgate_accepted_total{listener="0.0.0.0:8443"}"#], 2.0);
    assert_eq!(samples[r#"wsgate_accept_errors_total{listener="0.0.0.0:8443"}"#], 1.0);
    assert_eq!(samples[r#"wsgate_handshakes_shed_total{listener="0.0.0.0:8443"}"#], 1.0);
}

#[test]
fn both_formats_have_the_same_samples_and_only_openmetrics_an_end() {
    let metrics = metrics();
    let (modern, older) = (metrics.render(OPENMETRICS), metrics.render(None));
    assert!(modern.body.ends_with("# EOF\n") && !older.body.contains("# EOF"));
    // What the operating system says may differ between two scrapes.
    let samples = |body: &str| {
        let own = |line: &&str| !line.starts_with('#') && !line.starts_with("process_");
        body.lines().filter(own).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(samples(&modern.body), samples(&older.body));
    assert!(modern.body.contains("# UNIT wsgate_bytes bytes\n"));
}

#[test]
fn two_gateways_count_apart() {
    let (one, other) = (metrics(), metrics());
    one.accepted(0);
    assert_eq!(samples(&other)[r#"wsgate_accepted_total{listener="0.0.0.0:8443"}"#], 0.0);
}

#[test]
fn a_key_set_that_was_never_fetched_has_no_age() {
    let samples = samples(&metrics());
    assert_eq!(samples["wsgate_jwks_age_seconds{jwt=\"main\"}"], 1.5);
    assert!(!samples.contains_key("wsgate_jwks_age_seconds{jwt=\"new\"}"));
    assert_eq!(samples["wsgate_jwks_keys{jwt=\"new\"}"], 0.0);
    assert_eq!(samples["wsgate_jwks_refreshes_total{jwt=\"main\",result=\"ok\"}"], 12.0);
    assert_eq!(samples["wsgate_jwks_refreshes_total{jwt=\"main\",result=\"failed\"}"], 2.0);
    assert_eq!(samples["wsgate_jwks_unknown_kids_total{jwt=\"main\"}"], 9.0);
}

#[test]
fn what_can_become_of_a_renewal_stands_at_zero_from_the_start() {
    let metrics = metrics();
    metrics.renewal(0, Ok(()));
    metrics.renewal(0, Err(Deny::NoSession));
    metrics.identity_expired(0);
    let samples = samples(&metrics);
    let start = "wsgate_renewals_total{route=\"chat\",result=\"";
    let results: BTreeMap<_, _> = starting_with(&samples, start)
        .map(|(name, count)| (name[start.len()..].trim_end_matches("\"}").to_owned(), count))
        .collect();
    for (result, count) in [
        ("renewed", 1.0),
        ("no_session", 1.0),
        ("bad_renewal", 0.0),
        ("token_missing", 0.0),
        ("token_forbidden", 0.0),
        ("origin_forbidden", 0.0),
        ("handshake_rate", 0.0),
    ] {
        assert_eq!(results.get(result), Some(&count), "{result}");
    }
    assert!(!results.contains_key("route_cap") && !results.contains_key("admitted"), "{results:?}");
    assert_eq!(samples["wsgate_sessions_expired_total{route=\"chat\"}"], 1.0);
}

#[test]
fn counts_go_on_when_names_come_and_go() {
    let first = Roll::of(["chat", "gone"]);
    let metrics = Metrics::new(&first, 2, &[], Now { mono: 0, wall: 0 }, Sources::default());
    metrics.handshake(Some(1), Ok(()), 1, EXAMPLE);
    let session = metrics.traffic(1, 1).enter();
    metrics.grow(&Roll::of(["chat", "gone", "new"]));
    metrics.handshake(Some(1), Ok(()), 1, EXAMPLE);
    metrics.handshake(Some(2), Ok(()), 1, EXAMPLE);
    session.passed(Direction::ToClient, 3);
    let samples = samples(&metrics);
    let admitted = |route| samples[&format!("wsgate_handshakes_total{{route=\"{route}\",result=\"admitted\"}}")];
    assert_eq!(["chat", "gone", "new"].map(admitted), [0.0, 2.0, 1.0]);
    let active = |route| samples[&format!("wsgate_sessions_active{{route=\"{route}\"}}")];
    assert_eq!(["chat", "gone", "new"].map(active), [0.0, 1.0, 0.0]);
    assert_eq!(samples["wsgate_messages_total{route=\"gone\",direction=\"to_client\"}"], 3.0);
}
