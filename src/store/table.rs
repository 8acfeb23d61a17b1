//! What this gateway holds of shared caps: the truth that the server is told, and told again after it forgot.
//!
//! A take counts on the server itself. Everything else is told by the keeper, one call at a time: a change, or where an answer
//! did not come, the whole count; that one the server takes only if no take came in between. So the server never counts less
//! than is held, unless it forgets. No network here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::policy::key::Key;

/// Slots that one gateway holds at once, far more than it has sockets. Beyond it nothing is taken.
const MOST: usize = 1 << 22;

/// A cap's name, and its key.
pub(super) type Place = (Arc<str>, Key);

/// The caps of which something is held, or about to be.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Place, Entry>,
    /// Of which the server has to be told.
    due: HashSet<Place>,
    /// Slots in all entries, those that are asked for too.
    held: usize,
    /// The number of the last slot.
    last: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// When each slot was taken, in monotonic milliseconds, by its number: the first is the oldest.
    slots: BTreeMap<u64, u64>,
    /// Takes under way.
    asking: usize,
    /// How many more are held than the server was told.
    untold: i64,
    /// Whether the server's count may be wrong.
    unsure: bool,
    /// The latest version of the server's count that was seen.
    version: u64,
}

/// What the server is to be told of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) told: Told,
    /// The version of the server's count that is known.
    pub(super) version: u64,
    /// Milliseconds since the oldest slot was taken.
    pub(super) age_ms: u64,
    /// What was untold before it.
    untold: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// So many are held.
    Whole(u64),
    /// So many more are held than before.
    Change(i64),
}

impl Entry {
    fn is_over(&self) -> bool {
        self.slots.is_empty() && self.asking == 0 && self.untold == 0 && !self.unsure
    }

    fn age(&self, now: u64) -> u64 {
        self.slots.values().next().map_or(0, |since| now.saturating_sub(*since))
    }
}

impl Table {
    /// Begins to take one more, and gives how many are held for sure and the age of the oldest; none where no more may be
    /// held. One of the next three has to follow.
    pub(super) fn ask(&mut self, place: &Place, now: u64) -> Option<(u64, u64)> {
        if self.held >= MOST {
            return None;
        }
        self.held += 1;
        let entry = self.entries.entry(place.clone()).or_default();
        entry.asking += 1;
        Some((entry.slots.len() as u64, entry.age(now)))
    }

    /// The server counted it, and now has this version. Gives the slot's number.
    pub(super) fn took(&mut self, place: &Place, version: u64, now: u64) -> u64 {
        self.last += 1;
        let entry = self.entries.entry(place.clone()).or_default();
        entry.asking = entry.asking.saturating_sub(1);
        entry.version = entry.version.max(version);
        entry.slots.insert(self.last, now);
        self.last
    }

    /// The server did not count it.
    pub(super) fn refused(&mut self, place: &Place) {
        self.held -= 1;
        if let Some(entry) = self.entries.get_mut(place) {
            entry.asking -= 1;
        }
        self.forget_if_over(place);
    }

    /// Nobody knows whether the server counted it.
    pub(super) fn unanswered(&mut self, place: &Place) {
        self.held -= 1;
        if let Some(entry) = self.entries.get_mut(place) {
            entry.asking -= 1;
            entry.unsure = true;
            self.due.insert(place.clone());
        }
    }

    /// Holds one more without asking, and gives its number; none where no more may be held.
    pub(super) fn add(&mut self, place: &Place, now: u64) -> Option<u64> {
        self.ask(place, now)?;
        let slot = self.took(place, 0, now);
        self.tell(place, 1);
        Some(slot)
    }

    /// Holds one less.
    pub(super) fn remove(&mut self, place: &Place, slot: u64) {
        let known = self.entries.get_mut(place).is_some_and(|entry| entry.slots.remove(&slot).is_some());
        if known {
            self.held -= 1;
            self.tell(place, -1);
        }
    }

    fn tell(&mut self, place: &Place, more: i64) {
        if let Some(entry) = self.entries.get_mut(place) {
            entry.untold += more;
            self.due.insert(place.clone());
        }
        self.forget_if_over(place);
    }

    /// The server may have forgotten all of it: each whole count is due.
    pub(super) fn doubt(&mut self) {
        for (place, entry) in &mut self.entries {
            entry.unsure = true;
            self.due.insert(place.clone());
        }
    }

    /// From now on it stands under another name, of which the server knows nothing.
    pub(super) fn renamed(&mut self) {
        self.entries.retain(|_, entry| {
            (entry.untold, entry.version, entry.unsure) = (0, 0, false);
            !entry.is_over()
        });
        self.due.clear();
        self.doubt();
    }

    /// Up to so many statements that are due. They count as made; what becomes of them has to be told below. A whole count
    /// waits until no take is under way, unless `nobody_asks` the server.
    pub(super) fn statements(&mut self, most: usize, nobody_asks: bool, now: u64) -> Vec<Statement> {
        let Self { entries, due, .. } = self;
        let mut statements = Vec::new();
        due.retain(|place| {
            let Some(entry) = entries.get_mut(place) else { return false };
            if statements.len() == most {
                return true;
            }
            let untold = entry.untold;
            let told = if entry.unsure && (entry.asking == 0 || nobody_asks) {
                entry.unsure = false;
                Told::Whole(entry.slots.len() as u64)
            } else if untold != 0 {
                Told::Change(untold)
            } else {
                return entry.unsure;
            };
            entry.untold = 0;
            let (version, age_ms) = (entry.version, entry.age(now));
            statements.push(Statement { place: place.clone(), told, version, age_ms, untold });
            entry.unsure
        });
        statements
    }

    /// The server took a statement, or did not; it has this version now.
    pub(super) fn stated(&mut self, statement: &Statement, taken: bool, version: u64) {
        if taken {
            if let Some(entry) = self.entries.get_mut(&statement.place) {
                entry.version = entry.version.max(version);
            }
            self.forget_if_over(&statement.place);
            return;
        }
        let entry = self.entries.entry(statement.place.clone()).or_default();
        (entry.version, entry.unsure) = (version, true);
        if let Told::Whole(_) = statement.told {
            // A take came in between. The change at least is told where takes do not end.
            entry.untold += statement.untold;
        }
        self.due.insert(statement.place.clone());
    }

    /// Nobody knows whether the server took a statement.
    pub(super) fn unstated(&mut self, statement: &Statement) {
        self.entries.entry(statement.place.clone()).or_default().unsure = true;
        self.due.insert(statement.place.clone());
    }

    /// Slots that are held, or asked for.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    fn forget_if_over(&mut self, place: &Place) {
        if self.entries.get(place).is_some_and(Entry::is_over) {
            self.entries.remove(place);
            self.due.remove(place);
        }
    }
}

#[cfg(test)]
mod tests;
