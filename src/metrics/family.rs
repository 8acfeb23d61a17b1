//! Every metric by its name, kind, labels and meaning: one table, from which the scrape and `docs/metrics.md` are made.

use std::fmt;

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
    /// Always 1; its labels tell.
    Info,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        })
    }
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name in full, as a query writes it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means, in one sentence.
    pub help: &'static str,
}

impl Family {
    /// The name as OpenMetrics describes it: without the suffix that the kind gives to each sample.
    #[must_use]
    pub fn described(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.name.strip_suffix(suffix).unwrap_or(self.name)
    }

    /// The described name without its unit, and the unit: prometheus-client puts them together again.
    pub(super) fn stem(&self) -> (&'static str, Option<Unit>) {
        let described = self.described();
        if let Some(stem) = described.strip_suffix("_seconds") {
            return (stem, Some(Unit::Seconds));
        }
        match described.strip_suffix("_bytes") {
            Some(stem) => (stem, Some(Unit::Bytes)),
            None => (described, None),
        }
    }

    pub(super) fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        }
    }
}

macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order of a scrape.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    HANDSHAKES Counter "wsgate_handshakes_total" ["route", "result"]
        "Handshakes that ended, by result: admitted, or the reason of the refusal; route is none where no route was found yet";
    HANDSHAKE_SECONDS Histogram "wsgate_handshake_duration_seconds" ["route"]
        "Time from accept to the answer, TLS and the wait for a turn included, of handshakes that found a route, refused ones too";
    HANDSHAKES_IN_FLIGHT Gauge "wsgate_handshakes_in_flight" []
        "Handshakes under way";
    SESSIONS Gauge "wsgate_sessions_active" ["route"]
        "Sessions that are open";
    WORKER_SESSIONS Gauge "wsgate_worker_sessions" ["worker"]
        "Sessions that are open, by the thread that carries them";
    SESSIONS_ENDED Counter "wsgate_sessions_ended_total" ["route", "side", "reason"]
        "Sessions that ended, by who ended them and why; closed is a Close of that side";
    SESSIONS_EXPIRED Counter "wsgate_sessions_expired_total" ["route"]
        "Sessions that go on although their token's lifetime is over, as on_expiry = \"log\" lets them";
    RENEWALS Counter "wsgate_renewals_total" ["route", "result"]
        "Renewals without reconnecting, by result: renewed if it moved the end of a session, or the reason why not";
    SESSION_SECONDS Histogram "wsgate_session_duration_seconds" ["route"]
        "Age of sessions at their end";
    SESSION_MESSAGES Histogram "wsgate_session_messages" ["route", "direction"]
        "Messages of one session, counted at its end";
    REQUESTS Counter "wsgate_requests_total" ["route", "result"]
        "Ordinary requests that ended, by result: forwarded if the answer was passed on whole, or why it was refused or cut; preflights are none";
    REQUEST_ANSWERS Counter "wsgate_request_answers_total" ["route", "code"]
        "Answers of upstreams to ordinary requests, by the class of their status: 2xx, 3xx, 4xx, 5xx";
    REQUEST_SECONDS Histogram "wsgate_request_duration_seconds" ["route"]
        "Time from the beginning of an ordinary request to the end of its answer, refused ones too";
    REQUEST_BYTES Counter "wsgate_request_bytes_total" ["route", "direction"]
        "Bytes of the bodies of ordinary requests and of their answers that were passed on";
    REQUESTS_ACTIVE Gauge "wsgate_requests_active" ["route"]
        "Ordinary requests under way, streams of events too";
    HTTP_CONNECTIONS Gauge "wsgate_http_connections" []
        "Connections that carry ordinary requests, those that wait for the next one too; http_connections bounds them";
    MESSAGES Counter "wsgate_messages_total" ["route", "direction"]
        "Messages that were passed on; control frames are none";
    BYTES Counter "wsgate_bytes_total" ["route", "direction"]
        "Bytes that were passed on in sessions, frame headers included, TLS not";
    DELAYED Counter "wsgate_messages_delayed_total" ["route"]
        "Messages that waited for their turn, from either side";
    DROPPED Counter "wsgate_messages_dropped_total" ["route"]
        "Messages that a limit left out, from either side";
    EXCEEDED Counter "wsgate_limit_exceeded_total" ["route", "limit", "zone", "direction", "action", "dry_run"]
        "What exceeded a limit, by what became of it, or with dry_run = true would have; zone is left out of a rate or cap of the route's own, direction of what is no traffic";
    BUFFERED Gauge "wsgate_buffered_bytes" []
        "Bytes that sessions keep in memory: what a receiver did not take yet, and what waits for its rate";
    BUFFERED_LIMIT Gauge "wsgate_buffered_limit_bytes" []
        "Bytes that they may keep, max_buffered";
    WORKER_LAG Gauge "wsgate_worker_lag_seconds" ["worker"]
        "How late a worker came to its last tick, of which there are twenty a second: how long its work had to wait";
    ZONE_ENTRIES Gauge "wsgate_zone_entries" ["zone"]
        "Keys that the zone remembers";
    ZONE_CAPACITY Gauge "wsgate_zone_capacity" ["zone"]
        "Keys that the zone can remember";
    ZONE_FULL Counter "wsgate_zone_full_total" ["zone"]
        "Handshakes that were refused since the zone was full of live keys";
    CAP_USED Gauge "wsgate_cap_used" ["scope", "route"]
        "Places taken of a cap: scope is total, or route with the route's name";
    CAP_LIMIT Gauge "wsgate_cap_limit" ["scope", "route"]
        "Places that the cap has";
    CAP_KEYS Gauge "wsgate_cap_keys" ["scope", "route", "zone"]
        "Keys that hold a place of a cap by key: scope is ip, subject or zone; zone is left out of a cap of the route's own";
    CAP_KEYS_NEAR Gauge "wsgate_cap_keys_near_limit" ["scope", "route", "zone"]
        "Keys that hold so many places of the cap that warn_at is reached, or more";
    CAP_WARNINGS Counter "wsgate_cap_warnings_total" []
        "Warnings that a cap is nearly full";
    KEYS_AGE Gauge "wsgate_jwks_age_seconds" ["jwt"]
        "Time since the key set was fetched; absent until it was for the first time";
    KEYS Gauge "wsgate_jwks_keys" ["jwt"]
        "Keys of the set that can check a token; 0 until it was fetched for the first time";
    KEYS_REFRESHES Counter "wsgate_jwks_refreshes_total" ["jwt", "result"]
        "Fetches of the key set that ended, by result: ok or failed";
    UNKNOWN_KIDS Counter "wsgate_jwks_unknown_kids_total" ["jwt"]
        "Handshakes whose token named a key that the set did not have";
    ACCEPTED Counter "wsgate_accepted_total" ["listener"]
        "Connections that were accepted";
    ACCEPT_ERRORS Counter "wsgate_accept_errors_total" ["listener"]
        "Accepts that failed, as without file descriptors";
    SHED Counter "wsgate_handshakes_shed_total" ["listener"]
        "Connections closed at once, since their address had too many handshakes under way or, with TLS, the worker was far behind";
    REVOCATIONS Gauge "wsgate_revocations" []
        "Revocations that count now";
    REVOCATIONS_CAPACITY Gauge "wsgate_revocations_capacity" []
        "Revocations that there may be at once";
    REVOCATION_FILE_ERRORS Counter "wsgate_revocation_file_errors_total" []
        "Changes of the revocations that could not be written to their file";
    UPGRADE_FAILURES Counter "wsgate_upgrade_failures_total" []
        "New binaries that were started by SIGUSR2 and did not take over";
    REVOCATIONS_LOADED Gauge "wsgate_revocations_loaded_timestamp_seconds" []
        "When the list was in step with Redis last, in seconds since 1970; 0 for never. With `store = \"redis\"` alone";
    REVOCATIONS_UNPUBLISHED Gauge "wsgate_revocations_unpublished" []
        "Revocations that were taken in here and that other gateways can't know of yet. With `store = \"redis\"` alone";
    REVOCATIONS_BROKEN Counter "wsgate_revocations_broken_total" []
        "What was found among the revocations in Redis and is none: it was skipped. With `store = \"redis\"` alone";
    REDIS_SECONDS Histogram "wsgate_redis_duration_seconds" ["operation"]
        "Time that Redis took to answer a call, of those that it answered";
    REDIS_ERRORS Counter "wsgate_redis_errors_total" ["operation", "kind"]
        "Calls without an answer: timeout, lost, refused (an error for an answer), busy (too many under way), open (the breaker was, and Redis was not asked)";
    REDIS_BREAKER Gauge "wsgate_redis_breaker" []
        "Whether Redis is asked: 0 it is (closed), 1 a probe is under way (half-open), 2 it is not (open)";
    REDIS_FALLBACKS Counter "wsgate_redis_fallbacks_total" ["on_error"]
        "Decisions that were made without Redis, by what was done instead";
    RELOADS Counter "wsgate_config_reloads_total" ["result"]
        "New configs while the gateway runs, by result: ok, it is obeyed, or failed, the one before is";
    RELOAD_SUCCESSFUL Gauge "wsgate_config_last_reload_successful" []
        "1 if the last config that was read is obeyed, 0 if it was refused";
    RELOAD_SUCCEEDED_AT Gauge "wsgate_config_last_reload_success_timestamp_seconds" []
        "When the config that is obeyed was taken, in seconds since 1970";
    CONFIG Info "wsgate_config_info" ["hash"]
        "Which config is obeyed: a hash of the file and of those that it names";
    CERTIFICATE_ENDS Gauge "wsgate_certificate_not_after_timestamp_seconds" ["listener", "certificate"]
        "When a listener's certificate, or one of its chain, ends, in seconds since 1970; certificate is its file";
    SERVER_UP Gauge "wsgate_upstream_server_up" ["upstream", "server"]
        "Whether the server gets handshakes: 0 while its checks or handshakes fail, or it is drained or gone";
    SERVER_SESSIONS Gauge "wsgate_upstream_server_sessions" ["upstream", "server"]
        "Sessions that the server has, handshakes under way included";
    SERVER_HANDSHAKES Counter "wsgate_upstream_server_handshakes_total" ["upstream", "server", "result"]
        "Handshakes and ordinary requests that were sent to the server, by result: ok, the reason why not, or client_lost where it was not waited for; one that is tried on a second server counts at both";
    SERVER_SECONDS Histogram "wsgate_upstream_server_handshake_seconds" ["upstream", "server"]
        "Time from connecting to the server to its 101, or to the head of its answer to an ordinary request, of those that got one";
    SERVER_EJECTIONS Counter "wsgate_upstream_server_ejections_total" ["upstream", "server"]
        "How often the server was left out since its handshakes failed";
    SERVER_CHECKS Counter "wsgate_upstream_server_health_checks_total" ["upstream", "server", "result"]
        "Health checks of the server that ended, by result: ok or failed";
    UPSTREAM_WAITING Gauge "wsgate_upstream_queue" ["upstream"]
        "Handshakes that wait since every server has its max_connections";
    UPSTREAM_PANICS Counter "wsgate_upstream_panics_total" ["upstream"]
        "Handshakes that were sent to a server that was not thought to be well, since none was";
    LOOKUP_FAILURES Counter "wsgate_upstream_lookup_failures_total" ["upstream"]
        "Lookups of the upstream's host names that failed, or found nothing: the last addresses stay";
    TRACE_SPANS Counter "wsgate_trace_spans_total" ["result"]
        "Spans of handshakes, requests and sessions, by what became of them: exported, dropped as there was no room or no collector any more, or failed since the collector refused or did not answer";
    LOG_DROPPED Counter "wsgate_access_log_dropped_total" []
        "Lines of the access log that were dropped since its reader was too slow";
    LOG_ERRORS Counter "wsgate_access_log_errors_total" []
        "Writes of the access log that failed, as on a full disk";
    LOG_SUPPRESSED Counter "wsgate_access_log_suppressed_total" ["reason"]
        "Refusals without a line in the access log, since there were more of that reason than its refusals allow";
    BUILD Info "wsgate_build_info" ["version"]
        "The version that runs";
    START_TIME Gauge "wsgate_start_time_seconds" []
        "When the gateway started, in seconds since 1970";
    RESIDENT Gauge "process_resident_memory_bytes" []
        "Resident memory";
    OPEN_FDS Gauge "process_open_fds" []
        "Open file descriptors";
    MAX_FDS Gauge "process_max_fds" []
        "File descriptors that may be open";
    CPU Counter "process_cpu_seconds_total" []
        "CPU time, user and system";
}

