//! Bodies that flow: both ways as they come, no faster than they are taken, and streams of events without end.

use std::time::Duration;

use serde_json::json;

use super::{forwarded, forwarding, request};
use crate::harness::{Backend, Peer, until};

/// A chunk as it stands on the wire.
fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// The client has just this of a chunked body.
async fn gets(client: &mut Peer, text: &str) {
    let expected = chunk(text);
    assert_eq!(String::from_utf8(client.bytes(expected.len()).await).unwrap(), expected);
}

const EVENTS: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn each_piece_of_a_body_is_passed_on_before_the_next_one_is_there() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    client.send(request("POST", "/app", &["Transfer-Encoding: chunked"]) + &chunk("up 1")).await;
    let mut upstream = backend.accept().await;
    assert_eq!(upstream.head().await.one("transfer-encoding"), Some("chunked"));
    gets(&mut upstream, "up 1").await;
    // The answer begins before the request has ended.
    upstream
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n".to_owned() + &chunk("down 1"))
        .await;
    let head = client.head().await;
    assert_eq!((head.one("transfer-encoding"), head.one("trailer")), (Some("chunked"), None));
    gets(&mut client, "down 1").await;
    client.send(chunk("up 2")).await;
    gets(&mut upstream, "up 2").await;
    upstream.send(chunk("down 2")).await;
    gets(&mut client, "down 2").await;
    client.send("0\r\nX-T: a trailer\r\n\r\n").await;
    assert_eq!(upstream.bytes(5).await, b"0\r\n\r\n");
    upstream.send("0\r\nX-T: a trailer\r\n\r\n").await;
    assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
    let line = forwarded(&mut gate, 200).await;
    assert_eq!((&line["bytes_to_upstream"], &line["bytes_to_client"]), (&json!(8), &json!(12)));
    drop(client);
    gate.finish().await;
}

#[tokio::test]
async fn what_the_receiver_does_not_take_is_not_read_and_nothing_is_lost_of_it() {
    const ALL: usize = 100 << 20;
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "max_body_size = \"100m\"\nsend_timeout = \"1h\"\nread_timeout = \"1h\"");
    let chunk: Vec<u8> = (0..65_536u32).map(|at| (at % 251) as u8).collect();
    // Down: the sockets' own buffers fill, and the gateway holds next to nothing.
    let mut client = gate.client().await;
    client.send(request("GET", "/app", &[])).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {ALL}\r\n\r\n")).await;
    let mut sent = upstream.stuff(&chunk, ALL, Duration::from_millis(500)).await;
    assert!(sent < 32 << 20, "{sent} bytes were taken for a client that reads nothing");
    client.head_alone().await;
    for _ in 0..ALL / chunk.len() {
        assert!(client.bytes(chunk.len()).await == chunk, "something was lost or moved");
        loop {
            let at = sent % chunk.len();
            let room = (chunk.len() - at).min(ALL - sent);
            let taken = upstream.stuff(&chunk[at..at + room], room, Duration::from_millis(1)).await;
            sent += taken;
            if taken < room || sent == ALL {
                break;
            }
        }
    }
    forwarded(&mut gate, 200).await;
    // Up: likewise.
    client.send(request("POST", "/app", &[&format!("Content-Length: {ALL}")])).await;
    let mut upstream = backend.accept().await;
    let sent = client.stuff(&chunk, ALL, Duration::from_millis(500)).await;
    assert!(sent < 32 << 20, "{sent} bytes were taken for an upstream that reads nothing");
    upstream.head_alone().await;
    client.reset();
    upstream.reset();
    until("the request given up", || gate.count("wsgate_requests_active{route=\"app\"}") == 0.0).await;
    gate.lines.next().await;
    gate.finish().await;
}

#[tokio::test]
async fn a_stream_of_events_comes_at_once_is_held_as_a_session_is_and_ends_with_the_drain() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "read_timeout = \"50ms\"\nconnections = { total = 1 }");
    let mut client = gate.client().await;
    client.send(request("GET", "/app", &["Accept: text/event-stream"])).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send(EVENTS.to_owned() + &chunk("data: 1\n\n")).await;
    assert_eq!(client.head().await.status(), 200);
    gets(&mut client, "data: 1\n\n").await;
    // A stream may be quiet for longer than an answer may.
    assert!(client.is_quiet_for(Duration::from_millis(200)).await);
    upstream.send(chunk("data: 2\n\n")).await;
    gets(&mut client, "data: 2\n\n").await;
    assert_eq!(gate.sessions(), 1);
    // It holds the only place of the route.
    let mut second = gate.client().await;
    second.send(request("GET", "/app", &["Accept: text/event-stream"])).await;
    let mut other = backend.accept().await;
    other.head().await;
    other.send(EVENTS).await;
    super::denial(&mut second, 503, "route_cap").await;
    super::refused(&mut gate, 503, "route_cap").await;
    gate.gateway().drain();
    assert_eq!(client.rest().await, b"0\r\n\r\n", "an end in order");
    upstream.ended().await;
    let line = forwarded(&mut gate, 200).await;
    assert_eq!((&line["reason"], &line["bytes_to_client"]), (&json!("draining"), &json!(18)));
    gate.drain().await;
}

#[tokio::test]
async fn a_stream_of_events_ends_with_its_token_a_revocation_or_its_silence() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "jwt = \"main\"\nidle_timeout = \"1h\"");
    for (reason, status) in [("token_expired", 200), ("token_revoked", 200), ("idle_timeout", 200)] {
        let seconds = if reason == "idle_timeout" { 36_000 } else { 60 };
        let token = format!("Authorization: Bearer {}", gate.token(reason, seconds));
        let mut client = gate.client().await;
        client.send(request("GET", "/app", &[&token])).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(EVENTS.to_owned() + &chunk("data: 1\n\n")).await;
        client.head().await;
        gets(&mut client, "data: 1\n\n").await;
        until("the stream to be listed", || gate.sessions() == 1).await;
        match reason {
            "token_expired" => gate.advance(Duration::from_secs(66)),
            "token_revoked" => drop(gate.revoke(&json!({ "subject": reason })).await),
            _ => gate.advance(Duration::from_secs(3601)),
        }
        assert_eq!(client.bytes(5).await, b"0\r\n\r\n");
        assert_eq!(forwarded(&mut gate, status).await["reason"], json!(reason));
        drop(client);
    }
    gate.finish().await;
}

#[tokio::test]
async fn what_the_upstream_does_not_finish_nobody_takes_for_whole() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    for head in ["Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "Content-Length: 9\r\n\r\nabc"] {
        let mut client = gate.client().await;
        client.send(request("GET", "/app", &[])).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
        assert_eq!(client.head_alone().await.status(), 200);
        drop(upstream);
        let rest = client.rest().await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
        assert_eq!(forwarded(&mut gate, 200).await["reason"], json!("upstream_lost"));
    }
    gate.finish().await;
}
