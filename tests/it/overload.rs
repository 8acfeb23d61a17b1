//! A worker that is behind with its work: who is turned away, how it is told, and that nothing else changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::TLS13;
use wsgate::policy::overload::Pace;

use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Peer, Setup, until};

const LAG: &str = "max_lag = \"5s\"";

/// Has every worker's ticks seem so late, and waits until that counts.
async fn behind(gate: &Gate, late: Duration, pace: Pace) {
    let shared = gate.shared();
    for lag in shared.lags.iter() {
        lag.pretend(late);
    }
    until("the workers to stand so", || shared.lags.iter().all(|lag| lag.pace(shared.edition().max_lag) == pace)).await;
}

#[tokio::test]
async fn a_gateway_that_is_behind_refuses_new_handshakes_and_nothing_else_until_it_has_caught_up() {
    let echo = Echo::new().await;
    let mut gate = Setup::new().server(LAG).route("/ws", &echo.url(), "jwt = \"main\"").start();
    let ask = || Ask::to("/ws").bearer(&gate.token("alice", 600));
    let mut client = gate.asking(&ask()).await;
    assert_eq!(client.head().await.status(), 101);
    behind(&gate, Duration::from_secs(6), Pace::Behind).await;
    assert!(gate.count("wsgate_worker_lag_seconds{worker=\"0\"}") >= 6.0);
    let mut waits = BTreeSet::new();
    for _ in 0..20 {
        // Before the token: that there is none is not looked at.
        let head = gate.refusal(&Ask::to("/ws")).await;
        assert_eq!((head.status(), head.body.starts_with("overloaded: ")), (503, true), "{head:?}");
        waits.insert(head.one("retry-after").unwrap().parse::<u64>().unwrap());
        assert_eq!(gate.refused("overloaded").await["route"], "ws");
    }
    assert!(waits.iter().all(|wait| (1..=10).contains(wait)) && waits.len() > 2, "no two alike: {waits:?}");
    assert_eq!(gate.refusals("ws", "overloaded"), 20.0);
    client.say(&Frame::text("still here")).await;
    assert_eq!(client.frame().await, Frame::text("still here"));
    // What leads nowhere needs no excuse.
    assert_eq!(gate.refusal(&Ask::to("/nowhere")).await.status(), 404);
    gate.refused("no_route").await;
    behind(&gate, Duration::ZERO, Pace::Keeps).await;
    let ask = Ask::to("/ws").bearer(&gate.token("alice", 600));
    let mut late = gate.asking(&ask).await;
    assert_eq!(late.head().await.status(), 101);
    for peer in [client, late] {
        peer.reset();
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_page_is_told_by_a_close_where_the_route_says_so() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server(LAG).route("/ws", &backend.url(), "deny = \"close\"").start();
    behind(&gate, Duration::from_secs(6), Pace::Behind).await;
    let mut client = gate.asking(&Ask::to("/ws")).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.frame().await.as_close(), (1013, "overloaded"));
    client.say(&Frame::close(1013, "")).await;
    client.ended().await;
    assert_eq!(gate.refused("overloaded").await["close_code"], 1013);
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn a_live_session_is_renewed_while_the_gateway_is_behind() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nrenew = \"/ws/renew\"\norigins = \"any\"\nallow_missing_origin = true";
    let mut gate = Setup::new().server(LAG).route("/ws", &backend.url(), terms).start();
    let (client, upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&gate.token("alice", 600))).await;
    behind(&gate, Duration::from_secs(3600), Pace::FarBehind).await;
    let token = gate.token("alice", 1200);
    let ask = Ask::to("/ws/renew").line("POST /ws/renew HTTP/1.1").without("Connection").without("Upgrade");
    let ask = ask.with("Content-Length", "0").bearer(&token);
    assert_eq!(gate.refusal(&ask).await.status(), 200);
    assert_eq!(gate.lines.next().await["event"], "renewal");
    client.reset();
    drop(upstream);
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn far_behind_a_socket_is_closed_before_tls_and_without_tls_it_is_answered() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = Setup::new().server(LAG).listen();
    authority.sign("chat.example.com").write(setup.folder.path(), "chat");
    let setup = setup.listener("tls = { certificate = \"chat.pem\", key = \"chat.key\" }");
    let mut gate = setup.route("/ws", &backend.url(), "").start();
    let over_tls = gate.gateway().addresses[1];
    let shed = format!("wsgate_handshakes_shed_total{{listener=\"{over_tls}\"}}");
    let config = Arc::new(authority.client(&[&TLS13]));

    behind(&gate, Duration::from_secs(6), Pace::Behind).await;
    let tcp = tokio::net::TcpStream::connect(over_tls).await.unwrap();
    let mut peer = Peer::new(secure::stream(secure::connect(tcp, &config, "chat.example.com").await), true);
    peer.ask(&Ask::to("/ws")).await;
    assert_eq!(peer.head().await.status(), 503, "a little behind it is still told");
    gate.refused("overloaded").await;
    assert_eq!(gate.count(&shed), 0.0);

    behind(&gate, Duration::from_secs(11), Pace::FarBehind).await;
    let tcp = tokio::net::TcpStream::connect(over_tls).await.unwrap();
    Peer::new(wsgate::stream::Stream::Tcp(tcp), true).ended().await;
    assert_eq!(gate.count(&shed), 1.0);
    assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 503, "the plain listener answers");
    gate.refused("overloaded").await;
    drop(peer);
    gate.finish().await;
}

#[tokio::test]
async fn a_worker_that_keeps_up_lets_clients_in_while_another_is_behind() {
    let echo = Echo::new().await;
    let mut gate = Setup::new().server(LAG).route("/ws", &echo.url(), "").start();
    let shared = gate.shared();
    shared.lags[1].pretend(Duration::from_secs(6));
    until("it to stand so", || shared.lags[1].pace(shared.edition().max_lag) == Pace::Behind).await;
    let (mut admitted, mut refused) = (Vec::new(), 0);
    // The kernel spreads clients over the workers: one that comes again meets another.
    while admitted.is_empty() || refused == 0 {
        assert!(admitted.len() + refused < 200, "all met the same worker");
        let mut client = gate.asking(&Ask::to("/ws")).await;
        match client.head().await.status() {
            101 => admitted.push(client),
            503 => refused += 1,
            other => panic!("{other}"),
        }
    }
    for _ in 0..refused {
        gate.refused("overloaded").await;
    }
    for client in admitted {
        client.reset();
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}
