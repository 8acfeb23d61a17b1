//! How many of a thing each key holds at once. Who sets the bound says it with each take, for several routes may count
//! in one place and have bounds of their own.
//!
//! A key is remembered only while it holds a slot, so what bounds all sessions together bounds the memory. Where the
//! oldest may have to go, those who hold a slot stand in the order of admission. A place is handed over under one lock:
//! no third one ever sees the slot free, and the count does not move.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::seat::Seat;
use super::{Taken, marks};
use crate::deny::Deny;
use crate::policy::key::Key;

/// Shards of a keyed cap; workers that admit at the same moment seldom meet in one.
const SHARDS: usize = 16;

/// Different bounds that may be set on one count: each has a bit of [`Held::warned`].
pub const MAX_MARKS: usize = 32;

/// Slots by key.
#[derive(Debug)]
pub struct KeyedCap {
    used: AtomicUsize,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug)]
struct Shard {
    held: HashMap<Key, Held>,
    /// The same for all shards, but for a moment in which the bounds are changed.
    marks: Arc<[Mark]>,
    /// Who holds them, where that matters.
    seats: BTreeMap<(Key, u64), Arc<Seat>>,
}

/// What is kept of one key.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    count: u32,
    /// Which marks have warned of it, and not been armed again since.
    warned: u32,
}

/// Where one bound begins to warn.
#[derive(Debug)]
struct Mark {
    warn: u64,
    rearm: u64,
    /// Keys that hold as many slots, or more.
    near: AtomicUsize,
}

/// What is asked of a take.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The most slots that one key may hold.
    pub max: usize,
    /// What happens to one more.
    pub full: Full,
    /// Whose warning it may be: see [`mark()`].
    pub mark: Option<usize>,
}

/// What happens to one more than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// It gets no slot.
    Refuse,
    /// It gets the slot of the oldest, which is told this reason.
    CloseOldest(Deny),
    /// It gets a slot all the same.
    Ignore,
}

/// One slot of one key of a [`KeyedCap`].
#[derive(Debug)]
#[must_use]
pub struct KeyedPermit {
    cap: Arc<KeyedCap>,
    key: Key,
    // Boxed, since most sessions are under no cap that closes the oldest.
    sitting: Option<Box<Sitting>>,
}

#[derive(Debug)]
struct Sitting {
    seat: Arc<Seat>,
    /// Whose place it was, and why that one is to go: it is told once it is sure that the new one is let in.
    instead_of: Option<(Arc<Seat>, Deny)>,
}

