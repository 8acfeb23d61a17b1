//! Several servers behind one name: who gets a handshake, and what clients see of a server that dies, hangs, refuses, is full
//! or comes back.

mod checks;
mod drain;
mod names;
mod reload;
mod waiting;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpSocket, UnixListener};

use crate::harness::backend::accept_unix;
use crate::harness::{Ask, Backend, Echo, Gate, Peer, Setup, until};

/// A route `/ws` to an upstream of these servers, on these terms.
pub(crate) fn gate(servers: &str, terms: &str, route: &str) -> Gate {
    let section = format!("[upstream.chat]\nservers = [{servers}]\n{terms}");
    Setup::new().route("/ws", "chat", route).admin(&section).start()
}

pub(crate) fn quoted(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("\"{}\"", backend.address())).collect::<Vec<_>>().join(", ")
}

/// Where nobody listens, and nobody will as long as the test runs: the port is taken.
pub(crate) fn nobody() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    std::mem::forget(socket);
    address
}

pub(crate) fn of_server(gate: &Gate, metric: &str, server: impl std::fmt::Display, more: &str) -> f64 {
    gate.count(&format!("wsgate_upstream_server_{metric}{{upstream=\"chat\",server=\"{server}\"{more}}}"))
}

pub(crate) fn up(gate: &Gate, server: impl std::fmt::Display) -> bool {
    of_server(gate, "up", server, "") == 1.0
}

/// Ends a session in order, and reads its line.
async fn end(gate: &mut Gate, client: Peer, mut upstream: Peer) -> serde_json::Value {
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await
}

/// A handshake that this server answers with a status.
async fn answered(gate: &Gate, backend: &Backend, status: u16) -> u16 {
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")).await;
    let told = client.head().await.status();
    client.ended().await;
    told
}

