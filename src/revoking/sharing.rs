//! The list that several gateways share, as this one sees it: what stands in the store is taken in, and what the store does
//! not have, or not any more, is put there. Nothing is overwritten that was not looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::inbox::Inbox;
use super::tell::Teller;
use crate::metrics::RevocationCounts;
use crate::now::Clock;
use crate::policy::key::Key;
use crate::policy::revocation::Revocations;
use crate::policy::revocation::entry::Entry;
use crate::policy::revocation::ledger::{Change, Ledger};
use crate::policy::revocation::shared::{Record, words};
use crate::store::{Redis, Swap, Unavailable};

/// Records in one call: some ten kilobytes of common ones.
const BATCH: usize = 16;

/// How often a record is written again that others change between look and write. They are operators, and not many.
const TRIES: usize = 8;

/// Milliseconds for which what is over stays in the store, for gateways whose clocks are behind.
const GRACE: u64 = 3_600_000;

pub(super) struct Sharing {
    pub(super) redis: Redis,
    pub(super) inbox: Inbox,
    pub(super) counts: Arc<RevocationCounts>,
    revocations: Arc<Revocations>,
    clock: Clock,
    ledger: Mutex<Ledger>,
    teller: Teller,
    revoked: AtomicUsize,
    lifted: AtomicUsize,
}

/// How many changes came from others since this was asked last.
pub(super) struct News {
    pub(super) revoked: usize,
    pub(super) lifted: usize,
}