impl KeyedCap {
    /// No slots taken. Each bound that will be asked of it is a limit with the share of it at which a warning is due.
    #[must_use]
    pub fn new(bounds: &[(usize, f64)]) -> Arc<Self> {
        let marks = Mark::all(bounds);
        let shard = || Shard { held: HashMap::new(), marks: marks.clone(), seats: BTreeMap::new() };
        Arc::new(Self {
            used: AtomicUsize::new(0),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::new(shard())),
        })
    }

    /// Other bounds will be asked of it from now on, after a reload. Slots stay taken; by a bound that is new, a key that is
    /// near it is warned of once more.
    pub fn rebound(&self, bounds: &[(usize, f64)]) {
        let marks = Mark::all(bounds);
        let known = self.shards[0].lock().marks.clone();
        if known.iter().map(Mark::at).eq(marks.iter().map(Mark::at)) {
            return;
        }
        for shard in &self.shards {
            let mut shard = shard.lock();
            for held in shard.held.values_mut() {
                held.warned = 0;
                for mark in marks.iter().filter(|mark| u64::from(held.count) >= mark.warn) {
                    mark.near.fetch_add(1, Ordering::Relaxed);
                }
            }
            shard.marks = marks.clone();
        }
    }

    /// A slot of this key, if there is one by this bound. `seat` is its holder's, where others may take its place; either
    /// all who take of one cap have one, or none has.
    #[must_use]
    pub fn take(self: &Arc<Self>, key: Key, bound: &Bound, seat: Option<&Arc<Seat>>) -> Option<Taken<KeyedPermit>> {
        let mut shard = self.shard(key).lock();
        let mut held = shard.held.get(&key).copied().unwrap_or_default();
        let was_full = held.count as usize >= bound.max;
        let instead_of = match bound.full {
            Full::Refuse if was_full => return None,
            Full::CloseOldest(why) if was_full => Some((shard.pop_oldest(key)?, why)),
            Full::Refuse | Full::CloseOldest(_) | Full::Ignore => None,
        };
        if instead_of.is_none() {
            held.count += 1;
            self.used.fetch_add(1, Ordering::Relaxed);
            for mark in shard.passing(held.count) {
                mark.near.fetch_add(1, Ordering::Relaxed);
            }
        }
        let near = bound.mark.is_some_and(|mark| shard.warns(mark, &mut held));
        shard.held.insert(key, held);
        let sitting = seat.map(|seat| {
            shard.seats.insert((key, seat.number()), seat.clone());
            Box::new(Sitting { seat: seat.clone(), instead_of })
        });
        Some(Taken { permit: KeyedPermit { cap: Arc::clone(self), key, sitting }, was_full, near })
    }

    /// Slots taken now, by all keys.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Keys that hold a slot now.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().held.len()).sum()
    }

    /// Keys that hold so many slots that a warning is due by this mark, or more.
    #[must_use]
    pub fn keys_near(&self, mark: usize) -> usize {
        self.shards[0].lock().marks.get(mark).map_or(0, |mark| mark.near.load(Ordering::Relaxed))
    }

    /// Slots that this key holds.
    #[must_use]
    pub fn held(&self, key: Key) -> usize {
        self.shard(key).lock().held.get(&key).map_or(0, |held| held.count as usize)
    }

    /// Closes the oldest of this key for somebody who is counted elsewhere too: its slots are free at once, here and there.
    /// Never the one with this seat. Whether there was one.
    pub fn close_oldest(&self, key: Key, why: Deny, but: Option<&Arc<Seat>>) -> bool {
        let mut shard = self.shard(key).lock();
        let but = but.map(|seat| (key, seat.number()));
        let oldest = shard.seats.range((key, 0)..=(key, u64::MAX)).map(|(place, _)| *place);
        let Some(oldest) = oldest.into_iter().find(|place| Some(*place) != but).and_then(|at| shard.seats.remove(&at))
        else {
            return false;
        };
        self.lower(&mut shard, key);
        drop(shard);
        oldest.let_go();
        oldest.tell(why);
        true
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(key) % SHARDS as u64) as usize]
    }

    /// One slot less.
    fn lower(&self, shard: &mut Shard, key: Key) {
        let Shard { held, marks, .. } = shard;
        let Some(held) = held.get_mut(&key) else { return };
        for mark in passing(marks, held.count) {
            mark.near.fetch_sub(1, Ordering::Relaxed);
        }
        held.count -= 1;
        for (bit, mark) in marks.iter().enumerate() {
            if u64::from(held.count) < mark.rearm {
                held.warned &= !(1 << bit);
            }
        }
        if held.count == 0 {
            shard.held.remove(&key);
        }
        self.used.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The mark of one of the bounds that [`KeyedCap::new`] or [`KeyedCap::rebound`] was told of.
#[must_use]
pub fn mark(bounds: &[(usize, f64)], limit: usize, warn_at: f64) -> Option<usize> {
    let sought = marks(limit, warn_at);
    bounds.iter().take(MAX_MARKS).position(|&(limit, warn_at)| marks(limit, warn_at) == sought)
}

/// The marks that a count crosses between this number and one less.
fn passing(marks: &[Mark], count: u32) -> impl Iterator<Item = &Mark> {
    marks.iter().filter(move |mark| mark.warn == u64::from(count))
}

impl Mark {
    fn all(bounds: &[(usize, f64)]) -> Arc<[Self]> {
        let mark = |&(limit, warn_at): &(usize, f64)| {
            let (warn, rearm) = marks(limit, warn_at);
            Self { warn, rearm, near: AtomicUsize::new(0) }
        };
        bounds.iter().take(MAX_MARKS).map(mark).collect()
    }

    fn at(&self) -> (u64, u64) {
        (self.warn, self.rearm)
    }
}

impl Shard {
    fn passing(&self, count: u32) -> impl Iterator<Item = &Mark> {
        passing(&self.marks, count)
    }

    /// A handshake of an older edition may name a mark that is no more.
    fn warns(&self, mark: usize, held: &mut Held) -> bool {
        let reached = self.marks.get(mark).is_some_and(|mark| u64::from(held.count) >= mark.warn);
        let due = reached && held.warned & 1 << mark == 0;
        held.warned |= u32::from(due) << mark;
        due
    }

    fn pop_oldest(&mut self, key: Key) -> Option<Arc<Seat>> {
        let (&place, _) = self.seats.range((key, 0)..=(key, u64::MAX)).next()?;
        self.seats.remove(&place)
    }
}

impl KeyedPermit {
    /// Whoever takes this slot is let in: the one whose place it was is told.
    pub fn confirm(&mut self) {
        if let Some((oldest, why)) = self.sitting.as_mut().and_then(|sitting| sitting.instead_of.take()) {
            oldest.tell(why);
        }
    }

    /// Who holds it, where that matters.
    #[must_use]
    pub fn seat(&self) -> Option<&Arc<Seat>> {
        self.sitting.as_ref().map(|sitting| &sitting.seat)
    }

    /// Whose slot it is.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }
}

impl Drop for KeyedPermit {
    fn drop(&mut self) {
        let Some(sitting) = self.sitting.take() else {
            return self.cap.lower(&mut self.cap.shard(self.key).lock(), self.key);
        };
        let Sitting { seat, instead_of } = *sitting;
        // Before the lock: whoever finds it still there, under the lock, is before us, and its doing is seen below.
        seat.leave();
        let mut shard = self.cap.shard(self.key).lock();
        if shard.seats.remove(&(self.key, seat.number())).is_none() {
            drop(shard);
            // A newer one has our place, so that there is none to be given back to whom we had it from.
            if let Some((oldest, why)) = instead_of {
                oldest.tell(why);
            }
            return;
        }
        match instead_of {
            // It was not let in after all: the place is the old one's again, unless that has gone meanwhile.
            Some((oldest, _)) if !oldest.has_left() => drop(shard.seats.insert((self.key, oldest.number()), oldest)),
            _ => self.cap.lower(&mut shard, self.key),
        }
    }
}

#[cfg(test)]
mod tests;
