//! Budgets of messages and bytes that several gateways share, with a real `redis-server`.

use std::time::Duration;

use futures_util::future::join_all;
use wsgate::config::value::Rate;
use wsgate::load;
use wsgate::policy::key::Key;
use wsgate::store::{RemoteHit, State};

use crate::harness::redis::Server;
use crate::harness::{Backend, Frame, Gate, Peer, Setup, until};

/// What comes in a test comes from here.
fn here() -> Key {
    Key::of_ip([127, 0, 0, 1].into())
}

/// A gateway whose route has these terms, with a zone `chat` by address; it is connected.
async fn gate(server: &Server, upstream: &str, rate: &str, on_error: &str, terms: &str) -> Gate {
    let sections = format!(
        "[redis]\nurl = \"{}\"\non_error = \"{on_error}\"\ntimeout = \"1s\"\n\
         [zone.chat]\nkey = \"ip\"\nrate = \"{rate}\"\nstore = \"redis\"\n",
        server.url()
    );
    let gate = Setup::new().route("/ws", upstream, terms).admin(&sections).start();
    let redis = gate.shared().redis.clone().unwrap();
    until("the store to be found", || redis.state() == State::Closed).await;
    gate
}

fn dropping(burst: u32) -> String {
    format!("messages = {{ zone = \"chat\", burst = {burst}, on_excess = \"drop\" }}")
}

/// How many of so many messages, said at once, come through. A ping is not counted, and comes behind them.
async fn passed(session: &mut (Peer, Peer), count: usize) -> usize {
    let (client, upstream) = session;
    let mut all: Vec<u8> = (0..count).flat_map(|_| Frame::text("word").bytes(true)).collect();
    all.extend(Frame::ping("end").bytes(true));
    client.send(all).await;
    let mut passed = 0;
    loop {
        let frame = upstream.frame().await;
        if frame == Frame::ping("end") {
            return passed;
        }
        assert_eq!(frame, Frame::text("word"));
        passed += 1;
    }
}

/// How many come through in so many rounds, a second of the gateway's clock apart: so long it rests at most after it was told
/// that there is nothing. Each round ends with an answer, which counts in the next.
async fn in_rounds(gate: &Gate, session: &mut (Peer, Peer), rounds: usize) -> usize {
    let mut total = 0;
    for _ in 0..rounds {
        let before = answers(gate);
        gate.advance(Duration::from_secs(1));
        total += passed(session, 40).await;
        until("an answer", || answers(gate) > before).await;
    }
    total
}

/// Units that are owed in Redis; none if the key was never charged.
fn owed(server: &Server) -> Option<u64> {
    let text: Option<String> = server.ask(&["GET", &format!("{{wsgate}}:zone:chat:{}", here().to_hex())]);
    Some(text?.split(' ').next().unwrap().parse().unwrap())
}

/// The client goes.
async fn leave(gate: &mut Gate, (client, mut upstream): (Peer, Peer)) {
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
}

async fn end(mut gate: Gate, session: (Peer, Peer)) {
    leave(&mut gate, session).await;
    gate.finish().await;
}

/// Answers to questions for more, so far.
fn answers(gate: &Gate) -> f64 {
    gate.count("wsgate_redis_duration_seconds_count{operation=\"lease\"}")
}

#[tokio::test]
async fn three_gateways_that_are_flooded_share_one_budget_and_spend_all_of_it() {
    let server = Server::start();
    let backend = Backend::new().await;
    let (mut gates, mut sessions) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let gate = gate(&server, &backend.url(), "1/day", "closed", &dropping(39)).await;
        sessions.push(gate.session(&backend).await);
        gates.push(gate);
    }
    let mut total = 0;
    // What one of them fetched and did not spend in one round, it spends in the next.
    for round in 0..4 {
        let each = join_all(sessions.iter_mut().map(|session| passed(session, 100))).await;
        total += each.iter().sum::<usize>();
        // docs/redis.md: a burst and one; for each gateway a quarter of that, and a chunk.
        assert!(total <= 40 + 3 * (10 + 1), "{each:?} in round {round}, {total} in all");
    }
    assert!(total >= 40, "{total} of 40");
    let each = join_all(sessions.iter_mut().map(|session| passed(session, 100))).await;
    assert_eq!(each, [0, 0, 0], "the budget is spent");
    for (gate, session) in gates.iter_mut().zip(sessions) {
        leave(gate, session).await;
    }
    // What passed is charged, and the first is free.
    until("all of it to be charged", || owed(&server) == Some((total as u64 - 1) * Rate::ONE)).await;
    for gate in gates {
        gate.finish().await;
    }
}

