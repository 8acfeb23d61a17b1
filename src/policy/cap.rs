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
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::thread;

    fn client(n: u32) -> Key {
        Key::of_ip(std::net::Ipv4Addr::from_bits(n).into())
    }

    /// Takes until `count` are held; tells at which counts a warning was due.
    fn fill(cap: &Arc<Cap>, held: &mut Vec<Permit>, count: usize) -> Vec<usize> {
        let mut warned_at = Vec::new();
        while held.len() < count {
            let (permit, warn) = cap.take().unwrap();
            held.push(permit);
            if warn {
                warned_at.push(held.len());
            }
        }
        warned_at
    }

    #[test]
    fn a_cap_gives_as_many_slots_as_it_has_and_takes_them_back() {
        let cap = Cap::new(3, 1.0);
        let mut held = Vec::new();
        fill(&cap, &mut held, 3);
        assert!(cap.take().is_none());
        assert_eq!((cap.used(), cap.limit()), (3, 3));
        held.pop();
        assert_eq!(cap.used(), 2);
        fill(&cap, &mut held, 3);
        drop(held);
        assert_eq!(cap.used(), 0);
    }

    #[test]
    fn a_cap_warns_once_and_again_only_after_it_fell_by_a_tenth() {
        let cap = Cap::new(100, 0.9);
        let mut held = Vec::new();
        assert_eq!(fill(&cap, &mut held, 100), [90]);
        held.truncate(80);
        assert_eq!(fill(&cap, &mut held, 95), [0; 0], "80 is not under 80");
        held.truncate(79);
        assert_eq!(fill(&cap, &mut held, 100), [90]);
    }

    #[test]
    fn a_refused_take_neither_warns_nor_forgets_the_warning() {
        let cap = Cap::new(10, 1.0);
        let mut held = Vec::new();
        assert_eq!(fill(&cap, &mut held, 10), [10]);
        assert!(cap.take().is_none());
        held.truncate(9);
        assert_eq!(fill(&cap, &mut held, 10), [0; 0]);
    }

    #[test]
    fn the_warning_is_due_at_the_first_count_that_reaches_the_share() {
        let cases =
            [(1, 0.9, 1), (5, 0.9, 5), (10, 0.9, 9), (10, 0.7, 7), (100, 0.55, 55), (1000, 0.001, 1), (7, 1.0, 7)];
        for (limit, warn_at, first) in cases {
            let warned_at = fill(&Cap::new(limit, warn_at), &mut Vec::new(), limit);
            assert_eq!(warned_at, [first], "{warn_at} of {limit}");
        }
    }

    #[test]
    fn a_cap_whose_warning_is_lower_than_a_tenth_warns_again_after_zero() {
        let cap = Cap::new(100, 0.05);
        let mut held = Vec::new();
        assert_eq!(fill(&cap, &mut held, 100), [5]);
        held.truncate(1);
        assert_eq!(fill(&cap, &mut held, 100), [0; 0]);
        held.clear();
        assert_eq!(fill(&cap, &mut held, 100), [5]);
    }

    #[test]
    fn a_cap_of_zero_gives_nothing() {
        assert!(Cap::new(0, 0.9).take().is_none());
        let keyed = KeyedCap::new(0);
        assert!(keyed.take(client(1)).is_none());
        assert_eq!(keyed.keys(), 0);
    }

    #[test]
    fn each_key_has_slots_of_its_own_and_is_forgotten_with_the_last() {
        let cap = KeyedCap::new(2);
        let first = (cap.take(client(1)).unwrap(), cap.take(client(1)).unwrap());
        assert!(cap.take(client(1)).is_none());
        let other = cap.take(client(2)).unwrap();
        assert_eq!((cap.used(), cap.keys(), cap.limit()), (3, 2, 2));
        drop(first.0);
        assert_eq!((cap.used(), cap.keys()), (2, 2));
        drop((first.1, other));
        assert_eq!((cap.used(), cap.keys()), (0, 0));
    }

    #[test]
    fn a_panic_gives_the_slots_back() {
        let (cap, keyed) = (Cap::new(1, 0.9), KeyedCap::new(1));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = (cap.take().unwrap(), keyed.take(client(1)).unwrap());
            assert_eq!((cap.used(), keyed.used()), (1, 1));
            std::panic::resume_unwind(Box::new("a session that panics"));
        }));
        assert!(panicked.is_err());
        assert_eq!((cap.used(), keyed.used(), keyed.keys()), (0, 0, 0));
        assert!(cap.take().is_some() && keyed.take(client(1)).is_some());
    }

    #[test]
    fn a_permit_is_one_word_and_a_keyed_one_three() {
        assert_eq!((size_of::<Permit>(), size_of::<KeyedPermit>()), (8, 24));
        assert_eq!(size_of::<Option<KeyedPermit>>(), 24);
    }

    #[test]
    fn threads_that_storm_a_cap_get_exactly_its_slots_and_one_warning() {
        for _ in 0..50 {
            let cap = Cap::new(100, 0.9);
            let start = Barrier::new(8);
            let storm = || {
                start.wait();
                (0..50).filter_map(|_| cap.take()).collect::<Vec<_>>()
            };
            let taken: Vec<_> = thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(storm)).collect();
                threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
            });
            assert_eq!((taken.len(), cap.used()), (100, 100));
            assert_eq!(taken.iter().filter(|(_, warn)| *warn).count(), 1);
            drop(taken);
            assert_eq!(cap.used(), 0);
        }
    }

    #[test]
    fn threads_that_come_and_go_never_exceed_a_cap_and_leave_zero() {
        let (cap, keyed) = (Cap::new(5, 0.9), KeyedCap::new(2));
        let start = Barrier::new(8);
        let come_and_go = |n: u32| {
            start.wait();
            for round in 0..5000 {
                let held = (cap.take(), keyed.take(client((n + round) % 3)));
                assert!(cap.used() <= 5 && keyed.used() <= 6 && keyed.keys() <= 3);
                drop(held);
            }
        };
        thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || come_and_go(n));
            }
        });
        assert_eq!((cap.used(), keyed.used(), keyed.keys()), (0, 0, 0));
    }

    #[test]
    fn threads_that_storm_one_key_get_exactly_its_slots() {
        let cap = KeyedCap::new(20);
        let start = Barrier::new(8);
        let storm = || {
            start.wait();
            (0..50).filter_map(|_| cap.take(client(7))).collect::<Vec<_>>()
        };
        let taken: Vec<KeyedPermit> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(storm)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!((taken.len(), cap.used(), cap.keys()), (20, 20, 1));
        drop(taken);
        assert_eq!((cap.used(), cap.keys()), (0, 0));
    }
}
