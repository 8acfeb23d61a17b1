//! `[tracing]`: whether its keys fit together.

use std::time::Duration;

use super::Findings;
use crate::config::{Parents, Tracing};
use crate::policy::trace::Sampling;

/// Below is no network; above, a collector that hangs would keep the queue full for too long.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);

/// What the exporter says itself.
const TAKEN: [&str; 6] = ["host", "content-type", "content-length", "transfer-encoding", "connection", "accept"];

/// Which handshakes are recorded.
pub(super) fn compile(tracing: &Tracing, found: &mut Findings) -> Sampling {
    let url = &tracing.endpoint.0;
    if tracing.ca.is_some() && !url.tls {
        found.wrong("tracing.ca", "the endpoint is not of TLS", "write https:// in `endpoint`");
    }
    if !tracing.headers.is_empty() && !url.tls && !url.is_loopback() {
        found.wrong(
            "tracing.headers",
            "they would go over the network in the clear",
            "write https:// in `endpoint`; http:// is for a collector on this machine, or one that wants no headers",
        );
    }
    for name in tracing.headers.keys() {
        if TAKEN.iter().any(|taken| name.eq_ignore_ascii_case(taken)) {
            found.wrong(format!("tracing.headers.{name}"), "the gateway sets this header itself", "leave it out");
        }
    }
    if tracing.service_name.is_empty() {
        found.wrong("tracing.service_name", "the name is empty", "leave it out for \"wsgate\"");
    }
    if !TIMEOUTS.contains(&tracing.timeout) {
        let message = format!("{} ms is no time for one request", tracing.timeout.as_millis());
        found.wrong("tracing.timeout", message, "from \"100ms\" to \"1m\"");
    }
    if tracing.parents == Parents::All {
        found.warn(
            "tracing.parents",
            "whoever connects decides what is recorded",
            "\"trusted_proxies\", unless nobody but your own programs reaches the gateway",
        );
    }
    Sampling::new(tracing)
}
