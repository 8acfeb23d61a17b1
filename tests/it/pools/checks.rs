//! Servers that are asked whether they are well.
//!
//! Checks are an hour apart and are asked for one by one, so that no test hangs on how fast the machine is.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{gate, nobody, of_server, quoted, up};
use crate::harness::secure::Authority;
use crate::harness::{Ask, Backend, Echo, Gate, Setup, until};

const HEALTH: &str = "interval = \"1h\", timeout = \"1h\", rise = 2, fall = 2";

/// Has all servers asked once more.
fn ask(gate: &Gate) {
    gate.shared().pools.wake_all();
}

/// Answers the next check, and says what it asked for.
async fn answer(backend: &Backend, answer: &str) -> String {
    let mut check = backend.accept().await;
    let request = check.head().await;
    // It may hang up as soon as it has seen enough.
    let _ = check.try_send(answer).await;
    request.line
}

#[tokio::test]
async fn a_check_by_http_wants_a_2xx_or_3xx_so_many_times_in_a_row() {
    let backend = Backend::new().await;
    let terms = format!("health = {{ type = \"http\", path = \"/healthz?full=1\", {HEALTH} }}");
    let gate = gate(&quoted(&[&backend]), &terms, "");
    let server = backend.address();
    let mut counts = [0.0, 0.0];
    for (status, is_up) in [
        (200, true),
        (503, true),
        (301, true),
        (500, true),
        (404, false),
        (204, false),
        (503, false),
        (200, false),
        (302, true),
    ] {
        assert_eq!(
            answer(&backend, &format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n")).await,
            "GET /healthz?full=1 HTTP/1.1"
        );
        counts[usize::from(status >= 400)] += 1.0;
        let count = |result: &str| of_server(&gate, "health_checks_total", server, &format!(",result=\"{result}\""));
        until("the check is counted", || [count("ok"), count("failed")] == counts).await;
        until(&format!("{status} makes it up: {is_up}"), || up(&gate, server) == is_up).await;
        ask(&gate);
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_check_by_websocket_looks_at_the_whole_101_and_closes_it() {
    let backend = Backend::new().await;
    let gate = gate(&quoted(&[&backend]), &format!("health = {{ type = \"websocket\", {HEALTH} }}"), "");
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    // The first check of all decides alone.
    answer(&backend, &format!("{head}Sec-WebSocket-Accept: bm9uc2Vuc2Ugbm9uc2Vuc2U=\r\n\r\n")).await;
    until("it is down", || !up(&gate, backend.address())).await;
    for _ in 0..2 {
        ask(&gate);
        let mut check = backend.accept().await;
        let request = check.head().await;
        assert_eq!(request.one("host"), Some(backend.address().to_string().as_str()));
        check.send(request.switch("")).await;
        let close = check.frame().await;
        assert_eq!(close.payload, 1000_u16.to_be_bytes());
        check.ended().await;
    }
    until("it is up", || up(&gate, backend.address())).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_check_that_is_not_answered_in_time_is_a_bad_one() {
    let backend = Backend::new().await;
    let terms = "health = { type = \"http\", interval = \"100ms\", timeout = \"100ms\" }";
    let gate = gate(&quoted(&[&backend]), terms, "");
    until("it is down", || !up(&gate, backend.address())).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_server_that_is_down_gets_no_handshake_and_all_do_where_all_are() {
    let (dead, echo) = (nobody(), Echo::new().await);
    let alive = echo.url().replace("http://", "");
    let terms = format!("health = {{ type = \"websocket\", {HEALTH} }}");
    let mut gate = gate(&format!("\"{dead}\", \"{alive}\""), &terms, "");
    until("it is down", || !up(&gate, dead)).await;
    for _ in 0..4 {
        drop(gate.tungstenite("/ws").await);
        assert_eq!(gate.ended("client", "client_lost").await["upstream"], alive);
    }
    assert_eq!(of_server(&gate, "handshakes_total", dead, ",result=\"upstream_connect\""), 0.0);
    drop(echo);
    until("nobody is up", || {
        ask(&gate);
        !up(&gate, &alive)
    })
    .await;
    // Each is tried before a client is refused.
    assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 502);
    gate.refused("upstream_connect").await;
    assert_eq!(gate.count("wsgate_upstream_panics_total{upstream=\"chat\"}"), 2.0);
    assert_eq!(of_server(&gate, "handshakes_total", dead, ",result=\"upstream_connect\""), 1.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_check_by_tcp_is_a_connection_and_with_tls_a_certificate_that_holds() {
    let gate = |address: SocketAddr, authority: &Authority, name: &str| {
        let setup = Setup::new().route("/ws", "chat", "");
        std::fs::write(setup.folder.path().join("ca.pem"), authority.pem()).unwrap();
        let tls = format!("tls = true\nca = \"ca.pem\"\nserver_name = \"{name}\"");
        let health = format!("health = {{ type = \"tcp\", {HEALTH} }}");
        setup.admin(&format!("[upstream.chat]\nservers = [\"{address}\"]\n{tls}\n{health}")).start()
    };
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = authority.sign("chat.internal").acceptor();
    #[allow(clippy::disallowed_methods, reason = "not a worker: the runtime of one test")]
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            // One that does not like the certificate hangs up.
            let _ = acceptor.accept(tcp).await;
        }
    });
    let mut good = gate(address, &authority, "chat.internal");
    let checks =
        |gate: &Gate, result: &str| of_server(gate, "health_checks_total", address, &format!(",result=\"{result}\""));
    until("it was asked", || checks(&good, "ok") > 0.0).await;
    assert!(up(&good, address));
    let mut other = gate(address, &authority, "other.internal");
    until("another's certificate is no good", || checks(&other, "failed") > 0.0 && !up(&other, address)).await;
    // And a handshake as a check: it gets as far as the server's silence, or no further than its certificate.
    assert_eq!(other.refusal(&Ask::to("/ws")).await.status(), 502);
    assert_eq!(other.refused("upstream_connect").await["why"], "its certificate is not to be trusted");
    assert_eq!(good.refusal(&Ask::to("/ws")).await.status(), 502);
    good.refused("upstream_refused").await;
    good.finish().await;
    other.finish().await;
    serving.abort();
}
