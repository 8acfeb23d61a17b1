//! Buckets by key, shared by all workers: a fixed number of them, so that a flood of fresh keys costs no memory.
//!
//! A drained bucket equals an absent one, so only drained ones make room. A live one is never dropped: nginx does that
//! under pressure, and a flood then erases what its sender owes. A zone without room refuses instead, and counts it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashlink::LinkedHashMap;
use parking_lot::{Mutex, MutexGuard};

use super::bucket::{Bucket, Limit, Verdict};
use super::key::Key;
use crate::config::value::Rate;

/// Fewer entries than this make no shard of their own: the fill of small shards scatters, and one is full long before
/// the zone is.
const ENTRIES_PER_SHARD: usize = 1024;
const MAX_SHARDS: usize = 64;

/// How many of the oldest entries a new key may look at: two as nginx does, and more where there is no room.
const LOOK: usize = 2;
const LOOK_WHEN_FULL: usize = 8;

/// From the least to the most recently charged, but for live ones that a search for room put to the back.
type Shard = LinkedHashMap<Key, Bucket, RandomState>;

/// A named rate and its buckets.
#[derive(Debug)]
pub struct Zone {
    name: Box<str>,
    rate: Rate,
    entries: usize,
    table: Arc<Table>,
}

/// What outlives a change of rate or size.
#[derive(Debug)]
struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    full: AtomicU64,
}

/// One limit that a handshake must satisfy.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'a> {
    /// Where it is counted.
    pub zone: &'a Zone,
    /// Whose it is.
    pub key: Key,
    /// As [`Limit::burst`].
    pub burst: u64,
    /// As [`Limit::delay`].
    pub delay: u64,
    /// Units that it costs.
    pub cost: u64,
    /// It is judged and counted, and never refuses nor waits.
    pub dry_run: bool,
}

/// What several limits together say to one handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Milliseconds to wait before going on, 0 for none, and all limits are charged; or none is.
    pub answer: Result<u64, Refusal>,
    /// What limits in dry run would have done, as far as they were looked at.
    pub dry_runs: Vec<DryRun>,
    /// Which limits make it wait, by their places among the hits.
    pub delayed: Vec<usize>,
}

/// The first limit that does not let a handshake in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its place among the hits.
    pub index: usize,
    /// Milliseconds after which it is worth trying again, at least 1.
    pub retry_ms: u64,
    /// The key is new and the zone has no room for it.
    pub zone_full: bool,
}

/// What a limit in dry run would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// It would have refused. It was not charged.
    Refused(Refusal),
    /// It would have waited. It was charged.
    Delayed {
        /// Its place among the hits.
        index: usize,
        /// For how many milliseconds.
        wait_ms: u64,
    },
}

impl Zone {
    /// An empty zone that holds `entries` buckets, at least one.
    #[must_use]
    pub fn new(name: &str, rate: Rate, entries: usize) -> Self {
        let shards = (entries / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        let table = Table {
            shards: (0..shards).map(|_| Mutex::new(Shard::with_hasher(RandomState::new()))).collect(),
            hasher: RandomState::new(),
            full: AtomicU64::new(0),
        };
        Self { name: name.into(), rate, entries: entries.max(1), table: Arc::new(table) }
    }

    /// The same buckets under another rate and size, for a reload. What is owed stays owed; one that became smaller
    /// takes no new key until enough are drained.
    #[must_use]
    pub fn changed(&self, rate: Rate, entries: usize) -> Self {
        Self { name: self.name.clone(), rate, entries: entries.max(1), table: Arc::clone(&self.table) }
    }

    /// Its name in the config.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What drains.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Buckets held now, drained ones among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most buckets it holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries
    }

    /// How often a new key found no room, since the zone was made.
    #[must_use]
    pub fn full_count(&self) -> u64 {
        self.table.full.load(Ordering::Relaxed)
    }

    /// The shard of a key, and how many buckets it may hold. Where `entries` is no multiple, the first shards hold one more.
    fn place(&self, key: Key) -> (&Mutex<Shard>, usize) {
        let shards = &self.table.shards;
        let index = (self.table.hasher.hash_one(key) % shards.len() as u64) as usize;
        (&shards[index], self.entries / shards.len() + usize::from(index < self.entries % shards.len()))
    }
}