/// The table of `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from("| metric | type | labels | meaning |\n|---|---|---|---|\n");
    for family in ALL {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        out += &format!("| `{}` | {} | {} | {} |\n", family.name, family.kind, labels.join(", "), family.help);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_name_is_put_together_again_from_stem_unit_and_suffix() {
        let of = |family: Family| (family.stem().0, family.stem().1.map(|unit| unit.as_str().to_owned()));
        assert_eq!(of(BYTES), ("wsgate", Some("bytes".to_owned())));
        assert_eq!(of(CPU), ("process_cpu", Some("seconds".to_owned())));
        assert_eq!(of(HANDSHAKE_SECONDS), ("wsgate_handshake_duration", Some("seconds".to_owned())));
        assert_eq!(of(BUILD), ("wsgate_build", None));
    }

    #[test]
    fn names_are_unique_and_a_counter_says_total() {
        let names: HashSet<_> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            assert_eq!(family.name.ends_with("_total"), family.kind == Kind::Counter, "{}", family.name);
        }
    }

    #[test]
    fn the_page_of_the_docs_has_this_table() {
        const PAGE: &str = include_str!("../../docs/metrics.md");
        let (begin, end) = ("<!-- table: begin -->\n", "<!-- table: end -->");
        let (head, rest) = PAGE.split_once(begin).unwrap();
        let (table, tail) = rest.split_once(end).unwrap();
        if table == markdown() {
            return;
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("WSGATE_BLESS").is_some() {
            std::fs::write(file, format!("{head}{begin}{}{end}{tail}", markdown())).unwrap();
            return;
        }
        panic!("docs/metrics.md differs from the code: run the tests with WSGATE_BLESS=1 and look at what changed");
    }
}
