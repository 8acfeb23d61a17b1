//! Caps that two gateways share through a real Redis.

use super::{closed, exceeded, leave};
use crate::harness::redis::Server;
use crate::harness::{Ask, Backend, Gate, Setup, until};

const CLOSING: &str = "connections = { per_subject = 2, on_full = \"close_oldest\", store = \"redis\" }";

/// A gateway that shares; `redis` are further keys of `[redis]`.
async fn sharing(server: &Server, backend: &Backend, redis: &str, terms: &str) -> Gate {
    let sections = format!(
        "[zone.tenants]\nkey = \"header:x-tenant\"\nstore = \"redis\"\n[redis]\nurl = \"{}\"\ntimeout = \"1s\"\n{redis}",
        server.url()
    );
    let setup = Setup::new().jwt(&sections).route("/ws", &backend.url(), &format!("jwt = \"main\"\n{terms}"));
    let gate = setup.start();
    connected(&gate).await;
    gate
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

fn alice(gate: &Gate) -> Ask {
    Ask::to("/ws").bearer(&gate.token("alice", 600)).with("X-Tenant", "acme")
}

#[tokio::test]
async fn two_gateways_never_hold_more_than_their_cap_together() {
    let (server, backend) = (Server::start(), Backend::new().await);
    for (cap, status, reason) in [
        ("total = 2, store = \"redis\"", 503, "route_cap"),
        ("per_ip = 2, store = \"redis\"", 429, "ip_cap"),
        ("per_subject = 2, store = \"redis\"", 429, "subject_cap"),
        ("per_zone = [{ zone = \"tenants\", max = 2 }]", 429, "zone_cap"),
    ] {
        let terms = format!("connections = {{ {cap} }}");
        let mut one = sharing(&server, &backend, "", &terms).await;
        let mut other = sharing(&server, &backend, "", &terms).await;
        let first = one.session_of(&backend, &alice(&one)).await;
        let second = other.session_of(&backend, &alice(&other)).await;
        for gate in [&mut one, &mut other] {
            let told = gate.refusal(&alice(gate)).await;
            assert_eq!((told.status(), told.one("retry-after")), (status, Some("1")), "{reason}");
            gate.refused(reason).await;
        }
        leave(&mut one, vec![first]).await;
        let slots =
            || other.shared().redis.as_ref().unwrap().slots_held() + one.shared().redis.as_ref().unwrap().slots_held();
        until("the slot to be given back", || slots() == 1).await;
        one.finish().await;
        leave(&mut other, vec![second]).await;
        other.finish().await;
    }
}

#[tokio::test]
async fn the_oldest_of_all_gateways_makes_room() {
    let (server, backend) = (Server::start(), Backend::new().await);
    let mut one = sharing(&server, &backend, "", CLOSING).await;
    let mut other = sharing(&server, &backend, "", CLOSING).await;
    let first = one.session_of(&backend, &alice(&one)).await;
    let second = other.session_of(&backend, &alice(&other)).await;
    let third = other.session_of(&backend, &alice(&other)).await;
    closed(&mut one, first, "subject_cap").await;
    // Now the other one has both, and so the oldest.
    let fourth = other.session_of(&backend, &alice(&other)).await;
    closed(&mut other, second, "subject_cap").await;
    assert_eq!(exceeded(&other, "", "close_oldest", false), 2.0);
    assert_eq!((one.sessions(), other.shared().edition().policy.routes[0].caps.keyed[0].counts.used()), (0, 2));
    one.finish().await;
    leave(&mut other, vec![third, fourth]).await;
    other.finish().await;
}

#[tokio::test]
async fn a_local_cap_that_is_full_asks_nobody_and_a_shared_one_that_is_gives_local_places_back() {
    let (server, backend) = (Server::start(), Backend::new().await);
    let terms = "connections = { per_subject = 1, on_full = \"close_oldest\", \
                 per_zone = [{ zone = \"tenants\", max = 1 }] }";
    let mut gate = sharing(&server, &backend, "", terms).await;
    let open = gate.session_of(&backend, &alice(&gate)).await;
    gate.refusal(&alice(&gate)).await;
    gate.refused("zone_cap").await;
    assert_eq!((gate.sessions(), exceeded(&gate, "", "close_oldest", false)), (1, 0.0), "nobody was closed in vain");
    leave(&mut gate, vec![open]).await;
    gate.finish().await;
}

#[tokio::test]
async fn without_an_answer_the_own_count_decides_or_nobody_or_nothing_gets_in() {
    let backend = Backend::new().await;
    for (on_error, in_at_first, then) in [("local", true, false), ("open", true, true), ("closed", false, false)] {
        let mut server = Server::start();
        let redis = format!("on_error = \"{on_error}\"\n");
        let terms = "connections = { per_subject = 1, store = \"redis\" }";
        let mut gate = sharing(&server, &backend, &redis, terms).await;
        server.kill();
        let mut open = Vec::new();
        for is_in in [in_at_first, then] {
            if is_in {
                open.push(gate.session_of(&backend, &alice(&gate)).await);
            } else {
                let told = gate.refusal(&alice(&gate)).await;
                let (status, reason) =
                    if on_error == "closed" { (503, "store_unavailable") } else { (429, "subject_cap") };
                assert_eq!(told.status(), status, "{on_error}");
                gate.refused(reason).await;
            }
        }
        leave(&mut gate, open).await;
        gate.finish().await;
    }
}

/// The own count is what a gateway states when the store is there again.
#[tokio::test]
async fn who_was_let_in_meanwhile_counts_once_the_store_is_back() {
    let (mut server, backend) = (Server::start(), Backend::new().await);
    let terms = "connections = { per_subject = 1, store = \"redis\" }";
    let mut one = sharing(&server, &backend, "", terms).await;
    server.kill();
    let open = one.session_of(&backend, &alice(&one)).await;
    server.restart();
    connected(&one).await;
    let mut other = sharing(&server, &backend, "", terms).await;
    until("the count to be stated", || {
        one.shared().redis.as_ref().unwrap().wake();
        !server.ask::<Vec<String>>(&["KEYS", "{wsgate}:cap:*"]).is_empty()
    })
    .await;
    other.refusal(&alice(&other)).await;
    other.refused("subject_cap").await;
    leave(&mut one, vec![open]).await;
    one.finish().await;
    other.finish().await;
}

/// While the store is away, the oldest of this gateway makes room.
#[tokio::test]
async fn without_an_answer_the_oldest_here_is_closed() {
    let (mut server, backend) = (Server::start(), Backend::new().await);
    let mut gate = sharing(&server, &backend, "", CLOSING).await;
    server.kill();
    let first = gate.session_of(&backend, &alice(&gate)).await;
    let second = gate.session_of(&backend, &alice(&gate)).await;
    let third = gate.session_of(&backend, &alice(&gate)).await;
    closed(&mut gate, first, "subject_cap").await;
    leave(&mut gate, vec![second, third]).await;
    gate.finish().await;
}

/// For some seconds it still counts, and may have the oldest session; but it hears nothing.
#[tokio::test]
async fn a_gateway_that_was_killed_lets_nobody_take_more_places_here_than_there_are() {
    let (server, backend) = (Server::start(), Backend::new().await);
    let mut gate = sharing(&server, &backend, "", CLOSING).await;
    let first = gate.session_of(&backend, &alice(&gate)).await;
    let keys: Vec<String> = server.ask(&["KEYS", "{wsgate}:cap:*"]);
    server.ask::<i64>(&["HSET", &keys[0], "killed", "2 1 1"]);
    server.ask::<i64>(&["ZADD", "{wsgate}:nodes", "9000000000000", "killed"]);
    let second = gate.session_of(&backend, &alice(&gate)).await;
    let third = gate.session_of(&backend, &alice(&gate)).await;
    closed(&mut gate, first, "subject_cap").await;
    assert_eq!(gate.shared().edition().policy.routes[0].caps.keyed[0].counts.used(), 2);
    leave(&mut gate, vec![second, third]).await;
    gate.finish().await;
}
