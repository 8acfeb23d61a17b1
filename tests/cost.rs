//! What it costs to judge a message: printed, not asserted. `cargo test --release --test cost -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement")]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use wsgate::deny::Direction;
use wsgate::load;
use wsgate::now::Clock;
use wsgate::policy::request::Opening;
use wsgate::policy::{Ask, Policy};
use wsgate::session::judge::{Judge, Mode, Tally, Then};

/// Messages of 64 bytes, as many as one read holds.
const MESSAGES: usize = 64 * 1024 / 70;
const READS: u64 = 20_000;
const ROUNDS: usize = 5;

fn policy(limits: &str) -> Policy {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[zone.shared]\nkey = \"ip\"\nrate = \"1000000000/s\"\n\
         [zone.second]\nkey = \"host\"\nrate = \"1000000000/s\"\n\
         [[route]]\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\nallow_missing_origin = true\n{limits}\n"
    );
    load::text(&text, "cost.toml", Path::new("."), &|_| None).unwrap_or_else(|report| panic!("{report}")).policy
}

fn judge(policy: &Policy) -> Judge {
    let opening = Opening { host: "test".into(), path: "/".into() };
    let headers = http::HeaderMap::new();
    let client = Ipv4Addr::LOCALHOST.into();
    let ask = Ask { opening: &opening, query: None, headers: &headers, client, certificate: None };
    let decision = policy.admit(&ask, Clock::system().now());
    let (route, [meter, _]) = (decision.route.unwrap(), decision.verdict.unwrap().meters);
    Judge::new(Direction::ToUpstream, false, 1 << 20, meter, route.flow.fragments[0])
}

/// Nanoseconds a message.
fn run(mut judge: Judge, from: u64) -> f64 {
    let frame = [&[0x82, 0x80 | 64, 1, 2, 3, 4][..], &[7; 64]].concat();
    let read = frame.repeat(MESSAGES);
    let (mut tally, began) = (Tally::default(), Instant::now());
    for turn in 0..READS {
        let said = judge.judge(black_box(&read), from + turn, Mode::Open, &mut tally);
        assert_eq!(said, (read.len(), Then::More));
    }
    let count = READS * MESSAGES as u64;
    assert_eq!(tally.messages, count);
    began.elapsed().as_nanos() as f64 / count as f64
}

fn on_threads(policy: &Policy, threads: usize, now: u64) -> f64 {
    let start = Barrier::new(threads);
    let session = || {
        let judge = judge(policy);
        start.wait();
        run(judge, now)
    };
    let all: Vec<f64> = thread::scope(|scope| {
        let sessions: Vec<_> = (0..threads).map(|_| scope.spawn(session)).collect();
        sessions.into_iter().map(|session| session.join().unwrap()).collect()
    });
    all.iter().sum::<f64>() / threads as f64
}

#[test]
#[ignore = "a measurement: it takes a quiet machine, and says nothing in a debug build"]
fn what_a_judged_message_costs() {
    // A session may lag behind the other's clock for as long as it lasts: nothing may be too much for them, or it is not the
    // cost of a yes.
    let own = "{ rate = \"1000000000/s\", burst = 1000000000 }";
    let shared = "{ zone = \"shared\", burst = 1000000000 }";
    let second = "{ zone = \"second\", burst = 1000000000 }";
    let cases = [
        ("no limit", String::new(), 1),
        ("an account of its own", format!("messages = {own}"), 1),
        ("a shared account, one session", format!("messages = {shared}"), 1),
        ("a shared account, two sessions on two threads", format!("messages = {shared}"), 2),
        ("an account of its own, on two threads", format!("messages = {own}"), 2),
        ("two rules: its own and a shared account", format!("messages = [{own}, {shared}]"), 1),
        ("two shared accounts", format!("messages = [{shared}, {second}]"), 1),
        (
            "messages and bytes of its own",
            format!("messages = {own}\nbytes = {{ rate = \"1000g/s\", burst = \"1g\" }}"),
            1,
        ),
    ];
    for (what, limits, threads) in cases {
        let policy = policy(&limits);
        // A read is a millisecond, and what is owed outlives a round: each begins after the last.
        let begins = |round: usize| Clock::system().mono() + 1 + round as u64 * 2 * READS;
        let mut rounds: Vec<f64> = (0..ROUNDS).map(|round| on_threads(&policy, threads, begins(round))).collect();
        rounds.sort_by(f64::total_cmp);
        println!("{what}: {:.1} ns a message ({:.1} to {:.1})", rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]);
    }
}
