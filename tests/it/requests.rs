//! Ordinary requests beside WebSockets: passed on and back, several on one connection, and perhaps a handshake behind them.

mod bounds;
mod pages;
mod smuggling;
mod streams;

use serde_json::{Value, json};

use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

const FORWARD: &str = "http = \"forward\"";

/// One route, `/app`, that passes on ordinary requests on these further terms.
fn forwarding(upstream: &str, terms: &str) -> Gate {
    Setup::new().route("/app", upstream, &format!("{FORWARD}\n{terms}")).start()
}

/// A request with further header lines.
fn request(method: &str, path: &str, more: &[&str]) -> String {
    let lines: String = more.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: chat.example.com\r\n{lines}\r\n")
}

/// The next line of the log is of a request that the upstream has answered.
async fn forwarded(gate: &mut Gate, status: u16) -> Value {
    let line = gate.lines.next().await;
    assert_eq!((&line["event"], &line["status"]), (&json!("request"), &json!(status)), "{line}");
    line
}

/// The next line of the log is of a request that was refused.
async fn refused(gate: &mut Gate, status: u16, reason: &str) -> Value {
    let line = gate.lines.next().await;
    let said = (&line["event"], &line["status"], &line["reason"]);
    assert_eq!(said, (&json!("request_refused"), &json!(status), &json!(reason)), "{line}");
    line
}

/// A refusal, after which the connection ends.
async fn denial(client: &mut Peer, status: u16, reason: &str) -> Head {
    let head = client.head().await;
    assert_eq!(head.status(), status, "{head:?}");
    assert!(head.one("connection").is_some_and(|said| said.ends_with("close")), "{head:?}");
    assert!(head.body.starts_with(&format!("{reason}: ")), "{head:?}");
    client.ended().await;
    head
}

