//! How many of a thing are held at once: in all, and by key.
//!
//! nginx's `limit_conn`, with two differences: what is counted is the session and not its handshake, and every key counts
//! whatever its length. A slot is a permit that gives itself back when it is dropped, also while a panic unwinds; nothing
//! else lowers a count.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::key::Key;

/// Set in [`Cap::state`] beside the count, so that one atomic step both counts and warns.
const WARNED: u64 = 1 << 63;

/// How far below the warning the count has to fall before the next warning, as a share of the limit.
const REARM_BELOW: f64 = 0.1;

/// Shards of a keyed cap; workers that admit at the same moment seldom meet in one.
const SHARDS: usize = 16;

/// A limit on one count, that says when it is nearly reached.
#[derive(Debug)]
pub struct Cap {
    limit: u64,
    warn: u64,
    rearm: u64,
    state: AtomicU64,
}

/// One slot of a [`Cap`].
#[derive(Debug)]
#[must_use]
pub struct Permit(Arc<Cap>);

impl Cap {
    /// At most `limit` at once. `warn_at` is the share of it, above 0 and at most 1, at which one warning is due.
    #[must_use]
    pub fn new(limit: usize, warn_at: f64) -> Arc<Self> {
        let share = |of: f64| ((limit as f64 * of - 1e-6).ceil() as u64).max(1);
        let limit = (limit as u64).min(!WARNED);
        Arc::new(Self { limit, warn: share(warn_at), rearm: share(warn_at - REARM_BELOW), state: AtomicU64::new(0) })
    }

    /// A slot, if one is free; and whether a warning is due: the first at `warn_at`, the next only after the count was a
    /// tenth of the limit lower.
    #[must_use]
    pub fn take(self: &Arc<Self>) -> Option<(Permit, bool)> {
        let mut warn = false;
        let one_more = |state: u64| {
            let used = (state & !WARNED) + 1;
            warn = used >= self.warn && state & WARNED == 0;
            (used <= self.limit).then_some(used | if warn { WARNED } else { state & WARNED })
        };
        // Relaxed: the count guards no other memory.
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some((Permit(Arc::clone(self)), warn))
    }

    /// Slots taken now.
    #[must_use]
    pub fn used(&self) -> usize {
        (self.state.load(Ordering::Relaxed) & !WARNED) as usize
    }

    /// The most slots there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit as usize
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let one_less = |state: u64| {
            let used = (state & !WARNED).saturating_sub(1);
            Some(used | if used < self.0.rearm { 0 } else { state & WARNED })
        };
        // Never fails: the step always gives a value.
        let _ = self.0.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}

/// The same limit for each key. It remembers a key only while that holds a slot, so what bounds all sessions together
/// bounds its memory.
#[derive(Debug)]
pub struct KeyedCap {
    limit: usize,
    used: AtomicUsize,
    hasher: RandomState,
    shards: [Mutex<HashMap<Key, usize>>; SHARDS],
}

/// One slot of one key of a [`KeyedCap`].
#[derive(Debug)]
#[must_use]
pub struct KeyedPermit {
    cap: Arc<KeyedCap>,
    key: Key,
}

impl KeyedCap {
    /// At most `limit` at once for each key.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// A slot of this key, if one is free.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: Key) -> Option<KeyedPermit> {
        let mut shard = self.shard(key).lock();
        let held = shard.get(&key).copied().unwrap_or(0);
        if held >= self.limit {
            return None;
        }
        shard.insert(key, held + 1);
        self.used.fetch_add(1, Ordering::Relaxed);
        Some(KeyedPermit { cap: Arc::clone(self), key })
    }

    /// Slots taken now, by all keys.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Keys that hold a slot now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// The most slots that one key may hold.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn shard(&self, key: Key) -> &Mutex<HashMap<Key, usize>> {
        &self.shards[(self.hasher.hash_one(key) % SHARDS as u64) as usize]
    }
}

impl Drop for KeyedPermit {
    fn drop(&mut self) {
        let mut shard = self.cap.shard(self.key).lock();
        match shard.get_mut(&self.key) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(shard.remove(&self.key)),
        }
        self.cap.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
