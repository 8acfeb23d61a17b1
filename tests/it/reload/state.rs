//! What outlives a config: what is owed, what is held, who is thrown out, the keys that were fetched.

use std::time::Duration;

use serde_json::json;

use super::{ask, with_route};
use crate::harness::keyserver::{Key, KeyServer, Says, set};
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

async fn reset(gate: &mut Gate, (client, mut upstream): (Peer, Peer)) {
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
}

#[tokio::test]
async fn what_is_owed_stays_owed_whichever_limit_it_is_of() {
    let backend = Backend::new().await;
    for (zones, limit) in [
        ("", "handshakes = { rate = \"1r/m\", burst = 0 }"),
        ("[zone.all]\nkey = \"ip\"\nrate = \"1r/m\"\n", "handshakes = { zone = \"all\", burst = 0 }"),
        ("[zone.sub]\nkey = \"subject\"\nrate = \"1r/m\"\n", "handshakes = { zone = \"sub\", burst = 0 }"),
    ] {
        let terms = format!("jwt = \"main\"\n{limit}");
        let mut gate = Setup::new().jwt(zones).route("/ws", &backend.url(), &terms).start();
        let ask = ask().bearer(&gate.token("alice", 600));
        let session = gate.session_of(&backend, &ask).await;
        reset(&mut gate, session).await;
        gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nidle_timeout = \"59s\"")).await;
        assert_eq!(gate.refusal(&ask).await.status(), 429, "{limit}");
        gate.refused("handshake_rate").await;
        // A larger burst lets one more in at once, and the debt counts for it.
        gate.reloaded(|text| text.replace("burst = 0", "burst = 1, nodelay = true")).await;
        let session = gate.session_of(&backend, &ask).await;
        reset(&mut gate, session).await;
        assert_eq!(gate.refusal(&ask).await.status(), 429);
        gate.refused("handshake_rate").await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn an_account_that_sessions_share_is_one_for_those_before_and_those_after() {
    let backend = Backend::new().await;
    let zone = "[zone.people]\nkey = \"subject\"\nrate = \"1r/m\"\n";
    let terms = "jwt = \"main\"\nmessages = { zone = \"people\", burst = 1, on_excess = \"close\" }";
    let gate = Setup::new().jwt(zone).route("/ws", &backend.url(), terms).start();
    let ask = ask().bearer(&gate.token("alice", 600));
    let (mut old, mut old_up) = gate.session_of(&backend, &ask).await;
    old.say(&Frame::text("1")).await;
    assert_eq!(old_up.frame().await, Frame::text("1"));
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nidle_timeout = \"59s\"")).await;
    let (mut new, mut new_up) = gate.session_of(&backend, &ask).await;
    new.say(&Frame::text("2")).await;
    assert_eq!(new_up.frame().await, Frame::text("2"));
    assert_eq!(gate.shared().edition().policy.zones[0].held(), 1, "one account");
    old.say(&Frame::text("3")).await;
    assert_eq!(old.frame().await.as_close(), (4029, "message_rate"));
    drop((old, old_up, new, new_up));
    gate.leave().await;
}

#[tokio::test]
async fn what_is_held_stays_counted_by_the_new_limits_and_is_given_back_to_them() {
    let backend = Backend::new().await;
    let zone = "[zone.people]\nkey = \"subject\"\n";
    let caps = |n: usize| {
        format!("{{ total = {n}, per_ip = {n}, per_subject = {n}, per_zone = [{{ zone = \"people\", max = {n} }}] }}")
    };
    let terms = format!("jwt = \"main\"\nconnections = {}", caps(2));
    let mut gate = Setup::new().jwt(zone).route("/ws", &backend.url(), &terms).start();
    let ask = ask().bearer(&gate.token("alice", 600));
    let used = |gate: &Gate| {
        let edition = gate.shared().edition();
        let route = &edition.policy.routes[0].caps;
        let keyed: Vec<_> = route.keyed.iter().map(|limit| (limit.counts.used(), limit.keys_near())).collect();
        (edition.policy.total.used(), route.total.as_ref().unwrap().cap.used(), keyed)
    };
    let first = gate.session_of(&backend, &ask).await;
    let second = gate.session_of(&backend, &ask).await;
    assert_eq!(used(&gate), (2, 2, vec![(2, 1); 3]));
    gate.reloaded(|text| text.replace(&caps(2), &caps(3))).await;
    // Two of three are not near it, as two of two were.
    assert_eq!(used(&gate), (2, 2, vec![(2, 0); 3]));
    let third = gate.session_of(&backend, &ask).await;
    assert_eq!(used(&gate), (3, 3, vec![(3, 1); 3]));
    assert_eq!(gate.refusal(&ask).await.status(), 503);
    gate.refused("route_cap").await;
    gate.reloaded(|text| text.replace(&caps(3), &caps(1))).await;
    assert_eq!(used(&gate), (3, 3, vec![(3, 1); 3]), "nobody is thrown out");
    for session in [first, second] {
        reset(&mut gate, session).await;
    }
    until("two to be given back", || used(&gate) == (1, 1, vec![(1, 1); 3])).await;
    assert_eq!(gate.refusal(&ask).await.status(), 503);
    gate.refused("route_cap").await;
    reset(&mut gate, third).await;
    until("all to be given back", || used(&gate) == (0, 0, vec![(0, 0); 3])).await;
    let last = gate.session_of(&backend, &ask).await;
    reset(&mut gate, last).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_zone_that_counts_by_another_key_is_refused_by_name() {
    let backend = Backend::new().await;
    let zone = "[zone.all]\nkey = \"ip\"\nrate = \"1r/s\"\n";
    let terms = "jwt = \"main\"\nhandshakes = { zone = \"all\", burst = 5 }";
    let gate = Setup::new().jwt(zone).route("/ws", &backend.url(), terms).start();
    let answer = gate.reload(|text| text.replace("key = \"ip\"", "key = \"subject\"")).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.body.contains("in zone.all:") && answer.body.contains("another name"), "{}", answer.body);
    gate.finish().await;
}

