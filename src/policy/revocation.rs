//! Tokens that ended before their time: by their `jti`, by their subject, or by a claim that the operator named.
//!
//! Each revocation has an end of its own, for a token is dangerous only as long as it lives. The list is bounded and never
//! forgets one to make room for another. A handshake costs a look-up for each of its marks, however long the list is.

pub mod entry;
pub mod ledger;
pub mod mark;
pub mod record;
pub mod shared;
pub mod wanted;

use std::collections::{BTreeMap, HashMap, hash_map};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::RwLock;

use super::claims::Claims;
use super::key::Key;
use entry::{Entry, Id, What};
use mark::{Bearer, Marker, Marks, TooMany};
use wanted::{Terms, Wanted};

/// The most that `[revocation] entries` may be: some hundred MB of the longest.
pub const MAX_ENTRIES: usize = 100_000;

/// What `[revocation]` says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Revocations at once.
    pub entries: usize,
    /// Milliseconds for which one counts whose request names no end.
    pub ttl: u64,
    /// Claims by which tokens may be revoked, besides `jti`, `sub` and `sid`.
    pub claims: Vec<String>,
    /// The names of all `[jwt.NAME]`, to which a revocation may be limited.
    pub issuers: Vec<String>,
}

/// The list.
#[derive(Debug)]
pub struct Revocations {
    capacity: AtomicUsize,
    terms: ArcSwap<Terms>,
    marker: Marker,
    /// How many are in the list: while it is empty, which it mostly is, a handshake takes no lock.
    count: AtomicUsize,
    list: RwLock<List>,
}

#[derive(Debug, Default)]
struct List {
    by_mark: HashMap<Key, Vec<Slot>>,
    /// By their order of arrival.
    entries: BTreeMap<u64, (Key, Entry)>,
    /// That order by their names.
    by_id: HashMap<Id, u64>,
    next: u64,
    /// Counts the changes, so that who writes the list down knows whether it has changed since.
    generation: u64,
    /// No entry ends before this, so that most writes need not look for what is over.
    soonest: u64,
}

/// What a look-up needs of an entry.
#[derive(Clone, Debug)]
struct Slot {
    sequence: u64,
    jwt: Option<Arc<str>>,
    issued_before: Option<u64>,
    expires: u64,
    why: &'static str,
}

/// A revocation that was taken in.
#[derive(Debug)]
pub struct Revoked {
    /// As it stands in the list now.
    pub entry: Entry,
    /// Whether it is new. Else the same was revoked before, and the later dates of both count.
    pub is_new: bool,
    key: Key,
    slot: Slot,
}

/// The list holds as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Revoked {
    /// Whether it ends a session that lives by this token.
    #[must_use]
    pub fn covers(&self, bearer: &Bearer<'_>) -> bool {
        bearer.marks.keys().contains(&self.key) && self.slot.covers(bearer)
    }
}

impl Slot {
    /// For a token that has the mark.
    fn covers(&self, bearer: &Bearer<'_>) -> bool {
        // Nobody knows how old a token without `iat` is: too old.
        let is_old = self.issued_before.is_none_or(|before| bearer.issued.is_none_or(|issued| issued < before));
        is_old && self.jwt.as_deref().is_none_or(|name| bearer.jwt == Some(name))
    }
}

