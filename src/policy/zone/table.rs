//! A zone's entries: a bucket for each key that owes something, and an account for each that live sessions share.
//!
//! The two stand apart, so that a search for room among the oldest buckets never meets an account in use: that one is not
//! for it to drop, however little it owes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashlink::LinkedHashMap;
use parking_lot::Mutex;

use crate::config::value::Rate;
use crate::policy::account::Account;
use crate::policy::bucket::Bucket;
use crate::policy::key::Key;

/// Fewer entries than this make no shard of their own: the fill of small shards scatters, and one is full long before
/// the zone is.
const ENTRIES_PER_SHARD: usize = 1024;
const MAX_SHARDS: usize = 64;

/// How many of the oldest buckets a new key may look at: two as nginx does, and more where there is no room.
const LOOK: usize = 2;
pub(super) const LOOK_WHEN_FULL: usize = 8;

/// What outlives a change of rate or size.
#[derive(Debug)]
pub struct Table {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    pub(super) full: AtomicU64,
    /// The largest cost of a hit that is to be expected.
    largest: AtomicU64,
}

/// The entries of some of the keys.
#[derive(Debug)]
pub(super) struct Shard {
    /// From the least to the most recently charged, but for live ones that a search for room put to the back.
    pub(super) buckets: LinkedHashMap<Key, Bucket, RandomState>,
    held: HashMap<Key, Held>,
}

#[derive(Debug)]
struct Held {
    account: Arc<Account>,
    /// Never 0.
    holders: usize,
}

impl Table {
    pub(super) fn new(entries: usize) -> Self {
        let shards = (entries / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: RandomState::new(),
            full: AtomicU64::new(0),
            largest: AtomicU64::new(Rate::ONE),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    pub(super) fn held(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().held.len()).sum()
    }

    /// The shard of a key, and how many of a zone's entries it may hold. Where they are no multiple of the shards, the
    /// first ones hold one more.
    pub(super) fn place(&self, key: Key, entries: usize) -> (&Mutex<Shard>, usize) {
        let shards = &self.shards;
        let index = (self.hasher.hash_one(key) % shards.len() as u64) as usize;
        (&shards[index], entries / shards.len() + usize::from(index < entries % shards.len()))
    }

    #[cfg(test)]
    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    pub(super) fn expect(&self, cost: u64) {
        self.largest.fetch_max(cost, Ordering::Relaxed);
    }

    /// Units that the next hit may cost: a bucket is as good as none only if that is drained too.
    pub(super) fn largest(&self) -> u64 {
        self.largest.load(Ordering::Relaxed)
    }

    /// One holder less of a key's account.
    pub(in crate::policy) fn release(&self, key: Key) {
        self.place(key, 0).0.lock().release(key);
    }
}

impl Shard {
    fn new() -> Self {
        Self { buckets: LinkedHashMap::with_hasher(RandomState::new()), held: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.len() + self.held.len()
    }

    pub(super) fn knows(&self, key: Key) -> bool {
        self.buckets.contains_key(&key) || self.held.contains_key(&key)
    }

    /// The account of a key, if live sessions share it.
    pub(super) fn account(&self, key: Key) -> Option<&Arc<Account>> {
        self.held.get(&key).map(|held| &held.account)
    }

    /// Drops what is drained among the oldest few, so that there may be room. Drained is what can be forgotten without
    /// changing a verdict on hits of this cost.
    pub(super) fn drop_drained(&mut self, capacity: usize, rate: Rate, cost: u64, now_ms: u64) {
        let look = if self.len() < capacity { LOOK } else { LOOK_WHEN_FULL };
        for _ in 0..look.min(self.buckets.len()) {
            let Some(mut oldest) = self.buckets.front_entry() else { break };
            if oldest.get().is_drained(rate, cost, now_ms) {
                oldest.remove();
            } else {
                // Out of the way: a few that owe for hours must not hide the drained ones behind them.
                oldest.to_back();
            }
        }
    }

    /// What a key owes.
    pub(super) fn owed(&self, key: Key) -> Option<Bucket> {
        match self.held.get(&key) {
            Some(held) => *held.account.lock(),
            None => self.buckets.get(&key).copied(),
        }
    }

    /// A key owes so much at least. The caller has seen to the room.
    pub(super) fn owe(&mut self, key: Key, owed: Bucket, rate: Rate) {
        let most = self.owed(key).map_or(owed, |here| here.or_more(owed, rate));
        match self.held.get(&key) {
            Some(held) => *held.account.lock() = Some(most),
            None => drop(self.buckets.insert(key, most)),
        }
    }

    /// What a key owes becomes this, if it owes anything. In its place: nothing is charged just now.
    pub(super) fn correct(&mut self, key: Key, correct: impl FnOnce(Bucket) -> Option<Bucket>) {
        if let Some(held) = self.held.get(&key) {
            let mut owed = held.account.lock();
            *owed = owed.and_then(correct);
        } else if let Some(bucket) = self.buckets.get_mut(&key) {
            match correct(*bucket) {
                Some(corrected) => *bucket = corrected,
                None => drop(self.buckets.remove(&key)),
            }
        }
    }

    /// One holder more of a key's account, which takes over what the key owes. The caller has seen to the room.
    pub(super) fn hold(&mut self, key: Key) -> Arc<Account> {
        let buckets = &mut self.buckets;
        let fresh = || Held { account: Arc::new(Account::new(buckets.remove(&key))), holders: 0 };
        let held = self.held.entry(key).or_insert_with(fresh);
        held.holders += 1;
        held.account.clone()
    }

    fn release(&mut self, key: Key) {
        let Some(held) = self.held.get_mut(&key) else { return };
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        let owed = *held.account.lock();
        self.held.remove(&key);
        if let Some(bucket) = owed {
            self.buckets.insert(key, bucket);
        }
    }
}
