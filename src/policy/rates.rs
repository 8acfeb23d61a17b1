//! A handshake's rates: which of the route's limits count for it, and what their answer is to the client.
//!
//! All limits of a stage are charged, or none is. What one stage has charged stays charged when a later one refuses, as a
//! handshake with a forged token has been charged to its address.

use super::Denial;
use super::key::rule::Facts;
use super::limit::{Action, Exceeded};
use super::require::Require;
use super::route::{Captures, HandshakeLimit, Route, Stage};
use super::zone::{DryRun, Hit, Outcome};
use crate::config::value::Rate;
use crate::deny::Deny;

/// The limits of this stage that count for this handshake, in the order of the file, each with its hit.
#[must_use]
pub fn hits<'a>(
    route: &'a Route,
    stage: Stage,
    facts: &Facts<'_>,
    captures: &Captures,
) -> Vec<(&'a HandshakeLimit, Hit<'a>)> {
    let counted = route.handshakes.iter().filter(|limit| limit.stage == stage && is_for(&limit.when, facts, captures));
    counted.map(|limit| (limit, limit.hit(facts))).collect()
}

/// Whether a limit is for this handshake.
#[must_use]
pub fn is_for(when: &Require, facts: &Facts<'_>, captures: &Captures) -> bool {
    when.is_empty()
        || facts.identity.is_some_and(|identity| when.check(&identity.claims, |name| captures.get(name)).is_ok())
}

/// Milliseconds to wait; what exceeded a limit is noted either way.
///
/// # Errors
/// `handshake_rate`.
pub fn answer(
    limits: &[(&HandshakeLimit, Hit<'_>)],
    outcome: &Outcome,
    found: &mut Vec<Exceeded>,
) -> Result<u64, Denial> {
    let exceeded = |index: usize, action| Exceeded { limit: limits[index].0.id, action };
    found.extend(outcome.dry_runs.iter().map(|dry_run| match dry_run {
        DryRun::Refused(refusal) => exceeded(refusal.index, Action::Refuse),
        DryRun::Delayed { index, .. } => exceeded(*index, Action::Delay),
    }));
    found.extend(outcome.delayed.iter().map(|index| exceeded(*index, Action::Delay)));
    outcome.answer.map_err(|refusal| {
        found.push(exceeded(refusal.index, Action::Refuse));
        Denial {
            status: limits[refusal.index].0.status,
            retry_after: Some(refusal.retry_ms.div_ceil(1000).max(1)),
            ..Denial::new(
                Deny::HandshakeRate,
                if refusal.zone_full { "the zone is full" } else { "over rate and burst" },
            )
        }
    })
}

impl HandshakeLimit {
    fn hit(&self, facts: &Facts<'_>) -> Hit<'_> {
        Hit {
            zone: &self.zone,
            key: self.key.key(facts),
            burst: self.burst,
            delay: self.delay,
            cost: Rate::ONE,
            dry_run: self.dry_run,
        }
    }
}