/// Faster than Redis can answer, and within the burst: nobody is ended on a guess.
#[tokio::test]
async fn a_burst_that_comes_at_once_passes_whole_and_what_is_beyond_it_ends_the_session() {
    let server = Server::start();
    let backend = Backend::new().await;
    let terms = "messages = { zone = \"chat\", burst = 99 }\nclose_timeout = \"1h\"";
    let mut gate = gate(&server, &backend.url(), "1/day", "closed", terms).await;
    let mut session = gate.session(&backend).await;
    assert_eq!(passed(&mut session, 100).await, 100);
    let (mut client, mut upstream) = session;
    client.say(&Frame::text("word")).await;
    assert_eq!(upstream.frame().await.as_close(), (4029, "message_rate"));
    assert_eq!(client.frame().await.as_close(), (4029, "message_rate"));
    upstream.say(&Frame::close(4029, "")).await;
    client.say(&Frame::close(4029, "")).await;
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "message_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn whoever_spent_the_budget_at_one_gateway_finds_none_at_another() {
    let server = Server::start();
    let backend = Backend::new().await;
    let one = gate(&server, &backend.url(), "1/day", "closed", &dropping(19)).await;
    let other = gate(&server, &backend.url(), "1/day", "closed", &dropping(19)).await;
    let mut session = one.session(&backend).await;
    assert_eq!(passed(&mut session, 50).await, 20);
    end(one, session).await;
    let mut session = other.session(&backend).await;
    // One chunk may be ahead of the first answer.
    let ahead = passed(&mut session, 50).await;
    assert!(ahead <= 1, "{ahead}");
    assert_eq!(passed(&mut session, 50).await, 0);
    end(other, session).await;
}

/// To come and go costs no chunk, and is no way round what is owed.
#[tokio::test]
async fn the_last_session_of_a_key_gives_back_what_it_did_not_spend() {
    let server = Server::start();
    let backend = Backend::new().await;
    let mut gate = gate(&server, &backend.url(), "1/day", "closed", &dropping(9)).await;
    for said in 1..=10 {
        let mut session = gate.session(&backend).await;
        assert_eq!(passed(&mut session, 1).await, 1, "message {said}");
        leave(&mut gate, session).await;
        until("the rest to be back", || owed(&server) == Some((said - 1) * Rate::ONE)).await;
    }
    let mut session = gate.session(&backend).await;
    assert_eq!((passed(&mut session, 5).await) / 2, 0, "at most one ahead");
    end(gate, session).await;
}

/// The answer to the second question never comes, and nobody waits for it.
#[tokio::test]
async fn a_message_within_the_lease_passes_while_redis_hangs() {
    let server = Server::start();
    let backend = Backend::new().await;
    let gate = gate(&server, &backend.url(), "1/day", "closed", &dropping(39)).await;
    let mut session = gate.session(&backend).await;
    until("the first chunk to be here", || answers(&gate) == 1.0).await;
    assert_eq!(passed(&mut session, 1).await, 1);
    until("the next one to be here", || answers(&gate) == 2.0).await;
    server.hang();
    assert_eq!(passed(&mut session, 2).await, 2, "the lease, and one ahead");
    assert_eq!(gate.count("wsgate_redis_errors_total{operation=\"lease\",kind=\"timeout\"}"), 0.0);
    // What outruns both waits for its answer, and is told there is none.
    assert_eq!(passed(&mut session, 5).await, 0);
    assert!(gate.count("wsgate_redis_fallbacks_total{on_error=\"closed\"}") >= 1.0);
    server.go_on();
    until("the store to be found", || gate.shared().redis.as_ref().unwrap().state() == State::Closed).await;
    let more = in_rounds(&gate, &mut session, 10).await;
    // Three passed before. What was granted to a question whose answer nobody waited for is lost: a quarter at most each time.
    assert!((15..=37).contains(&more), "{more}");
    end(gate, session).await;
}

