//! Accounts that sessions hold: what they owe outlives them, and nothing drops them meanwhile.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::config::value::Rate;
use crate::policy::bucket::{self, Limit, Verdict};
use crate::policy::zone::{Hit, Zone, admit};

fn zone(rate: &str, entries: usize) -> Zone {
    Zone::new("test", rate.parse().unwrap(), entries)
}

fn key(n: u32) -> Key {
    Key::of_ip(IpAddr::V4(Ipv4Addr::from_bits(n)))
}

/// How many messages an account lets through at one moment.
fn let_through(zone: &Zone, hold: &Hold, burst: u64, now_ms: u64) -> usize {
    let limit = Limit { rate: zone.rate(), burst: burst * Rate::ONE, delay: u64::MAX };
    let hit = || bucket::hit(&mut hold.account().lock(), &limit, Rate::ONE, now_ms);
    (0..).take_while(|_| hit() == Verdict::Pass).count()
}

fn handshake(zone: &Zone, n: u32, burst: u64, now_ms: u64) -> bool {
    let hit = Hit { zone, key: key(n), burst: burst * Rate::ONE, delay: u64::MAX, cost: Rate::ONE, dry_run: false };
    admit(&[hit], now_ms).answer.is_ok()
}

#[test]
fn sessions_of_one_key_share_an_account_and_others_have_their_own() {
    let zone = zone("1/h", 100);
    let [one, same, other] = [1, 1, 2].map(|n| zone.hold(key(n), 0).unwrap());
    assert_eq!(let_through(&zone, &one, 4, 0), 5);
    assert_eq!(let_through(&zone, &same, 4, 0), 0);
    assert_eq!(let_through(&zone, &other, 4, 0), 5);
    assert_eq!(zone.len(), 2);
}

#[test]
fn who_connects_anew_owes_what_the_last_session_owed() {
    let zone = zone("1/h", 100);
    let hold = zone.hold(key(1), 0).unwrap();
    assert_eq!(let_through(&zone, &hold, 4, 0), 5);
    drop(hold);
    assert_eq!((zone.len(), zone.held()), (1, 0));
    let again = zone.hold(key(1), 0).unwrap();
    assert_eq!(let_through(&zone, &again, 4, 0), 0);
    assert_eq!(let_through(&zone, &again, 4, 3_600_000), 1);
}

#[test]
fn an_account_that_nobody_charged_leaves_nothing() {
    let zone = zone("1/h", 100);
    drop(zone.hold(key(1), 0).unwrap());
    assert!(zone.is_empty());
}

#[test]
fn a_session_that_leaves_takes_nothing_from_those_that_stay() {
    let zone = zone("1/h", 100);
    let (one, same) = (zone.hold(key(1), 0).unwrap(), zone.hold(key(1), 0).unwrap());
    assert_eq!(let_through(&zone, &one, 0, 0), 1);
    drop(one);
    assert_eq!(zone.held(), 1);
    assert_eq!(let_through(&zone, &same, 0, 0), 0);
    drop(same);
    assert_eq!(zone.held(), 0);
}

#[test]
fn a_flood_of_keys_drops_no_account_that_is_held_although_it_owes_nothing() {
    let zone = zone("1r/s", 64);
    let hold = zone.hold(key(0), 0).unwrap();
    for n in 1..1000 {
        handshake(&zone, n, 0, u64::from(n) * 1000);
    }
    assert_eq!(let_through(&zone, &hold, 1, 2_000_000), 2);
    let same = zone.hold(key(0), 2_000_000).unwrap();
    assert_eq!(let_through(&zone, &same, 1, 2_000_000), 0, "it is the same account");
}

#[test]
fn a_zone_full_of_held_accounts_takes_no_new_key_and_every_old_one() {
    let zone = zone("1r/s", 64);
    let holds: Vec<Hold> = (0..64).map(|n| zone.hold(key(n), 0).unwrap()).collect();
    assert!(zone.hold(key(64), 1_000_000).is_none());
    assert!(!handshake(&zone, 64, 9, 1_000_000));
    assert_eq!((zone.len(), zone.full_count()), (64, 2));
    assert!(zone.hold(key(63), 0).is_some());
    assert!(handshake(&zone, 63, 9, 0));
    drop(holds);
    assert!(zone.hold(key(64), 1_000_000).is_some());
}

#[test]
fn handshakes_and_messages_of_one_key_are_charged_to_one_account() {
    let zone = zone("1/h", 100);
    assert!(handshake(&zone, 1, 2, 0));
    let hold = zone.hold(key(1), 0).unwrap();
    assert_eq!(let_through(&zone, &hold, 1, 0), 1, "the handshake was the free one");
    assert!(handshake(&zone, 1, 2, 0));
    assert!(!handshake(&zone, 1, 2, 0));
    assert_eq!(let_through(&zone, &hold, 2, 0), 0);
    drop(hold);
    assert!(!handshake(&zone, 1, 2, 0));
}

#[test]
fn a_key_is_not_forgotten_before_its_largest_message_would_be_let_through() {
    let (small, large) = (zone("1000/s", 64), zone("1000/s", 64));
    large.expect(1_000_000 * Rate::ONE);
    for (zone, forgotten) in [(&small, true), (&large, false)] {
        let hold = zone.hold(key(0), 0).unwrap();
        assert_eq!(let_through(zone, &hold, 0, 0), 1);
        drop(hold);
        for n in 1..200 {
            handshake(zone, n, 0, 10_000);
        }
        let hold = zone.hold(key(0), 10_000);
        // Where it was not forgotten, a million bytes are too many ten seconds after.
        let owed = hold.map(|hold| hold.account().lock().is_some());
        assert_eq!(owed != Some(true), forgotten);
    }
}
