//! The opening handshake: what is no such thing gets a clear answer, and what is comes through whole.

use std::time::Duration;

use crate::harness::{Ask, Backend, Echo, Frame, Gate, Setup, within};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

fn ask() -> Ask {
    Ask::to("/ws")
}

/// What is wrong, the request, and the answer's status and label.
fn malformed() -> Vec<(&'static str, Ask, u16, &'static str)> {
    vec![
        ("POST", ask().line("POST /ws HTTP/1.1"), 426, "not_websocket"),
        ("OPTIONS", ask().line("OPTIONS /ws HTTP/1.1"), 426, "not_websocket"),
        ("no Connection", ask().without("Connection"), 426, "not_websocket"),
        ("Connection: keep-alive", ask().but("Connection", "keep-alive"), 426, "not_websocket"),
        ("no Upgrade", ask().without("Upgrade"), 426, "not_websocket"),
        ("Upgrade: h2c", ask().but("Upgrade", "h2c"), 426, "not_websocket"),
        ("Upgrade: websocket, h2c", ask().but("Upgrade", "websocket, h2c"), 426, "not_websocket"),
        ("two Upgrades", ask().with("Upgrade", "h2c"), 426, "not_websocket"),
        ("no version", ask().without("Sec-WebSocket-Version"), 426, "not_websocket"),
        ("version 8", ask().but("Sec-WebSocket-Version", "8"), 426, "not_websocket"),
        ("version 13, 8", ask().but("Sec-WebSocket-Version", "13, 8"), 426, "not_websocket"),
        ("two versions", ask().with("Sec-WebSocket-Version", "13"), 400, "bad_handshake"),
        ("HTTP/1.0", ask().line("GET /ws HTTP/1.0"), 400, "bad_handshake"),
        ("no Host", ask().without("Host"), 400, "bad_handshake"),
        ("two Hosts", ask().with("Host", "chat.example.com"), 400, "bad_handshake"),
        ("Host: a/b", ask().but("Host", "a/b"), 400, "bad_handshake"),
        ("Host: a:x", ask().but("Host", "a:x"), 400, "bad_handshake"),
        ("no key", ask().without("Sec-WebSocket-Key"), 400, "bad_handshake"),
        ("a key of 15 bytes", ask().but("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), 400, "bad_handshake"),
        ("a key of 17 bytes", ask().but("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZWVl"), 400, "bad_handshake"),
        ("a key that is no base64", ask().but("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZ!=="), 400, "bad_handshake"),
        ("two keys", ask().with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "bad_handshake"),
        ("two Origins", ask().with("Origin", "https://a.b").with("Origin", "https://a.b"), 400, "bad_handshake"),
        ("two Authorizations", ask().bearer("a").bearer("a"), 400, "bad_handshake"),
        ("a body", ask().with("Content-Length", "4"), 400, "bad_handshake"),
        ("a chunked body", ask().with("Transfer-Encoding", "chunked"), 400, "bad_handshake"),
        ("a target elsewhere", ask().line("GET http://evil.example/ws HTTP/1.1"), 400, "bad_handshake"),
        ("a target at another port", ask().line("GET http://chat.example.com:81/ws HTTP/1.1"), 400, "bad_handshake"),
        ("an escaped slash", ask().line("GET /ws%2fadmin HTTP/1.1"), 400, "bad_handshake"),
        ("dots", ask().line("GET /ws/../admin HTTP/1.1"), 400, "bad_handshake"),
        ("escaped dots", ask().line("GET /ws/%2e%2e/admin HTTP/1.1"), 400, "bad_handshake"),
        ("no path", ask().line("GET * HTTP/1.1"), 400, "bad_handshake"),
        ("no route", ask().line("GET /elsewhere HTTP/1.1"), 404, "no_route"),
        ("a segment that only begins so", ask().line("GET /wsx HTTP/1.1"), 404, "no_route"),
    ]
}

#[tokio::test]
async fn a_malformed_handshake_gets_its_status_its_label_one_line_and_one_count() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    for (what, ask, status, label) in malformed() {
        let before = gate.refusals("none", label);
        let answer = gate.refusal(&ask).await;
        assert_eq!(answer.status(), status, "{what}");
        assert!(answer.body.starts_with(&format!("{label}: ")), "{what}: {answer:?}");
        let line = gate.refused(label).await;
        assert_eq!(line["status"], json!(status), "{what}: {line}");
        assert!(line["why"].as_str().is_some_and(|why| !why.is_empty()), "{what}: {line}");
        assert_eq!(gate.refusals("none", label), before + 1.0, "{what}");
        let version = answer.one("sec-websocket-version");
        assert_eq!(version, (status == 426).then_some("13"), "{what}: {answer:?}");
    }
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_http_gets_400_and_what_is_too_large_431() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server("max_header_size = \"8k\"").route("/ws", &backend.url(), "").start();
    let large = ask().with("Cookie", &"c".repeat(60 * 1024));
    for (what, bytes, status) in [
        ("frames", Frame::text("hello").bytes(true), 400),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 400),
        ("a header without a colon", b"GET /ws HTTP/1.1\r\nHost chat\r\n\r\n".to_vec(), 400),
        ("a folded header", b"GET /ws HTTP/1.1\r\nHost: a\r\n b\r\n\r\n".to_vec(), 400),
        ("two lengths", ask().with("Content-Length", "1").with("Content-Length", "2").bytes(), 400),
        ("a large head", large.bytes(), 431),
    ] {
        let mut client = gate.client().await;
        // The gateway may be done with it before all is sent.
        let _ = client.try_send(&bytes).await;
        let answer = client.head().await;
        assert_eq!(answer.status(), status, "{what}");
        assert!(answer.body.starts_with("bad_handshake: "), "{what}: {answer:?}");
        client.ended().await;
        let line = gate.refused("bad_handshake").await;
        assert_eq!(line["status"], json!(status), "{what}: {line}");
    }
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn a_head_that_takes_too_long_gets_408() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().listener("handshake_timeout = \"100ms\"").route("/ws", &backend.url(), "").start();
    for begun in [&b""[..], b"G", b"GET /ws HTTP/1.1\r\nHost: a\r\n"] {
        let mut client = gate.client().await;
        client.send(begun).await;
        let answer = client.head().await;
        assert_eq!(answer.status(), 408);
        assert!(answer.body.starts_with("handshake_timeout"), "{answer:?}");
        client.ended().await;
        let line = gate.refused("handshake_timeout").await;
        assert_eq!(line["status"], json!(408), "{line}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_it_said_anything_is_nobody() {
    let backend = Backend::new().await;
    let gate = Gate::new(&backend.url(), "");
    gate.client().await.finish().await;
    drop(gate.client().await);
    gate.client().await.reset();
    gate.finish().await;
}

#[tokio::test]
async fn a_host_may_have_a_port_and_capitals_and_a_target_may_repeat_it() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "host = \"chat.example.com\"");
    for ask in [
        ask().but("Host", "CHAT.example.com:8443"),
        ask().line("GET http://chat.example.com/ws HTTP/1.1"),
        ask().but("Connection", "keep-alive, upgrade").but("Upgrade", "WebSocket"),
        ask().line("GET /ws/1?a=b HTTP/1.1").with("Content-Length", "0"),
    ] {
        let (mut client, mut upstream) = gate.session_of(&backend, &ask).await;
        client.say(&Frame::close(1000, "")).await;
        assert_eq!(upstream.frame().await.as_close(), (1000, ""));
        upstream.say(&Frame::close(1000, "")).await;
        assert_eq!(client.frame().await.as_close(), (1000, ""));
        gate.ended("client", "closed").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_frame_in_the_same_write_as_the_request_reaches_the_upstream_once_and_in_order() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut client = gate.client().await;
    let first = [ask().bytes(), Frame::text("one").bytes(true), Frame::text("two").bytes(true)[..5].to_vec()];
    client.send(first.concat()).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    assert!(upstream.is_quiet_for(Duration::from_millis(50)).await, "a client's byte before the 101");
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    client.send(&Frame::text("two").bytes(true)[5..]).await;
    client.say(&Frame::text("three")).await;
    for text in ["one", "two", "three"] {
        assert_eq!(upstream.frame().await, Frame::text(text));
    }
    drop(client);
    upstream.ended().await;
    let line = gate.ended("client", "client_lost").await;
    assert_eq!(line["messages_to_upstream"], json!(3));
    gate.finish().await;
}

#[tokio::test]
async fn a_frame_in_the_same_write_as_the_101_reaches_the_client() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut client = gate.asking(&ask()).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send([request.switch(""), Frame::text("welcome").bytes(false)].concat()).await;
    let answer = client.head().await;
    assert_eq!((answer.status(), answer.one("connection")), (101, Some("Upgrade")));
    assert_eq!(client.frame().await, Frame::text("welcome"));
    drop(client);
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_upstream_thinks_is_lost_and_nothing_stays_held() {
    let backend = Backend::new().await;
    let terms = "connections = { total = 1, per_ip = 1 }";
    let mut gate = Gate::new(&backend.url(), terms);
    for reset in [false, true] {
        let client = gate.asking(&ask()).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        upstream.ended().await;
        let line = gate.refused("client_lost").await;
        assert_eq!(line.get("status"), None, "{line}");
        gate.rests().await;
    }
    assert_eq!(gate.refusals("ws", "client_lost"), 2.0);
    gate.finish().await;
}

#[tokio::test]
async fn text_binary_and_a_close_come_back_from_an_echo_server() {
    let echo = Echo::new().await;
    let mut gate = Gate::new(&echo.url(), "");
    let mut client = gate.tungstenite("/ws").await;
    for message in [Message::text("hello"), Message::binary(vec![7; 100_000]), Message::text("")] {
        client.send(message.clone()).await.unwrap();
        assert_eq!(within("an echo", client.next()).await.unwrap().unwrap(), message);
    }
    client.close(None).await.unwrap();
    while within("the end", client.next()).await.is_some_and(|message| message.is_ok()) {}
    let line = gate.ended("client", "closed").await;
    assert_eq!((&line["messages_to_upstream"], &line["messages_to_client"]), (&json!(3), &json!(3)));
    gate.finish().await;
}