#[tokio::test]
async fn a_redis_that_is_killed_in_a_flood_leaves_what_on_error_says_and_begins_anew_when_it_is_back() {
    for (on_error, burst) in [("local", 19), ("open", 19), ("closed", 19)] {
        let mut server = Server::start();
        let backend = Backend::new().await;
        let gate = gate(&server, &backend.url(), "1/day", on_error, &dropping(burst)).await;
        let redis = gate.shared().redis.clone().unwrap();
        let mut session = gate.session(&backend).await;
        assert_eq!(passed(&mut session, 5).await, 5, "{on_error}");
        server.kill();
        until("it to be lost", || redis.state() != State::Closed).await;
        // The lease is spent, its loss is seen, and from then on:
        let mut without = passed(&mut session, 30).await;
        for _ in 0..3 {
            gate.advance(Duration::from_secs(1));
            without += passed(&mut session, 30).await;
        }
        match on_error {
            "local" => assert!((15..=16).contains(&without), "{without} of what was left of one budget"),
            "open" => assert_eq!(without, 120),
            _ => assert!(without <= 6, "{without}: the lease, and a chunk"),
        }
        server.restart();
        until("it to be back", || {
            redis.wake();
            redis.state() == State::Closed
        })
        .await;
        let before = answers(&gate);
        // Until the first answer what passes is still without it.
        gate.advance(Duration::from_secs(1));
        let _ = passed(&mut session, 1).await;
        until("the first answer", || answers(&gate) > before).await;
        let anew = in_rounds(&gate, &mut session, 10).await;
        assert!((18..=21).contains(&anew), "{on_error}: {anew} of a new budget of 20");
        end(gate, session).await;
    }
}

#[tokio::test]
async fn a_session_that_may_not_go_on_without_redis_ends_with_a_reason_of_its_own() {
    let mut server = Server::start();
    let backend = Backend::new().await;
    let terms = "messages = { zone = \"chat\", burst = 3 }\nclose_timeout = \"1h\"";
    let mut gate = gate(&server, &backend.url(), "1/day", "closed", terms).await;
    let (mut client, mut upstream) = gate.session(&backend).await;
    server.kill();
    until("it to be lost", || gate.shared().redis.as_ref().unwrap().state() != State::Closed).await;
    client.send((0..9).flat_map(|_| Frame::text("word").bytes(true)).collect::<Vec<_>>()).await;
    let mut frame = upstream.frame().await;
    while frame == Frame::text("word") {
        frame = upstream.frame().await;
    }
    assert_eq!(frame.as_close(), (1013, "store_unavailable"));
    assert_eq!(client.frame().await.as_close(), (1013, "store_unavailable"));
    upstream.say(&Frame::close(1013, "")).await;
    client.say(&Frame::close(1013, "")).await;
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "store_unavailable").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_budget_begins_anew_when_redis_is_flushed() {
    let server = Server::start();
    let backend = Backend::new().await;
    let gate = gate(&server, &backend.url(), "1/day", "closed", &dropping(9)).await;
    let mut session = gate.session(&backend).await;
    assert_eq!(passed(&mut session, 30).await, 10);
    server.flush();
    let anew = in_rounds(&gate, &mut session, 10).await;
    // One that passed ahead may have been owed still, and is charged to the new one.
    assert!(anew >= 9, "{anew}");
    assert!(anew <= 11, "{anew}");
    end(gate, session).await;
}

#[tokio::test]
async fn on_delay_two_gateways_together_space_what_they_pass() {
    let server = Server::start();
    let backend = Backend::new().await;
    let terms = "messages = { zone = \"chat\", on_excess = \"delay\" }";
    let mut held = Vec::new();
    for _ in 0..2 {
        let gate = gate(&server, &backend.url(), "20r/s", "closed", terms).await;
        let session = gate.session(&backend).await;
        held.push((gate, session));
    }
    let time = || {
        let (seconds, micros): (u64, u64) = server.ask(&["TIME"]);
        seconds * 1000 + micros / 1000
    };
    let began = time();
    let each = join_all(held.iter_mut().map(|(_, session)| passed(session, 12))).await;
    assert_eq!(each, [12, 12], "none is refused");
    let ms = time() - began;
    // 24 at 20r/s; one is free, and each gateway may hold one and be one ahead.
    assert!(ms >= (24 - 1 - 2 * 2) * 50, "{ms} ms");
    for (gate, session) in held {
        end(gate, session).await;
    }
}

