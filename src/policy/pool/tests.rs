use proptest::prelude::*;

use super::*;
use crate::policy::pool::ejection::Terms;

const CHECKS: health::Terms = health::Terms { rise: 1, fall: 1 };

fn servers(count: u8) -> Vec<Server> {
    (1..=count).map(|n| Server::plain(format!("10.0.0.{n}:80").parse().unwrap())).collect()
}

/// An upstream and its pool, in which servers have the numbers from 0.
fn pool(servers: &[Server]) -> (Upstream, Pool) {
    let mut upstream = Upstream::of_one("u".into(), 0, servers[0].clone(), false);
    upstream.servers = servers.to_vec();
    upstream.ejection = Terms { max_fails: 1, fail_timeout: 1000 };
    let mut pool = Pool::default();
    pool.sync(servers, 0);
    (upstream, pool)
}

fn turns(pool: &mut Pool, upstream: &Upstream, now: u64, count: usize) -> Vec<Id> {
    (0..count).map(|_| pool.pick(upstream, None, &[], now).unwrap().id).collect()
}

#[test]
fn a_server_that_failed_is_left_out_tried_once_and_back_by_that() {
    let (upstream, mut pool) = pool(&servers(2));
    assert_eq!(pool.failed(0, &upstream, 0, 0), Some(1000));
    assert_eq!(turns(&mut pool, &upstream, 999, 3), [1, 1, 1]);
    let both = [pool.pick(&upstream, None, &[1], 1000), pool.pick(&upstream, None, &[], 1000)].map(Result::unwrap);
    assert_eq!(both.map(|picked| (picked.id, picked.trial, picked.panic)), [(0, true, false), (1, false, false)]);
    assert_eq!(pool.members()[0].state(1000), State::Ejected);
    assert!(pool.succeeded(0, true, 1001));
    assert_eq!(pool.members()[0].state(1001), State::Up);
}

#[test]
fn where_a_time_out_is_over_a_good_check_lets_a_server_in_again() {
    let (upstream, mut pool) = pool(&servers(2));
    assert_eq!(pool.failed(0, &upstream, 0, 0), Some(1000));
    assert_eq!(pool.checked(0, true, CHECKS, 999), None, "it is not over");
    assert_eq!(pool.checked(0, true, CHECKS, 1000), Some(true));
    assert_eq!(pool.checked(0, true, CHECKS, 1001), None);
    let both = [pool.pick(&upstream, None, &[1], 1001), pool.pick(&upstream, None, &[1], 1001)].map(Result::unwrap);
    assert!(both.iter().all(|picked| !picked.trial), "{both:?}");
}

#[test]
fn the_last_one_that_is_well_is_not_ejected() {
    let (upstream, mut pool) = pool(&servers(3));
    assert!(pool.failed(0, &upstream, 0, 0).is_some());
    assert_eq!(pool.checked(1, false, CHECKS, 0), Some(false));
    assert_eq!(pool.failed(2, &upstream, 0, 0), None);
    assert_eq!(turns(&mut pool, &upstream, 0, 2), [2, 2]);
}

#[test]
fn where_none_is_thought_to_be_well_all_are_tried_but_the_drained() {
    let (upstream, mut pool) = pool(&servers(3));
    for id in 0..3 {
        pool.checked(id, false, CHECKS, 0);
    }
    pool.drain(2, true, 0);
    let picked = pool.pick(&upstream, None, &[], 0).unwrap();
    assert!(picked.panic && picked.trial && picked.id < 2, "{picked:?}");
    pool.drain(0, true, 0);
    pool.drain(1, true, 0);
    assert_eq!(pool.pick(&upstream, None, &[], 0), Err(Nobody::Left));
    assert!(pool.drain(0, false, 0) && !pool.drain(0, false, 0));
    assert!(pool.pick(&upstream, None, &[], 0).is_ok());
}

#[test]
fn a_backup_is_for_when_the_others_are_full_or_not_well() {
    let mut all = servers(3);
    all[2].backup = true;
    all[0].max_connections = Some(1);
    let (upstream, mut pool) = pool(&all);
    pool.checked(1, false, CHECKS, 0);
    assert_eq!(turns(&mut pool, &upstream, 0, 3), [0, 2, 2]);
    pool.release(0);
    assert_eq!(turns(&mut pool, &upstream, 0, 1), [0]);
}