#[tokio::test]
async fn a_server_that_nobody_listens_at_is_seen_by_no_client_and_is_left_out() {
    let (dead, echo) = (nobody(), Echo::new().await);
    let alive = echo.url().replace("http://", "");
    let mut gate = gate(&format!("\"{dead}\", \"{alive}\""), "", "");
    for _ in 0..10 {
        drop(gate.tungstenite("/ws").await);
        let line = gate.ended("client", "client_lost").await;
        assert_eq!(line["upstream"], json!(alive));
    }
    assert!(!up(&gate, dead) && up(&gate, &alive));
    assert_eq!(of_server(&gate, "ejections_total", dead, ""), 1.0);
    assert_eq!(of_server(&gate, "handshakes_total", dead, ",result=\"upstream_connect\""), 3.0, "max_fails");
    assert_eq!(of_server(&gate, "handshakes_total", &alive, ",result=\"ok\""), 10.0);
    assert_eq!(of_server(&gate, "handshake_seconds_count", &alive, ""), 10.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_handshake_is_tried_on_so_many_more_as_retries_says_and_on_none_twice() {
    let (one, other, backend) = (nobody(), nobody(), Backend::new().await);
    let servers = format!("\"{one}\", \"{other}\", {}", quoted(&[&backend]));
    for (retries, status) in [(0, 502), (1, 502), (2, 404), (9, 404)] {
        let mut gate = gate(&servers, &format!("retries = {retries}\nmax_fails = 0"), "");
        if status == 404 {
            assert_eq!(answered(&gate, &backend, 404).await, 404);
            gate.refused("upstream_refused").await;
        } else {
            assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 502);
            gate.refused("upstream_connect").await;
        }
        let failed = |server| of_server(&gate, "handshakes_total", server, ",result=\"upstream_connect\"");
        assert_eq!((failed(one), failed(other)), (1.0, f64::from(retries.min(1))), "{retries} retries");
        gate.finish().await;
    }
}

#[tokio::test]
async fn without_retries_a_client_sees_it_until_the_server_is_left_out() {
    let (dead, echo) = (nobody(), Echo::new().await);
    let alive = echo.url().replace("http://", "");
    let mut gate = gate(&format!("\"{dead}\", \"{alive}\""), "retries = 0\nmax_fails = 1", "");
    assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 502);
    assert_eq!(gate.refused("upstream_connect").await["upstream"], json!(dead.to_string()));
    for _ in 0..3 {
        drop(gate.tungstenite("/ws").await);
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_out_and_back_by_one_handshake_that_it_answers() {
    let (hung, well) = (Backend::new().await, Backend::new().await);
    let section = format!("[upstream.chat]\nservers = [{}]\nmax_fails = 1", quoted(&[&hung, &well]));
    let setup = Setup::new().route("/ws", "chat", "").route("/soon", "chat", "response_timeout = \"100ms\"");
    let mut gate = setup.admin(&section).start();
    let mut client = gate.asking(&Ask::to("/soon")).await;
    let mut silent = hung.accept().await;
    silent.head().await;
    assert_eq!(client.head().await.status(), 504);
    let line = gate.refused("upstream_timeout").await;
    assert_eq!((&line["upstream"], &line["why"]), (&json!(hung.address().to_string()), &json!("response_timeout")));
    assert!(!up(&gate, hung.address()));
    for _ in 0..3 {
        let (client, upstream) = gate.session(&well).await;
        end(&mut gate, client, upstream).await;
    }
    // The time out and the quarter that chance may add.
    gate.advance(Duration::from_millis(12_501));
    // By the round robin it is still the other's turn.
    let (client, upstream) = gate.session(&well).await;
    end(&mut gate, client, upstream).await;
    let (client, upstream) = gate.session(&hung).await;
    until("the server is in again", || up(&gate, hung.address())).await;
    assert_eq!(of_server(&gate, "sessions", hung.address(), ""), 1.0);
    assert_eq!(end(&mut gate, client, upstream).await["upstream"], json!(hung.address().to_string()));
    assert_eq!(of_server(&gate, "sessions", hung.address(), ""), 0.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_server_that_answers_500_is_left_out_and_one_whose_application_says_no_is_not() {
    let (ill, well) = (Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&ill, &well]), "max_fails = 1", "");
    assert_eq!(answered(&gate, &ill, 404).await, 404);
    gate.refused("upstream_refused").await;
    assert_eq!(answered(&gate, &well, 403).await, 403);
    gate.refused("upstream_refused").await;
    assert!(up(&gate, ill.address()) && up(&gate, well.address()));
    assert_eq!(answered(&gate, &ill, 500).await, 502);
    gate.refused("upstream_refused").await;
    assert!(!up(&gate, ill.address()));
    for _ in 0..2 {
        // It is the last, and stays.
        assert_eq!(answered(&gate, &well, 503).await, 502);
        gate.refused("upstream_refused").await;
    }
    assert!(up(&gate, well.address()));
    gate.finish().await;
}

#[tokio::test]
async fn a_5xx_to_an_ordinary_request_leaves_nobody_out_and_brings_nobody_back() {
    let (backend, spare) = (Backend::new().await, Backend::new().await);
    let servers = format!("\"{}\", {{ address = \"{}\", backup = true }}", backend.address(), spare.address());
    let mut gate = gate(&servers, "max_fails = 3", "http = \"forward\"");
    for failures in [3, 1] {
        for number in 1..=failures {
            let (mut client, mut upstream) = requesting(&gate, &backend).await;
            upstream.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").await;
            assert_eq!(client.head().await.status(), 503);
            assert_eq!(gate.lines.next().await["status"], json!(503));
            assert!(up(&gate, backend.address()), "failures are what no answer is");
            drop(client);
            assert_eq!(answered(&gate, &backend, 503).await, 502);
            gate.refused("upstream_refused").await;
            assert_eq!(up(&gate, backend.address()), number < failures, "{number} of {failures}");
        }
        // The time out is over, and the next one sees: first a request, which sees nothing, and then a handshake.
        gate.clock.advance(Duration::from_secs(13));
    }
    gate.finish().await;
}

/// An ordinary request, as it has come to the server.
async fn requesting(gate: &Gate, backend: &Backend) -> (Peer, Peer) {
    let mut client = gate.client().await;
    client.send("GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    (client, upstream)
}

#[tokio::test]
async fn no_answer_to_an_ordinary_request_leaves_a_server_out() {
    let (backend, spare) = (Backend::new().await, Backend::new().await);
    let servers = format!("\"{}\", {{ address = \"{}\", backup = true }}", backend.address(), spare.address());
    let mut gate = gate(&servers, "max_fails = 2", "http = \"forward\"");
    for left in [true, false] {
        let (mut client, upstream) = requesting(&gate, &backend).await;
        drop(upstream);
        assert_eq!(client.head().await.status(), 502);
        assert_eq!(gate.lines.next().await["reason"], json!("upstream_refused"));
        assert_eq!(up(&gate, backend.address()), left);
    }
    gate.finish().await;
}

#[tokio::test]
async fn an_ordinary_request_has_its_place_until_its_answer_is_over() {
    let backend = Backend::new().await;
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let mut gate = gate(&servers, "", "http = \"forward\"");
    let (mut client, mut upstream) = requesting(&gate, &backend).await;
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na").await;
    assert_eq!(client.head_alone().await.status(), 200);
    assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 503);
    assert_eq!(gate.refused("upstream_full").await["why"], json!("every server has its max_connections"));
    upstream.send("b").await;
    assert_eq!(client.bytes(2).await, b"ab");
    assert_eq!(gate.lines.next().await["status"], json!(200));
    until("it is given back", || of_server(&gate, "sessions", backend.address(), "") == 0.0).await;
    drop(client);
    let (client, upstream) = gate.session(&backend).await;
    end(&mut gate, client, upstream).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_request_that_was_sent_is_not_sent_again() {
    let (first, second) = (Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&first, &second]), "", "");
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = first.accept().await;
    upstream.head().await;
    upstream.reset();
    assert_eq!(client.head().await.status(), 502);
    gate.refused("upstream_refused").await;
    second.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn the_server_with_the_fewest_sessions_gets_the_next_one() {
    let (one, other) = (Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&one, &other]), "balance = \"least_connections\"", "");
    let mut first = gate.session(&one).await;
    let second = gate.session(&other).await;
    for _ in 0..3 {
        end(&mut gate, first.0, first.1).await;
        until("it is gone", || of_server(&gate, "sessions", one.address(), "") == 0.0).await;
        first = gate.session(&one).await;
    }
    for (client, upstream) in [first, second] {
        end(&mut gate, client, upstream).await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_same_key_goes_to_the_same_server_and_to_another_while_that_is_not_well() {
    let backends = [Backend::new().await, Backend::new().await, Backend::new().await];
    let all: Vec<&Backend> = backends.iter().collect();
    let mut gate = gate(&quoted(&all), "balance = \"hash\"\nhash = \"subject\"", "jwt = \"main\"");
    let ask = Ask::to("/ws").with("Authorization", &format!("Bearer {}", gate.token("alice", 600)));
    // Which one it is depends on the ports that the servers got.
    let mut client = gate.asking(&ask).await;
    let at = |gate: &Gate, backend: &Backend| of_server(gate, "sessions", backend.address(), "");
    until("a server has it", || all.iter().any(|backend| at(&gate, backend) == 1.0)).await;
    let own = all.iter().position(|backend| at(&gate, backend) == 1.0).unwrap();
    let mut upstream = all[own].accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    end(&mut gate, client, upstream).await;
    for _ in 0..3 {
        let (client, upstream) = gate.session_of(all[own], &ask).await;
        end(&mut gate, client, upstream).await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn who_finds_every_server_full_waits_in_turn_and_so_many_at_most() {
    let backend = Backend::new().await;
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let mut gate = gate(&servers, "queue = 1\nqueue_timeout = \"1h\"", "");
    let (holder, mut held) = gate.session(&backend).await;
    let mut waiting = gate.asking(&Ask::to("/ws")).await;
    until("it waits", || gate.count("wsgate_upstream_queue{upstream=\"chat\"}") == 1.0).await;
    let refused = gate.refusal(&Ask::to("/ws")).await;
    assert_eq!((refused.status(), refused.one("retry-after")), (503, Some("1")));
    assert!(refused.body.starts_with("upstream_full: "), "{refused:?}");
    assert_eq!(gate.refused("upstream_full").await["why"], json!("its queue is full"));
    backend.saw_nobody();
    holder.reset();
    held.ended().await;
    gate.ended("client", "client_lost").await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(waiting.head().await.status(), 101);
    end(&mut gate, waiting, upstream).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_waits_keeps_nobody_else_from_being_heard() {
    let backend = Backend::new().await;
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let section = format!("[upstream.chat]\nservers = [{servers}]\nqueue = 1\nqueue_timeout = \"1h\"");
    let setup = Setup::new().server("handshakes_in_flight = 1").route("/ws", "chat", "").admin(&section);
    let mut gate = setup.start();
    let (client, upstream) = gate.session(&backend).await;
    let waiting = gate.asking(&Ask::to("/ws")).await;
    until("it waits", || gate.count("wsgate_upstream_queue{upstream=\"chat\"}") == 1.0).await;
    assert_eq!(gate.refusal(&Ask::to("/nowhere")).await.status(), 404);
    gate.refused("no_route").await;
    waiting.reset();
    gate.refused("client_lost").await;
    end(&mut gate, client, upstream).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_waits_too_long_or_may_not_wait_is_told_so() {
    for (terms, why) in
        [("", "every server has its max_connections"), ("queue = 5\nqueue_timeout = \"50ms\"", "queue_timeout")]
    {
        let backend = Backend::new().await;
        let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
        let mut gate = gate(&servers, terms, "");
        let (client, upstream) = gate.session(&backend).await;
        assert_eq!(gate.refusal(&Ask::to("/ws")).await.status(), 503);
        assert_eq!(gate.refused("upstream_full").await["why"], json!(why));
        assert_eq!(gate.count("wsgate_upstream_queue{upstream=\"chat\"}"), 0.0);
        end(&mut gate, client, upstream).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn who_waits_is_let_in_while_the_gateway_leaves_and_refused_once_it_drains() {
    let backend = Backend::new().await;
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let section = format!("[upstream.chat]\nservers = [{servers}]\nqueue = 2\nqueue_timeout = \"1d\"");
    let server = "drain_delay = \"1h\"\ndrain_timeout = \"1m\"";
    let terms = "idle_timeout = \"1d\"\nclose_timeout = \"50ms\"";
    let mut gate = Setup::new().server(server).route("/ws", "chat", terms).admin(&section).start();
    let waiting = |gate: &Gate| gate.count("wsgate_upstream_queue{upstream=\"chat\"}");
    let (holder, mut held) = gate.session(&backend).await;
    let mut first = gate.asking(&Ask::to("/ws")).await;
    until("the first waits", || waiting(&gate) == 1.0).await;
    let mut second = gate.asking(&Ask::to("/ws")).await;
    until("the second waits", || waiting(&gate) == 2.0).await;
    gate.gateway().drain();
    assert_eq!(gate.page("/readyz").await.status(), 503);
    holder.reset();
    held.ended().await;
    gate.ended("client", "client_lost").await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(first.head().await.status(), 101);
    gate.clock.advance(Duration::from_secs(3601));
    let refused = second.head().await;
    assert_eq!((refused.status(), refused.body.starts_with("draining: ")), (503, true), "{refused:?}");
    gate.refused("draining").await;
    gate.leave().await;
}

#[tokio::test]
async fn who_hangs_up_while_it_waits_leaves_the_queue() {
    let backend = Backend::new().await;
    let servers = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let mut gate = gate(&servers, "queue = 1\nqueue_timeout = \"1h\"", "");
    let (client, upstream) = gate.session(&backend).await;
    let waiting = gate.asking(&Ask::to("/ws")).await;
    until("it waits", || gate.count("wsgate_upstream_queue{upstream=\"chat\"}") == 1.0).await;
    waiting.reset();
    gate.refused("client_lost").await;
    assert_eq!(gate.count("wsgate_upstream_queue{upstream=\"chat\"}"), 0.0);
    end(&mut gate, client, upstream).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_backup_gets_nothing_while_the_others_are_well() {
    let (dead, backup) = (nobody(), Backend::new().await);
    let servers = format!("\"{dead}\", {{ address = \"{}\", backup = true }}", backup.address());
    let mut gate = gate(&servers, "max_fails = 1", "");
    for _ in 0..2 {
        let (client, upstream) = gate.session(&backup).await;
        end(&mut gate, client, upstream).await;
    }
    assert_eq!(of_server(&gate, "handshakes_total", dead, ",result=\"upstream_connect\""), 1.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_local_socket_is_a_server_too_and_the_path_takes_the_place_of_the_route_s() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("a.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut gate = gate(&format!("\"unix:{}\"", path.display()), "path = \"/app\"", "");
    let mut client = gate.asking(&Ask::to("/ws/1?q")).await;
    let mut upstream = accept_unix(&listener).await;
    let request = upstream.head().await;
    assert_eq!(request.line, "GET /app/1?q HTTP/1.1");
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    let line = end(&mut gate, client, upstream).await;
    assert_eq!(line["upstream"], json!(format!("unix:{}", path.display())));
    gate.finish().await;
}

#[tokio::test]
async fn a_url_of_a_route_is_an_upstream_of_one_server() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let (client, upstream) = gate.session(&backend).await;
    let server = format!("upstream=\"{}\",server=\"{}\"", backend.url(), backend.address());
    assert_eq!(gate.count(&format!("wsgate_upstream_server_sessions{{{server}}}")), 1.0);
    end(&mut gate, client, upstream).await;
    for _ in 0..5 {
        // It is the only one, whatever it does.
        assert_eq!(answered(&gate, &backend, 500).await, 502);
        gate.refused("upstream_refused").await;
    }
    gate.finish().await;
}
