//! Redis that stops, hangs, refuses, and comes back.

use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use wsgate::store::{RemoteHit, Settings, State, Unavailable};

use super::{Node, at, count, key};
use crate::harness::redis::Server;
use crate::harness::until;

const TIMEOUT: Duration = Duration::from_millis(50);

fn quick(server: &Server) -> Settings {
    let mut settings = at(server);
    settings.remote.timeout = TIMEOUT;
    settings
}

async fn charge(node: &Node) -> Result<(), Unavailable> {
    let rate = "1000000r/s".parse().unwrap();
    let hit = RemoteHit { zone: "z", key: key("a"), rate, burst: 0, delay: 0, cost: 1000, dry_run: false };
    node.redis.charge(&[hit]).await.map(|_| ())
}

/// Whether it answers again, sooner or later.
async fn recovers(node: &Node) {
    // Nobody asks meanwhile: it finds out by itself.
    node.is(State::Closed).await;
    let mut answered = charge(node).await;
    for _ in 0..100 {
        if answered.is_ok() {
            break;
        }
        node.is(State::Closed).await;
        answered = charge(node).await;
    }
    assert!(answered.is_ok(), "{answered:?}");
}

#[tokio::test]
async fn a_store_begins_without_its_server_and_finds_it_later() {
    let mut server = Server::start();
    server.kill();
    let node = Node::begin(at(&server));
    until("a try to connect", || node.redis.state() == State::HalfOpen || node.redis.state() == State::Open).await;
    assert_eq!(charge(&node).await, Err(Unavailable::Open));
    server.restart();
    recovers(&node).await;
    node.hears("Connected").await;
}

#[tokio::test]
async fn a_server_that_dies_is_missed_at_once_and_found_again_by_itself() {
    let mut server = Server::start();
    let node = Node::start(at(&server)).await;
    for _ in 0..3 {
        assert_eq!(charge(&node).await, Ok(()));
        server.kill();
        until("the end to be noticed", || node.redis.state() != State::Closed).await;
        // Nobody is asked, so nobody waits.
        assert_eq!(charge(&node).now_or_never(), Some(Err(Unavailable::Open)));
        server.restart();
        recovers(&node).await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_costs_a_few_callers_their_time_and_no_memory() {
    let server = Server::start();
    let node = Node::start(quick(&server)).await;
    assert!(charge(&node).await.is_ok());
    server.hang();
    // More than may be under way: the others are told at once.
    let all = join_all((0..5000).map(|_| charge(&node))).await;
    let count = |why| all.iter().filter(|answer| **answer == Err(why)).count();
    assert_eq!(all.iter().filter(|answer| answer.is_ok()).count(), 0);
    assert_eq!(
        count(Unavailable::Timeout) + count(Unavailable::Busy) + count(Unavailable::Open) + count(Unavailable::Lost),
        5000
    );
    assert!(count(Unavailable::Timeout) + count(Unavailable::Lost) <= 1024, "bounded by what may be under way");
    assert!(count(Unavailable::Busy) >= 5000 - 1024 - count(Unavailable::Open));
    until("the breaker to open", || node.redis.state() != State::Closed).await;
    assert_eq!(charge(&node).now_or_never(), Some(Err(Unavailable::Open)));
    server.go_on();
    recovers(&node).await;
}

#[tokio::test]
async fn a_server_that_hangs_while_nobody_asks_is_noticed_too() {
    let server = Server::start();
    let node = Node::start(quick(&server)).await;
    server.hang();
    until("the breaker to open", || node.redis.state() != State::Closed).await;
    server.go_on();
    recovers(&node).await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_brought_again() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    assert!(charge(&node).await.is_ok());
    server.ask::<()>(&["SCRIPT", "FLUSH"]);
    assert_eq!(charge(&node).await, Ok(()));
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_not_asked_until_it_does() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    // A replica of nobody answers READONLY, as a master does after a failover.
    server.ask::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(matches!(charge(&node).await, Err(Unavailable::Lost | Unavailable::Open)));
    until("the breaker to open", || node.redis.state() != State::Closed).await;
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    recovers(&node).await;
}

#[tokio::test]
async fn a_full_server_refuses_and_works_again_when_there_is_room() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(charge(&node).await);
    }
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    recovers(&node).await;
}

#[tokio::test]
async fn metrics_tell_how_it_stands() {
    let mut server = Server::start();
    let node = Node::start(at(&server)).await;
    assert!(charge(&node).await.is_ok());
    server.kill();
    until("the end to be noticed", || node.redis.state() != State::Closed).await;
    assert!(charge(&node).await.is_err());
    node.redis.fell_back();
    for (sample, expected) in [
        ("wsgate_redis_duration_seconds_count{operation=\"charge\"}", 1),
        ("wsgate_redis_duration_seconds_count{operation=\"connect\"}", 1),
        ("wsgate_redis_errors_total{operation=\"charge\",kind=\"open\"}", 1),
        ("wsgate_redis_errors_total{operation=\"lease\",kind=\"timeout\"}", 0),
        ("wsgate_redis_fallbacks_total{on_error=\"local\"}", 1),
    ] {
        assert_eq!(count(&node.redis, sample), expected, "{sample}");
    }
    assert_ne!(count(&node.redis, "wsgate_redis_breaker"), 0);
}
