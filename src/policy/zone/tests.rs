//! Several limits at once, several threads at once, and more keys than there is room for.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Barrier;
use std::thread;

const NODELAY: u64 = u64::MAX;

fn zone(rate: &str, entries: usize) -> Zone {
    Zone::new("test", rate.parse().unwrap(), entries)
}

fn client(n: u32) -> Key {
    Key::of_ip(IpAddr::V4(Ipv4Addr::from_bits(n)))
}

/// `burst` in hits, nobody waits.
fn nodelay(zone: &Zone, key: Key, burst: u64) -> Hit<'_> {
    Hit { zone, key, burst: burst * Rate::ONE, delay: NODELAY, cost: Rate::ONE, dry_run: false }
}

fn dry(hit: Hit<'_>) -> Hit<'_> {
    Hit { dry_run: true, ..hit }
}

fn admitted(wait_ms: u64) -> Outcome {
    Outcome { answer: Ok(wait_ms), dry_runs: Vec::new(), delayed: if wait_ms > 0 { vec![0] } else { Vec::new() } }
}

fn refused(index: usize, retry_ms: u64) -> Outcome {
    Outcome { answer: Err(Refusal { index, retry_ms, zone_full: false }), dry_runs: Vec::new(), delayed: Vec::new() }
}

/// How many hits of a key are let in at one moment.
fn count_let_in(zone: &Zone, key: Key, burst: u64, now_ms: u64) -> usize {
    (0..).take_while(|_| admit(&[nodelay(zone, key, burst)], now_ms).answer.is_ok()).count()
}

#[test]
fn each_key_has_a_bucket_of_its_own() {
    let zone = zone("1r/s", 100);
    assert_eq!(count_let_in(&zone, client(1), 4, 0), 5);
    assert_eq!(count_let_in(&zone, client(2), 4, 0), 5);
    assert_eq!(zone.len(), 2);
}

#[test]
fn if_one_limit_refuses_none_is_charged() {
    let (wide, narrow) = (zone("1r/s", 100), zone("1r/m", 100));
    let both = [nodelay(&wide, client(1), 9), nodelay(&narrow, client(1), 0)];
    assert_eq!(admit(&both, 0), admitted(0));
    for _ in 0..50 {
        assert_eq!(admit(&both, 0), refused(1, 62_500));
    }
    assert_eq!(count_let_in(&wide, client(1), 9, 0), 9, "of 1 + 9, the one that both let in is spent");
}

#[test]
fn a_refused_new_key_leaves_no_entry() {
    let (first, second) = (zone("1r/s", 100), zone("1r/s", 100));
    assert_eq!(count_let_in(&second, client(1), 0, 0), 1);
    assert_eq!(admit(&[nodelay(&first, client(1), 0), nodelay(&second, client(1), 0)], 0), refused(1, 1000));
    assert!(first.is_empty());
}

#[test]
fn the_first_limit_that_refuses_is_the_one_that_is_named() {
    let (slow, slower) = (zone("1r/s", 100), zone("1r/m", 100));
    let hits = [nodelay(&slow, client(1), 0), nodelay(&slower, client(1), 0)];
    assert_eq!(admit(&hits, 0), admitted(0));
    assert_eq!(admit(&hits, 0), refused(0, 1000));
    assert_eq!(admit(&hits, 2000), refused(1, 60_500));
}

#[test]
fn the_longest_wait_counts() {
    let (fast, slow) = (zone("10r/s", 100), zone("1r/s", 100));
    let spaced = |zone| Hit { delay: 0, ..nodelay(zone, client(1), 5) };
    let outcomes: Vec<_> = (0..4).map(|_| admit(&[spaced(&slow), spaced(&fast)], 0)).collect();
    assert_eq!(outcomes[0], admitted(0));
    for (outcome, wait_ms) in outcomes[1..].iter().zip([1000, 2000, 3000]) {
        assert_eq!(*outcome, Outcome { delayed: vec![0, 1], ..admitted(wait_ms) });
    }
}

#[test]
fn a_dry_run_that_would_refuse_is_told_and_not_charged() {
    let (tried, real) = (zone("1r/s", 100), zone("1r/s", 100));
    let hits = [dry(nodelay(&tried, client(1), 0)), nodelay(&real, client(1), 2)];
    assert_eq!(admit(&hits, 0), admitted(0));
    let told = vec![DryRun::Refused(Refusal { index: 0, retry_ms: 1000, zone_full: false })];
    assert_eq!(admit(&hits, 0), Outcome { answer: Ok(0), dry_runs: told.clone(), delayed: Vec::new() });
    assert_eq!(admit(&hits, 0), Outcome { answer: Ok(0), dry_runs: told.clone(), delayed: Vec::new() });
    let refusal = Refusal { index: 1, retry_ms: 1000, zone_full: false };
    assert_eq!(admit(&hits, 0), Outcome { answer: Err(refusal), dry_runs: told, delayed: Vec::new() });
    assert_eq!(count_let_in(&tried, client(1), 0, 1000), 1, "only the first was charged");
}

#[test]
fn a_dry_run_that_would_delay_is_told_and_charged_and_does_not_wait() {
    let zone = zone("1r/s", 100);
    let hit = dry(Hit { delay: 0, ..nodelay(&zone, client(1), 2) });
    assert_eq!(admit(&[hit], 0), admitted(0));
    for wait_ms in [1000, 2000] {
        let told = vec![DryRun::Delayed { index: 0, wait_ms }];
        assert_eq!(admit(&[hit], 0), Outcome { answer: Ok(0), dry_runs: told, delayed: Vec::new() });
    }
    assert_eq!(count_let_in(&zone, client(1), 2, 0), 0, "the burst is spent");
}

#[test]
fn a_dry_run_in_a_full_zone_refuses_nobody() {
    let zone = zone("1r/m", 1);
    assert_eq!(admit(&[nodelay(&zone, client(1), 0)], 0), admitted(0));
    let told = vec![DryRun::Refused(Refusal { index: 0, retry_ms: 62_500, zone_full: true })];
    assert_eq!(
        admit(&[dry(nodelay(&zone, client(2), 0))], 0),
        Outcome { answer: Ok(0), dry_runs: told, delayed: Vec::new() }
    );
    assert_eq!((zone.len(), zone.full_count()), (1, 1));
}

#[test]
fn no_limits_let_everyone_in() {
    assert_eq!(admit(&[], 0), admitted(0));
}

#[test]
fn one_zone_may_be_hit_twice_by_one_handshake() {
    let zone = zone("1r/s", 100);
    let twice = [nodelay(&zone, client(1), 3), nodelay(&zone, client(1), 3)];
    assert_eq!(admit(&twice, 0), admitted(0));
    assert_eq!(admit(&twice, 0), admitted(0));
    assert_eq!(admit(&twice, 0), refused(0, 1000));
    assert_eq!(admit(&[nodelay(&zone, client(2), 0), nodelay(&zone, client(3), 0)], 0), admitted(0));
    assert_eq!(zone.len(), 3);
}

#[test]
fn two_new_keys_of_one_handshake_need_room_for_two() {
    let zone = zone("1r/s", 1);
    let hits = [nodelay(&zone, client(1), 0), nodelay(&zone, client(2), 0)];
    let refusal = Refusal { index: 1, retry_ms: 1000, zone_full: true };
    assert_eq!(admit(&hits, 0).answer, Err(refusal));
    assert!(zone.is_empty());
}

#[test]
fn a_known_key_of_one_handshake_needs_no_room_beside_a_new_one() {
    let zone = zone("1r/s", 2);
    assert_eq!(admit(&[nodelay(&zone, client(1), 5)], 0), admitted(0));
    assert_eq!(admit(&[nodelay(&zone, client(1), 5), nodelay(&zone, client(2), 0)], 0), admitted(0));
}

#[test]
fn a_drained_key_that_makes_room_in_its_own_handshake_does_not_overfill() {
    let zone = zone("1r/s", 1);
    assert_eq!(admit(&[nodelay(&zone, client(1), 0)], 0), admitted(0));
    let hits = [nodelay(&zone, client(1), 0), nodelay(&zone, client(2), 0)];
    assert!(admit(&hits, 5000).answer.is_err());
    assert!(zone.len() <= 1);
}

#[test]
fn a_zone_full_of_live_keys_refuses_new_ones_and_serves_the_known() {
    let zone = zone("1r/s", 10);
    for n in 0..10 {
        assert_eq!(count_let_in(&zone, client(n), 1, 0), 2);
    }
    let refusal = Refusal { index: 0, retry_ms: 1000, zone_full: true };
    assert_eq!(admit(&[nodelay(&zone, client(10), 1)], 0).answer, Err(refusal));
    assert_eq!((zone.len(), zone.capacity(), zone.full_count()), (10, 10, 1));
    assert_eq!(count_let_in(&zone, client(3), 1, 1000), 1);
    assert_eq!(admit(&[nodelay(&zone, client(10), 1)], 3000), admitted(0), "by then the others are drained");
}

#[test]
fn pinned_debtors_do_not_hide_the_drained_keys_behind_them() {
    let zone = zone("1r/s", 64);
    for n in 0..32 {
        assert_eq!(count_let_in(&zone, client(n), 10_000, 0), 10_001);
    }
    for n in 32..64 {
        assert_eq!(admit(&[nodelay(&zone, client(n), 0)], 0), admitted(0));
    }
    let tries = (64..).take_while(|n| admit(&[nodelay(&zone, client(*n), 0)], 5000).answer.is_err()).count();
    assert!(tries <= 32 / table::LOOK_WHEN_FULL, "{tries} refused");
    assert_eq!(count_let_in(&zone, client(0), 10_000, 5000), 5, "a debtor still owes");
}

#[test]
fn old_keys_go_while_new_ones_come() {
    let zone = zone("1r/s", 100_000);
    for n in 0..20_000 {
        assert!(admit(&[nodelay(&zone, client(n), 0)], u64::from(n)).answer.is_ok());
    }
    assert!(zone.len() < 3000, "{} of which about 1000 are live", zone.len());
}

#[test]
fn a_flood_of_a_million_keys_takes_no_memory_and_erases_no_debt() {
    let zone = zone("1r/s", 4096);
    let (debtor, burst) = (client(1), 5000);
    assert_eq!(count_let_in(&zone, debtor, burst, 0), 5001);
    let mut let_in = 0_u64;
    for n in 0..1_000_000_u64 {
        let fresh = Key::of_ip(IpAddr::V6(Ipv6Addr::from_bits(u128::from(0x2001_0db8_0000_0000 + n) << 64)));
        // Five a millisecond, and each is live for a second: more than there is room for.
        let_in += u64::from(admit(&[nodelay(&zone, fresh, 0)], n / 5).answer.is_ok());
    }
    assert!(zone.len() <= zone.capacity());
    assert_eq!(let_in + zone.full_count(), 1_000_000);
    assert!(zone.full_count() > 0 && let_in > 500_000, "{let_in} let in");
    assert_eq!(count_let_in(&zone, debtor, burst, 200_000), 200, "it owes all but what drained");
}

#[test]
fn a_changed_zone_keeps_what_is_owed() {
    let old = zone("1r/s", 100);
    assert_eq!(count_let_in(&old, client(1), 10, 0), 11);
    let new = old.changed("2r/s".parse().unwrap(), 1);
    assert_eq!(count_let_in(&new, client(1), 10, 1000), 2);
    assert!(admit(&[nodelay(&new, client(2), 0)], 1000).answer.is_err(), "there is room for one, and it is taken");
    assert_eq!((new.len(), new.full_count(), new.name()), (1, 1, "test"));
}

#[test]
fn a_zone_that_became_smaller_shrinks_as_its_keys_drain() {
    let old = zone("1r/s", 5000);
    for n in 0..5000 {
        let _ = admit(&[nodelay(&old, client(n), 0)], 0);
    }
    let new = old.changed("1r/s".parse().unwrap(), 100);
    for n in 5000..10_000 {
        let _ = admit(&[nodelay(&new, client(n), 0)], 2000);
    }
    assert!(new.len() <= 100, "{}", new.len());
}

#[test]
fn every_entry_of_a_zone_can_be_used_to_the_last_shard() {
    for entries in [1, 1023, 1024, 5001, 70_000, 1_000_000] {
        let zone = zone("1r/s", entries);
        let shards = zone.table.shards();
        let room: HashMap<usize, usize> =
            (0..20_000).map(|n| zone.place(client(n))).map(|(shard, capacity)| (address(shard), capacity)).collect();
        assert_eq!((room.len(), room.values().sum::<usize>()), (shards, entries));
    }
}

#[test]
fn threads_that_hammer_one_key_get_one_and_the_burst_in_all() {
    for round in 0..50 {
        let zone = zone("1r/m", 100);
        let start = Barrier::new(8);
        let let_in: usize = thread::scope(|scope| {
            let hammer = || {
                start.wait();
                (0..100).filter(|_| admit(&[nodelay(&zone, client(7), 20)], 1000).answer.is_ok()).count()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(hammer)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(let_in, 21, "round {round}");
    }
}

#[test]
fn threads_that_name_zones_in_opposite_order_neither_deadlock_nor_charge_by_halves() {
    let (a, b) = (zone("1r/m", 10_000), zone("1r/m", 10_000));
    let start = Barrier::new(8);
    let let_in: usize = thread::scope(|scope| {
        let hammer = |turned: bool| {
            start.wait();
            let one = |n: u32| {
                let mut hits = [nodelay(&a, client(n % 3), 1000), nodelay(&b, client(n % 3), 500)];
                if turned {
                    hits.reverse();
                }
                admit(&hits, 1000).answer.is_ok()
            };
            (0..3000).filter(|n| one(*n)).count()
        };
        let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || hammer(n % 2 == 0))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(let_in, 3 * 501);
    for n in 0..3 {
        assert_eq!(count_let_in(&a, client(n), 1000, 1000), 500, "the wide zone was charged for the admitted alone");
        assert_eq!(count_let_in(&b, client(n), 500, 1000), 0);
    }
}

#[test]
fn what_was_counted_elsewhere_is_owed_here_and_never_less_than_before() {
    let zone = zone("1r/s", 1);
    zone.owe(client(1), Bucket::owing(3 * Rate::ONE, 0));
    assert_eq!(count_let_in(&zone, client(1), 5, 0), 2);
    zone.owe(client(1), Bucket::owing(Rate::ONE, 1000));
    assert_eq!(
        zone.owed(client(1)),
        Some(Bucket::owing(5 * Rate::ONE, 0)),
        "4 are left of it, and that is more than 1"
    );
    let held = zone.hold(client(1), 1000).unwrap();
    zone.owe(client(1), Bucket::owing(9 * Rate::ONE, 1000));
    let within = *held.account().lock();
    assert_eq!(within, zone.owed(client(1)));
    assert_eq!(zone.owed(client(1)), Some(Bucket::owing(9 * Rate::ONE, 1000)));
    zone.owe(client(2), Bucket::owing(Rate::ONE, 1000));
    assert_eq!((zone.owed(client(2)), zone.len(), zone.full_count()), (None, 1, 1), "there is no room for another");
}

/// `admit` again, over maps that have room for everyone.
fn model(
    maps: &mut [HashMap<u32, Bucket>; 2],
    hits: &[(usize, u32, Limit, bool)],
    now: u64,
) -> (Result<u64, usize>, usize) {
    let mut after = maps.clone();
    let (mut longest, mut told) = (0, 0);
    for (index, (zone, key, limit, dry_run)) in hits.iter().enumerate() {
        let mut bucket = after[*zone].get(key).copied();
        let wait = match super::super::bucket::hit(&mut bucket, limit, Rate::ONE, now) {
            Verdict::Pass => 0,
            Verdict::Wait(ms) => ms,
            Verdict::Reject { .. } if *dry_run => {
                told += 1;
                continue;
            }
            Verdict::Reject { .. } => return (Err(index), told),
        };
        after[*zone].extend(bucket.map(|bucket| (*key, bucket)));
        told += usize::from(*dry_run && wait > 0);
        longest = longest.max(if *dry_run { 0 } else { wait });
    }
    *maps = after;
    (Ok(longest), told)
}

proptest! {
    #[test]
    fn several_limits_say_what_the_model_says(
        handshakes in vec((0..400_u64, vec((0..2_usize, 0..3_u32, 0..4000_u64, 0..3000_u64, any::<bool>()), 0..4)), 1..60),
    ) {
        let zones = [zone("10r/s", 5000), zone("100r/m", 10)];
        let mut maps = [HashMap::new(), HashMap::new()];
        let mut now = 0;
        for (step, typed) in handshakes {
            now += step;
            let hits: Vec<Hit<'_>> = typed
                .iter()
                .map(|&(z, n, burst, delay, dry_run)| Hit { zone: &zones[z], key: client(n), burst, delay, cost: Rate::ONE, dry_run })
                .collect();
            let limits: Vec<(usize, u32, Limit, bool)> = typed
                .iter()
                .map(|&(z, n, burst, delay, dry_run)| (z, n, Limit { rate: zones[z].rate, burst, delay }, dry_run))
                .collect();
            let outcome = admit(&hits, now);
            let expected = model(&mut maps, &limits, now);
            prop_assert_eq!((outcome.answer.map_err(|r| r.index), outcome.dry_runs.len()), expected);
        }
    }
}