#[test]
fn a_server_that_is_full_gets_none_and_one_that_is_not_well_is_no_way_out() {
    let mut all = servers(2);
    all[0].max_connections = Some(2);
    let (upstream, mut pool) = pool(&all);
    pool.checked(1, false, CHECKS, 0);
    assert_eq!(turns(&mut pool, &upstream, 0, 2), [0, 0]);
    assert_eq!(pool.pick(&upstream, None, &[], 0), Err(Nobody::Full));
    assert!(!pool.release(0));
    assert_eq!(turns(&mut pool, &upstream, 0, 1), [0]);
    pool.checked(0, false, CHECKS, 0);
    assert_eq!(turns(&mut pool, &upstream, 0, 1), [1], "nobody is well, and this one is not full");
}

#[test]
fn who_was_tried_is_not_tried_again() {
    let (upstream, mut pool) = pool(&servers(2));
    let first = pool.pick(&upstream, None, &[], 0).unwrap().id;
    let second = pool.pick(&upstream, None, &[first], 0).unwrap().id;
    assert_ne!(first, second);
    assert_eq!(pool.pick(&upstream, None, &[first, second], 0), Err(Nobody::Left));
}

#[test]
fn a_server_that_is_back_starts_slowly_and_those_of_the_first_day_do_not() {
    let (mut upstream, mut pool) = pool(&servers(2));
    upstream.slow_start = 10_000;
    let of_first = |turns: Vec<Id>| turns.iter().filter(|id| **id == 0).count();
    assert_eq!(of_first(turns(&mut pool, &upstream, 0, 100)), 50);
    pool.checked(0, false, CHECKS, 0);
    assert_eq!(pool.checked(0, true, CHECKS, 1000), Some(true));
    let early = of_first(turns(&mut pool, &upstream, 1000, 100));
    assert!((1..=2).contains(&early), "{early}");
    let half_way = of_first(turns(&mut pool, &upstream, 6000, 300));
    assert!((95..=105).contains(&half_way), "a half of a share beside a whole one: {half_way}");
    assert_eq!(of_first(turns(&mut pool, &upstream, 11_000, 100)), 50);
    // As slowly after a time out.
    assert_eq!(pool.failed(0, &upstream, 11_000, 0), Some(1000));
    assert!(pool.succeeded(0, true, 12_000));
    let early = of_first(turns(&mut pool, &upstream, 12_000, 100));
    assert!((1..=2).contains(&early), "{early}");
}

