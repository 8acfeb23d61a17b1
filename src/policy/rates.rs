//! A handshake's rates: which of the route's limits count for it, and what their answer is to the client.
//!
//! All limits of a stage are charged, or none is. What one stage has charged stays charged when a later one refuses, as a
//! handshake with a forged token has been charged to its address.

use super::Denial;
use super::key::rule::Facts;
use super::limit::{Action, Exceeded};
use super::remote::OnError;
use super::require::Require;
use super::route::{Captures, HandshakeLimit, Stage};
use super::zone::{self, DryRun, Hit, Outcome};
use crate::config::Store;
use crate::config::value::Rate;
use crate::deny::Deny;

/// The limits of one stage that count for a handshake, in the order of the file, each with its hit.
#[derive(Debug)]
pub struct Counted<'a> {
    /// The limits.
    pub limits: Vec<&'a HandshakeLimit>,
    /// What each is asked; as many.
    pub hits: Vec<Hit<'a>>,
}

/// Whether a limit is for this handshake.
#[must_use]
pub fn is_for(when: &Require, facts: &Facts<'_>, captures: &Captures) -> bool {
    when.is_empty()
        || facts.identity.is_some_and(|identity| when.check(&identity.claims, |name| captures.get(name)).is_ok())
}

impl<'a> Counted<'a> {
    /// Those of these that count for a handshake, or a request, of which this is known.
    #[must_use]
    pub fn of(limits: &'a [HandshakeLimit], stage: Stage, facts: &Facts<'_>, captures: &Captures) -> Self {
        let is_counted = |limit: &&HandshakeLimit| limit.stage == stage && is_for(&limit.when, facts, captures);
        limits.iter().filter(is_counted).map(|limit| (limit, limit.hit(facts))).collect()
    }

    /// Whether one of them is counted by several gateways together.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.limits.iter().any(|limit| limit.store == Store::Redis)
    }

    /// Those that are counted here, and those that several gateways share.
    #[must_use]
    pub fn parted(self) -> (Self, Self) {
        let all = self.limits.into_iter().zip(self.hits);
        let (here, shared): (Vec<_>, Vec<_>) = all.partition(|(limit, _)| limit.store == Store::Local);
        (here.into_iter().collect(), shared.into_iter().collect())
    }

    /// Charges all of them here, or none. Milliseconds to wait.
    ///
    /// # Errors
    /// As [`Counted::answer`].
    pub fn admit(&self, now_ms: u64, found: &mut Vec<Exceeded>) -> Result<u64, Denial> {
        if self.hits.is_empty() {
            return Ok(0);
        }
        self.answer(&zone::admit(&self.hits, now_ms), found)
    }

    /// What they say while the store that they share does not.
    ///
    /// # Errors
    /// `store_unavailable`, where it is to be so; not for limits in dry run, which refuse nobody.
    pub fn without_store(&self, on_error: OnError, now_ms: u64) -> Result<Outcome, Denial> {
        let passed = Outcome { answer: Ok(0), dry_runs: Vec::new(), delayed: Vec::new() };
        match on_error {
            OnError::Local => Ok(zone::admit(&self.hits, now_ms)),
            OnError::Open => Ok(passed),
            OnError::Closed if self.hits.iter().all(|hit| hit.dry_run) => Ok(passed),
            OnError::Closed => {
                let denial = Denial::new(Deny::StoreUnavailable, "[redis] did not answer, and on_error is \"closed\"");
                Err(Denial { retry_after: Some(1), ..denial })
            }
        }
    }

    /// Milliseconds to wait; what exceeded a limit is noted either way.
    ///
    /// # Errors
    /// `handshake_rate`, and `zone_full` where the limit does not know the client and can't get to.
    pub fn answer(&self, outcome: &Outcome, found: &mut Vec<Exceeded>) -> Result<u64, Denial> {
        let exceeded = |index: usize, action| Exceeded { limit: self.limits[index].id, action };
        found.extend(outcome.dry_runs.iter().map(|dry_run| match dry_run {
            DryRun::Refused(refusal) => exceeded(refusal.index, Action::Refuse),
            DryRun::Delayed { index, .. } => exceeded(*index, Action::Delay),
        }));
        found.extend(outcome.delayed.iter().map(|index| exceeded(*index, Action::Delay)));
        outcome.answer.map_err(|refusal| {
            found.push(exceeded(refusal.index, Action::Refuse));
            let denial = if refusal.zone_full {
                // Not the client's doing, so not the status that the operator chose for those who come too often.
                Denial::new(Deny::ZoneFull, "no room for a new key in the limit's zone")
            } else {
                let status = self.limits[refusal.index].status;
                Denial { status, ..Denial::new(Deny::HandshakeRate, "over rate and burst") }
            };
            Denial { retry_after: Some(refusal.retry_ms.div_ceil(1000).max(1)), ..denial }
        })
    }
}

impl<'a> FromIterator<(&'a HandshakeLimit, Hit<'a>)> for Counted<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a HandshakeLimit, Hit<'a>)>>(all: I) -> Self {
        let (limits, hits) = all.into_iter().unzip();
        Self { limits, hits }
    }
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