/// Judges one handshake by several limits, in their order. The first that refuses ends it and nothing is charged;
/// otherwise all are charged, and the longest wait counts. Other workers see all of it or nothing.
pub fn admit(hits: &[Hit<'_>], now_ms: u64) -> Outcome {
    let mut shards = Locked::of(hits);
    let mut longest = 0;
    let (mut dry_runs, mut delayed) = (Vec::new(), Vec::new());
    for (index, hit) in hits.iter().enumerate() {
        match shards.judge(index, hit, now_ms) {
            Ok(0) => {}
            Ok(wait_ms) if !hit.dry_run => {
                longest = longest.max(wait_ms);
                delayed.push(index);
            }
            Ok(wait_ms) => dry_runs.push(DryRun::Delayed { index, wait_ms }),
            Err(refusal) if hit.dry_run => dry_runs.push(DryRun::Refused(refusal)),
            Err(refusal) => return Outcome { answer: Err(refusal), dry_runs, delayed: Vec::new() },
        }
    }
    shards.charge();
    Outcome { answer: Ok(longest), dry_runs, delayed }
}

/// All shards that one handshake needs, held at once, and what it will be charged.
struct Locked<'a> {
    shards: Vec<(usize, MutexGuard<'a, Shard>)>,
    charges: Vec<Charge>,
}

struct Charge {
    shard: usize,
    key: Key,
    bucket: Bucket,
}

impl<'a> Locked<'a> {
    /// Locks in the order of the addresses, each shard once, so that no two handshakes wait for each other.
    fn of(hits: &[Hit<'a>]) -> Self {
        let mut mutexes: Vec<&Mutex<Shard>> = hits.iter().map(|hit| hit.zone.place(hit.key).0).collect();
        mutexes.sort_unstable_by_key(|mutex| address(mutex));
        mutexes.dedup_by_key(|mutex| address(mutex));
        let shards = mutexes.into_iter().map(|mutex| (address(mutex), mutex.lock())).collect();
        Self { shards, charges: Vec::with_capacity(hits.len()) }
    }

    /// The wait, and the charge is noted; or the refusal.
    fn judge(&mut self, index: usize, hit: &Hit<'_>, now_ms: u64) -> Result<u64, Refusal> {
        let (mutex, capacity) = hit.zone.place(hit.key);
        let shard = self.shards.partition_point(|(at, _)| *at < address(mutex));
        // Two limits may count the same key in one zone: the second one then counts on top of the first.
        let noted = self.charges.iter().position(|charge| charge.shard == shard && charge.key == hit.key);
        let known = match noted {
            Some(at) => Some(self.charges[at].bucket),
            None => self.shards[shard].1.get(&hit.key).copied(),
        };
        let rate = hit.zone.rate;
        let (verdict, bucket) = match known {
            Some(known) => known.judge(&Limit { rate, burst: hit.burst, delay: hit.delay }, hit.cost, now_ms),
            None if self.has_room(shard, capacity, rate, now_ms) => (Verdict::Pass, Bucket::new(now_ms)),
            None => {
                hit.zone.table.full.fetch_add(1, Ordering::Relaxed);
                // Nobody knows which key will go first; one hit's worth of time is the least that any takes.
                let retry_ms = Bucket::new(now_ms).ms_until_let_in(rate, 0, Rate::ONE);
                return Err(Refusal { index, retry_ms, zone_full: true });
            }
        };
        let wait_ms = match verdict {
            Verdict::Pass => 0,
            Verdict::Wait(ms) => ms,
            Verdict::Reject { retry_ms } => return Err(Refusal { index, retry_ms, zone_full: false }),
        };
        match noted {
            Some(at) => self.charges[at].bucket = bucket,
            None => self.charges.push(Charge { shard, key: hit.key, bucket }),
        }
        Ok(wait_ms)
    }

    /// Whether a new key may be added, after dropping what is drained among the oldest few.
    fn has_room(&mut self, shard: usize, capacity: usize, rate: Rate, now_ms: u64) -> bool {
        let buckets = &mut self.shards[shard].1;
        let look = if buckets.len() < capacity { LOOK } else { LOOK_WHEN_FULL };
        for _ in 0..look.min(buckets.len()) {
            let Some(mut oldest) = buckets.front_entry() else { break };
            if oldest.get().is_drained(rate, Rate::ONE, now_ms) {
                oldest.remove();
            } else {
                // Out of the way: a few that owe for hours must not hide the drained ones behind them.
                oldest.to_back();
            }
        }
        let to_come = self.charges.iter().filter(|c| c.shard == shard && !buckets.contains_key(&c.key)).count();
        buckets.len() + to_come < capacity
    }

    fn charge(mut self) {
        for Charge { shard, key, bucket } in self.charges {
            self.shards[shard].1.insert(key, bucket);
        }
    }
}

/// What tells a shard from all others, of any zone.
fn address(shard: &Mutex<Shard>) -> usize {
    std::ptr::from_ref(shard).addr()
}

#[cfg(test)]
mod tests;
