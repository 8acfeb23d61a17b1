//! Slots by key: never more than there may be, never leaked, and the oldest goes first.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;

const OLDEST: Full = Full::CloseOldest(Deny::SubjectCap);

fn client(n: u32) -> Key {
    Key::of_ip(std::net::Ipv4Addr::from_bits(n).into())
}

const fn bound(max: usize, full: Full) -> Bound {
    Bound { max, full, mark: None }
}

#[test]
fn each_key_has_slots_of_its_own_and_is_forgotten_with_the_last() {
    let cap = KeyedCap::new(&[]);
    let take = |key| cap.take(key, &bound(2, Full::Refuse), None);
    let first = (take(client(1)).unwrap(), take(client(1)).unwrap());
    assert!(take(client(1)).is_none());
    let other = take(client(2)).unwrap();
    assert_eq!((cap.used(), cap.keys()), (3, 2));
    drop(first.0);
    assert_eq!((cap.used(), cap.keys()), (2, 2));
    drop((first.1, other));
    assert_eq!((cap.used(), cap.keys()), (0, 0));
    assert!(cap.take(client(1), &bound(0, Full::Refuse), None).is_none());
    assert_eq!(cap.keys(), 0, "a refused key is not remembered");
}

#[test]
fn routes_that_count_in_one_place_have_bounds_of_their_own() {
    let cap = KeyedCap::new(&[]);
    let held: Vec<_> = (0..3).map(|_| cap.take(client(1), &bound(3, Full::Refuse), None).unwrap()).collect();
    assert!(cap.take(client(1), &bound(2, Full::Refuse), None).is_none());
    let fourth = cap.take(client(1), &bound(4, Full::Refuse), None).unwrap();
    let ignored = cap.take(client(1), &bound(2, Full::Ignore), None).unwrap();
    assert!(!fourth.was_full && ignored.was_full);
    drop((held, fourth, ignored));
    assert_eq!(cap.used(), 0);
}

#[test]
fn the_oldest_gives_its_place_over_and_is_told_once_the_new_one_is_sure() {
    let cap = KeyedCap::new(&[]);
    let seats: Vec<_> = (0..3).map(Seat::new).collect();
    let take = |seat| cap.take(client(1), &bound(2, OLDEST), Some(seat)).unwrap().permit;
    let first = take(&seats[0]);
    let _second = take(&seats[1]);
    let mut third = take(&seats[2]);
    assert_eq!((cap.used(), seats[0].told()), (2, None));
    third.confirm();
    assert_eq!((seats[0].told(), seats[1].told()), (Some(Deny::SubjectCap), None));
    drop(first);
    assert_eq!(cap.used(), 2, "its place is the third's");
}

#[test]
fn a_new_one_that_is_not_let_in_after_all_gives_the_place_back() {
    let cap = KeyedCap::new(&[]);
    let seats: Vec<_> = (0..3).map(Seat::new).collect();
    let take = |seat| cap.take(client(1), &bound(1, OLDEST), Some(seat)).unwrap().permit;
    let first = take(&seats[0]);
    drop(take(&seats[1]));
    assert_eq!((cap.used(), seats[0].told()), (1, None));
    take(&seats[2]).confirm();
    assert_eq!((cap.used(), seats[0].told()), (0, Some(Deny::SubjectCap)), "it had its place again, and lost it");
    drop(first);
    assert_eq!((cap.used(), cap.keys()), (0, 0));
}

#[test]
fn a_place_that_went_on_to_a_newer_one_can_t_be_given_back() {
    let cap = KeyedCap::new(&[]);
    let seats: Vec<_> = (0..3).map(Seat::new).collect();
    let take = |seat| cap.take(client(1), &bound(1, OLDEST), Some(seat)).unwrap().permit;
    let first = take(&seats[0]);
    let second = take(&seats[1]);
    let mut third = take(&seats[2]);
    drop(second);
    assert_eq!((cap.used(), seats[0].told()), (1, Some(Deny::SubjectCap)));
    third.confirm();
    drop((first, third));
    assert_eq!((cap.used(), cap.keys()), (0, 0));
}

