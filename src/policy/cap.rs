//! How many of a thing are held at once: in all, and by key.
//!
//! nginx's `limit_conn`, with two differences: what is counted is the session and not its handshake, and every key counts
//! whatever its length. A slot is a permit that gives itself back when it is dropped, also while a panic unwinds; nothing
//! else lowers a count.

pub mod keyed;
pub mod seat;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use keyed::{KeyedCap, KeyedPermit};

/// Set in [`Count::state`] beside the count, so that one atomic step both counts and warns.
const WARNED: u64 = 1 << 63;

/// How far below the warning the count has to fall before the next warning, as a share of the limit.
const REARM_BELOW: f64 = 0.1;

/// A limit on one count, that says when it is nearly reached.
#[derive(Clone, Debug)]
pub struct Cap {
    limit: u64,
    /// What is given out: the limit, or in dry run without end.
    most: u64,
    warn: u64,
    rearm: u64,
    count: Arc<Count>,
}

/// What outlives a change of the limit.
#[derive(Debug, Default)]
struct Count {
    /// Slots taken, and [`WARNED`].
    state: AtomicU64,
    /// Of the cap that gave the last slot: whoever gives one back arms by it, whichever limit was in force when it began.
    rearm: AtomicU64,
}

/// A slot, and what is to be said of it.
#[derive(Debug)]
#[must_use]
pub struct Taken<P> {
    /// The slot.
    pub permit: P,
    /// There was none left, by the limit.
    pub was_full: bool,
    /// The count just came near the limit.
    pub near: bool,
}

/// One slot of a [`Cap`].
#[derive(Debug)]
#[must_use]
pub struct Permit(Arc<Count>);

impl Cap {
    /// At most `limit` at once. `warn_at` is the share of it, above 0 and at most 1, at which one warning is due.
    #[must_use]
    pub fn new(limit: usize, warn_at: f64) -> Arc<Self> {
        let (warn, rearm) = marks(limit, warn_at);
        let limit = (limit as u64).min(!WARNED);
        Arc::new(Self { limit, most: limit, warn, rearm, count: Arc::default() })
    }

    /// The same, with a slot for everybody however many are taken.
    #[must_use]
    pub fn dry_run(limit: usize, warn_at: f64) -> Arc<Self> {
        let (warn, rearm) = marks(limit, warn_at);
        Arc::new(Self { limit: limit as u64, most: !WARNED, warn, rearm, count: Arc::default() })
    }

    /// The same limit on the slots of another cap, for a reload: who holds one of that holds one of this.
    #[must_use]
    pub fn following(&self, previous: Option<&Self>) -> Arc<Self> {
        let count = previous.map_or_else(|| self.count.clone(), |previous| previous.count.clone());
        Arc::new(Self { count, ..*self })
    }

    /// A slot, if one is free. A warning is due first at `warn_at`, and next only after the count was a tenth of the limit
    /// lower.
    #[must_use]
    pub fn take(&self) -> Option<Taken<Permit>> {
        let (mut near, mut was_full) = (false, false);
        let one_more = |state: u64| {
            let used = (state & !WARNED) + 1;
            near = used >= self.warn && state & WARNED == 0;
            was_full = used > self.limit;
            (used <= self.most).then_some(used | if near { WARNED } else { state & WARNED })
        };
        // Relaxed: the count guards no other memory.
        self.count.rearm.store(self.rearm, Ordering::Relaxed);
        self.count.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Taken { permit: Permit(self.count.clone()), was_full, near })
    }

    /// Slots taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        (self.count.state.load(Ordering::Relaxed) & !WARNED) as usize
    }

    /// Whether the warning was given, and the count has not fallen enough since.
    #[must_use]
    pub fn is_warned(&self) -> bool {
        self.count.state.load(Ordering::Relaxed) & WARNED != 0
    }

    /// The most slots there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let rearm = self.0.rearm.load(Ordering::Relaxed);
        let one_less = |state: u64| {
            let used = (state & !WARNED).saturating_sub(1);
            Some(used | if used < rearm { 0 } else { state & WARNED })
        };
        // Never fails: the step always gives a value.
        let _ = self.0.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}

/// The counts at which a warning is due, and below which the next one may be.
fn marks(limit: usize, warn_at: f64) -> (u64, u64) {
    let share = |of: f64| ((limit as f64 * of - 1e-6).ceil() as u64).max(1);
    (share(warn_at), share(warn_at - REARM_BELOW))
}

#[cfg(test)]
mod tests;
