//! Bytes that two servers could take for two different requests: each gets one answer and one line, and no upstream sees it.

use super::{FORWARD, denial, forwarding, request};
use crate::harness::{Backend, Setup};

/// With the status, what of it stands in the log.
fn vectors() -> Vec<(String, u16, &'static str)> {
    let post =
        |headers: &str, body: &str| format!("POST /app HTTP/1.1\r\nHost: chat.example.com\r\n{headers}\r\n{body}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    let hidden = "GET /app/admin HTTP/1.1\r\nHost: chat.example.com\r\n\r\n";
    vec![
        (post(&format!("Content-Length: 6\r\n{chunked}"), "0\r\n\r\nG"), 400, "Content-Length and Transfer-Encoding"),
        (post(&format!("{chunked}Content-Length: 6\r\n"), "0\r\n\r\nG"), 400, "Content-Length and Transfer-Encoding"),
        (post("Content-Length: 0\r\nContent-Length: 44\r\n", hidden), 400, "two Content-Length headers"),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400, "two Content-Length headers"),
        (post("Content-Length: 0, 44\r\n", hidden), 400, "a malformed Content-Length"),
        (post("Content-Length: +5\r\n", "hello"), 400, "a malformed Content-Length"),
        (post("Content-Length: -1\r\n", ""), 400, "a malformed Content-Length"),
        (post("Content-Length: 0x5\r\n", "hello"), 400, "a malformed Content-Length"),
        (post("Content_Length: 5\r\n", "hello"), 400, "a header that some take for the body's length"),
        (post("Content-Length : 5\r\n", "hello"), 400, "a space before the colon of a header"),
        (post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400, "a space before the colon of a header"),
        (post("Transfer-Encoding: xchunked\r\n", ""), 400, "a Transfer-Encoding other than chunked"),
        (post("Transfer-Encoding: chunked, identity\r\n", ""), 400, "a Transfer-Encoding other than chunked"),
        (post("Transfer-Encoding: gzip, chunked\r\n", ""), 400, "a Transfer-Encoding other than chunked"),
        (post("Transfer-Encoding:\x0bchunked\r\n", ""), 400, "a control character in the head"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", ""), 400, "two Transfer-Encoding headers"),
        (post("X: a\r\n Transfer-Encoding: chunked\r\n", ""), 400, "a header that goes on in the next line"),
        (post("X: a\nTransfer-Encoding: chunked\r\n", ""), 400, "a line that ends in a bare LF"),
        (post("X: a\rTransfer-Encoding: chunked\r\n", ""), 400, "a bare CR"),
        (post("X: a\0b\r\n", ""), 400, "a control character in the head"),
        (post("Host: elsewhere\r\n", ""), 400, "two Host headers"),
        ("GET /app HTTP/1.1\r\n\r\n".into(), 400, "no Host"),
        (
            "GET http://elsewhere/app HTTP/1.1\r\nHost: chat.example.com\r\n\r\n".into(),
            400,
            "a target elsewhere than Host",
        ),
        ("GET /app HTTP/1.1\nHost: chat.example.com\n\n".into(), 400, "a line that ends in a bare LF"),
        ("GET  /app HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "not HTTP/1.1"),
        ("GET /app HTTP/1.1 x\r\nHost: a\r\n\r\n".into(), 400, "not HTTP/1.1"),
        ("GET /app HTTP/2.0\r\nHost: a\r\n\r\n".into(), 400, "not HTTP/1.1"),
        ("GET /app\r\n".into(), 400, "not HTTP/1.1"),
        ("GET /app/../x HTTP/1.1\r\nHost: a\r\n\r\n".into(), 400, "an ambiguous path"),
        ("POST /app HTTP/1.0\r\nHost: a\r\n\r\nhello".into(), 411, "a body without a length in HTTP/1.0"),
        (
            "POST /app HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            400,
            "Transfer-Encoding in HTTP/1.0",
        ),
    ]
}

#[tokio::test]
async fn what_two_servers_could_read_in_two_ways_is_refused_and_counted() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let vectors = vectors();
    let count = vectors.len();
    for (bytes, status, why) in vectors {
        let mut client = gate.client().await;
        client.send(&bytes).await;
        let head = client.head().await;
        assert_eq!(head.status(), status, "{bytes:?}: {head:?}");
        assert!(head.body.starts_with("bad_handshake: "), "{bytes:?}");
        client.ended().await;
        let line = gate.refused("bad_handshake").await;
        assert_eq!(line["why"], why, "{bytes:?}");
    }
    assert!(count > 25, "{count}");
    assert_eq!(gate.count("wsgate_handshakes_total{route=\"none\",result=\"bad_handshake\"}"), count as f64);
    backend.saw_nobody();
    gate.finish().await;
}

/// Behind a good request on the same connection, where it would be hidden.
#[tokio::test]
async fn a_bad_head_behind_a_good_request_is_answered_by_itself() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    client.send(request("GET", "/app", &[]) + "GET /app HTTP/1.1\nHost: x\n\n").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send(super::HELLO).await;
    assert_eq!(client.head().await.body, "hello");
    super::forwarded(&mut gate, 200).await;
    denial(&mut client, 400, "bad_handshake").await;
    gate.refused("bad_handshake").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_broken_chunk_ends_the_request_here_and_at_the_upstream() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    for chunk in ["x\r\n", "5 \r\nhello\r\n", "5\r\nhello0\r\n\r\n", "1\n", "ffffffffffffffff\r\n", "1;\0\r\n"] {
        let mut client = gate.client().await;
        client.send(request("POST", "/app", &["Transfer-Encoding: chunked"]) + "2\r\nok\r\n" + chunk).await;
        let mut upstream = backend.accept().await;
        denial(&mut client, 400, "bad_handshake").await;
        let line = super::refused(&mut gate, 400, "bad_handshake").await;
        assert_ne!(line["why"], serde_json::Value::Null);
        let seen = upstream.rest().await;
        assert!(!seen.ends_with(b"0\r\n\r\n"), "the upstream takes it for whole: {:?}", String::from_utf8_lossy(&seen));
    }
    gate.finish().await;
}

#[tokio::test]
async fn methods_and_headers_that_would_undo_what_was_judged_are_refused() {
    let backend = Backend::new().await;
    let setup = Setup::new().route("/app", &backend.url(), FORWARD);
    let mut gate = setup.start();
    let cases = [
        (request("TRACE", "/app", &[]), 501),
        (request("GET", "/app", &["Connection: Authorization"]), 400),
        (request("GET", "/app", &["Connection: close, X-Forwarded-For"]), 400),
        (request("GET", "/app", &["Origin: https://a", "Origin: https://b"]), 400),
        (request("GET", "/app", &["Authorization: a", "Authorization: b"]), 400),
    ];
    for (asked, status) in cases {
        let mut client = gate.client().await;
        client.send(&asked).await;
        denial(&mut client, status, "bad_handshake").await;
        super::refused(&mut gate, status, "bad_handshake").await;
    }
    // What names a WebSocket is a handshake, in whatever company.
    for upgrade in ["websocket", "h2c, WebSocket", "websocket/13"] {
        let mut client = gate.client().await;
        client.send(request("GET", "/app", &["Connection: Upgrade", &format!("Upgrade: {upgrade}")])).await;
        denial(&mut client, 426, "not_websocket").await;
        gate.refused("not_websocket").await;
    }
    backend.saw_nobody();
    gate.finish().await;
}
