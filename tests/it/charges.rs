//! What a handshake or a renewal is charged, at which stage, and where: here, and in a store that gateways share.

use std::time::Duration;

use serde_json::json;

use crate::harness::redis::Server;
use crate::harness::{Ask, Backend, Gate, Setup, until};

/// Those who bring no token are charged by the limits before it, and then refused for that: no upstream is needed.
const IN: &str = "token_missing";

fn gate(zones: &str, terms: &str) -> Gate {
    Setup::new().jwt(zones).route("/ws", "http://127.0.0.1:9", &format!("jwt = \"main\"\n{terms}")).start()
}

/// The status. Who is refused by a limit is told when to try again.
async fn is_told(gate: &mut Gate, ask: &Ask, reason: &str) -> u16 {
    let told = gate.refusal(ask).await;
    assert!(told.body.starts_with(&format!("{reason}: ")), "{reason}: {told:?}");
    let after = told.one("retry-after").map(|seconds| seconds.parse::<u64>().unwrap());
    assert_eq!(after.is_some_and(|seconds| seconds > 0), !reason.starts_with("token_"), "{told:?}");
    gate.refused(reason).await;
    told.status()
}

/// An empty zone is the route's own rate.
fn exceeded(gate: &Gate, zone: &str, action: &str, dry_run: bool) -> f64 {
    let zone = if zone.is_empty() { String::new() } else { format!("zone=\"{zone}\",") };
    gate.count(&format!(
        "wsgate_limit_exceeded_total{{route=\"ws\",limit=\"handshakes\",{zone}action=\"{action}\",dry_run=\"{dry_run}\"}}"
    ))
}

/// An operator has to tell a zone that is too small from clients that come too often.
#[tokio::test]
async fn a_full_zone_refuses_a_new_key_with_a_reason_of_its_own() {
    let zones = "[zone.devices]\nkey = \"header:x-device\"\nrate = \"1r/m\"\nentries = 64";
    let mut gate = gate(zones, "handshakes = { zone = \"devices\", burst = 1, nodelay = true, status = 420 }");
    let device = |n: u32| Ask::to("/ws").with("X-Device", &n.to_string());
    for n in 0..64 {
        is_told(&mut gate, &device(n), IN).await;
    }
    assert_eq!(is_told(&mut gate, &device(64), "zone_full").await, 503);
    is_told(&mut gate, &device(0), IN).await;
    assert_eq!(is_told(&mut gate, &device(0), "handshake_rate").await, 420);
    assert_eq!(exceeded(&gate, "devices", "refuse", false), 2.0);
    assert_eq!(gate.count("wsgate_zone_full_total{zone=\"devices\"}"), 1.0);
    gate.advance(Duration::from_secs(200));
    is_told(&mut gate, &device(64), IN).await;
    gate.finish().await;
}

