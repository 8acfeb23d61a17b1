//! Rates and budgets that several gateways share.

use futures_util::future::join_all;
use wsgate::config::value::Rate;
use wsgate::policy::zone::{DryRun, Outcome, Refusal};
use wsgate::store::{Granted, RemoteBudget, RemoteHit};

use super::{Node, at, key};
use crate::harness::redis::Server;

fn hit<'a>(zone: &'a str, who: &str, rate: &str, burst: u64) -> RemoteHit<'a> {
    RemoteHit {
        zone,
        key: key(who),
        rate: rate.parse().unwrap(),
        burst: burst * 1000,
        delay: u64::MAX,
        cost: 1000,
        dry_run: false,
    }
}

async fn admits(node: &Node, hits: &[RemoteHit<'_>]) -> bool {
    node.redis.charge(hits).await.unwrap().answer.is_ok()
}

/// Milliseconds on the server's clock.
fn time(server: &Server) -> u64 {
    let (seconds, micros): (u64, u64) = server.ask(&["TIME"]);
    seconds * 1000 + micros / 1000
}

#[tokio::test]
async fn two_gateways_share_one_budget_and_never_admit_more_than_the_bound() {
    let server = Server::start();
    let nodes = [Node::start(at(&server)).await, Node::start(at(&server)).await];
    let began = time(&server);
    let mut admitted = 0;
    for _ in 0..20 {
        let nodes = &nodes;
        let asked =
            (0..10).map(|at| async move { admits(&nodes[at % 2], &[hit("logins", "alice", "50r/s", 20)]).await });
        admitted += join_all(asked).await.into_iter().filter(|yes| *yes).count() as u64;
    }
    let ms = time(&server) - began;
    assert!(admitted >= 21, "{admitted} of the burst");
    // limits.md: 1 + floor((burst + rate * T) / 1000).
    let bound = 1 + (20_000 + 50 * (ms + 1)) / 1000;
    assert!(admitted <= bound, "{admitted} in {ms} ms, and the bound is {bound}");
}

#[tokio::test]
async fn of_several_limits_all_are_charged_or_none() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    let (wide, narrow) = (hit("wide", "a", "1/hour", 2), hit("narrow", "a", "1/hour", 0));
    assert!(admits(&node, &[wide, narrow]).await);
    for _ in 0..5 {
        let refused = node.redis.charge(&[wide, narrow]).await.unwrap();
        let Err(Refusal { index: 1, retry_ms, zone_full: false }) = refused.answer else { panic!("{refused:?}") };
        assert!((3_500_000..=3_600_000).contains(&retry_ms), "{retry_ms}");
    }
    // The refusals cost the first limit nothing: its burst of two is there.
    assert!(admits(&node, &[wide]).await && admits(&node, &[wide]).await);
    assert!(!admits(&node, &[wide]).await);
    // Keys and zones are apart.
    assert!(admits(&node, &[hit("wide", "b", "1/hour", 0), hit("other", "a", "1/hour", 0)]).await);
}

#[tokio::test]
async fn a_dry_run_is_told_and_never_refuses() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    let dry = RemoteHit { dry_run: true, ..hit("dry", "a", "1/hour", 0) };
    let waits = RemoteHit { delay: 0, ..hit("waits", "a", "1/hour", 5) };
    let first = node.redis.charge(&[dry, waits]).await.unwrap();
    assert_eq!(first, Outcome { answer: Ok(0), dry_runs: Vec::new(), delayed: Vec::new() });
    let second = node.redis.charge(&[dry, waits]).await.unwrap();
    assert!(matches!(second.answer, Ok(3_500_000..=3_600_000)), "{second:?}");
    assert_eq!(second.delayed, [1]);
    let [DryRun::Refused(Refusal { index: 0, .. })] = second.dry_runs.as_slice() else { panic!("{second:?}") };
}

#[tokio::test]
async fn a_key_is_gone_when_its_bucket_is_drained() {
    let server = Server::start();
    let node = Node::start(at(&server)).await;
    assert!(admits(&node, &[hit("z", "a", "1r/s", 9)]).await);
    let name = format!("{{test}}:zone:z:{}", key("a").to_hex());
    let ttl: i64 = server.ask(&["PTTL", &name]);
    assert!((1..=1000).contains(&ttl), "{ttl}");
    for _ in 0..5 {
        assert!(admits(&node, &[hit("z", "a", "1r/s", 9)]).await);
    }
    let ttl: i64 = server.ask(&["PTTL", &name]);
    assert!((4001..=6000).contains(&ttl), "{ttl}");
    let size: i64 = server.ask(&["MEMORY", "USAGE", &name]);
    assert!(size < 256, "docs/redis.md says how much a key takes: {size}");
}

#[tokio::test]
async fn a_lease_takes_what_there_is_and_charges_what_was_owed() {
    let server = Server::start();
    let (one, other) = (Node::start(at(&server)).await, Node::start(at(&server)).await);
    let budget = RemoteBudget { zone: "chat", key: key("alice"), rate: "1/hour".parse::<Rate>().unwrap(), burst: 9000 };
    let lease = async |node: &Node, want: u64, debt: u64| node.redis.lease(&budget, want, debt).await.unwrap();
    assert_eq!(lease(&one, 4000, 0).await, Granted { units: 4000, retry_ms: 0, excess: 3000 });
    // A new key's first is free: ten in all.
    let rest = lease(&other, 20_500, 0).await;
    assert_eq!(rest.units, 6000);
    assert!((3_500_000..=3_600_000).contains(&rest.retry_ms), "{rest:?}");
    // Nothing is left, and to ask costs nothing.
    let none = lease(&one, 1000, 0).await;
    assert_eq!(none.units, 0);
    assert!((3_500_000..=3_600_000).contains(&none.retry_ms), "{none:?}");
    // What was let through ahead of its answer is charged beyond the burst.
    let owed = lease(&one, 1000, 3000).await;
    assert_eq!(owed.units, 0);
    assert!((14_300_000..=14_400_000).contains(&owed.retry_ms), "{owed:?}");
    // And `charge` finds the same bucket.
    assert!(!admits(&other, &[hit("chat", "alice", "1/hour", 9)]).await);
}
