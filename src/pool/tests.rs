use std::time::Duration;

use super::*;
use crate::config::{Balance, HealthKind};
use crate::deny::Deny;
use crate::policy::pool::settings::{Checks, Server as Line};
use crate::policy::pool::{ejection, health};

fn upstream(servers: &[&str]) -> Upstream {
    let line = |server: &&str| Line::plain(server.parse().unwrap());
    Upstream {
        servers: servers.iter().map(line).collect(),
        retries: 2,
        ejection: ejection::Terms { max_fails: 1, fail_timeout: 1000 },
        balance: Balance::RoundRobin,
        resolve: Some(60_000),
        ..Upstream::of_one("u".into(), 0, line(&servers[0]), false)
    }
}

fn pools() -> Pools {
    Pools::new(Clock::stopped(), keep::system())
}

fn take_over(pools: &Pools, upstream: Upstream) -> Arc<Pool> {
    pools.take_over(&[(Arc::new(upstream), None)]).remove(0)
}

fn states(pool: &Pool) -> Vec<(String, State, u64)> {
    pool.fill().servers.iter().map(|server| (server.server.to_string(), server.state, server.sessions)).collect()
}

fn label(trial: &Trial) -> String {
    trial.server().unwrap().label.to_string()
}

#[test]
fn what_is_known_of_a_server_outlives_a_config() {
    let pools = pools();
    let pool = take_over(&pools, upstream(&["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]));
    let lease = pool.take(None, &[]).unwrap().succeeded().unwrap();
    pool.take(None, &[]).unwrap().failed(Deny::UpstreamConnect, true);
    let third = pool.take(None, &[]).unwrap().succeeded().unwrap();
    assert!(pool.drain(third.server(), true));
    let again = take_over(&pools, upstream(&["10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1"]));
    assert!(Arc::ptr_eq(&pool, &again));
    let expected = [
        ("10.0.0.1:1", State::Gone, 1),
        ("10.0.0.2:1", State::Ejected, 0),
        ("10.0.0.3:1", State::Drained, 1),
        ("10.0.0.4:1", State::Up, 0),
    ];
    assert_eq!(states(&pool), expected.map(|(server, state, sessions)| (server.to_owned(), state, sessions)));
    assert!(third.server().is_drained());
    drop((lease, third));
    assert_eq!(states(&pool).len(), 3, "nothing is left of the first");
}

#[test]
fn no_session_begins_on_a_server_that_was_drained_before_it_went_and_came_back() {
    let (pools, both) = (pools(), ["10.0.0.1:1", "10.0.0.2:1"]);
    let pool = take_over(&pools, upstream(&both));
    assert!(pool.drain(&pool.present()[0], true));
    take_over(&pools, upstream(&both[1..]));
    take_over(&pools, upstream(&both));
    let back = pool.present().into_iter().find(|server| *server.label == *both[0]).unwrap();
    assert!(back.is_drained());
    assert!(pool.drain(&back, false) && !back.is_drained());
}

#[test]
fn what_checks_said_is_forgotten_with_the_checks() {
    let (pools, servers) = (pools(), ["10.0.0.1:1", "10.0.0.2:1"]);
    let checks = Checks {
        preamble: Vec::new(),
        kind: HealthKind::Tcp,
        path: "/".to_owned(),
        host: None,
        interval: 1000,
        timeout: 1000,
        terms: health::Terms { rise: 1, fall: 1 },
    };
    let checked = || Upstream { health: Some(checks.clone()), ..upstream(&servers) };
    let pool = take_over(&pools, checked());
    let first = |pool: &Pool| states(pool)[0].1;
    pool.checked(&pool.present()[0], Err("no answer"));
    assert_eq!(first(&pool), State::Down);
    take_over(&pools, checked());
    assert_eq!(first(&pool), State::Down, "it is checked still");
    take_over(&pools, upstream(&servers));
    assert_eq!(first(&pool), State::Up, "nobody would ever see that it is well again");
}

#[test]
fn an_upstream_that_is_not_there_any_more_is_forgotten_with_its_last_session() {
    let pools = pools();
    let pool = take_over(&pools, upstream(&["10.0.0.1:1"]));
    let lease = pool.take(None, &[]).unwrap().succeeded().unwrap();
    let weak = Arc::downgrade(&pool);
    pools.take_over(&[]);
    assert_eq!(states(&pool), [("10.0.0.1:1".to_owned(), State::Gone, 1)]);
    assert!(pool.present().is_empty(), "nobody checks it");
    // A handshake that began by the config before.
    let late = pool.take(None, &[]).unwrap().succeeded().unwrap();
    drop((pool, lease));
    assert_eq!(pools.all().len(), 1);
    drop(late);
    assert!(pools.all().is_empty() && weak.upgrade().is_none());
}

#[test]
fn a_handshake_is_sent_on_the_terms_that_its_server_was_chosen_on() {
    let pools = pools();
    let pool = take_over(&pools, upstream(&["10.0.0.1:1"]));
    let before = pool.take(None, &[]).unwrap();
    let secure = Upstream { tls: true, ..upstream(&["10.0.0.1:1"]) };
    take_over(&pools, secure);
    let after = pool.take(None, &[]).unwrap();
    assert!(!before.terms().upstream.tls && before.terms().fit());
    assert!(after.terms().upstream.tls && !after.terms().fit(), "without TLS nothing goes there");
}

#[test]
fn a_handshake_that_came_to_nothing_says_nothing_of_its_server_and_leaves_the_trial_to_the_next() {
    let pools = pools();
    let pool = take_over(&pools, upstream(&["10.0.0.1:1", "10.0.0.2:1"]));
    pool.take(None, &[]).unwrap().failed(Deny::UpstreamTimeout, true);
    pool.clock.advance(Duration::from_millis(1250));
    let both = [pool.take(None, &[]).unwrap(), pool.take(None, &[]).unwrap()];
    let on_trial = |trials: &[Trial]| trials.iter().filter(|trial| label(trial) == "10.0.0.1:1").count();
    assert_eq!(on_trial(&both), 1, "one at a time");
    assert_eq!(states(&pool)[0].1, State::Ejected);
    drop(both);
    let both = [pool.take(None, &[]).unwrap(), pool.take(None, &[]).unwrap()];
    assert_eq!(on_trial(&both), 1);
    let leases = both.map(|trial| trial.succeeded().unwrap());
    assert_eq!(states(&pool)[0], ("10.0.0.1:1".to_owned(), State::Up, 1));
    drop(leases);
}

fn full(queue: usize) -> Upstream {
    let mut upstream = upstream(&["10.0.0.1:1"]);
    upstream.servers[0].max_connections = Some(1);
    upstream.queue = queue;
    upstream
}

fn waiting(pool: &Arc<Pool>) -> Waiting {
    match pool.take_or_wait(None) {
        Turn::Later(waiting) => waiting,
        Turn::Now(_) | Turn::QueueFull | Turn::Nobody => panic!("it does not have to wait"),
    }
}

#[tokio::test]
async fn who_waits_is_served_in_turn_and_nobody_comes_before_him() {
    let pools = pools();
    let pool = take_over(&pools, full(2));
    let held = pool.take(None, &[]).unwrap();
    let (first, second) = (waiting(&pool), waiting(&pool));
    assert!(matches!(pool.take_or_wait(None), Turn::QueueFull));
    drop(held);
    assert_eq!(pool.take(None, &[]).err(), Some(Nobody::Full));
    let given = first.turn(1000).await.unwrap();
    assert_eq!(pool.fill().waiting, 1);
    drop(given);
    let given = second.turn(1000).await.unwrap();
    assert_eq!((pool.fill().waiting, states(&pool)[0].2), (0, 1));
    drop(given);
    assert_eq!(states(&pool)[0].2, 0);
}

#[tokio::test]
async fn who_does_not_wait_any_more_leaves_no_trace_in_the_queue() {
    let pools = pools();
    let pool = take_over(&pools, full(3));
    let held = pool.take(None, &[]).unwrap();
    let (first, second, third) = (waiting(&pool), waiting(&pool), waiting(&pool));
    drop(first);
    assert_eq!(pool.fill().waiting, 2);
    assert!(matches!(second.turn(0).await, Err(Nobody::Full)), "his time is over");
    drop(held);
    // What he was given and did not take goes back.
    drop(third);
    assert_eq!((pool.fill().waiting, states(&pool)[0].2), (0, 0));
    assert!(matches!(pool.take_or_wait(None), Turn::Now(_)));
}

#[tokio::test]
async fn who_waits_is_served_when_a_config_or_an_operator_makes_room() {
    let pools = pools();
    let pool = take_over(&pools, full(2));
    let held = pool.take(None, &[]).unwrap();
    let first = waiting(&pool);
    let mut wider = full(2);
    wider.servers[0].max_connections = Some(2);
    take_over(&pools, wider);
    let given = first.turn(1000).await.unwrap();
    assert_eq!(states(&pool)[0].2, 2);
    drop((held, given));
}
