//! How much a route takes: handshakes, messages, sessions.

use std::sync::Arc;

use super::sections::DEFAULT_ENTRIES;
use super::{Findings, Named, certificates, nearest};
use crate::config::value::Rate;
use crate::config::{self, OnExcess};
use crate::policy::bucket::Limit;
use crate::policy::cap::{Cap, KeyedCap};
use crate::policy::route::{Caps, HandshakeLimit, MessageLimit};
use crate::policy::zone::Zone;

/// The rate of handshakes: of a zone, or of a rate of the route's own.
pub(super) fn handshakes(
    typed: &config::Route,
    name: &str,
    at: &str,
    named: &Named,
    found: &mut Findings,
) -> Option<HandshakeLimit> {
    let typed = typed.handshakes.as_ref()?;
    let at = format!("{at}.handshakes");
    if typed.nodelay && typed.delay > 0 {
        found.wrong(
            format!("{at}.delay"),
            "both delay and nodelay are given",
            "nodelay is a delay without end; keep one",
        );
    }
    let zone = match (&typed.rate, &typed.zone) {
        (Some(rate), None) => Arc::new(Zone::new(&format!("route {name}"), *rate, DEFAULT_ENTRIES)),
        (None, Some(zone)) => match named.zones.get(zone) {
            Some(zone) => zone.clone(),
            None => {
                if !named.typed_zones.contains(zone) {
                    let message = format!("there is no [zone.{zone}]");
                    found.wrong(format!("{at}.zone"), message, &nearest(zone, named.typed_zones.iter()));
                }
                return None;
            }
        },
        (Some(_), Some(_)) => {
            found.wrong(format!("{at}.zone"), "both rate and zone are given", "a zone has its own rate; keep one");
            return None;
        }
        (None, None) => {
            found.wrong(
                at,
                "neither rate nor zone is given",
                "as { rate = \"20r/s\", burst = 30 } or { zone = \"NAME\", burst = 30 }",
            );
            return None;
        }
    };
    let burst = u64::from(typed.burst) * Rate::ONE;
    let delay = if typed.nodelay { u64::MAX } else { u64::from(typed.delay) * Rate::ONE };
    Some(HandshakeLimit { zone, burst, delay, dry_run: typed.dry_run, status: typed.status })
}

/// How many sessions there may be at once.
pub(super) fn caps(typed: &config::Route, at: &str, found: &mut Findings) -> Caps {
    let Some(connections) = &typed.connections else { return Caps::default() };
    let at = format!("{at}.connections");
    if connections.per_subject.is_some() && !certificates::has_identity(typed) {
        let message = "without `jwt` or `client_certificate` nobody has a subject";
        found.wrong(format!("{at}.per_subject"), message, "add one of them, or remove it");
    }
    Caps {
        total: connections.total.map(|total| Cap::new(total, connections.warn_at)),
        per_ip: connections.per_ip.map(KeyedCap::new),
        per_subject: connections.per_subject.map(KeyedCap::new),
    }
}

/// The rate of messages on each connection. `close` and `drop` judge as nginx's `nodelay` does. `delay` spaces as a plain burst does, and what is beyond the burst
/// waits too: the socket is not read meanwhile, so there is nothing to refuse.
pub(super) fn messages(typed: &config::Messages) -> MessageLimit {
    let burst = u64::from(typed.burst) * Rate::ONE;
    let (burst, delay) = match typed.on_excess {
        OnExcess::Close | OnExcess::Drop => (burst, u64::MAX),
        OnExcess::Delay => (u64::MAX, 0),
    };
    MessageLimit { limit: Limit { rate: typed.rate, burst, delay }, on_excess: typed.on_excess }
}