#[test]
fn a_panic_between_taking_and_confirming_leaves_everything_as_it_was() {
    let cap = KeyedCap::new(&[]);
    let seats: Vec<_> = (0..2).map(Seat::new).collect();
    let take = |seat| cap.take(client(1), &bound(1, OLDEST), Some(seat)).unwrap().permit;
    let first = take(&seats[0]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _held = take(&seats[1]);
        std::panic::resume_unwind(Box::new("a handshake that panics"));
    }));
    assert!(panicked.is_err());
    assert_eq!((cap.used(), seats[0].told()), (1, None));
    drop(first);
    assert_eq!((cap.used(), cap.keys()), (0, 0));
}

#[test]
fn a_key_warns_once_and_again_only_after_it_fell_well_below() {
    let bounds = [(10, 0.9), (20, 0.5)];
    let cap = KeyedCap::new(&bounds);
    let (of_ten, of_twenty) = (mark(&bounds, 10, 0.9), mark(&bounds, 20, 0.5));
    assert!(of_ten.is_some() && of_twenty.is_some() && of_ten != of_twenty && mark(&bounds, 11, 0.9).is_none());
    let mut held = Vec::new();
    let grow = |held: &mut Vec<KeyedPermit>, to: usize, mark| {
        let mut warned_at = Vec::new();
        while held.len() < to {
            let taken = cap.take(client(1), &Bound { max: 20, full: Full::Refuse, mark }, None).unwrap();
            held.push(taken.permit);
            warned_at.extend(taken.near.then_some(held.len()));
        }
        warned_at
    };
    let near = || (cap.keys_near(of_ten.unwrap()), cap.keys_near(of_twenty.unwrap()));
    assert_eq!((grow(&mut held, 9, of_ten), near()), (vec![9], (1, 0)));
    assert_eq!((grow(&mut held, 10, of_ten), near()), (vec![], (1, 1)));
    assert_eq!(grow(&mut held, 11, of_twenty), [11], "at its first take past the mark");
    held.truncate(8);
    assert_eq!((grow(&mut held, 10, of_ten), near()), (vec![], (1, 1)), "8 is not under 8");
    held.truncate(7);
    assert_eq!(near(), (0, 0));
    assert_eq!(grow(&mut held, 10, of_ten), [9]);
    held.clear();
    assert_eq!((near(), cap.keys()), ((0, 0), 0));
}

