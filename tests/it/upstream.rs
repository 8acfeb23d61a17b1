//! The upstream's half of the handshake: what it has to say before a byte of the client's goes there, and what a client is
//! told that it did not say.

use serde_json::json;
use tempfile::TempDir;
use tokio::net::UnixListener;

use crate::harness::ask::KEY;
use crate::harness::backend::accept_unix;
use crate::harness::secure::Authority;
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup};

fn ask() -> Ask {
    Ask::to("/ws")
}

/// Asks, lets the upstream answer, and returns what the client is told.
async fn answered(gate: &Gate, backend: &Backend, ask: &Ask, answer: &[u8]) -> crate::harness::peer::Head {
    let mut client = gate.asking(ask).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    // The gateway may hang up as soon as it has seen enough.
    let _ = upstream.try_send(answer).await;
    let told = client.head().await;
    client.ended().await;
    upstream.ended().await;
    told
}

fn switch(accept: &str, more: &str) -> Vec<u8> {
    format!("HTTP/1.1 101 Switching Protocols\r\n{accept}{more}\r\n").into_bytes()
}

const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

#[tokio::test]
async fn an_answer_that_is_no_good_101_is_a_502_and_ends_both_connections() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "pass_upstream_errors = false");
    let long = format!("HTTP/1.1 101 Switching Protocols\r\n{ACCEPT}{UPGRADE}X: {}\r\n\r\n", "x".repeat(70_000));
    let ask = ask().with("Sec-WebSocket-Protocol", "chat, json").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let answers: Vec<(&str, Vec<u8>)> = vec![
        ("no Accept", switch("", UPGRADE)),
        ("a wrong Accept", switch("Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==\r\n", UPGRADE)),
        ("two Accepts", switch(&ACCEPT.repeat(2), UPGRADE)),
        ("no Upgrade", switch(ACCEPT, "Connection: Upgrade\r\n")),
        ("Upgrade: h2c", switch(ACCEPT, "Upgrade: h2c\r\nConnection: Upgrade\r\n")),
        ("no Connection", switch(ACCEPT, "Upgrade: websocket\r\n")),
        ("Connection: close", switch(ACCEPT, "Upgrade: websocket\r\nConnection: close\r\n")),
        ("a subprotocol nobody offered", switch(ACCEPT, &format!("{UPGRADE}Sec-WebSocket-Protocol: xml\r\n"))),
        ("two subprotocols", switch(ACCEPT, &format!("{UPGRADE}Sec-WebSocket-Protocol: chat, json\r\n"))),
        ("a subprotocol in capitals", switch(ACCEPT, &format!("{UPGRADE}Sec-WebSocket-Protocol: CHAT\r\n"))),
        ("an extension nobody offered", switch(ACCEPT, &format!("{UPGRADE}Sec-WebSocket-Extensions: x-snappy\r\n"))),
        (
            "an extension twice",
            switch(ACCEPT, &format!("{UPGRADE}Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n")),
        ),
        ("200", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".to_vec()),
        ("301", b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("404", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("500", b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n".to_vec()),
        ("HTTP/1.0", b"HTTP/1.0 101 Switching Protocols\r\n\r\n".to_vec()),
        ("no HTTP", b"220 mail ready\r\n\r\n".to_vec()),
        ("a head of 70 000 bytes", long.into_bytes()),
    ];
    let walked = answers.len();
    for (what, answer) in answers {
        let told = answered(&gate, &backend, &ask, &answer).await;
        assert_eq!(told.status(), 502, "{what}: {told:?}");
        assert!(told.body.starts_with("upstream_refused: "), "{what}: {told:?}");
        let line = gate.refused("upstream_refused").await;
        assert!(line["why"].is_string(), "{what}: {line}");
    }
    assert_eq!(gate.refusals("ws", "upstream_refused"), walked as f64);
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_hangs_up_instead_of_an_answer_is_a_502() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    for reset in [false, true] {
        let mut client = gate.asking(&ask()).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        if reset {
            upstream.reset();
        } else {
            upstream.send("HTTP/1.1 101 Swi").await;
            drop(upstream);
        }
        assert_eq!(client.head().await.status(), 502);
        client.ended().await;
        gate.refused("upstream_refused").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_4xx_of_the_application_reaches_the_client_unless_the_route_says_no() {
    let backend = Backend::new().await;
    let setup = Setup::new().route("/ws", &backend.url(), "");
    let mut gate = setup.route("/strict", &backend.url(), "pass_upstream_errors = false").start();
    for (path, status, told) in
        [("/ws", 404, 404), ("/ws", 401, 401), ("/ws", 429, 429), ("/ws", 503, 502), ("/strict", 404, 502)]
    {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        let head = answered(&gate, &backend, &Ask::to(path), answer.as_bytes()).await;
        assert_eq!(head.status(), told, "{path} {status}");
        let line = gate.refused("upstream_refused").await;
        assert_eq!(line["status"], json!(told));
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_subprotocol_and_compression_that_were_offered_are_agreed_on() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let offers = ask()
        .with("Sec-WebSocket-Protocol", "chat, json")
        .with("Sec-WebSocket-Extensions", "x-snappy, permessage-deflate; client_max_window_bits");
    let mut client = gate.asking(&offers).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    assert_eq!(request.one("sec-websocket-protocol"), Some("chat, json"));
    // The frame machine knows the bits of no other extension.
    assert_eq!(request.one("sec-websocket-extensions"), Some("permessage-deflate; client_max_window_bits"));
    upstream
        .send(request.switch("Sec-WebSocket-Protocol: json\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"))
        .await;
    let answer = client.head().await;
    assert_eq!(answer.one("sec-websocket-protocol"), Some("json"));
    assert_eq!(answer.one("sec-websocket-extensions"), Some("permessage-deflate"));
    assert_eq!(answer.one("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{KEY}");
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn where_nobody_listens_it_is_upstream_connect() {
    let nobody = crate::pools::nobody();
    let setup = Setup::new().route("/ws", &format!("http://{nobody}"), "");
    let mut gate = setup.route("/unix", "unix:/nowhere/at/all.sock", "").start();
    for path in ["/ws", "/unix"] {
        let told = gate.refusal(&Ask::to(path)).await;
        assert_eq!(told.status(), 502);
        assert!(told.body.starts_with("upstream_connect: "), "{told:?}");
        gate.refused("upstream_connect").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_upstream_timeout() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "response_timeout = \"50ms\"");
    for begun in ["", "HTTP/1.1 101 Switching"] {
        let mut client = gate.asking(&ask()).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(begun).await;
        let told = client.head().await;
        assert_eq!(told.status(), 504);
        assert!(told.body.starts_with("upstream_timeout: "), "{told:?}");
        upstream.ended().await;
        gate.refused("upstream_timeout").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn tls_that_an_upstream_never_begins_is_upstream_timeout() {
    let backend = Backend::new().await;
    let url = format!("https://{}", backend.address());
    let mut gate = Gate::new(&url, "connect_timeout = \"50ms\"");
    let mut client = gate.asking(&ask()).await;
    let upstream = backend.accept().await;
    assert_eq!(client.head().await.status(), 504);
    drop(upstream);
    gate.refused("upstream_timeout").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_local_socket_is_an_upstream_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut gate = Gate::new(&format!("unix:{}:/inner", path.display()), "");
    let mut client = gate.asking(&Ask::to("/ws/1")).await;
    let mut upstream: Peer = accept_unix(&listener).await;
    let request = upstream.head().await;
    assert_eq!(request.line, "GET /inner/1 HTTP/1.1");
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    upstream.say(&Frame::text("from a socket")).await;
    assert_eq!(client.frame().await, Frame::text("from a socket"));
    drop(upstream);
    assert_eq!(client.frame().await.as_close(), (1014, "upstream_lost"));
    drop(client);
    gate.ended("upstream", "upstream_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_over_tls_has_to_be_signed_by_the_given_authority() {
    let (known, other) = (Authority::new(), Authority::new());
    let backend = Backend::new().await;
    let url = format!("https://localhost:{}", backend.address().port());
    let setup = Setup::new().route("/ws", &url, "upstream_ca = \"ca.pem\"");
    std::fs::write(setup.folder.path().join("ca.pem"), known.pem()).unwrap();
    let mut gate = setup.start();
    for (pair, fits) in
        [(known.sign("localhost"), true), (other.sign("localhost"), false), (known.sign("elsewhere.example"), false)]
    {
        let acceptor = pair.acceptor();
        let mut client = gate.asking(&ask()).await;
        let upstream = backend.accept_tls(&acceptor).await;
        assert_eq!(upstream.is_some(), fits);
        let Some(mut upstream) = upstream else {
            let told = client.head().await;
            assert_eq!(told.status(), 502);
            assert!(told.body.starts_with("upstream_connect: "), "{told:?}");
            gate.refused("upstream_connect").await;
            continue;
        };
        let request = upstream.head().await;
        upstream.send([request.switch(""), Frame::text("sealed").bytes(false)].concat()).await;
        assert_eq!(client.head().await.status(), 101);
        assert_eq!(client.frame().await, Frame::text("sealed"));
        client.say(&Frame::text("thanks")).await;
        assert_eq!(upstream.frame().await, Frame::text("thanks"));
        drop(client);
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_route_s_path_is_kept_or_replaced() {
    let backend = Backend::new().await;
    let url = backend.url();
    let setup =
        Setup::new().route("/ws", &url, "").route("/a", &format!("{url}/b"), "").route("/c", &format!("{url}/"), "");
    let mut gate = setup.start();
    for (target, seen) in [
        ("/ws", "/ws"),
        ("/ws/1?x=%41&y", "/ws/1?x=%41&y"),
        ("/a", "/b"),
        ("/a/1/2?q", "/b/1/2?q"),
        ("/%61/1", "/b/1"),
        ("/c/1", "/1"),
        ("http://chat.example.com/a/1?q", "/b/1?q"),
    ] {
        let mut client = gate.asking(&Ask::to(target)).await;
        let mut upstream = backend.accept().await;
        assert_eq!(upstream.head().await.line, format!("GET {seen} HTTP/1.1"), "{target}");
        upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 404);
        gate.refused("upstream_refused").await;
    }
    gate.finish().await;
}