#[tokio::test]
async fn who_was_thrown_out_stays_out_also_from_routes_and_issuers_that_come() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"");
    let (mut client, upstream) = gate.session_of(&backend, &ask().bearer(&gate.token("bob", 600))).await;
    gate.revoke(&json!({ "subject": "alice" })).await;
    gate.reloaded(|text| {
        let issuer = "[jwt.second]\nalgorithms = [\"HS256\"]\nsecret = \"env:SECRET\"\nissuer = \"second\"\n";
        with_route(
            &text.replace("[[route]]", &format!("{issuer}[[route]]")),
            "too",
            "/too",
            &backend.url(),
            "jwt = \"second\"",
        )
    })
    .await;
    for (path, claims) in [("/ws", json!({})), ("/too", json!({ "iss": "second" }))] {
        let mut claims = claims;
        (claims["sub"], claims["exp"]) = (json!("alice"), json!(gate.clock.now().wall / 1000 + 600));
        assert_eq!(gate.refusal(&Ask::to(path).bearer(&gate.sign(&claims))).await.status(), 403);
        gate.refused("token_revoked").await;
    }
    // The list knows the new issuer, and ends sessions that began before.
    gate.revoke(&json!({ "subject": "carol", "jwt": "second" })).await;
    gate.revoke(&json!({ "subject": "bob" })).await;
    assert_eq!(client.frame().await.as_close(), (4001, "token_revoked"));
    drop((client, upstream));
    gate.leave().await;
}

#[tokio::test]
async fn keys_that_were_fetched_are_carried_on_and_a_set_that_goes_is_fetched_no_more() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let server = KeyServer::new(Says::Bytes(set(&[&key]))).await;
    let jwt = format!("[jwt.remote]\nalgorithms = [\"ES256\"]\njwks = \"{}\"\n", server.url());
    let mut gate = Setup::new().jwt(&jwt).route("/ws", &backend.url(), "jwt = \"remote\"").start();
    let fetched = |gate: &Gate| gate.count("wsgate_jwks_refreshes_total{jwt=\"remote\",result=\"ok\"}");
    until("the first set", || fetched(&gate) == 1.0).await;
    let token = key.sign(&json!({ "sub": "alice", "exp": gate.clock.now().wall / 1000 + 3600 }));
    let path = server.url().strip_prefix(&server.origin()).unwrap().to_owned();
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nidle_timeout = \"59s\"")).await;
    let session = gate.session_of(&backend, &ask().bearer(&token)).await;
    reset(&mut gate, session).await;
    assert_eq!((fetched(&gate), server.asked(&path)), (1.0, 1), "it is the same set");
    // Other times: the keys stay, and a new task fetches them.
    gate.reloaded(|text| text.replace("jwks = ", "jwks_refresh = \"1h\"\njwks = ")).await;
    let session = gate.session_of(&backend, &ask().bearer(&token)).await;
    reset(&mut gate, session).await;
    until("the new task's first fetch", || server.asked(&path) == 2).await;
    gate.reloaded(|text| {
        let (before, behind) = text.split_once("[jwt.remote]").unwrap();
        let (_, behind) = behind.split_once("[[route]]").unwrap();
        format!("{before}[[route]]{}", behind.replace("\"remote\"", "\"main\""))
    })
    .await;
    gate.advance(Duration::from_secs(48 * 3600));
    let session = gate.session_of(&backend, &ask().bearer(&gate.token("alice", 60))).await;
    reset(&mut gate, session).await;
    assert_eq!(server.asked(&path), 2);
    gate.finish().await;
}
