//! Caps that several gateways share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use wsgate::store::{Held, RemoteSlot, Settings, Taken};

use super::{Node, at, key};
use crate::harness::redis::Server;
use crate::harness::{until, within};

/// One that does not write everything anew while the test runs, so that what is to heal has to do so by itself.
fn lazy(server: &Server) -> Settings {
    let mut settings = at(server);
    settings.pace.rewrite = Duration::from_secs(600);
    settings
}

/// The cap `name` of one subject.
struct Cap(Arc<str>);

impl Cap {
    fn new(name: &str) -> Self {
        Self(name.into())
    }

    fn of(&self, who: &str, limit: u64) -> RemoteSlot<'_> {
        RemoteSlot { cap: &self.0, key: key(who), limit }
    }
}

async fn take(node: &Node, slots: &[RemoteSlot<'_>]) -> Result<Held, (usize, Option<Arc<str>>)> {
    match node.redis.take(slots).await.unwrap() {
        Taken::Held(held) => Ok(held),
        Taken::Full { index, oldest } => Err((index, oldest)),
    }
}

/// The same, until there is a place.
async fn take_in_the_end(node: &Node, slots: &[RemoteSlot<'_>]) -> Held {
    let taking = async {
        loop {
            if let Ok(held) = take(node, slots).await {
                return held;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("a place that is given back", taking).await
}

/// Fields of the hash of one cap and key.
fn fields(server: &Server, cap: &str, who: &str) -> Vec<String> {
    server.ask(&["HVALS", &format!("{{test}}:cap:{cap}:{}", key(who).to_hex())])
}

/// What all nodes together have stated of it.
fn stated(server: &Server, cap: &str, who: &str) -> u64 {
    let count = |field: &String| field.split(' ').next().unwrap().parse::<u64>().unwrap();
    fields(server, cap, who).iter().map(count).sum()
}

#[tokio::test]
async fn two_gateways_share_one_cap_and_what_is_dropped_is_given_back() {
    let server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    let cap = Cap::new("chat");
    let slot = [cap.of("alice", 3)];
    let mut held = vec![take(&one, &slot).await.unwrap(), take(&other, &slot).await.unwrap()];
    held.push(take(&one, &slot).await.unwrap());
    for node in [&one, &other] {
        assert_eq!(take(node, &slot).await.unwrap_err().0, 0);
    }
    assert!(take(&other, &[cap.of("bob", 3)]).await.is_ok());
    held.pop();
    until("the slot to be given back", || stated(&server, "chat", "alice") == 2).await;
    held.push(take(&other, &slot).await.unwrap());
    drop(held);
    until("all to be given back", || fields(&server, "chat", "alice").is_empty()).await;
    assert_eq!((one.redis.slots_held(), other.redis.slots_held()), (0, 0));
}

#[tokio::test]
async fn a_storm_of_sessions_never_takes_more_than_there_are() {
    let server = Server::start();
    // All that is held is written anew again and again, between the takes.
    let restless = || {
        let mut settings = at(&server);
        settings.pace.rewrite = Duration::from_millis(1);
        settings
    };
    let nodes = [Node::start(restless()).await, Node::start(restless()).await, Node::start(restless()).await];
    let cap = Cap::new("storm");
    for _ in 0..20 {
        let (nodes, cap) = (&nodes, &cap);
        let all = (0..90).map(|at| async move { take(&nodes[at % 3], &[cap.of("all", 10)]).await.ok() });
        let held: Vec<Held> = join_all(all).await.into_iter().flatten().collect();
        assert_eq!(held.len(), 10);
        assert_eq!(stated(&server, "storm", "all"), 10);
        drop(held);
        until("all to be given back", || fields(&server, "storm", "all").is_empty()).await;
    }
}

#[tokio::test]
async fn of_several_caps_all_are_taken_or_none() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    let (wide, narrow) = (Cap::new("wide"), Cap::new("narrow"));
    let first = take(&node, &[wide.of("a", 5), narrow.of("a", 1)]).await.unwrap();
    for _ in 0..3 {
        assert_eq!(take(&node, &[wide.of("a", 5), narrow.of("a", 1)]).await.unwrap_err().0, 1);
    }
    assert_eq!((stated(&server, "wide", "a"), node.redis.slots_held()), (1, 2));
    drop(first);
    until("both to be given back", || stated(&server, "wide", "a") + stated(&server, "narrow", "a") == 0).await;
}

#[tokio::test]
async fn a_gateway_that_was_killed_counts_no_more_when_its_time_is_over() {
    let server = Server::start();
    let mortal = || {
        let mut settings = lazy(&server);
        settings.pace.ttl = Duration::from_secs(3);
        settings
    };
    let (one, other) = (Node::start(mortal()).await, Node::start(mortal()).await);
    let cap = Cap::new("chat");
    let slot = [cap.of("alice", 1)];
    let held = take(&one, &slot).await.unwrap();
    one.kill();
    assert!(take(&other, &slot).await.is_err(), "its time is not over");
    let _second = take_in_the_end(&other, &slot).await;
    assert_eq!(fields(&server, "chat", "alice").len(), 1, "and its field is not");
    drop(held);
}

#[tokio::test]
async fn a_gateway_that_leaves_counts_no_more_at_once() {
    let server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    let cap = Cap::new("chat");
    let _held = take(&one, &[cap.of("alice", 1)]).await.unwrap();
    one.redis.leave().await;
    assert!(take(&other, &[cap.of("alice", 1)]).await.is_ok());
}

#[tokio::test]
async fn a_server_that_was_flushed_is_told_again() {
    let server = Server::start();
    let (one, other) = (Node::start(lazy(&server)).await, Node::start(lazy(&server)).await);
    let cap = Cap::new("chat");
    let _held = [take(&one, &[cap.of("alice", 2)]).await.unwrap(), take(&one, &[cap.of("bob", 2)]).await.unwrap()];
    server.flush();
    let again = || stated(&server, "chat", "alice") == 1 && stated(&server, "chat", "bob") == 1;
    until("what is held to be stated again", again).await;
    let _second = take(&other, &[cap.of("alice", 2)]).await.unwrap();
    assert!(take(&other, &[cap.of("alice", 2)]).await.is_err());
}

#[tokio::test]
async fn a_count_that_somebody_changed_is_set_right() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    let cap = Cap::new("chat");
    let _held = take(&node, &[cap.of("alice", 9)]).await.unwrap();
    let name = format!("{{test}}:cap:chat:{}", key("alice").to_hex());
    let [field] = server.ask::<Vec<String>>(&["HKEYS", &name]).try_into().unwrap();
    server.ask::<i64>(&["HSET", &name, &field, "7 1 0"]);
    until("the count to be set right", || stated(&server, "chat", "alice") == 1).await;
}

#[tokio::test]
async fn what_is_held_without_asking_is_counted_as_soon_as_the_server_is_there() {
    let mut server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    server.kill();
    one.is(wsgate::store::State::Open).await;
    let cap = Cap::new("chat");
    let held = one.redis.hold(&[cap.of("alice", 1)]);
    server.restart();
    until("it to be counted", || stated(&server, "chat", "alice") == 1).await;
    other.is(wsgate::store::State::Closed).await;
    assert!(take(&other, &[cap.of("alice", 1)]).await.is_err());
    drop(held);
    until("it to be given back", || stated(&server, "chat", "alice") == 0).await;
}

#[tokio::test]
async fn a_full_cap_names_the_gateway_of_the_oldest_session_which_hears_that_it_is_to_end() {
    let server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    let cap = Cap::new("my chat");
    let slot = [cap.of("alice", 2)];
    let first = take(&one, &slot).await.unwrap();
    // Ages are whole milliseconds of the server's.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let _second = take(&other, &slot).await.unwrap();
    for asking in [&one, &other] {
        let (_, oldest) = take(asking, &slot).await.unwrap_err();
        assert!(asking.redis.evict(&oldest.unwrap(), "my chat", key("alice")).await.unwrap());
    }
    one.hears("Evict { cap: \"my chat\"").await;
    assert!(!other.heard.lock().unwrap().iter().any(|told| told.contains("Evict")));
    // The next one is let in while the oldest ends.
    let _third = other.redis.hold(&slot);
    drop(first);
    // Two are stated before either of both is, too.
    let both_told = || (fields(&server, "my chat", "alice").len(), stated(&server, "my chat", "alice")) == (1, 2);
    until("the oldest to be gone, and the third to be there", both_told).await;
    let (_, oldest) = take(&one, &slot).await.unwrap_err();
    assert!(other.redis.evict(&oldest.unwrap(), "my chat", key("alice")).await.unwrap());
    other.hears("Evict { cap: \"my chat\"").await;
}

#[tokio::test]
async fn a_flood_that_one_cap_refuses_takes_no_place_of_another() {
    let server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    let (total, per_ip) = (Cap::new("total"), Cap::new("per_ip"));
    let _full = take(&one, &[per_ip.of("attacker", 1)]).await.unwrap();
    let (hostile, honest) = ([total.of("all", 20), per_ip.of("attacker", 1)], [total.of("all", 20)]);
    let flood = join_all((0..200).map(|_| take(&one, &hostile)));
    let honest = join_all((0..20).map(|_| take(&other, &honest)));
    let (flood, honest) = tokio::join!(flood, honest);
    assert!(flood.iter().all(|answer| matches!(answer, Err((1, _)) | Err((0, _)))));
    assert_eq!(honest.iter().filter(|answer| answer.is_ok()).count(), 20);
}

#[tokio::test]
async fn a_take_whose_caller_went_away_holds_nothing() {
    let server = Server::start();
    let node = Node::start(lazy(&server)).await;
    let cap = Cap::new("chat");
    let slots = [cap.of("alice", 1)];
    for _ in 0..20 {
        // It is sent, and nobody waits for the answer.
        let mut asking = std::pin::pin!(node.redis.take(&slots));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asking.as_mut().poll(&mut context).is_pending());
    }
    until("what was asked for to be given back", || node.redis.slots_held() == 0).await;
    let _taken = take_in_the_end(&node, &slots).await;
}

/// Or it would count as gone in the midst of a storm, and others would give its places away.
#[tokio::test]
async fn a_gateway_whose_sessions_come_and_go_without_a_pause_shows_that_it_lives() {
    let server = Server::start();
    let node = Node::start(lazy(&server)).await;
    let (redis, ended) = (node.redis.clone(), Arc::new(AtomicBool::new(false)));
    let storm = thread::spawn({
        let ended = ended.clone();
        move || {
            let (cap, mut held) = (Cap::new("storm"), Vec::new());
            // One half comes before the other goes, so that there is always something to be told.
            for half in [0, 1000].into_iter().cycle().take_while(|_| !ended.load(Ordering::Relaxed)) {
                let hold = |who: i32| redis.hold(&[cap.of(&who.to_string(), 1)]);
                held = (half..half + 1000).map(hold).collect::<Vec<Held>>();
            }
            drop(held);
        }
    });
    let lives_until = || server.ask::<Vec<String>>(&["ZRANGE", "{test}:nodes", "0", "0", "WITHSCORES"]);
    let (mut before, mut signs) = (lives_until(), 0);
    until("ten signs of life, of which one is due each 100 ms", || {
        let now = lives_until();
        signs += u32::from(std::mem::replace(&mut before, now.clone()) != now);
        signs == 10
    })
    .await;
    ended.store(true, Ordering::Relaxed);
    storm.join().unwrap();
    until("all to be given back", || node.redis.slots_held() == 0).await;
}