impl Revocations {
    /// An empty list.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings { entries, ttl, claims, issuers } = settings;
        let marker = Marker::new(claims);
        let terms = Terms { ttl, claims: marker.claims().to_vec(), issuers };
        let list = List { soonest: u64::MAX, ..List::default() };
        let (capacity, terms) = (AtomicUsize::new(entries), ArcSwap::from_pointee(terms));
        Self { capacity, terms, marker, count: AtomicUsize::new(0), list: RwLock::new(list) }
    }

    /// Other settings for the same list, for a reload. The claims stay as they were: live sessions have marks of no others.
    pub fn change(&self, settings: Settings) {
        let Settings { entries, ttl, issuers, .. } = settings;
        self.capacity.store(entries, Ordering::Relaxed);
        self.terms.store(Arc::new(Terms { ttl, claims: self.marker.claims().to_vec(), issuers }));
    }

    /// What of a token can be revoked.
    ///
    /// # Errors
    /// A revocable claim is a list of more values than a session keeps.
    pub fn marks(&self, claims: &Claims) -> Result<Marks, TooMany> {
        self.marker.marks(claims)
    }

    /// The same of a subject that no token names.
    #[must_use]
    pub fn marks_of_subject(&self, subject: &str) -> Marks {
        self.marker.of_subject(subject)
    }

    /// Why a token does not hold at `wall`; none if it was not revoked.
    #[must_use]
    pub fn check(&self, bearer: &Bearer<'_>, wall: u64) -> Option<&'static str> {
        // Acquire, and release in `counted`: who comes after a revocation sees it.
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let list = self.list.read();
        let slots = bearer.marks.keys().iter().filter_map(|key| list.by_mark.get(key)).flatten();
        slots.filter(|slot| wall < slot.expires).find(|slot| slot.covers(bearer)).map(|slot| slot.why)
    }

    /// Reads what a request wants to have revoked.
    ///
    /// # Errors
    /// What is wrong with it and what is allowed, as one line. Repeats no value of it.
    pub fn read(&self, body: &[u8], wall: u64) -> Result<Wanted, String> {
        Wanted::parse(body, &self.terms.load(), wall)
    }

    /// Takes a revocation in. What was revoked in the same words before stays one entry, with the later dates of both.
    ///
    /// # Errors
    /// There is no room; nothing was changed.
    pub fn revoke(&self, wanted: Wanted, wall: u64) -> Result<Revoked, Full> {
        let key = self.marker.key_of(&wanted.what);
        let mut list = self.list.write();
        list.drop_expired(wall);
        let known = list
            .find(&key, &wanted.what, wanted.jwt.as_ref())
            .and_then(|sequence| Some((sequence, list.remove(sequence)?)));
        let is_new = known.is_none();
        let (sequence, entry) = match known {
            Some((sequence, entry)) => (sequence, entry.widened(wanted)),
            None if list.entries.len() >= self.capacity() => {
                self.counted(&list);
                return Err(Full);
            }
            None => (list.next, list.entry(wanted, wall)),
        };
        let slot = list.insert(sequence, key, entry.clone());
        list.generation += 1;
        self.counted(&list);
        Ok(Revoked { entry, is_new, key, slot })
    }

    /// Takes in what was written down before, also beyond the bound: a revocation is never forgotten for want of room.
    /// What is over by now is dropped at the next change.
    ///
    /// How many of them end no token any more: the config does not name their claim, or their `[jwt.NAME]`.
    pub fn restore(&self, entries: Vec<Entry>) -> usize {
        let terms = self.terms.load();
        let is_vain = |entry: &&Entry| {
            let unnamed = matches!(&entry.what, What::Claim(name, _) if !terms.claims.contains(name));
            unnamed || entry.jwt.as_ref().is_some_and(|jwt| !terms.issuers.iter().any(|name| **name == **jwt))
        };
        let vain = entries.iter().filter(is_vain).count();
        let mut list = self.list.write();
        for mut entry in entries {
            // A file that was written by hand may have a name twice, and each is to be lifted by its own.
            entry.id = list.free(entry.id);
            let sequence = list.next;
            list.insert(sequence, self.marker.key_of(&entry.what), entry);
        }
        self.counted(&list);
        vain
    }

    /// Has these instead of all that stood here.
    pub fn replace(&self, entries: Vec<Entry>) {
        *self.list.write() = List { soonest: u64::MAX, ..List::default() };
        self.restore(entries);
    }

    /// Takes in what another gateway revoked, in place of what stood here in the same words; also beyond the bound, which
    /// is kept by who heard it.
    pub fn adopt(&self, mut entry: Entry) {
        let key = self.marker.key_of(&entry.what);
        let mut list = self.list.write();
        let known = list.find(&key, &entry.what, entry.jwt.as_ref());
        let sequence = known.unwrap_or(list.next);
        list.remove(sequence);
        entry.id = list.free(entry.id);
        list.insert(sequence, key, entry);
        list.generation += 1;
        self.counted(&list);
    }

    /// Lifts what another gateway lifted: what stands here in these words.
    pub fn forget(&self, entry: &Entry) {
        let key = self.marker.key_of(&entry.what);
        let mut list = self.list.write();
        if let Some(sequence) = list.find(&key, &entry.what, entry.jwt.as_ref()) {
            list.remove(sequence);
            list.generation += 1;
        }
        self.counted(&list);
    }

    /// The revocation of this name, if there is one that counts.
    #[must_use]
    pub fn get(&self, id: Id, wall: u64) -> Option<Entry> {
        let list = self.list.read();
        let (_, entry) = list.entries.get(list.by_id.get(&id)?)?;
        (wall < entry.expires).then(|| entry.clone())
    }

    /// Lifts a revocation. False if there is none of this name, or it was over.
    pub fn lift(&self, id: Id, wall: u64) -> bool {
        let mut list = self.list.write();
        list.drop_expired(wall);
        let found = list.by_id.get(&id).copied();
        if let Some(sequence) = found {
            list.remove(sequence);
            list.generation += 1;
        }
        self.counted(&list);
        found.is_some()
    }

    /// Those that count, the oldest first, at most `limit`; and how many there are.
    #[must_use]
    pub fn entries(&self, limit: usize, wall: u64) -> (Vec<Entry>, usize) {
        let list = self.list.read();
        (list.live(wall).take(limit).cloned().collect(), list.live(wall).count())
    }

    /// The number of the last change, and all that count since.
    #[must_use]
    pub fn state(&self, wall: u64) -> (u64, Vec<Entry>) {
        let list = self.list.read();
        (list.generation, list.live(wall).cloned().collect())
    }

    /// The number of the last change.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.list.read().generation
    }

    /// How many there are, those included that are over and were not looked at since.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there may be.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    /// To be called before the lock is given back.
    fn counted(&self, list: &List) {
        self.count.store(list.entries.len(), Ordering::Release);
    }
}