impl Sharing {
    pub(super) fn new(
        redis: Redis,
        revocations: Arc<Revocations>,
        clock: Clock,
        counts: Arc<RevocationCounts>,
    ) -> Self {
        let (_, entries) = revocations.state(clock.now().wall);
        let ledger = Mutex::new(Ledger::new(revocations.capacity(), entries));
        let (revoked, lifted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (inbox, teller) = (Inbox::default(), Teller::default());
        Self { redis, inbox, counts, revocations, clock, ledger, teller, revoked, lifted }
    }

    /// An operator revoked this here.
    pub(super) fn said(&self, entry: Entry) -> Key {
        let mut ledger = self.ledger.lock();
        let key = ledger.said(entry, self.clock.now().wall);
        self.counts.unpublished(ledger.unpublished_count());
        key
    }

    /// What counts under this name.
    pub(super) fn entry(&self, key: Key) -> Option<Entry> {
        self.ledger.lock().get(key).and_then(Record::entry).cloned()
    }

    pub(super) fn news(&self) -> News {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        News { revoked: take(&self.revoked), lifted: take(&self.lifted) }
    }

    /// Whether the list of the store was seen since the start.
    pub(super) fn was_loaded(&self) -> bool {
        self.counts.loaded_at() > 0
    }

    /// Takes in what somebody says, and gives it back, if it is a record at all.
    pub(super) fn take(&self, field: &[u8], value: &[u8]) -> Option<(Key, Record)> {
        let Some((key, theirs)) = Record::read(field, value) else {
            self.counts.broken();
            self.teller.broken();
            return None;
        };
        let mut ledger = self.ledger.lock();
        match ledger.hear(key, theirs.clone(), self.clock.now().wall) {
            Change::None => {}
            Change::Revoked(entry) => {
                self.revocations.adopt(entry);
                self.revoked.fetch_add(1, Ordering::Relaxed);
            }
            Change::Lifted(entry) => {
                self.revocations.forget(&entry);
                self.lifted.fetch_add(1, Ordering::Relaxed);
            }
            Change::NoRoom => self.teller.no_room(self.revocations.capacity()),
        }
        self.counts.unpublished(ledger.unpublished_count());
        Some((key, theirs))
    }

    /// Takes in all that stands in the store, and puts there what does not.
    pub(super) async fn load(&self) -> Result<(), Unavailable> {
        // What one gateway can know, and as much again that is over, or broken.
        let most = self.revocations.capacity().saturating_mul(6).saturating_add(BATCH);
        let mut ours = self.ledger.lock().keys();
        let (mut cursor, mut read) = (b"0".to_vec(), 0);
        loop {
            let page = self.redis.page(&cursor).await?;
            let mut over = Vec::new();
            read += page.records.len().max(1);
            for (field, value) in page.records {
                let Some((key, theirs)) = self.take(&field, &value) else { continue };
                if self.ledger.lock().get(key).is_none_or(|mine| *mine == theirs) {
                    ours.remove(&key);
                }
                if theirs.until().saturating_add(GRACE) <= self.clock.now().wall {
                    over.push(Swap { field: key.to_hex(), old: value, new: String::new() });
                }
            }
            if !over.is_empty() {
                self.redis.swap(&over).await?;
            }
            match page.next {
                Some(_) if read >= most => {
                    self.teller.no_room(self.revocations.capacity());
                    break;
                }
                Some(next) => cursor = next,
                None => break,
            }
        }
        self.push(&ours.into_iter().collect::<Vec<_>>()).await
    }

    /// Puts there what did not get through yet.
    pub(super) async fn push_unpublished(&self) -> Result<(), Unavailable> {
        let late = self.ledger.lock().unpublished();
        self.push(&late).await
    }

    /// Forgets what is over.
    pub(super) fn tidy(&self) {
        let mut ledger = self.ledger.lock();
        ledger.tidy(self.clock.now().wall);
        self.counts.unpublished(ledger.unpublished_count());
    }

    /// Has the store know what is known here of these, and takes in what it knows of them.
    pub(super) async fn push(&self, keys: &[Key]) -> Result<(), Unavailable> {
        for batch in keys.chunks(BATCH) {
            let mut left = batch.to_vec();
            for _ in 0..TRIES {
                left = self.push_once(&left).await?;
                if left.is_empty() {
                    break;
                }
            }
            if !left.is_empty() {
                return Err(Unavailable::Busy);
            }
        }
        Ok(())
    }

    /// Those that somebody else changed meanwhile.
    async fn push_once(&self, keys: &[Key]) -> Result<Vec<Key>, Unavailable> {
        let fields: Vec<String> = keys.iter().map(|key| key.to_hex()).collect();
        let stored = self.redis.look(&fields).await?;
        let (mut swaps, mut records) = (Vec::new(), Vec::new());
        for ((key, field), old) in keys.iter().zip(fields).zip(stored) {
            let theirs = if old.is_empty() { None } else { self.take(field.as_bytes(), &old) };
            let mut ledger = self.ledger.lock();
            let Some(mine) = ledger.get(*key).cloned() else { continue };
            if theirs.is_some_and(|(_, theirs)| theirs == mine) {
                ledger.published(*key, &mine);
            } else if mine.until() > self.clock.now().wall {
                swaps.push(Swap { field, old, new: mine.to_json() });
                records.push((*key, mine));
            }
        }
        let done = if swaps.is_empty() { Vec::new() } else { self.redis.swap(&swaps).await? };
        let mut ledger = self.ledger.lock();
        let mut left = Vec::new();
        for ((key, record), done) in records.iter().zip(done) {
            if done {
                ledger.published(*key, record);
            } else {
                left.push(*key);
            }
        }
        self.counts.unpublished(ledger.unpublished_count());
        Ok(left)
    }

    /// Lifts an entry in the store, and with it everywhere.
    pub(super) async fn lift(&self, entry: &Entry) -> Result<(), Unavailable> {
        let key = words(entry);
        let field = key.to_hex();
        for _ in 0..TRIES {
            let old = self.redis.look(std::slice::from_ref(&field)).await?.pop().unwrap_or_default();
            if !old.is_empty() {
                self.take(field.as_bytes(), &old);
            }
            let known = self.ledger.lock().get(key).cloned();
            // Others were faster, or it is over.
            let Some(known) = known.filter(|known| known.entry().is_some()) else { return Ok(()) };
            let lifted = known.lifted(self.clock.now().wall);
            let swap = Swap { field: field.clone(), old, new: lifted.to_json() };
            if self.redis.swap(&[swap]).await? == [true] {
                let mut ledger = self.ledger.lock();
                if let Change::Lifted(entry) = ledger.lift(key, &known, lifted, self.clock.now().wall) {
                    self.revocations.forget(&entry);
                }
                self.counts.unpublished(ledger.unpublished_count());
                return Ok(());
            }
        }
        Err(Unavailable::Busy)
    }

    pub(super) fn teller(&self) -> &Teller {
        &self.teller
    }
}
