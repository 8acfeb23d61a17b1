//! Buckets by key, shared by all workers: a fixed number of them, so that a flood of fresh keys costs no memory.
//!
//! A drained bucket equals an absent one, so only drained ones make room. A live one is never dropped: nginx does that
//! under pressure, and a flood then erases what its sender owes. A zone without room refuses instead, and counts it.
//!
//! A handshake charges its keys here ([`admit`]); a session that is charged message by message holds the accounts of its
//! keys ([`Zone::hold`]). Both may be the same key's.

mod refund;
pub mod table;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};

use super::account::{Account, Hold};
use super::bucket::{Bucket, Limit, Verdict};
use super::key::Key;
use crate::config::value::Rate;
pub use refund::Refund;
use table::{Shard, Table};

/// A named rate and its buckets.
#[derive(Debug)]
pub struct Zone {
    name: Box<str>,
    rate: Rate,
    entries: usize,
    table: Arc<Table>,
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
        let table = Table::new(entries);
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
        self.table.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Accounts that live sessions hold.
    #[must_use]
    pub fn held(&self) -> usize {
        self.table.held()
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

    /// Says that hits of this cost are to be expected: so much has to be drained before a key may be forgotten.
    pub fn expect(&self, cost: u64) {
        self.table.expect(cost);
    }

    /// A session's hold on the account of its key. None: the key is new and there is no room for it.
    #[must_use]
    pub fn hold(&self, key: Key, now_ms: u64) -> Option<Hold> {
        let (shard, capacity) = self.place(key);
        let mut shard = shard.lock();
        if !shard.knows(key) {
            shard.drop_drained(capacity, self.rate, self.table.largest(), now_ms);
            if shard.len() >= capacity {
                self.table.full.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
        Some(Hold::of_zone(shard.hold(key), Arc::clone(&self.table), key))
    }

    /// What a key owes.
    #[must_use]
    pub fn owed(&self, key: Key) -> Option<Bucket> {
        self.place(key).0.lock().owed(key)
    }

    /// A key owes so much, which was counted elsewhere, or what it owes here if that is more. Forgotten where there is no
    /// room for it.
    pub fn owe(&self, key: Key, owed: Bucket) {
        let (shard, capacity) = self.place(key);
        let mut shard = shard.lock();
        if !shard.knows(key) {
            shard.drop_drained(capacity, self.rate, self.table.largest(), owed.last());
            if shard.len() >= capacity {
                self.table.full.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        shard.owe(key, owed, self.rate);
    }

    fn place(&self, key: Key) -> (&Mutex<Shard>, usize) {
        self.table.place(key, self.entries)
    }
}

/// Judges one handshake by several limits, in their order. The first that refuses ends it and nothing is charged;
/// otherwise all are charged, and the longest wait counts. Other workers see all of it or nothing.
pub fn admit(hits: &[Hit<'_>], now_ms: u64) -> Outcome {
    settle(hits, now_ms, |_, _| {})
}

/// The same where others are still to be asked, who may refuse: then what was charged here is given back.
pub fn admit_for_now<'a>(hits: &[Hit<'a>], now_ms: u64) -> (Outcome, Refund<'a>) {
    let mut refund = Refund::default();
    let outcome = settle(hits, now_ms, |charge, before| refund.add(charge, before));
    (outcome, refund)
}

/// Locks, judges, and charges if nobody refuses; `charged` is told of each account what it was before.
fn settle<'a>(hits: &[Hit<'a>], now_ms: u64, charged: impl FnMut(Charge<'a>, Option<Bucket>)) -> Outcome {
    let shards = lock_shards(hits);
    let held = shared_accounts(&shards, hits);
    let accounts = held.iter().map(|account| (account.address(), account.lock())).collect();
    let mut locked = Locked { shards, accounts, charges: Vec::with_capacity(hits.len()) };
    let outcome = locked.judge_all(hits, now_ms);
    if outcome.answer.is_ok() {
        locked.charge(charged);
    }
    outcome
}

/// Shards that one handshake needs, each with its address, in the order of these.
type Shards<'a> = Vec<(usize, MutexGuard<'a, Shard>)>;

/// Locks in the order of the addresses, each shard once, so that no two handshakes wait for each other.
fn lock_shards<'a>(hits: &[Hit<'a>]) -> Shards<'a> {
    let mut mutexes: Vec<&Mutex<Shard>> = hits.iter().map(|hit| hit.zone.place(hit.key).0).collect();
    mutexes.sort_unstable_by_key(|mutex| address(mutex));
    mutexes.dedup_by_key(|mutex| address(mutex));
    mutexes.into_iter().map(|mutex| (address(mutex), mutex.lock())).collect()
}

