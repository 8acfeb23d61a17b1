//! How often a session may be opened, and how many there may be.

use std::time::Duration;

use crate::harness::{Ask, Backend, Gate, Peer, Setup, until};

const SECOND: Duration = Duration::from_secs(1);

fn ask() -> Ask {
    Ask::to("/ws")
}

/// Resets the clients, and waits until they are written down.
async fn leave(gate: &mut Gate, sessions: Vec<(Peer, Peer)>) {
    for (client, mut upstream) in sessions {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.rests().await;
}

#[tokio::test]
async fn beyond_rate_and_burst_a_handshake_gets_429_and_the_time_to_wait() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "handshakes = { rate = \"6r/m\", burst = 2, nodelay = true }");
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(gate.session(&backend).await);
    }
    let told = gate.refusal(&ask()).await;
    assert_eq!((told.status(), told.one("retry-after")), (429, Some("10")));
    assert!(told.body.starts_with("handshake_rate: "), "{told:?}");
    gate.refused("handshake_rate").await;
    gate.advance(10 * SECOND);
    open.push(gate.session(&backend).await);
    gate.refusal(&ask()).await;
    gate.refused("handshake_rate").await;
    assert_eq!(gate.count("wsgate_zone_entries{zone=\"route ws\"}"), 1.0);
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn the_status_of_a_refusal_is_the_operator_s_choice() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "handshakes = { rate = \"1r/m\", status = 503 }");
    let open = vec![gate.session(&backend).await];
    let told = gate.refusal(&ask()).await;
    assert_eq!((told.status(), told.one("retry-after")), (503, Some("63")), "1r/m is 16 in a thousand seconds");
    gate.refused("handshake_rate").await;
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_burst_without_nodelay_waits_for_its_turn_and_holds_its_slot_meanwhile() {
    let backend = Backend::new().await;
    let terms = "handshakes = { rate = \"10r/s\", burst = 5, delay = 1 }\nconnections = { total = 10 }";
    let mut gate = Gate::new(&backend.url(), terms);
    let mut open = vec![gate.session(&backend).await, gate.session(&backend).await];
    // The third in one instant is the first beyond `delay`: it waits, for at most 100 ms.
    let mut third = gate.asking(&ask()).await;
    until("the third to hold its slot", || gate.count("wsgate_cap_used{scope=\"route\",route=\"ws\"}") == 3.0).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(third.head().await.status(), 101);
    open.push((third, upstream));
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// A client that hangs up while it waits for its turn leaves nothing behind.
#[tokio::test]
async fn a_client_that_gives_up_waiting_gives_its_slot_back() {
    let backend = Backend::new().await;
    let terms = "handshakes = { rate = \"1r/m\", burst = 5 }\nconnections = { total = 10 }";
    let mut gate = Gate::new(&backend.url(), terms);
    let open = vec![gate.session(&backend).await];
    let waiting = gate.asking(&ask()).await;
    until("it to hold its slot", || gate.count("wsgate_cap_used{scope=\"route\",route=\"ws\"}") == 2.0).await;
    waiting.reset();
    gate.refused("client_lost").await;
    backend.saw_nobody();
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn dry_run_counts_and_refuses_nobody() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "handshakes = { rate = \"1r/m\", dry_run = true }");
    let open = vec![gate.session(&backend).await, gate.session(&backend).await, gate.session(&backend).await];
    assert_eq!(
        gate.count("wsgate_limit_exceeded_total{route=\"ws\",limit=\"handshakes\",action=\"refuse\",dry_run=\"true\"}"),
        2.0
    );
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn two_routes_of_one_zone_share_its_rate() {
    let backend = Backend::new().await;
    let terms = "handshakes = { zone = \"logins\" }";
    let setup = Setup::new().jwt("[zone.logins]\nrate = \"1r/m\"").route("/ws", &backend.url(), terms);
    let mut gate = setup.route("/too", &backend.url(), terms).start();
    let open = vec![gate.session(&backend).await];
    assert_eq!(gate.refusal(&Ask::to("/too")).await.status(), 429);
    gate.refused("handshake_rate").await;
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// A hostile page must not spend its visitors' budget.
#[tokio::test]
async fn a_forbidden_origin_costs_nothing_of_the_rate() {
    let backend = Backend::new().await;
    let terms = "origins = [\"https://app.example.com\"]\nhandshakes = { rate = \"1r/m\" }";
    let mut gate = Gate::new(&backend.url(), terms);
    for _ in 0..3 {
        gate.refusal(&ask().with("Origin", "https://evil.example")).await;
        gate.refused("origin_forbidden").await;
    }
    let open = vec![gate.session_of(&backend, &ask().with("Origin", "https://app.example.com")).await];
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn each_cap_refuses_with_its_own_label_and_lets_in_again_when_a_slot_is_free() {
    let backend = Backend::new().await;
    for (server, terms, status, label) in [
        ("", "connections = { per_ip = 2 }", 429, "ip_cap"),
        ("", "connections = { per_subject = 2 }", 429, "subject_cap"),
        ("", "connections = { total = 2 }", 503, "route_cap"),
        ("connections.total = 2", "", 503, "total_cap"),
    ] {
        let terms = format!("jwt = \"main\"\n{terms}");
        let mut gate = Setup::new().server(server).route("/ws", &backend.url(), &terms).start();
        let alice = ask().bearer(&gate.token("alice", 60));
        let mut open = Vec::new();
        for _ in 0..2 {
            open.push(gate.session_of(&backend, &alice).await);
        }
        for _ in 0..2 {
            let told = gate.refusal(&alice).await;
            assert_eq!((told.status(), told.one("retry-after")), (status, Some("1")), "{label}");
            assert!(told.body.starts_with(&format!("{label}: ")), "{told:?}");
            gate.refused(label).await;
        }
        assert_eq!(gate.sessions(), 2, "{label}: a refusal costs no live session its slot");
        shrink(&mut gate, &mut open, 1).await;
        open.push(gate.session_of(&backend, &alice).await);
        leave(&mut gate, open).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_subject_s_cap_counts_that_subject_alone() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nconnections = { per_subject = 1 }");
    let (alice, bob) = (ask().bearer(&gate.token("alice", 60)), ask().bearer(&gate.token("bob", 60)));
    let open = vec![gate.session_of(&backend, &alice).await, gate.session_of(&backend, &bob).await];
    gate.refusal(&bob).await;
    gate.refused("subject_cap").await;
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// One warning at 90 %, and the next only after the count was under 80 %.
#[tokio::test]
async fn near_its_cap_a_route_warns_once() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "connections = { total = 10 }");
    let mut open = Vec::new();
    let grow = async |gate: &mut Gate, open: &mut Vec<(Peer, Peer)>, to: usize| {
        while open.len() < to {
            open.push(gate.session(&backend).await);
        }
        gate.count("wsgate_cap_warnings_total")
    };
    assert_eq!(grow(&mut gate, &mut open, 8).await, 0.0);
    assert_eq!(grow(&mut gate, &mut open, 10).await, 1.0);
    shrink(&mut gate, &mut open, 8).await;
    assert_eq!(grow(&mut gate, &mut open, 10).await, 1.0, "8 of 10 are not under 80 %");
    shrink(&mut gate, &mut open, 7).await;
    assert_eq!(grow(&mut gate, &mut open, 10).await, 2.0);
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// Ends the youngest sessions.
async fn shrink(gate: &mut Gate, open: &mut Vec<(Peer, Peer)>, to: usize) {
    for (client, mut upstream) in open.split_off(to) {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    until("slots given back", || gate.count("wsgate_cap_used{scope=\"total\"}") == to as f64).await;
}

/// Admitted, then kept waiting for its turn: the upstream is not to hear of a token that is over by then.
#[tokio::test]
async fn a_token_that_ends_while_its_handshake_waits_opens_nothing() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nhandshakes = { rate = \"30r/m\", burst = 5 }");
    let ask = ask().bearer(&gate.token("alice", 60));
    let open = vec![gate.session_of(&backend, &ask).await];
    let mut waiting = gate.asking(&ask).await;
    until("the second to wait", || gate.shared().edition().policy.total.used() == 2).await;
    assert_eq!(gate.shared().handshakes_under_way(), 0, "who waits keeps nobody else from being heard");
    // Not with `advance`, which would end the first session as well.
    gate.clock.advance(120 * SECOND);
    let told = waiting.head().await;
    assert_eq!(told.status(), 403);
    assert!(told.body.starts_with("token_expired: "), "{told:?}");
    gate.refused("token_expired").await;
    drop(waiting);
    for (mut client, upstream) in open {
        gate.advance(SECOND);
        client.frame().await;
        drop((client, upstream));
        gate.ended("gateway", "token_expired").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_handshake_that_waits_is_told_of_the_drain_at_once() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "handshakes = { rate = \"1r/m\", burst = 5 }");
    let (mut client, upstream) = gate.session(&backend).await;
    let mut waiting = gate.asking(&ask()).await;
    until("the second to wait", || gate.shared().edition().policy.total.used() == 2).await;
    gate.gateway().drain();
    assert_eq!(waiting.head().await.status(), 503);
    gate.refused("draining").await;
    assert_eq!(client.frame().await.as_close(), (1012, "draining"));
    drop((client, upstream));
    gate.ended("gateway", "draining").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_delay_in_dry_run_is_no_refusal() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "handshakes = { rate = \"1r/m\", burst = 1, dry_run = true }");
    let mut open = Vec::new();
    for refusals in [0.0, 0.0, 1.0] {
        open.push(gate.session(&backend).await);
        assert_eq!(
            gate.count(
                "wsgate_limit_exceeded_total{route=\"ws\",limit=\"handshakes\",action=\"refuse\",dry_run=\"true\"}"
            ),
            refusals
        );
    }
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// A 401 of the application, or of a rate that an operator gave that status, is not the token's fault.
#[tokio::test]
async fn only_a_bad_token_is_challenged() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nhandshakes = { rate = \"1r/m\", status = 401 }");
    let ask = ask().bearer(&gate.token("alice", 600));
    let open = vec![gate.session_of(&backend, &ask).await];
    let told = gate.refusal(&ask).await;
    assert_eq!((told.status(), told.one("www-authenticate")), (401, None));
    gate.refused("handshake_rate").await;
    leave(&mut gate, open).await;
    gate.finish().await;
}