impl List {
    fn live(&self, wall: u64) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(|(_, entry)| entry).filter(move |entry| wall < entry.expires)
    }

    /// The entry that says the same but for its dates.
    fn find(&self, key: &Key, what: &What, jwt: Option<&Arc<str>>) -> Option<u64> {
        let dated = what.issued_before().is_some();
        let slots = self.by_mark.get(key)?.iter();
        let mut same = slots.filter(|slot| slot.issued_before.is_some() == dated && slot.jwt.as_ref() == jwt);
        same.next().map(|slot| slot.sequence)
    }

    fn entry(&self, wanted: Wanted, wall: u64) -> Entry {
        let id = self.free(Id::random());
        let Wanted { what, jwt, expires, note } = wanted;
        Entry { id, what, jwt, created: wall, expires, note }
    }

    /// This name, or another if an entry has it.
    fn free(&self, mut id: Id) -> Id {
        while self.by_id.contains_key(&id) {
            id = Id::random();
        }
        id
    }

    fn insert(&mut self, sequence: u64, key: Key, entry: Entry) -> Slot {
        let slot = Slot {
            sequence,
            jwt: entry.jwt.clone(),
            issued_before: entry.what.issued_before(),
            expires: entry.expires,
            why: entry.what.why(),
        };
        self.by_mark.entry(key).or_default().push(slot.clone());
        self.soonest = self.soonest.min(entry.expires);
        self.next = self.next.max(sequence + 1);
        self.by_id.insert(entry.id, sequence);
        self.entries.insert(sequence, (key, entry));
        slot
    }

    fn remove(&mut self, sequence: u64) -> Option<Entry> {
        let (key, entry) = self.entries.remove(&sequence)?;
        self.by_id.remove(&entry.id);
        if let hash_map::Entry::Occupied(mut slots) = self.by_mark.entry(key) {
            slots.get_mut().retain(|slot| slot.sequence != sequence);
            if slots.get().is_empty() {
                slots.remove();
            }
        }
        Some(entry)
    }

    fn drop_expired(&mut self, wall: u64) {
        if wall < self.soonest {
            return;
        }
        let over = self.entries.iter().filter(|(_, (_, entry))| wall >= entry.expires);
        let over: Vec<u64> = over.map(|(sequence, _)| *sequence).collect();
        for sequence in over {
            self.remove(sequence);
        }
        self.soonest = self.entries.values().map(|(_, entry)| entry.expires).min().unwrap_or(u64::MAX);
    }
}

#[cfg(test)]
mod tests;
