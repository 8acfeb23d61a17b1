//! The counts in a few numbers over all routes, for a person who looks instead of a scraper.

use std::sync::Arc;

use super::Metrics;
use super::counts::NO_ROUTE;
use super::traffic::Traffic;
use crate::deny::{Deny, Direction, Side};

/// Sums over all routes and workers, as they are at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions now.
    pub sessions: u64,
    /// Handshakes that were let in.
    pub admitted: u64,
    /// Handshakes that were refused, by reason; only what happened.
    pub refused: Vec<(Deny, u64)>,
    /// Sessions that ended, by side and reason, none where that side closed; only what happened.
    pub ended: Vec<(Side, Option<Deny>, u64)>,
    /// Messages, by [`Direction::index`].
    pub messages: [u64; 2],
    /// Bytes, likewise.
    pub bytes: [u64; 2],
    /// Messages of clients that had to wait.
    pub delayed: u64,
    /// Messages of clients that were dropped.
    pub dropped: u64,
}

impl Metrics {
    /// The sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let counts = &*self.counts;
        let named = counts.named.load();
        let tallies = || named.routes.iter().map(|route| &route.handshakes).chain([&counts.unrouted]);
        let handshakes = |reason| tallies().map(|tally| tally.of(reason)).sum();
        let ended = |side: Side, reason| named.routes.iter().map(|route| route.ended[side.index()].of(reason)).sum();
        let traffic = |read: &dyn Fn(&Traffic) -> u64| named.traffic.iter().flatten().map(|of| read(of)).sum();
        let reasons = || std::iter::once(None).chain(Deny::ALL.iter().copied().map(Some));
        let ends = Side::ALL.into_iter().flat_map(|side| reasons().map(move |reason| (side, reason)));
        Totals {
            sessions: traffic(&Traffic::active),
            admitted: handshakes(None),
            refused: Deny::ALL.iter().map(|deny| (*deny, handshakes(Some(*deny)))).filter(|(_, n)| *n > 0).collect(),
            ended: ends.map(|(side, why)| (side, why, ended(side, why))).filter(|(_, _, n)| *n > 0).collect(),
            messages: Direction::ALL.map(|direction| traffic(&|of: &Traffic| of.messages_of(direction))),
            bytes: Direction::ALL.map(|direction| traffic(&|of: &Traffic| of.bytes_of(direction))),
            delayed: traffic(&Traffic::delayed_count),
            dropped: traffic(&Traffic::dropped_count),
        }
    }
}

/// A count for each route, by its name.
pub type ByRoute = Vec<(Arc<str>, u64)>;

impl Metrics {
    /// Handshakes that were refused, by reason and then by the route's name; only what happened. Before a route was found it
    /// is `none`, as in the metrics.
    #[must_use]
    pub fn refused_by_route(&self) -> Vec<(Deny, ByRoute)> {
        let named = self.counts.named.load();
        let none = [(Arc::from(NO_ROUTE), &self.counts.unrouted)];
        let all = named.routes.iter().map(|route| (route.name.clone(), &route.handshakes)).chain(none);
        let all: Vec<_> = all.collect();
        let of = |deny: Deny| {
            let counted = all.iter().map(|(name, tally)| (name.clone(), tally.of(Some(deny)))).filter(|(_, n)| *n > 0);
            (deny, counted.collect::<Vec<_>>())
        };
        Deny::ALL.iter().map(|deny| of(*deny)).filter(|(_, routes)| !routes.is_empty()).collect()
    }

    /// Sessions now, by the route's name.
    #[must_use]
    pub fn sessions_by_route(&self) -> ByRoute {
        let named = self.counts.named.load();
        let active = |index: usize| named.traffic.iter().filter_map(|of| of.get(index)).map(|of| of.active()).sum();
        named.routes.iter().enumerate().map(|(index, route)| (route.name.clone(), active(index))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::metrics::{Example, Sources};
    use crate::now::Now;
    use crate::policy::roll::Roll;

    #[test]
    fn totals_are_over_all_routes_and_workers_and_name_only_what_happened() {
        let metrics = Metrics::new(&Roll::of(["a", "b"]), 2, &[], Now { mono: 0, wall: 0 }, Sources::default());
        assert_eq!(metrics.totals(), Totals::default());
        let example = Example { id: Id(1), wall: 0 };
        let sessions = [metrics.traffic(0, 0).enter(), metrics.traffic(1, 1).enter()];
        for session in &sessions {
            session.passed(Direction::ToUpstream, 3);
            session.carried(Direction::ToClient, 7);
            session.dropped(1);
        }
        metrics.handshake(Some(0), Ok(()), 1, example);
        metrics.handshake(Some(1), Err(Deny::TokenMissing), 1, example);
        metrics.handshake(None, Err(Deny::NoRoute), 1, example);
        metrics.session_ended(1, (Side::Gateway, Some(Deny::TokenExpired)), 1, [0, 0], example);
        let totals = metrics.totals();
        assert_eq!((totals.sessions, totals.admitted, totals.messages, totals.dropped), (2, 1, [6, 0], 2));
        assert_eq!(totals.bytes, [0, 14]);
        let of = |deny, route: &str| (deny, vec![(Arc::from(route), 1)]);
        assert_eq!(metrics.refused_by_route(), [of(Deny::NoRoute, "none"), of(Deny::TokenMissing, "b")]);
        assert_eq!(metrics.sessions_by_route(), [("a".into(), 1), ("b".into(), 1)]);
        assert_eq!(totals.refused, [(Deny::NoRoute, 1), (Deny::TokenMissing, 1)]);
        assert_eq!(totals.ended, [(Side::Gateway, Some(Deny::TokenExpired), 1)]);
    }
}