/// Which of the shards a hit needs.
fn shard_of(shards: &Shards<'_>, hit: &Hit<'_>) -> usize {
    let (mutex, _) = hit.zone.place(hit.key);
    shards.partition_point(|(at, _)| *at < address(mutex))
}

/// The accounts that sessions share among those that are hit, each once, in the order of their addresses.
fn shared_accounts(shards: &Shards<'_>, hits: &[Hit<'_>]) -> Vec<Arc<Account>> {
    let account = |hit: &Hit<'_>| shards[shard_of(shards, hit)].1.account(hit.key).cloned();
    let mut accounts: Vec<_> = hits.iter().filter_map(account).collect();
    accounts.sort_unstable_by_key(|account| account.address());
    accounts.dedup_by_key(|account| account.address());
    accounts
}

/// All that one handshake needs, held at once, and what it will be charged. Accounts are locked behind shards, each of both
/// in the order of the addresses.
struct Locked<'h, 'b, 'a> {
    shards: Shards<'h>,
    accounts: Vec<(usize, MutexGuard<'b, Option<Bucket>>)>,
    charges: Vec<Charge<'a>>,
}

struct Charge<'a> {
    zone: &'a Zone,
    shard: usize,
    key: Key,
    bucket: Bucket,
    /// Units, of all hits of this account together.
    cost: u64,
}

impl<'a> Locked<'_, '_, 'a> {
    /// Where the account of a key stands among the locked ones.
    fn held(&self, shard: usize, key: Key) -> Option<usize> {
        let address = self.shards[shard].1.account(key)?.address();
        self.accounts.iter().position(|(at, _)| *at == address)
    }

    /// What all of them say together; what they charge is noted.
    fn judge_all(&mut self, hits: &[Hit<'a>], now_ms: u64) -> Outcome {
        let mut longest = 0;
        let (mut dry_runs, mut delayed) = (Vec::new(), Vec::new());
        for (index, hit) in hits.iter().enumerate() {
            match self.judge(index, hit, now_ms) {
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
        Outcome { answer: Ok(longest), dry_runs, delayed }
    }

    /// The wait, and the charge is noted; or the refusal.
    fn judge(&mut self, index: usize, hit: &Hit<'a>, now_ms: u64) -> Result<u64, Refusal> {
        let (_, capacity) = hit.zone.place(hit.key);
        let shard = shard_of(&self.shards, hit);
        // Two limits may count the same key in one zone: the second one then counts on top of the first.
        let noted = self.charges.iter().position(|charge| charge.shard == shard && charge.key == hit.key);
        let held = self.held(shard, hit.key);
        let known = match (noted, held) {
            (Some(at), _) => Some(self.charges[at].bucket),
            (None, Some(at)) => *self.accounts[at].1,
            (None, None) => self.shards[shard].1.buckets.get(&hit.key).copied(),
        };
        let rate = hit.zone.rate;
        let (verdict, bucket) = match known {
            Some(known) => known.judge(&Limit { rate, burst: hit.burst, delay: hit.delay }, hit.cost, now_ms),
            None if held.is_some() || self.has_room(shard, capacity, hit.zone, now_ms) => {
                (Verdict::Pass, Bucket::new(now_ms))
            }
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
            Some(at) => {
                self.charges[at].bucket = bucket;
                self.charges[at].cost += hit.cost;
            }
            None => self.charges.push(Charge { zone: hit.zone, shard, key: hit.key, bucket, cost: hit.cost }),
        }
        Ok(wait_ms)
    }

    /// Whether a new key may be added.
    fn has_room(&mut self, shard: usize, capacity: usize, zone: &Zone, now_ms: u64) -> bool {
        let entries = &mut self.shards[shard].1;
        entries.drop_drained(capacity, zone.rate, zone.table.largest(), now_ms);
        let to_come = self.charges.iter().filter(|c| c.shard == shard && !entries.knows(c.key)).count();
        entries.len() + to_come < capacity
    }

    fn charge(mut self, mut charged: impl FnMut(Charge<'a>, Option<Bucket>)) {
        for charge in std::mem::take(&mut self.charges) {
            let before = match self.held(charge.shard, charge.key) {
                Some(at) => self.accounts[at].1.replace(charge.bucket),
                None => self.shards[charge.shard].1.buckets.insert(charge.key, charge.bucket),
            };
            charged(charge, before);
        }
    }
}

/// What tells a shard from all others, of any zone.
fn address(shard: &Mutex<Shard>) -> usize {
    std::ptr::from_ref(shard).addr()
}

#[cfg(test)]
mod tests;
