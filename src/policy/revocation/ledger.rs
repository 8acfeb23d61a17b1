//! What one gateway knows of the revocations that it shares with others, and what is to be told to them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::entry::Entry;
use super::shared::{Record, words};
use crate::policy::key::Key;

/// The records of one gateway.
#[derive(Debug)]
pub struct Ledger {
    records: HashMap<Key, Record>,
    /// What was revoked here and did not get through to the store yet.
    unpublished: HashSet<Key>,
    /// Those that were lifted, by when that may be forgotten.
    lifted: BTreeSet<(u64, Key)>,
    /// Half of the most that may be live, and the most that may be lifted.
    capacity: usize,
}

/// What something that was heard changes here.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// This counts now, in these words.
    Revoked(Entry),
    /// This no longer counts.
    Lifted(Entry),
    /// There is no room for it: twice as many as one gateway takes in are known already.
    NoRoom,
}

impl Ledger {
    /// Of a gateway that begins with these entries.
    #[must_use]
    pub fn new(capacity: usize, entries: Vec<Entry>) -> Self {
        let live = |entry: Entry| {
            let created = entry.created;
            (words(&entry), Record::live(entry, created))
        };
        let records = entries.into_iter().map(live).collect();
        Self { records, unpublished: HashSet::new(), lifted: BTreeSet::new(), capacity }
    }

    /// What is known by this name.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Record> {
        self.records.get(&key)
    }

    /// An operator revoked this here: it has yet to be published.
    pub fn said(&mut self, entry: Entry, wall: u64) -> Key {
        let key = words(&entry);
        let record = match self.records.get(&key) {
            Some(known) => known.revoked_again(entry, wall),
            None => Record::live(entry, wall),
        };
        self.put(key, record, wall);
        self.unpublished.insert(key);
        key
    }

    /// Somebody, or the store, says this.
    pub fn hear(&mut self, key: Key, theirs: Record, wall: u64) -> Change {
        let known = self.records.get(&key).cloned();
        let before = known.as_ref().and_then(Record::entry).cloned();
        let joined = match known {
            None if theirs.until() <= wall => return Change::None,
            None => theirs.clone(),
            Some(mine) if self.unpublished.contains(&key) => mine.said_after(&theirs).join(theirs.clone()),
            Some(mine) => mine.join(theirs.clone()),
        };
        if before.is_none() && joined.entry().is_some() && self.live() >= self.capacity.saturating_mul(2) {
            return Change::NoRoom;
        }
        if joined == theirs {
            self.unpublished.remove(&key);
        }
        let after = joined.entry().cloned();
        self.put(key, joined, wall);
        match (before, after) {
            (before, Some(after)) if before.as_ref() != Some(&after) => Change::Revoked(after),
            (Some(before), None) => Change::Lifted(before),
            _ => Change::None,
        }
    }

    /// The store has it as lifted now, in the place of `known`.
    pub fn lift(&mut self, key: Key, known: &Record, lifted: Record, wall: u64) -> Change {
        // It may have been revoked once more meanwhile.
        if self.records.get(&key) == Some(known) {
            self.unpublished.remove(&key);
        }
        self.hear(key, lifted, wall)
    }

    /// The store has this now.
    pub fn published(&mut self, key: Key, record: &Record) {
        // It may have been revoked once more meanwhile.
        if self.records.get(&key) == Some(record) {
            self.unpublished.remove(&key);
        }
    }

    /// What did not get through yet.
    #[must_use]
    pub fn unpublished(&self) -> Vec<Key> {
        self.unpublished.iter().copied().collect()
    }

    /// How many did not get through yet.
    #[must_use]
    pub fn unpublished_count(&self) -> usize {
        self.unpublished.len()
    }

    /// All that the store has to know.
    #[must_use]
    pub fn keys(&self) -> HashSet<Key> {
        self.records.keys().copied().collect()
    }

    /// Forgets what is over.
    pub fn tidy(&mut self, wall: u64) {
        self.records.retain(|_, record| record.until() > wall);
        self.unpublished.retain(|key| self.records.contains_key(key));
        self.lifted.retain(|(until, _)| *until > wall);
    }

    fn live(&self) -> usize {
        self.records.len() - self.lifted.len()
    }

    fn put(&mut self, key: Key, record: Record, wall: u64) {
        let is_lifted = record.entry().is_none();
        let until = record.until();
        if let Some(old) = self.records.insert(key, record)
            && old.entry().is_none()
        {
            self.lifted.remove(&(old.until(), key));
        }
        if is_lifted {
            self.lifted.insert((until, key));
            self.unpublished.remove(&key);
        }
        // The one that may be forgotten soonest is: it is missed only by who was away since, and has it as live.
        while self.lifted.len() > self.capacity || self.lifted.first().is_some_and(|(until, _)| *until <= wall) {
            let Some((_, key)) = self.lifted.pop_first() else { return };
            self.records.remove(&key);
        }
    }
}
