//! Sessions that an operator ends, with words of the operator's own.

use serde_json::{Value, json};

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

const TERMS: &str = "jwt = \"main\"\norigins = \"any\"";

async fn session(gate: &Gate, backend: &Backend, path: &str, subject: &str) -> (Peer, Peer) {
    gate.session_of(backend, &Ask::to(path).bearer(&gate.token(subject, 600))).await
}

async fn kick(gate: &Gate, target: &str) -> Value {
    let answer = gate.operate("DELETE", target, "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// Both sides get this Close, and answer it; the line has its code.
async fn is_closed(gate: &mut Gate, peers: (Peer, Peer), code: u16, text: &str) {
    for mut peer in [peers.0, peers.1] {
        assert_eq!(peer.frame().await.as_close(), (code, text));
        peer.say(&Frame::close(code, "")).await;
        peer.ended().await;
    }
    let line = gate.ended("gateway", "kicked").await;
    assert_eq!(line["close_code"], code);
}

#[tokio::test]
async fn one_session_is_closed_by_its_id_and_may_come_back() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let peers = session(&gate, &backend, "/ws", "alice").await;
    let mut other = session(&gate, &backend, "/ws", "alice").await;
    let list: Value = serde_json::from_str(&gate.page("/connections").await.body).unwrap();
    let id = list["connections"][0]["id"].as_str().unwrap();
    assert_eq!(kick(&gate, &format!("/connections/{id}")).await, json!({ "closed": 1 }));
    is_closed(&mut gate, peers, 1008, "kicked").await;
    // Its line comes a moment before it leaves the list.
    until("it is off the list", || gate.sessions() == 1).await;
    assert_eq!(gate.operate("DELETE", &format!("/connections/{id}"), "").await.status(), 404);
    other.0.say(&Frame::text("a")).await;
    assert_eq!(other.1.frame().await, Frame::text("a"));
    let again = session(&gate, &backend, "/ws", "alice").await;
    assert_eq!(kick(&gate, "/connections?all=true").await, json!({ "closed": 2 }));
    is_closed(&mut gate, other, 1008, "kicked").await;
    is_closed(&mut gate, again, 1008, "kicked").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_filter_closes_those_it_names_with_the_operators_code_and_reason() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().route("/chat", &backend.url(), TERMS).route("/feed", &backend.url(), TERMS).start();
    let alice = session(&gate, &backend, "/chat", "alice").await;
    let bob = session(&gate, &backend, "/chat", "bob").await;
    let feed = session(&gate, &backend, "/feed", "alice").await;
    let target = "/connections?subject=alice&route=chat&code=4242&reason=bis%20sp%C3%A4ter";
    assert_eq!(kick(&gate, target).await, json!({ "closed": 1 }));
    is_closed(&mut gate, alice, 4242, "bis später").await;
    assert_eq!(kick(&gate, "/connections?route=chat&code=1000&reason=").await, json!({ "closed": 1 }));
    is_closed(&mut gate, bob, 1000, "").await;
    assert_eq!(kick(&gate, "/connections?subject=alice").await, json!({ "closed": 1 }));
    is_closed(&mut gate, feed, 1008, "kicked").await;
    assert_eq!(gate.count("wsgate_sessions_ended_total{route=\"chat\",side=\"gateway\",reason=\"kicked\"}"), 2.0);
    gate.finish().await;
}

#[tokio::test]
async fn what_is_not_clear_closes_nobody() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let mut peers = session(&gate, &backend, "/ws", "alice").await;
    for target in
        ["/connections", "/connections?code=1000", "/connections?all=true&code=1006", "/connections?user=alice"]
    {
        assert_eq!(gate.operate("DELETE", target, "").await.status(), 400, "{target}");
    }
    peers.0.say(&Frame::text("a")).await;
    assert_eq!(peers.1.frame().await, Frame::text("a"));
    drop(peers);
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_listener_with_a_token_answers_nobody_else_but_health_checks() {
    let backend = Backend::new().await;
    let setup = Setup::new().route("/ws", &backend.url(), TERMS).admin("token = \"file:admin.token\"");
    std::fs::write(setup.folder.path().join("admin.token"), "0123456789abcdef\n").unwrap();
    let gate = setup.start();
    for (method, target, status) in [
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 401),
        ("DELETE", "/connections?all=true", 401),
        ("POST", "/revocations", 401),
    ] {
        let answer = gate.operate(method, target, "").await;
        assert_eq!(answer.status(), status, "{target}: {answer:?}");
        assert_eq!(answer.one("www-authenticate").is_some(), status == 401);
    }
    gate.finish().await;
}
