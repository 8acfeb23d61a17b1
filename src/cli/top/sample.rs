//! One look at a gateway: its status, its connections, and the counters between two looks of which there is a rate.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value as Json;

/// What was asked at one moment.
pub(super) struct Sample {
    /// `/status`
    pub(super) status: Json,
    /// `/connections`
    pub(super) connections: Json,
    /// Of `/metrics`.
    pub(super) totals: Totals,
    /// When.
    pub(super) at: Instant,
}

/// Sums over all routes, since the gateway's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    /// To the upstream, to the client.
    pub(super) messages: [f64; 2],
    /// Likewise.
    pub(super) bytes: [f64; 2],
    /// Handshakes that became sessions.
    pub(super) admitted: f64,
    /// All others, by reason.
    pub(super) refused: BTreeMap<String, f64>,
}

impl Totals {
    /// Reads Prometheus' text format, as far as the gateway writes it.
    pub(super) fn read(text: &str) -> Self {
        let mut totals = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let label = |wanted: &str| {
                let (_, rest) = labels.split_once(&format!("{wanted}=\""))?;
                rest.split('"').next()
            };
            let each_way = match name {
                "wsgate_messages_total" => Some(&mut totals.messages),
                "wsgate_bytes_total" => Some(&mut totals.bytes),
                _ => None,
            };
            if let Some(sums) = each_way {
                sums[usize::from(label("direction") == Some("to_client"))] += value;
            } else if name == "wsgate_handshakes_total" {
                match label("result") {
                    Some("admitted") => totals.admitted += value,
                    Some(reason) => *totals.refused.entry(reason.to_owned()).or_default() += value,
                    None => {}
                }
            }
        }
        totals
    }

    /// By how much it grew a second; a gateway that started anew counts from 0.
    pub(super) fn rates(&self, before: &Self, seconds: f64) -> Self {
        let rate = |now: f64, then: f64| (if now < then { now } else { now - then }) / seconds.max(0.001);
        let each_way = |now: [f64; 2], then: [f64; 2]| [rate(now[0], then[0]), rate(now[1], then[1])];
        let refused = self.refused.iter();
        let refused = refused
            .map(|(reason, now)| (reason.clone(), rate(*now, before.refused.get(reason).copied().unwrap_or_default())));
        Self {
            messages: each_way(self.messages, before.messages),
            bytes: each_way(self.bytes, before.bytes),
            admitted: rate(self.admitted, before.admitted),
            refused: refused.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE wsgate_messages_total counter\n\
        wsgate_messages_total{route=\"a\",direction=\"to_upstream\"} 10\n\
        wsgate_messages_total{route=\"b\",direction=\"to_upstream\"} 5\n\
        wsgate_messages_total{route=\"a\",direction=\"to_client\"} 7\n\
        wsgate_bytes_total{route=\"a\",direction=\"to_client\"} 700\n\
        wsgate_handshakes_total{route=\"a\",result=\"admitted\"} 3\n\
        wsgate_handshakes_total{route=\"none\",result=\"no_route\"} 4\n\
        nonsense\nwsgate_messages_total{ x\n";

    #[test]
    fn counters_are_summed_over_the_routes_and_rates_are_between_two() {
        let now = Totals::read(TEXT);
        assert_eq!((now.messages, now.bytes, now.admitted), ([15.0, 7.0], [0.0, 700.0], 3.0));
        assert_eq!(now.refused, BTreeMap::from([("no_route".to_owned(), 4.0)]));
        let before = Totals { messages: [5.0, 7.0], admitted: 9.0, ..Totals::default() };
        let rates = now.rates(&before, 2.0);
        assert_eq!((rates.messages, rates.bytes), ([5.0, 0.0], [0.0, 350.0]));
        // It was started anew.
        assert_eq!((rates.admitted, rates.refused["no_route"]), (1.5, 2.0));
    }
}
