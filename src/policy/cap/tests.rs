//! Counts that never exceed their limit and always return to zero.

use super::keyed::{Bound, Full};
use super::*;
use crate::policy::key::Key;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;

fn client(n: u32) -> Key {
    Key::of_ip(std::net::Ipv4Addr::from_bits(n).into())
}

/// So many slots for each key, and no more.
const fn of(max: usize) -> Bound {
    Bound { max, full: Full::Refuse, mark: None }
}

/// Takes until `count` are held; tells at which counts a warning was due.
fn fill(cap: &Arc<Cap>, held: &mut Vec<Permit>, count: usize) -> Vec<usize> {
    let mut warned_at = Vec::new();
    while held.len() < count {
        let Taken { permit, near, .. } = cap.take().unwrap();
        held.push(permit);
        if near {
            warned_at.push(held.len());
        }
    }
    warned_at
}

#[test]
fn a_cap_gives_as_many_slots_as_it_has_and_takes_them_back() {
    let cap = Cap::new(3, 1.0);
    let mut held = Vec::new();
    fill(&cap, &mut held, 3);
    assert!(cap.take().is_none());
    assert_eq!((cap.used(), cap.limit()), (3, 3));
    held.pop();
    assert_eq!(cap.used(), 2);
    fill(&cap, &mut held, 3);
    drop(held);
    assert_eq!(cap.used(), 0);
}

#[test]
fn a_cap_warns_once_and_again_only_after_it_fell_by_a_tenth() {
    let cap = Cap::new(100, 0.9);
    let mut held = Vec::new();
    assert_eq!(fill(&cap, &mut held, 100), [90]);
    held.truncate(80);
    assert_eq!(fill(&cap, &mut held, 95), [0; 0], "80 is not under 80");
    held.truncate(79);
    assert_eq!(fill(&cap, &mut held, 100), [90]);
}

#[test]
fn a_refused_take_neither_warns_nor_forgets_the_warning() {
    let cap = Cap::new(10, 1.0);
    let mut held = Vec::new();
    assert_eq!(fill(&cap, &mut held, 10), [10]);
    assert!(cap.take().is_none());
    held.truncate(9);
    assert_eq!(fill(&cap, &mut held, 10), [0; 0]);
}

#[test]
fn the_warning_is_due_at_the_first_count_that_reaches_the_share() {
    let cases = [(1, 0.9, 1), (5, 0.9, 5), (10, 0.9, 9), (10, 0.7, 7), (100, 0.55, 55), (1000, 0.001, 1), (7, 1.0, 7)];
    for (limit, warn_at, first) in cases {
        let warned_at = fill(&Cap::new(limit, warn_at), &mut Vec::new(), limit);
        assert_eq!(warned_at, [first], "{warn_at} of {limit}");
    }
}

#[test]
fn a_cap_whose_warning_is_lower_than_a_tenth_warns_again_after_zero() {
    let cap = Cap::new(100, 0.05);
    let mut held = Vec::new();
    assert_eq!(fill(&cap, &mut held, 100), [5]);
    held.truncate(1);
    assert_eq!(fill(&cap, &mut held, 100), [0; 0]);
    held.clear();
    assert_eq!(fill(&cap, &mut held, 100), [5]);
}

#[test]
fn a_cap_of_zero_gives_nothing() {
    assert!(Cap::new(0, 0.9).take().is_none());
}

#[test]
fn a_cap_in_dry_run_has_a_slot_for_everybody_and_says_when_it_would_have_had_none() {
    let cap = Cap::dry_run(2, 1.0);
    let taken: Vec<_> = (0..4).map(|_| cap.take().unwrap()).collect();
    assert_eq!(
        taken.iter().map(|taken| (taken.was_full, taken.near)).collect::<Vec<_>>(),
        [(false, false), (false, true), (true, false), (true, false)]
    );
    assert_eq!((cap.used(), cap.limit(), cap.is_warned()), (4, 2, true));
    drop(taken);
    assert_eq!((cap.used(), cap.is_warned()), (0, false));
}

#[test]
fn a_panic_gives_the_slots_back() {
    let (cap, keyed) = (Cap::new(1, 0.9), KeyedCap::new(&[]));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _held = (cap.take().unwrap(), keyed.take(client(1), &of(1), None).unwrap());
        assert_eq!((cap.used(), keyed.used()), (1, 1));
        std::panic::resume_unwind(Box::new("a session that panics"));
    }));
    assert!(panicked.is_err());
    assert_eq!((cap.used(), keyed.used(), keyed.keys()), (0, 0, 0));
    assert!(cap.take().is_some() && keyed.take(client(1), &of(1), None).is_some());
}

#[test]
fn a_permit_is_one_word_and_a_keyed_one_four() {
    assert_eq!((size_of::<Permit>(), size_of::<KeyedPermit>()), (8, 32));
    assert_eq!(size_of::<Option<KeyedPermit>>(), 32);
}

#[test]
fn threads_that_storm_a_cap_get_exactly_its_slots_and_one_warning() {
    for _ in 0..50 {
        let cap = Cap::new(100, 0.9);
        let start = Barrier::new(8);
        let storm = || {
            start.wait();
            (0..50).filter_map(|_| cap.take()).collect::<Vec<_>>()
        };
        let taken: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(storm)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!((taken.len(), cap.used()), (100, 100));
        assert_eq!(taken.iter().filter(|taken| taken.near).count(), 1);
        drop(taken);
        assert_eq!(cap.used(), 0);
    }
}

#[test]
fn threads_that_come_and_go_never_exceed_a_cap_and_leave_zero() {
    let (cap, keyed) = (Cap::new(5, 0.9), KeyedCap::new(&[]));
    let start = Barrier::new(8);
    let come_and_go = |n: u32| {
        start.wait();
        for round in 0..5000 {
            let held = (cap.take(), keyed.take(client((n + round) % 3), &of(2), None));
            assert!(cap.used() <= 5 && keyed.used() <= 6 && keyed.keys() <= 3);
            drop(held);
        }
    };
    thread::scope(|scope| {
        for n in 0..8 {
            scope.spawn(move || come_and_go(n));
        }
    });
    assert_eq!((cap.used(), keyed.used(), keyed.keys()), (0, 0, 0));
}

#[test]
fn threads_that_storm_one_key_get_exactly_its_slots() {
    let cap = KeyedCap::new(&[]);
    let start = Barrier::new(8);
    let storm = || {
        start.wait();
        (0..50).filter_map(|_| cap.take(client(7), &of(20), None)).collect::<Vec<_>>()
    };
    let taken: Vec<Taken<KeyedPermit>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(storm)).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert_eq!((taken.len(), cap.used(), cap.keys()), (20, 20, 1));
    drop(taken);
    assert_eq!((cap.used(), cap.keys()), (0, 0));
}