#[tokio::test]
async fn what_is_left_out_of_a_request_is_one_account_for_all_who_leave_it_out() {
    let mut gate =
        gate("[zone.devices]\nkey = \"header:x-device\"\nrate = \"1r/m\"", "handshakes = { zone = \"devices\" }");
    is_told(&mut gate, &Ask::to("/ws"), IN).await;
    is_told(&mut gate, &Ask::to("/ws").with("X-Other", "1"), "handshake_rate").await;
    is_told(&mut gate, &Ask::to("/ws").with("X-Device", "1"), IN).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_a_token_names_is_counted_once_it_holds_and_his_address_before() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nhandshakes = [{ rate = \"1r/m\", burst = 4, nodelay = true }, { zone = \"people\", status = 503 }]";
    let mut gate = Setup::new()
        .jwt("[zone.people]\nkey = \"subject\"\nrate = \"1r/m\"")
        .route("/ws", &backend.url(), terms)
        .start();
    let of = |gate: &Gate, who: &str| Ask::to("/ws").bearer(&gate.token(who, 60));
    // A forged one is charged to the address alone, or anybody could spend another's budget.
    let forged = Ask::to("/ws").bearer(&format!("{}x", gate.token("alice", 60)));
    is_told(&mut gate, &forged, "token_invalid").await;
    let alice = of(&gate, "alice");
    let open = gate.session_of(&backend, &alice).await;
    assert_eq!(is_told(&mut gate, &alice, "handshake_rate").await, 503);
    let bob = of(&gate, "bob");
    let other = gate.session_of(&backend, &bob).await;
    // What the first stage charged it keeps: that was the fifth of one address.
    is_told(&mut gate, &Ask::to("/ws"), IN).await;
    assert_eq!(is_told(&mut gate, &bob, "handshake_rate").await, 429);
    assert_eq!((exceeded(&gate, "", "refuse", false), exceeded(&gate, "people", "refuse", false)), (1.0, 1.0));
    for (client, mut upstream) in [open, other] {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_limit_with_when_counts_for_those_alone_whom_it_is_for() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nhandshakes = { rate = \"1r/m\", when = { plan = \"free\" } }";
    let mut gate = Gate::new(&backend.url(), terms);
    let of = |gate: &Gate, plan: &str| {
        let exp = gate.clock.now().wall / 1000 + 60;
        Ask::to("/ws").bearer(&gate.sign(&json!({ "sub": "a", "plan": plan, "exp": exp })))
    };
    let (free, paid) = (of(&gate, "free"), of(&gate, "paid"));
    let mut open = Vec::new();
    for ask in [&free, &paid, &paid] {
        open.push(gate.session_of(&backend, ask).await);
    }
    is_told(&mut gate, &free, "handshake_rate").await;
    for (client, mut upstream) in open {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_renewal_is_charged_to_the_limits_of_its_bearer_too() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nrenew = \"/ws/renew\"\nhandshakes = { zone = \"people\", burst = 1, nodelay = true }";
    let mut gate = Setup::new()
        .jwt("[zone.people]\nkey = \"subject\"\nrate = \"1r/m\"")
        .route("/ws", &backend.url(), terms)
        .start();
    let token = gate.token("alice", 60);
    let (client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&token)).await;
    let renewal = |token: &str| {
        let ask = Ask::to("/ws/renew").line("POST /ws/renew HTTP/1.1");
        let ask =
            ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"].into_iter().fold(ask, Ask::without);
        ask.with("Content-Type", "text/plain").with("Content-Length", &token.len().to_string()).body(token)
    };
    for (seconds, status) in [(120, 200), (180, 429)] {
        let told = gate.refusal(&renewal(&gate.token("alice", seconds))).await;
        assert_eq!(told.status(), status, "{told:?}");
        assert_eq!(gate.lines.next().await["status"], json!(status));
    }
    assert_eq!(exceeded(&gate, "people", "refuse", false), 1.0);
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_dry_run_of_each_stage_is_counted_and_refuses_nobody() {
    let backend = Backend::new().await;
    let terms =
        "jwt = \"main\"\nhandshakes = [{ rate = \"1r/m\", dry_run = true }, { zone = \"people\", dry_run = true }]";
    let mut gate = Setup::new()
        .jwt("[zone.people]\nkey = \"subject\"\nrate = \"1r/m\"")
        .route("/ws", &backend.url(), terms)
        .start();
    let alice = Ask::to("/ws").bearer(&gate.token("alice", 60));
    let open = [gate.session_of(&backend, &alice).await, gate.session_of(&backend, &alice).await];
    assert_eq!((exceeded(&gate, "", "refuse", true), exceeded(&gate, "people", "refuse", true)), (1.0, 1.0));
    for (client, mut upstream) in open {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

/// A gateway with a shared zone; `redis` are further keys of `[redis]`.
fn sharing(server: &Server, redis: &str, terms: &str) -> Gate {
    let zones = format!(
        "[zone.shared]\nkey = \"header:x-k\"\nrate = \"1r/m\"\nstore = \"redis\"\n\
         [redis]\nurl = \"{}\"\ntimeout = \"1s\"\n{redis}",
        server.url()
    );
    gate(&zones, terms)
}

/// Until the store answers.
async fn connected(gate: &Gate) {
    let redis = gate.shared().redis.clone().unwrap();
    until("the store to be found", || {
        redis.wake();
        redis.state() == wsgate::store::State::Closed && gate.count("wsgate_redis_breaker") == 0.0
    })
    .await;
}

fn of(who: &str) -> Ask {
    Ask::to("/ws").with("X-K", who)
}

#[tokio::test]
async fn two_gateways_share_one_account() {
    let server = Server::start();
    let mut gates =
        [(); 2].map(|()| sharing(&server, "", "handshakes = { zone = \"shared\", burst = 2, nodelay = true }"));
    for gate in &gates {
        connected(gate).await;
    }
    for at in [0, 1, 0] {
        is_told(&mut gates[at], &of("a"), IN).await;
    }
    for gate in &mut gates {
        assert_eq!(is_told(gate, &of("a"), "handshake_rate").await, 429);
        assert_eq!(exceeded(gate, "shared", "refuse", false), 1.0);
        is_told(gate, &of("b"), IN).await;
    }
    for gate in gates {
        assert_eq!(gate.count("wsgate_redis_fallbacks_total{on_error=\"local\"}"), 0.0);
        gate.finish().await;
    }
}

/// Of one stage all are charged or none: had the own rate kept what it was charged, it would be the one that refuses.
#[tokio::test]
async fn what_was_charged_here_is_given_back_when_the_store_refuses() {
    let server = Server::start();
    let terms = "handshakes = [{ rate = \"1r/m\", burst = 1, nodelay = true }, { zone = \"shared\", status = 503 }]";
    let mut gate = sharing(&server, "", terms);
    connected(&gate).await;
    is_told(&mut gate, &of("a"), IN).await;
    for _ in 0..5 {
        assert_eq!(is_told(&mut gate, &of("a"), "handshake_rate").await, 503);
    }
    is_told(&mut gate, &of("b"), IN).await;
    assert_eq!(is_told(&mut gate, &of("c"), "handshake_rate").await, 429);
    // And what refuses here asks nobody: the third of them was not charged there.
    gate.advance(Duration::from_secs(63));
    is_told(&mut gate, &of("c"), IN).await;
    assert_eq!((exceeded(&gate, "", "refuse", false), exceeded(&gate, "shared", "refuse", false)), (1.0, 5.0));
    gate.finish().await;
}

#[tokio::test]
async fn while_the_store_is_gone_its_limits_do_as_on_error_says() {
    let terms = "handshakes = [{ rate = \"1r/m\", burst = 2, nodelay = true }, { zone = \"shared\" }]";
    for (on_error, second) in [("local", "handshake_rate"), ("open", IN), ("closed", "store_unavailable")] {
        let mut server = Server::start();
        let mut gate = sharing(&server, &format!("on_error = \"{on_error}\""), terms);
        connected(&gate).await;
        server.kill();
        let first = if on_error == "closed" { "store_unavailable" } else { IN };
        is_told(&mut gate, &of("a"), first).await;
        let status = is_told(&mut gate, &of("a"), second).await;
        if on_error == "closed" {
            assert_eq!(status, 503);
            // What the own rate was charged it got back, however often it came to nothing.
            for _ in 0..5 {
                is_told(&mut gate, &of("a"), "store_unavailable").await;
            }
        }
        let fell_back = gate.count(&format!("wsgate_redis_fallbacks_total{{on_error=\"{on_error}\"}}"));
        assert_eq!(fell_back, if on_error == "closed" { 7.0 } else { 2.0 }, "{on_error}");
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_store_that_hangs_holds_no_handshake_longer_than_its_timeout() {
    let server = Server::start();
    let mut gate = sharing(&server, "", "handshakes = { zone = \"shared\" }");
    connected(&gate).await;
    is_told(&mut gate, &of("a"), IN).await;
    server.hang();
    // This gateway's own account of it is empty yet.
    is_told(&mut gate, &of("a"), IN).await;
    is_told(&mut gate, &of("a"), "handshake_rate").await;
    assert_eq!(gate.count("wsgate_redis_fallbacks_total{on_error=\"local\"}"), 2.0);
    server.go_on();
    connected(&gate).await;
    is_told(&mut gate, &of("a"), "handshake_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_dry_run_in_a_store_that_is_gone_refuses_nobody() {
    let mut server = Server::start();
    let mut gate = sharing(&server, "on_error = \"closed\"", "handshakes = { zone = \"shared\", dry_run = true }");
    connected(&gate).await;
    is_told(&mut gate, &of("a"), IN).await;
    is_told(&mut gate, &of("a"), IN).await;
    assert_eq!(exceeded(&gate, "shared", "refuse", true), 1.0);
    server.kill();
    is_told(&mut gate, &of("a"), IN).await;
    assert_eq!(gate.count("wsgate_redis_fallbacks_total{on_error=\"closed\"}"), 1.0);
    gate.finish().await;
}

/// Which limits make it wait is known of those in the store too.
#[tokio::test]
async fn a_wait_that_the_store_gives_is_waited_and_counted() {
    let server = Server::start();
    let backend = Backend::new().await;
    let zones = format!(
        "[zone.shared]\nrate = \"1r/m\"\nstore = \"redis\"\n[redis]\nurl = \"{}\"\ntimeout = \"1s\"",
        server.url()
    );
    let terms = "origins = \"any\"\nhandshakes = { zone = \"shared\", burst = 5 }";
    let mut gate = Setup::new().jwt(&zones).route("/ws", &backend.url(), terms).start();
    connected(&gate).await;
    let (client, mut upstream) = gate.session(&backend).await;
    let waiting = gate.asking(&Ask::to("/ws")).await;
    until("it to wait", || exceeded(&gate, "shared", "delay", false) == 1.0).await;
    waiting.reset();
    gate.refused("client_lost").await;
    backend.saw_nobody();
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}