/// One zone may count handshakes and messages: both charge the same key.
#[tokio::test]
async fn handshakes_and_messages_of_one_zone_share_its_budget() {
    let server = Server::start();
    let backend = Backend::new().await;
    let gate = gate(&server, &backend.url(), "1/day", "closed", &dropping(19)).await;
    let redis = gate.shared().redis.clone().unwrap();
    let rate: Rate = "1/day".parse().unwrap();
    let (burst, delay, cost) = (19_000, u64::MAX, Rate::ONE);
    let handshake = RemoteHit { zone: "chat", key: here(), rate, burst, delay, cost, dry_run: false };
    for _ in 0..8 {
        assert!(redis.charge(&[handshake]).await.unwrap().answer.is_ok());
    }
    let mut session = gate.session(&backend).await;
    assert_eq!(passed(&mut session, 50).await, 12);
    assert!(redis.charge(&[handshake]).await.unwrap().answer.is_err());
    end(gate, session).await;
}

/// The wire's bytes, whole frames of them.
#[tokio::test]
async fn bytes_are_leased_too_and_all_that_passed_is_charged() {
    const WIRE: u64 = 1008;
    let server = Server::start();
    let backend = Backend::new().await;
    let terms = "bytes = { zone = \"chat\", burst = \"100k\" }";
    let mut held = Vec::new();
    for _ in 0..2 {
        let gate = gate(&server, &backend.url(), "1k/day", "closed", terms).await;
        let session = gate.session(&backend).await;
        held.push((gate, session));
    }
    // Of 100k a quarter may be held by the one that the other never sees.
    let flood: Vec<u8> = (0..35).flat_map(|_| Frame::binary(vec![7; 1000]).bytes(true)).collect();
    for (_, (client, upstream)) in &mut held {
        client.send(&flood).await;
        for _ in 0..35 {
            assert_eq!(upstream.frame().await, Frame::binary(vec![7; 1000]));
        }
    }
    let mut gates = Vec::new();
    for (mut gate, session) in held {
        leave(&mut gate, session).await;
        gates.push(gate);
    }
    // 1k in a day is one unit in 84 ms, and these drain meanwhile.
    let charged = (70 * WIRE - 1) * Rate::ONE;
    until("all of it to be charged", || owed(&server).is_some_and(|owed| owed.abs_diff(charged) < Rate::ONE)).await;
    for gate in gates {
        gate.finish().await;
    }
}

/// A lease of what nobody else ever draws on would be a detour.
#[tokio::test]
async fn a_zone_by_connection_is_counted_here_and_a_warning_says_so() {
    let text = "listen = [{ address = \"127.0.0.1:0\" }]\nredis = { url = \"redis://redis.invalid\" }\n\
                zone.chat = { key = \"connection\", rate = \"1/day\", store = \"redis\" }\n\
                route = [{ upstream = \"http://a\", origins = \"any\", messages = { zone = \"chat\" } }]";
    let loaded = load::text(text, "test.toml", std::path::Path::new("."), &|_| None);
    let warnings = loaded.unwrap_or_else(|error| panic!("{error}")).warnings.to_string();
    assert!(warnings.contains("zone.chat.store") && warnings.contains("counted here"), "{warnings}");
    let mut server = Server::start();
    let backend = Backend::new().await;
    let sections = format!(
        "[redis]\nurl = \"{}\"\non_error = \"closed\"\n\
         [zone.chat]\nkey = \"connection\"\nrate = \"1/day\"\nstore = \"redis\"\n",
        server.url()
    );
    server.kill();
    let gate = Setup::new().route("/ws", &backend.url(), &dropping(4)).admin(&sections).start();
    let mut session = gate.session(&backend).await;
    assert_eq!(passed(&mut session, 9).await, 5, "without Redis");
    end(gate, session).await;
}

/// What is counted here alone is remembered here, as that of a zone of this gateway's own is.
#[tokio::test]
async fn to_connect_anew_while_redis_is_away_is_no_way_round_a_limit() {
    let mut server = Server::start();
    let backend = Backend::new().await;
    let mut gate = gate(&server, &backend.url(), "1/day", "local", &dropping(9)).await;
    server.kill();
    until("it to be lost", || gate.shared().redis.as_ref().unwrap().state() != State::Closed).await;
    let mut all = 0;
    for _ in 0..3 {
        let mut session = gate.session(&backend).await;
        for _ in 0..3 {
            all += passed(&mut session, 20).await;
        }
        leave(&mut gate, session).await;
        gate.rests().await;
    }
    assert_eq!(all, 10, "a burst of 9 and the first one, however often it connects");
    gate.finish().await;
}
