//! What this gateway holds of shared caps: the truth that the server is told, and told again after it forgot.
//!
//! The server's count of this gateway is never changed by one: it is stated anew, with a number, and the statement with the
//! highest number counts. So calls may overtake each other, and a lost one heals with the next. No network here.

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
    /// Whose statement on the server is older than the entry.
    dirty: HashSet<Place>,
    /// Slots in all entries.
    held: usize,
    /// The number of the last slot, and of the last statement.
    last: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// When each slot was taken, in monotonic milliseconds, by its number: the first is the oldest.
    slots: BTreeMap<u64, u64>,
    /// The number of the last statement about it.
    stated: u64,
    /// Whether the server may have a statement about it.
    maybe: bool,
    /// Whether it has one, unless it forgot.
    surely: bool,
}

/// What the server is to know of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) count: u64,
    /// Higher than that of any statement before.
    pub(super) number: u64,
    /// Milliseconds since the oldest slot was taken.
    pub(super) age_ms: u64,
    /// Whether the server has an earlier statement, unless it forgot.
    pub(super) known: bool,
}

impl Table {
    /// Whether so many more may be held.
    pub(super) fn has_room(&self, slots: usize) -> bool {
        self.held + slots <= MOST
    }

    /// Holds one more, and gives its number.
    pub(super) fn add(&mut self, place: Place, now: u64) -> u64 {
        self.last += 1;
        self.held += 1;
        self.entries.entry(place).or_default().slots.insert(self.last, now);
        self.last
    }

    /// Holds one less. With `told` the server has to hear of it.
    pub(super) fn remove(&mut self, place: &Place, slot: u64, told: bool) {
        let Some(entry) = self.entries.get_mut(place) else { return };
        if entry.slots.remove(&slot).is_none() {
            return;
        }
        self.held -= 1;
        if told && entry.maybe {
            self.dirty.insert(place.clone());
        } else {
            self.forget_if_over(place);
        }
    }

    /// A statement of what is held now, which is about to be sent.
    pub(super) fn state(&mut self, place: &Place, now: u64) -> Option<Statement> {
        self.last += 1;
        let entry = self.entries.get_mut(place)?;
        entry.stated = self.last;
        entry.maybe = true;
        Some(Statement {
            place: place.clone(),
            count: entry.slots.len() as u64,
            number: entry.stated,
            age_ms: entry.slots.values().next().map_or(0, |since| now.saturating_sub(*since)),
            known: entry.surely,
        })
    }

    /// Whether this is still the last statement of that place.
    pub(super) fn is_last(&self, statement: &Statement) -> bool {
        self.entries.get(&statement.place).is_some_and(|entry| entry.stated == statement.number)
    }

    /// The server took a statement.
    pub(super) fn taken(&mut self, statement: &Statement) {
        let Some(entry) = self.entries.get_mut(&statement.place) else { return };
        if entry.stated == statement.number {
            entry.surely = statement.count > 0;
            entry.maybe = entry.surely;
            self.forget_if_over(&statement.place);
        }
    }

    /// The server has to be told of this place (again).
    pub(super) fn touch(&mut self, place: &Place) {
        if self.entries.contains_key(place) {
            self.dirty.insert(place.clone());
        }
    }

    /// The server has to be told of every place (again).
    pub(super) fn touch_all(&mut self) {
        self.dirty.extend(self.entries.keys().cloned());
    }

    /// From now on it stands under another name, of which the server knows nothing.
    pub(super) fn renamed(&mut self) {
        self.entries.retain(|_, entry| {
            (entry.maybe, entry.surely) = (false, false);
            !entry.slots.is_empty()
        });
        self.dirty.clear();
        self.touch_all();
    }

    /// Up to so many statements that are due; they are due no more.
    pub(super) fn due(&mut self, most: usize, now: u64) -> Vec<Statement> {
        let places: Vec<Place> = self.dirty.iter().take(most).cloned().collect();
        for place in &places {
            self.dirty.remove(place);
        }
        places.iter().filter_map(|place| self.state(place, now)).collect()
    }

    /// Slots that are held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Places that are remembered, also those of which the server has still to hear that nothing is held there.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn forget_if_over(&mut self, place: &Place) {
        if self.entries.get(place).is_some_and(|entry| entry.slots.is_empty() && !entry.maybe) {
            self.entries.remove(place);
            self.dirty.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        (name.into(), Key::shared(name.as_bytes()))
    }

    #[test]
    fn a_statement_counts_what_is_held_and_is_the_last_one() {
        let (mut table, a) = (Table::default(), place("a"));
        let first = table.add(a.clone(), 100);
        table.add(a.clone(), 250);
        let early = table.state(&a, 300).unwrap();
        assert_eq!((early.count, early.age_ms, early.known), (2, 200, false));
        table.remove(&a, first, true);
        let [late] = table.due(10, 300).try_into().unwrap();
        assert_eq!((late.count, late.age_ms), (1, 50));
        assert!(late.number > early.number && table.is_last(&late) && !table.is_last(&early));
        assert_eq!(table.due(10, 300), []);
    }

    #[test]
    fn what_the_server_may_know_is_remembered_until_it_was_told_of_the_end() {
        let (mut table, a) = (Table::default(), place("a"));
        let slot = table.add(a.clone(), 0);
        let taken = table.state(&a, 0).unwrap();
        table.taken(&taken);
        table.remove(&a, slot, true);
        assert_eq!((table.held(), table.len()), (0, 1));
        let [end] = table.due(10, 0).try_into().unwrap();
        assert_eq!((end.count, end.known), (0, true));
        // A failure: it is due again.
        table.touch(&a);
        let [again] = table.due(10, 0).try_into().unwrap();
        table.taken(&end);
        assert_eq!(table.len(), 1, "an old statement's answer says nothing");
        table.taken(&again);
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn what_the_server_never_heard_of_is_forgotten_at_once() {
        let (mut table, a) = (Table::default(), place("a"));
        let slot = table.add(a.clone(), 0);
        table.remove(&a, slot, true);
        table.remove(&a, slot, true);
        assert_eq!((table.held(), table.len()), (0, 0));
    }

    #[test]
    fn under_another_name_all_that_is_held_is_due_and_nothing_else() {
        let mut table = Table::default();
        for name in ["a", "b", "c"] {
            let slot = table.add(place(name), 0);
            let taken = table.state(&place(name), 0).unwrap();
            table.taken(&taken);
            if name == "b" {
                table.remove(&place(name), slot, true);
            }
        }
        table.renamed();
        let mut due: Vec<_> = table.due(10, 0).into_iter().map(|due| (due.place.0.to_string(), due.known)).collect();
        due.sort();
        assert_eq!(due, [("a".to_owned(), false), ("c".to_owned(), false)]);
    }

    #[test]
    fn statements_come_in_batches_until_none_is_due() {
        let mut table = Table::default();
        for name in ["a", "b", "c"] {
            table.add(place(name), 0);
        }
        table.touch_all();
        assert_eq!([table.due(2, 0).len(), table.due(2, 0).len(), table.due(2, 0).len()], [2, 1, 0]);
    }
}
