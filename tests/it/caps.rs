//! Caps by any key, and the oldest session that makes room.

mod shared;

use std::time::Duration;

use serde_json::json;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

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

/// The end of a session whose place a newer one took: both sides answer.
async fn closed(gate: &mut Gate, (mut client, mut upstream): (Peer, Peer), reason: &str) {
    assert_eq!(client.frame().await.as_close(), (4029, reason));
    assert_eq!(upstream.frame().await.as_close(), (4029, reason));
    client.say(&Frame::close(4029, "")).await;
    upstream.say(&Frame::close(4029, "")).await;
    gate.ended("gateway", reason).await;
}

fn exceeded(gate: &Gate, zone: &str, action: &str, dry_run: bool) -> f64 {
    let zone = if zone.is_empty() { String::new() } else { format!("zone=\"{zone}\",") };
    gate.count(&format!(
        "wsgate_limit_exceeded_total{{route=\"ws\",limit=\"connections\",{zone}action=\"{action}\",dry_run=\"{dry_run}\"}}"
    ))
}

#[tokio::test]
async fn the_oldest_session_makes_room_for_a_new_one_of_the_same_key() {
    let backend = Backend::new().await;
    for (zones, cap, reason, zone) in [
        ("", "per_ip = 2, on_full = \"close_oldest\"", "ip_cap", ""),
        ("", "per_subject = 2, on_full = \"close_oldest\"", "subject_cap", ""),
        (
            "[zone.tenants]\nkey = \"claim:tenant\"\n",
            "per_zone = [{ zone = \"tenants\", max = 2, on_full = \"close_oldest\" }]",
            "zone_cap",
            "tenants",
        ),
    ] {
        let terms = format!("jwt = \"main\"\nconnections = {{ {cap} }}");
        let mut gate = Setup::new().jwt(zones).route("/ws", &backend.url(), &terms).start();
        let token = gate.sign(&json!({ "sub": "alice", "tenant": "acme", "exp": gate.clock.now().wall / 1000 + 600 }));
        let alice = ask().bearer(&token);
        let first = gate.session_of(&backend, &alice).await;
        let second = gate.session_of(&backend, &alice).await;
        let third = gate.session_of(&backend, &alice).await;
        closed(&mut gate, first, reason).await;
        let fourth = gate.session_of(&backend, &alice).await;
        closed(&mut gate, second, reason).await;
        until("two to be left", || gate.sessions() == 2).await;
        assert_eq!(exceeded(&gate, zone, "close_oldest", false), 2.0, "{reason}");
        assert_eq!(gate.refusals("ws", reason), 0.0);
        leave(&mut gate, vec![third, fourth]).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_closed_one_that_lingers_has_no_place_by_its_key_but_still_one_of_the_route() {
    let backend = Backend::new().await;
    let terms = "connections = { total = 2, per_ip = 1, on_full = \"close_oldest\" }\nclose_timeout = \"5s\"";
    let mut gate = Gate::new(&backend.url(), terms);
    let mut first = gate.session(&backend).await;
    let second = gate.session(&backend).await;
    assert_eq!(first.0.frame().await.as_close(), (4029, "ip_cap"));
    assert_eq!(gate.shared().edition().policy.routes[0].caps.keyed[0].counts.used(), 1);
    // It does not answer its Close: until close_timeout its sockets are there, and count.
    assert_eq!(gate.refusal(&ask()).await.status(), 503);
    gate.refused("route_cap").await;
    gate.advance(6 * SECOND);
    gate.ended("gateway", "ip_cap").await;
    drop(first);
    until("the slot of the route", || gate.count("wsgate_cap_used{scope=\"route\",route=\"ws\"}") == 1.0).await;
    let third = gate.session(&backend).await;
    closed(&mut gate, second, "ip_cap").await;
    leave(&mut gate, vec![third]).await;
    gate.finish().await;
}

/// The oldest may be no session yet.
#[tokio::test]
async fn a_handshake_whose_place_was_taken_is_refused() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "connections = { per_ip = 1, on_full = \"close_oldest\" }");
    let mut first = gate.asking(&ask()).await;
    let mut dialled = backend.accept().await;
    let request = dialled.head().await;
    let second = gate.session(&backend).await;
    dialled.send(request.switch("")).await;
    let told = first.head().await;
    assert_eq!((told.status(), told.one("retry-after")), (429, Some("1")));
    assert!(told.body.starts_with("ip_cap: "), "{told:?}");
    gate.refused("ip_cap").await;
    dialled.ended().await;
    leave(&mut gate, vec![second]).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_handshake_that_one_cap_refuses_closes_nobody_by_another() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nconnections = { per_subject = 1, on_full = \"close_oldest\", \
                 per_zone = [{ zone = \"addresses\", max = 1 }] }";
    let mut gate = Setup::new().jwt("[zone.addresses]\n").route("/ws", &backend.url(), terms).start();
    let alice = ask().bearer(&gate.token("alice", 60));
    let (mut client, mut upstream) = gate.session_of(&backend, &alice).await;
    let told = gate.refusal(&alice).await;
    assert_eq!(told.status(), 429);
    assert!(told.body.starts_with("zone_cap: "), "{told:?}");
    gate.refused("zone_cap").await;
    assert_eq!((exceeded(&gate, "", "close_oldest", false), exceeded(&gate, "addresses", "refuse", false)), (0.0, 1.0));
    client.say(&Frame::text("still here")).await;
    assert_eq!(upstream.frame().await.payload, b"still here");
    leave(&mut gate, vec![(client, upstream)]).await;
    gate.finish().await;
}

#[tokio::test]
async fn two_routes_that_name_one_zone_count_together_and_each_has_its_own_max() {
    let backend = Backend::new().await;
    let cap = |max: u32| format!("connections = {{ per_zone = [{{ zone = \"all\", max = {max} }}] }}");
    let setup = Setup::new().jwt("[zone.all]\nkey = \"ip\"\n").route("/ws", &backend.url(), &cap(1));
    let mut gate = setup.route("/too", &backend.url(), &cap(2)).start();
    let mut open = vec![gate.session(&backend).await];
    assert_eq!(gate.refusal(&ask()).await.status(), 429);
    gate.refused("zone_cap").await;
    open.push(gate.session_of(&backend, &Ask::to("/too")).await);
    gate.refusal(&Ask::to("/too")).await;
    gate.refused("zone_cap").await;
    assert_eq!(gate.count("wsgate_cap_keys{scope=\"zone\",route=\"too\",zone=\"all\"}"), 1.0);
    assert_eq!(gate.count("wsgate_cap_keys_near_limit{scope=\"zone\",route=\"too\",zone=\"all\"}"), 1.0);
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn of_several_caps_of_one_zone_the_first_that_is_for_it_counts() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nconnections = { per_zone = [{ zone = \"users\", max = 1, when = { plan = \"free\" } }, \
                 { zone = \"users\", max = 2 }] }";
    let zone = "[zone.users]\nkey = \"subject\"\n";
    let mut gate = Setup::new().jwt(zone).route("/ws", &backend.url(), terms).start();
    let exp = gate.clock.now().wall / 1000 + 60;
    let mut open = Vec::new();
    for (plan, sessions) in [("free", 1), ("paid", 2)] {
        let ask = ask().bearer(&gate.sign(&json!({ "sub": plan, "plan": plan, "exp": exp })));
        for _ in 0..sessions {
            open.push(gate.session_of(&backend, &ask).await);
        }
        assert_eq!(gate.refusal(&ask).await.status(), 429, "{plan}");
        gate.refused("zone_cap").await;
    }
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_cap_in_dry_run_counts_and_neither_refuses_nor_closes() {
    let backend = Backend::new().await;
    let terms = "connections = { total = 1, per_ip = 1, on_full = \"close_oldest\", dry_run = true, \
                 per_zone = [{ zone = \"all\", max = 1, dry_run = true }] }";
    let mut gate = Setup::new().jwt("[zone.all]\nkey = \"route\"\n").route("/ws", &backend.url(), terms).start();
    let mut open = Vec::new();
    for beyond in [0.0, 1.0, 2.0] {
        open.push(gate.session(&backend).await);
        assert_eq!(exceeded(&gate, "", "refuse", true), beyond);
        assert_eq!(exceeded(&gate, "", "close_oldest", true), beyond);
        assert_eq!(exceeded(&gate, "all", "refuse", true), beyond);
    }
    assert_eq!(gate.sessions(), 3);
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// They have no names of their own in the metrics.
#[tokio::test]
async fn what_exceeds_a_route_s_own_caps_is_one_sum() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nconnections = { total = 3, per_ip = 2, per_subject = 1 }";
    let mut gate = Gate::new(&backend.url(), terms);
    let mut open = Vec::new();
    for (subject, refused) in [("alice", "subject_cap"), ("bob", "ip_cap")] {
        let ask = ask().bearer(&gate.token(subject, 60));
        open.push(gate.session_of(&backend, &ask).await);
        gate.refusal(&ask).await;
        gate.refused(refused).await;
    }
    assert_eq!(exceeded(&gate, "", "refuse", false), 2.0);
    assert_eq!(gate.shared().books.metrics.render(None).body.matches("limit=\"connections\"").count(), 1);
    leave(&mut gate, open).await;
    gate.finish().await;
}

/// A second later the next one may be said; the count is of each.
#[tokio::test]
async fn keys_near_their_cap_are_counted_and_warned_of() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nconnections = { per_subject = 2, warn_at = 1.0 }");
    let near = |gate: &Gate| gate.count("wsgate_cap_keys_near_limit{scope=\"subject\",route=\"ws\"}");
    let mut open = Vec::new();
    for (index, subject) in ["alice", "bob"].into_iter().enumerate() {
        let ask = ask().bearer(&gate.token(subject, 60));
        open.push(gate.session_of(&backend, &ask).await);
        assert_eq!((near(&gate), gate.count("wsgate_cap_warnings_total")), (index as f64, index as f64));
        open.push(gate.session_of(&backend, &ask).await);
        assert_eq!((near(&gate), gate.count("wsgate_cap_warnings_total")), (index as f64 + 1.0, index as f64 + 1.0));
    }
    assert_eq!(gate.count("wsgate_cap_keys{scope=\"subject\",route=\"ws\"}"), 2.0);
    leave(&mut gate, open).await;
    assert_eq!(near(&gate), 0.0);
    gate.finish().await;
}