#[test]
fn who_left_keeps_its_sessions_and_who_stayed_keeps_what_is_known_of_it() {
    let (upstream, mut pool) = pool(&servers(3));
    assert_eq!(turns(&mut pool, &upstream, 0, 3).len(), 3);
    pool.drain(1, true, 0);
    assert_eq!(pool.sync(&servers(3)[1..], 5), Change::default(), "it has a session still");
    assert_eq!(pool.members()[0].state(5), State::Gone);
    assert_eq!(turns(&mut pool, &upstream, 5, 2), [2, 2]);
    assert!(pool.release(0), "that was its last");
    assert_eq!(pool.members().iter().map(|member| member.id).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(pool.members()[0].state(5), State::Drained);
    assert_eq!(pool.sync(&servers(4)[1..], 6), Change { came: vec![3], went: vec![] });
    pool.release(1);
    assert_eq!(pool.sync(&servers(4)[2..], 7), Change { came: vec![], went: vec![1] });
}

#[test]
fn a_server_that_comes_back_while_it_has_sessions_is_the_same_one() {
    let (upstream, mut pool) = pool(&servers(1));
    let id = pool.pick(&upstream, None, &[], 0).unwrap().id;
    pool.sync(&[Server::plain("10.0.0.9:80".parse().unwrap())], 1);
    pool.sync(&servers(1), 2);
    assert_eq!((pool.members()[0].id, pool.members()[0].in_use), (id, 1));
    assert_eq!(pool.members()[0].state(2), State::Up);
}

#[test]
fn a_key_stays_where_it_is_but_for_what_is_full_or_not_well() {
    let mut all = servers(5);
    all.iter_mut().for_each(|server| server.max_connections = Some(1));
    let (mut upstream, mut pool) = pool(&all);
    upstream.balance = Balance::Hash;
    let key = Some(Key::shared(b"alice"));
    let first = pool.pick(&upstream, key, &[], 0).unwrap().id;
    let second = pool.pick(&upstream, key, &[], 0).unwrap().id;
    assert_ne!(first, second);
    pool.release(first);
    assert_eq!(pool.pick(&upstream, key, &[], 0).unwrap().id, first);
}

proptest! {
    /// Whatever happens: while a server is there that nobody drained and that has room, a handshake gets one; what is held is
    /// what was taken and not given back; and never are all ejected.
    #[test]
    fn somebody_is_always_left(
        count in 1_u8..6, events in prop::collection::vec((0_u8..7, 0_u32..6, 0_u64..1500, any::<u64>()), 0..200),
    ) {
        let (upstream, mut pool) = pool(&servers(count));
        let (mut now, mut held) = (0, Vec::new());
        for (what, id, later, chance) in events {
            now += later;
            match what {
                0 | 1 => {
                    if let Ok(picked) = pool.pick(&upstream, None, &[], now) {
                        held.push(picked.id);
                    }
                }
                2 => { pool.failed(id, &upstream, now, chance); }
                3 => { pool.succeeded(id, chance % 2 == 0, now); }
                4 => { pool.checked(id, chance % 2 == 0, CHECKS, now); }
                5 => { pool.drain(id, chance % 3 == 0, now); }
                _ => if let Some(id) = held.pop() { pool.release(id); }
            }
            let states: Vec<State> = pool.members().iter().map(|member| member.state(now)).collect();
            let free = pool.members().iter().any(|member| !member.drained);
            let picked = pool.pick(&upstream, None, &[], now);
            prop_assert_eq!(picked.is_ok(), free, "{:?}", states);
            if let Ok(picked) = picked {
                pool.release(picked.id);
                pool.abandoned(picked.id, picked.trial);
            }
            prop_assert_eq!(pool.members().iter().map(|member| member.in_use).sum::<usize>(), held.len());
        }
    }

    /// By failures alone, one is always in.
    #[test]
    fn failures_never_eject_the_last(count in 1_u8..6, fails in prop::collection::vec((0_u32..6, 0_u64..3000), 0..100)) {
        let (upstream, mut pool) = pool(&servers(count));
        let mut now = 0;
        for (id, later) in fails {
            now += later;
            pool.failed(id, &upstream, now, 0);
            let is_in = |member: &Member| member.ejection.standing(now) != ejection::Standing::Out;
            prop_assert!(pool.members().iter().any(is_in));
        }
    }
}

#[test]
fn a_second_try_is_no_panic_while_the_first_was_at_one_that_is_well() {
    let (upstream, mut pool) = pool(&servers(2));
    assert_eq!(pool.failed(1, &upstream, 0, 0), Some(1000));
    let first = pool.pick(&upstream, None, &[], 0).unwrap();
    assert_eq!((first.id, first.trial, first.panic), (0, false, false));
    let second = pool.pick(&upstream, None, &[0], 0).unwrap();
    assert_eq!((second.id, second.trial, second.panic), (1, true, false));
    pool.checked(0, false, CHECKS, 0);
    assert!(pool.pick(&upstream, None, &[], 0).unwrap().panic);
}

#[test]
fn a_server_that_is_drained_is_so_when_it_comes_back_however_many_come_and_go() {
    let (_, mut pool) = pool(&servers(2));
    assert!(pool.drain(0, true, 0));
    for time in 1..=3 {
        pool.sync(&servers(2)[1..], time);
        assert_eq!(pool.members().len(), 1);
        pool.sync(&servers(2), time);
        assert_eq!(pool.members()[1].state(time), State::Drained);
    }
    let back = pool.members()[1].id;
    assert!(pool.drain(back, false, 9));
    pool.sync(&servers(2)[1..], 9);
    pool.sync(&servers(2), 9);
    assert_eq!(pool.members()[1].state(9), State::Up);
    // Nobody makes it remember without an end.
    for n in 0..2 * MOST as u32 {
        let address = format!("10.1.{}.{}:80", n / 256, n % 256);
        pool.sync(&[Server::plain(address.parse().unwrap())], 10);
        pool.drain(pool.members()[0].id, true, 10);
    }
    assert_eq!(pool.drained.len(), MOST);
}
