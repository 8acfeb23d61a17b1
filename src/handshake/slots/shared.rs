//! Caps that several gateways share: one question for all of them, and what is done when there is no answer.
//!
//! This gateway has counted the handshake by then: its own count is what it states to the store when that comes back, and
//! what decides, with `on_error = "local"`, while it is away.

use std::sync::Arc;

use crate::config::{OnError, OnFull};
use crate::deny::Deny;
use crate::policy::key::Key;
use crate::policy::key::rule::Facts;
use crate::policy::limit::{Action, Exceeded, LimitId};
use crate::policy::route::Captures;
use crate::policy::slots::{Caps, KeyedLimit, busy};
use crate::policy::{Denial, Permits};
use crate::store::{Redis, RemoteSlot, Taken};

/// One of them, as it counts this handshake.
pub(super) struct SharedCap<'a> {
    name: &'a Arc<str>,
    key: Key,
    max: usize,
    dry_run: bool,
    on_full: OnFull,
    id: LimitId,
    refusal: Denial,
    /// None of one that counts all together.
    by_key: Option<&'a KeyedLimit>,
}

impl<'a> SharedCap<'a> {
    /// Those of a route that count a handshake.
    pub(super) fn of(caps: &'a Caps, facts: &Facts<'_>, captures: &Captures) -> Vec<Self> {
        let total = caps.total.iter().filter_map(|limit| {
            Some(Self {
                name: limit.shared.as_ref()?,
                key: Key::shared(&[]),
                max: limit.cap.limit(),
                dry_run: limit.dry_run,
                on_full: OnFull::Refuse,
                id: limit.id,
                refusal: busy(Deny::RouteCap, "connections.total"),
                by_key: None,
            })
        });
        let by_key = caps.counted(facts, captures).into_iter().filter_map(|counted| {
            let limit = counted.limit;
            Some(Self {
                name: limit.shared.as_ref()?,
                key: counted.key,
                max: limit.max,
                dry_run: limit.dry_run,
                on_full: limit.on_full,
                id: limit.id,
                refusal: busy(limit.scope.deny(), limit.scope.key()),
                by_key: Some(limit),
            })
        });
        total.chain(by_key).collect()
    }

    /// What becomes of one more than there may be: nothing in dry run.
    fn is_full(&self, exceeded: &mut Vec<Exceeded>) -> Result<(), Denial> {
        let (action, result) = match self.on_full {
            OnFull::CloseOldest => (Action::CloseOldest, Ok(())),
            OnFull::Refuse if self.dry_run => (Action::Refuse, Ok(())),
            OnFull::Refuse => (Action::Refuse, Err(self.refusal)),
        };
        exceeded.push(Exceeded { limit: self.id, action });
        result
    }

    fn slot(&self) -> RemoteSlot<'a> {
        RemoteSlot { cap: self.name, key: self.key, limit: self.max as u64 }
    }

    fn closes_oldest(&self) -> Option<&'a KeyedLimit> {
        self.by_key.filter(|_| self.on_full == OnFull::CloseOldest && !self.dry_run)
    }
}

/// A slot of each, or of none.
///
/// # Errors
/// The first cap that has none; `store_unavailable`.
pub(super) async fn take(
    redis: &Redis,
    caps: Vec<SharedCap<'_>>,
    permits: &mut Permits,
    exceeded: &mut Vec<Exceeded>,
) -> Result<(), Denial> {
    let mut slots: Vec<RemoteSlot<'_>> = caps.iter().map(SharedCap::slot).collect();
    let mut leaving = Vec::new();
    // Each round holds one cap less, so that there are no more rounds than caps.
    let held = loop {
        match redis.take(&slots).await {
            Ok(Taken::Held(held)) => break held,
            Ok(Taken::Full { index, oldest }) => {
                let (cap, slot) = (&caps[index], &mut slots[index]);
                cap.is_full(exceeded)?;
                leaving.extend(cap.closes_oldest().map(|limit| (limit, cap, oldest)));
                slot.limit = u64::MAX;
            }
            Err(_) => {
                redis.fell_back();
                without_answer(redis.on_error(), &caps, permits, exceeded)?;
                permits.hold(redis.hold(&slots));
                return Ok(());
            }
        }
    };
    permits.hold(held);
    for (limit, cap, node) in leaving {
        match node {
            Some(node) if !redis.is_here(&node) => {
                if redis.evict(&node, cap.name, cap.key).await.is_err() {
                    redis.fell_back();
                }
                // One that was killed still counts and hears nothing: that is no leave to hold more than the cap here.
                if limit.counts.held(cap.key) > cap.max {
                    limit.counts.close_oldest(cap.key, limit.scope.deny(), permits.seat());
                }
            }
            _ => drop(limit.counts.close_oldest(cap.key, limit.scope.deny(), permits.seat())),
        }
    }
    Ok(())
}

/// What this gateway decides alone.
fn without_answer(
    on_error: OnError,
    caps: &[SharedCap<'_>],
    permits: &Permits,
    exceeded: &mut Vec<Exceeded>,
) -> Result<(), Denial> {
    match on_error {
        OnError::Open => return Ok(()),
        OnError::Closed if caps.iter().all(|cap| cap.dry_run) => return Ok(()),
        OnError::Closed => {
            return Err(busy(Deny::StoreUnavailable, "[redis] did not answer, and on_error is \"closed\""));
        }
        OnError::Local => {}
    }
    // The handshake is counted already.
    let is_full = |cap: &&SharedCap<'_>| cap.by_key.is_some_and(|limit| limit.counts.held(cap.key) > cap.max);
    let full: Vec<&SharedCap<'_>> = caps.iter().filter(is_full).collect();
    full.iter().try_for_each(|cap| cap.is_full(exceeded))?;
    for (limit, cap) in full.iter().filter_map(|cap| Some((cap.closes_oldest()?, cap))) {
        limit.counts.close_oldest(cap.key, limit.scope.deny(), permits.seat());
    }
    Ok(())
}
