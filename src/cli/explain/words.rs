//! How numbers and rules are said to a person.

use crate::config::value::{Rate, TokenFrom};
use crate::config::{OnExcess, Store};
use crate::policy::cap::Cap;
use crate::policy::flow::Rule;
use crate::policy::key::rule::Facts;
use crate::policy::limit::What;
use crate::policy::route::{Captures, HandshakeLimit, Route};
use crate::policy::slots::Scope;

/// A time in milliseconds: `50 ms`, `62.5 s`, `1 h 5 min`. Of what is long, the small is left out.
pub(super) fn span(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..120_000 => format!("{} s", ms as f64 / 1000.0),
        120_000..7_200_000 => two(ms / 60_000, "min", ms / 1000 % 60, "s"),
        7_200_000..172_800_000 => two(ms / 3_600_000, "h", ms / 60_000 % 60, "min"),
        _ => two(ms / 86_400_000, "d", ms / 3_600_000 % 24, "h"),
    }
}

fn two(large: u64, unit: &str, small: u64, of: &str) -> String {
    if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {of}") }
}

/// One each so often; what is faster than a millisecond, so many a second.
fn pace(rate: Rate, what: &str) -> String {
    let thousand_ms = Rate::ONE.saturating_mul(rate.period_ms) / rate.units;
    if thousand_ms >= 1 {
        format!("one {what} each {}", span(thousand_ms))
    } else {
        let per_second = rate.units.saturating_mul(1000) / rate.period_ms / Rate::ONE;
        format!("{per_second} {what}s a second")
    }
}

/// What a limit of handshakes allows, and what happens beyond.
pub(super) fn allowance(limit: &HandshakeLimit) -> String {
    let (burst, rate) = (limit.burst / Rate::ONE, pace(limit.zone.rate(), "handshake"));
    let at_once = limit.delay.min(limit.burst) / Rate::ONE + 1;
    let fresh = match burst + 1 {
        1 => "1 at one moment".to_owned(),
        all if all == at_once => format!("{all} at one moment"),
        all => format!("{all} at one moment, of which {} wait for their turn", all - at_once),
    };
    let beyond =
        if limit.dry_run { "in dry run: nobody is refused".to_owned() } else { format!("beyond, {}", limit.status) };
    format!("{rate}, burst {burst}: a fresh account lets in {fresh}; {beyond}")
}

/// The name of a limit's account: its zone, or the route's own rate.
pub(super) fn account(zone: &str, store: Store) -> String {
    let shared = if store == Store::Redis { ", counted in Redis, which is not asked here" } else { "" };
    if zone.is_empty() { format!("the route's own rate{shared}") } else { format!("zone `{zone}`{shared}") }
}

/// A limit on what flows.
pub(super) fn flow(rule: &Rule) -> String {
    let (unit, one) = match rule.what {
        What::Bytes => ("byte", 1024 * Rate::ONE),
        What::Control => ("ping or pong", Rate::ONE),
        What::Messages | What::Handshakes | What::Requests | What::Fragments | What::Connections => {
            ("message", Rate::ONE)
        }
    };
    let rate = rule.limit.rate;
    let rate = if rule.what == What::Bytes {
        let per_second = rate.units.saturating_mul(1000) / rate.period_ms / Rate::ONE;
        format!("{per_second} bytes a second")
    } else {
        pace(rate, unit)
    };
    let size = if rule.what == What::Bytes { "k" } else { "" };
    let burst = match rule.limit.burst {
        u64::MAX => String::new(),
        burst => format!(", burst {}{size}", burst / one),
    };
    let beyond = match rule.on_excess {
        OnExcess::Close => "the session is closed",
        OnExcess::Delay => "it waits",
        OnExcess::Drop => "it is dropped",
    };
    let dry = if rule.dry_run { ", if it were not in dry run" } else { "" };
    format!("{rate}{burst}; beyond, {beyond}{dry}")
}

/// Where a token stands.
pub(super) fn place(from: &TokenFrom) -> String {
    match from {
        TokenFrom::Header => "Authorization".to_owned(),
        TokenFrom::NamedHeader(name) => format!("the header {name}"),
        TokenFrom::Cookie(name) => format!("the cookie {name}"),
        TokenFrom::Query(name) => format!("the query's {name}"),
        TokenFrom::Subprotocol => "a subprotocol `bearer.`".to_owned(),
        TokenFrom::PrefixedSubprotocol(prefix) => format!("a subprotocol `{prefix}`"),
    }
}

/// The caps that a session would take a place of.
pub(super) fn caps(route: &Route, total: &Cap, facts: &Facts<'_>, captures: &Captures) -> Vec<String> {
    let mut all = vec![format!("connections.total of [server]: {}", total.limit())];
    all.extend(route.caps.total.as_ref().map(|limit| format!("connections.total: {}", limit.cap.limit())));
    all.extend(route.caps.counted(facts, captures).into_iter().map(|counted| {
        let limit = counted.limit;
        let zone = match limit.scope {
            Scope::Zone => format!(" by zone `{}`, {}", limit.zone, limit.key.shown(facts)),
            Scope::Ip | Scope::Subject => String::new(),
        };
        format!("{}: {}{zone}", limit.scope.key(), limit.max)
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_two_units_at_most() {
        for (ms, said) in [
            (50, "50 ms"),
            (2000, "2 s"),
            (62_500, "62.5 s"),
            (120_000, "2 min"),
            (3_599_000, "59 min 59 s"),
            (3_600_000, "60 min"),
            (7_500_000, "2 h 5 min"),
            (172_800_000, "2 d"),
        ] {
            assert_eq!(span(ms), said);
        }
    }

    #[test]
    fn a_rate_is_said_as_it_is_counted() {
        for (rate, said) in [
            ("20r/s", "one handshake each 50 ms"),
            ("1r/m", "one handshake each 62.5 s"),
            ("1/minute", "one handshake each 60 s"),
            ("5000r/s", "5000 handshakes a second"),
        ] {
            assert_eq!(pace(rate.parse().unwrap(), "handshake"), said);
        }
    }
}