/// One exchange: what the upstream saw, and what the client got.
async fn exchange(client: &mut Peer, backend: &Backend, request: &str, answer: &str) -> (Head, Head) {
    client.send(request).await;
    let mut upstream = backend.accept().await;
    let seen = upstream.head().await;
    upstream.send(answer).await;
    (seen, client.head().await)
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

#[tokio::test]
async fn a_request_goes_up_as_it_came_but_for_what_is_one_connections_own() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    let more = [
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Authorization: Basic x",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "X-Forwarded-For: 203.0.113.9",
        "X-Auth-Subject: admin",
        "Cookie: a=b",
        "Accept-Encoding: gzip",
    ];
    let (seen, head) = exchange(&mut client, &backend, &request("GET", "/app/x?y=%20z", &more), HELLO).await;
    assert_eq!(seen.line, "GET /app/x?y=%20z HTTP/1.1");
    for (name, value) in [
        ("host", "chat.example.com"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("cookie", "a=b"),
        ("accept-encoding", "gzip"),
    ] {
        assert_eq!(seen.one(name), Some(value), "{seen:?}");
    }
    let gone = ["connection", "x-private", "keep-alive", "te", "proxy-authorization", "upgrade", "http2-settings"];
    for name in gone.into_iter().chain(["x-auth-subject", "content-length", "transfer-encoding"]) {
        assert_eq!(seen.one(name), None, "{name}");
    }
    assert_eq!((head.status(), &*head.body, head.one("connection")), (200, "hello", None), "{head:?}");
    let line = forwarded(&mut gate, 200).await;
    assert_eq!((&line["method"], &line["path"]), (&json!("GET"), &json!("/app/x?[redacted]")));
    assert_eq!((&line["bytes_to_client"], &line["reason"]), (&json!(5), &Value::Null));
    assert_eq!(gate.count("wsgate_request_answers_total{route=\"app\",code=\"2xx\"}"), 1.0);
    drop(client);
    gate.finish().await;
}

#[tokio::test]
async fn without_http_forward_a_request_gets_426_as_ever() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut client = gate.client().await;
    client.send(request("GET", "/ws", &[])).await;
    denial(&mut client, 426, "not_websocket").await;
    gate.refused("not_websocket").await;
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn several_requests_on_one_connection_and_then_a_session_with_what_came_behind_it() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    for path in ["/app/1", "/app/2"] {
        let (seen, head) = exchange(&mut client, &backend, &request("GET", path, &[]), HELLO).await;
        assert_eq!((seen.line, head.status()), (format!("GET {path} HTTP/1.1"), 200));
        forwarded(&mut gate, 200).await;
    }
    let (seen, head) =
        exchange(&mut client, &backend, &(request("POST", "/app", &["Content-Length: 3"]) + "abc"), HELLO).await;
    assert_eq!((&*seen.body, head.status()), ("abc", 200));
    assert_eq!(forwarded(&mut gate, 200).await["bytes_to_upstream"], json!(3));
    // A handshake and the first frames, all in one piece.
    let mut together = Ask::to("/app/ws").bytes();
    together.extend(Frame::text("first").bytes(true));
    together.extend(Frame::text("second").bytes(true));
    client.send(together).await;
    let mut upstream = backend.accept().await;
    let asked = upstream.head().await;
    upstream.send(asked.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(upstream.frame().await, Frame::text("first"));
    assert_eq!(upstream.frame().await, Frame::text("second"));
    upstream.say(&Frame::text("back")).await;
    assert_eq!(client.frame().await, Frame::text("back"));
    client.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn requests_that_came_before_their_turn_are_answered_in_order() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    let posts = request("POST", "/app/1", &["Transfer-Encoding: chunked"]) + "3\r\nabc\r\n0\r\n\r\n";
    client.send(posts + &request("GET", "/app/2", &[]) + &request("GET", "/app/3", &["Connection: close"])).await;
    for path in ["/app/1", "/app/2", "/app/3"] {
        let mut upstream = backend.accept().await;
        assert!(upstream.head().await.line.contains(path));
        upstream.send(HELLO).await;
        assert_eq!(client.head().await.body, "hello");
        forwarded(&mut gate, 200).await;
    }
    client.ended().await;
    gate.finish().await;
}

#[tokio::test]
async fn answers_without_a_body_are_passed_on_with_what_they_say_of_one() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    let cases = [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", 200, Some("9999")),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n", 304, None),
        ("GET", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("DELETE", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: X-Y\r\nX-Y: 1\r\n\r\n", 500, Some("0")),
    ];
    for (method, answer, status, length) in cases {
        client.send(request(method, "/app", &[])).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(answer).await;
        let head = client.head_alone().await;
        assert_eq!((head.status(), head.one("content-length")), (status, length), "{method} {answer}");
        assert_eq!(head.one("x-y"), None);
        forwarded(&mut gate, status).await;
    }
    // Nothing of a body is left in the way of the next one.
    let (_, head) = exchange(&mut client, &backend, &request("GET", "/app", &["Connection: close"]), HELLO).await;
    assert_eq!((head.body.as_str(), head.one("connection")), ("hello", Some("close")));
    client.ended().await;
    forwarded(&mut gate, 200).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_expects_a_100_gets_it_once_he_may_send_his_body_and_not_before() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "jwt = \"main\"\nmax_body_size = 10");
    let token = format!("Authorization: Bearer {}", gate.token("alice", 60));
    let expects =
        |length: &str| request("POST", "/app", &[&token, &format!("Content-Length: {length}"), "Expect: 100-continue"]);
    let mut client = gate.client().await;
    client.send(expects("5")).await;
    let mut upstream = backend.accept().await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    let seen = upstream.head().await;
    assert_eq!((&*seen.body, seen.one("expect"), seen.one("authorization")), ("hello", None, None));
    upstream.send(HELLO).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(forwarded(&mut gate, 200).await["subject"], json!("alice"));
    client.send(expects("11")).await;
    denial(&mut client, 413, "body_too_big").await;
    refused(&mut gate, 413, "body_too_big").await;
    let mut stranger = gate.client().await;
    stranger.send(request("POST", "/app", &["Content-Length: 5", "Expect: 100-continue"])).await;
    denial(&mut stranger, 403, "token_missing").await;
    refused(&mut gate, 403, "token_missing").await;
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn the_token_is_found_where_the_route_says_and_stays_here() {
    let backend = Backend::new().await;
    let places = "jwt = \"main\"\ntoken_from = [\"header\", \"cookie:session\", \"query:token\"]\norigins = [\"https://a.example\"]";
    let mut gate = forwarding(&backend.url(), places);
    let token = gate.token("alice", 60);
    let mut client = gate.client().await;
    let cases = [
        request("GET", "/app", &[&format!("Authorization: Bearer {token}")]),
        request("GET", "/app", &[&format!("Cookie: a=b; session={token}")]),
        request("GET", &format!("/app?x=1&token={token}"), &[]),
    ];
    for asked in cases {
        let (seen, head) = exchange(&mut client, &backend, &asked, HELLO).await;
        assert_eq!((head.status(), seen.one("x-auth-subject")), (200, Some("alice")));
        assert!(!format!("{seen:?}").contains(&token[..20]), "{seen:?}");
        forwarded(&mut gate, 200).await;
    }
    gate.advance(std::time::Duration::from_secs(66));
    client.send(request("GET", "/app", &[&format!("Authorization: Bearer {token}")])).await;
    denial(&mut client, 403, "token_expired").await;
    refused(&mut gate, 403, "token_expired").await;
    assert!(!gate.lines.all().contains(&token[..20]), "a token is in the log");
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_back_from_the_upstream() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "");
    let mut client = gate.client().await;
    client.send(request("GET", "/app", &[])).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    client.reset();
    upstream.ended().await;
    let line = gate.lines.next().await;
    assert_eq!((&line["event"], &line["reason"]), (&json!("request_refused"), &json!("client_lost")), "{line}");
    until("nothing under way", || gate.count("wsgate_requests_active{route=\"app\"}") == 0.0).await;
    gate.finish().await;
}