#[test]
fn threads_that_storm_one_key_close_an_older_one_each() {
    const OLD: u64 = 20;
    for _ in 0..50 {
        let cap = KeyedCap::new(&[]);
        let old: Vec<_> = (0..OLD).map(Seat::new).collect();
        let take = |seat: &Arc<Seat>| cap.take(client(7), &bound(OLD as usize, OLDEST), Some(seat)).unwrap().permit;
        let held: Vec<_> = old.iter().map(take).collect();
        let start = Barrier::new(4);
        let storm = |thread: u64| {
            start.wait();
            let mut new: Vec<_> = (0..5).map(|n| take(&Seat::new(OLD + 5 * thread + n))).collect();
            assert!(cap.used() <= OLD as usize);
            new.iter_mut().for_each(KeyedPermit::confirm);
            new
        };
        let storm = &storm;
        let new: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || storm(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(old.iter().all(|seat| seat.told().is_some()), "twenty new ones took twenty places");
        assert!(new.iter().all(|permit| permit.seat().unwrap().told().is_none()));
        drop(held);
        assert_eq!((cap.used(), new.len()), (20, 20));
        drop(new);
        assert_eq!((cap.used(), cap.keys()), (0, 0));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take { key: u32, max: usize, full: Full },
    Confirm(usize),
    Drop(usize),
}

fn steps(fulls: &'static [Full]) -> impl Strategy<Value = Vec<Step>> {
    let take = (0..3_u32, 1..4_usize, prop::sample::select(fulls));
    prop::collection::vec(
        prop_oneof![
            3 => take.prop_map(|(key, max, full)| Step::Take { key, max, full }),
            1 => any::<prop::sample::Index>().prop_map(|at| Step::Confirm(at.index(1000))),
            2 => any::<prop::sample::Index>().prop_map(|at| Step::Drop(at.index(1000))),
        ],
        0..60,
    )
}

/// Who holds which slot, as a list that is read through each time.
#[derive(Default)]
struct Model {
    /// Key and number of everybody who holds a slot.
    holding: BTreeSet<(u32, u64)>,
    /// Whose place a new one has, until it is confirmed.
    pending: BTreeMap<u64, u64>,
    told: BTreeSet<u64>,
}

impl Model {
    fn of(&self, key: u32) -> Vec<u64> {
        self.holding.iter().filter(|(of, _)| *of == key).map(|(_, number)| *number).collect()
    }

    fn take(&mut self, key: u32, max: usize, full: Full, number: u64) -> bool {
        let held = self.of(key);
        if held.len() >= max && full == Full::Refuse {
            return false;
        }
        if held.len() >= max && full == OLDEST {
            self.holding.remove(&(key, held[0]));
            self.pending.insert(number, held[0]);
        }
        self.holding.insert((key, number))
    }

    fn leave(&mut self, key: u32, number: u64, alive: impl Fn(u64) -> bool) {
        let held = self.holding.remove(&(key, number));
        match self.pending.remove(&number) {
            Some(old) if held && alive(old) => drop(self.holding.insert((key, old))),
            Some(old) if !held => drop(self.told.insert(old)),
            _ => {}
        }
    }
}

fn follow(steps: Vec<Step>) {
    let cap = KeyedCap::new(&[(3, 0.6)]);
    let mut model = Model::default();
    let mut held: Vec<(u32, KeyedPermit)> = Vec::new();
    let mut seats = Vec::new();
    for step in steps {
        match step {
            Step::Take { key, max, full } => {
                let number = seats.len() as u64;
                let seat = Seat::new(number);
                let taken = cap.take(client(key), &bound(max, full), Some(&seat));
                assert_eq!(taken.is_some(), model.take(key, max, full, number));
                seats.push(seat);
                held.extend(taken.map(|taken| (key, taken.permit)));
            }
            Step::Confirm(at) if !held.is_empty() => {
                let at = at % held.len();
                held[at].1.confirm();
                model.told.extend(model.pending.remove(&held[at].1.seat().unwrap().number()));
            }
            Step::Drop(at) if !held.is_empty() => {
                let (key, permit) = held.swap_remove(at % held.len());
                let alive = |number| held.iter().any(|(_, other)| other.seat().unwrap().number() == number);
                model.leave(key, permit.seat().unwrap().number(), alive);
                drop(permit);
            }
            Step::Confirm(_) | Step::Drop(_) => {}
        }
        assert_eq!(cap.used(), model.holding.len());
        let keys: Vec<usize> = (0..3).map(|key| model.of(key).len()).filter(|held| *held > 0).collect();
        assert_eq!((cap.keys(), cap.keys_near(0)), (keys.len(), keys.iter().filter(|held| **held >= 2).count()));
        let told: BTreeSet<u64> = seats.iter().filter(|seat| seat.told().is_some()).map(|seat| seat.number()).collect();
        assert_eq!(told, model.told);
    }
    held.clear();
    assert_eq!((cap.used(), cap.keys(), cap.keys_near(0)), (0, 0, 0), "leaked");
}

proptest! {
    #[test]
    fn whatever_is_taken_confirmed_and_dropped_slots_are_as_a_list_says(all in steps(&[Full::Refuse, OLDEST, Full::Ignore])) {
        follow(all);
    }

    /// Without dry runs no key ever holds more than the largest bound.
    #[test]
    fn no_key_holds_more_than_it_may(all in steps(&[Full::Refuse, OLDEST])) {
        let cap = KeyedCap::new(&[]);
        let mut held = Vec::new();
        for (number, step) in all.into_iter().enumerate() {
            match step {
                Step::Take { key, full, .. } => {
                    held.extend(cap.take(client(key), &bound(2, full), Some(&Seat::new(number as u64))));
                }
                Step::Confirm(at) if !held.is_empty() => {
                    let at = at % held.len();
                    held[at].permit.confirm();
                }
                Step::Drop(at) if !held.is_empty() => drop(held.swap_remove(at % held.len())),
                Step::Confirm(_) | Step::Drop(_) => {}
            }
            prop_assert!((0..SHARDS).all(|shard| cap.shards[shard].lock().held.values().all(|held| held.count <= 2)));
        }
    }
}
