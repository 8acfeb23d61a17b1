//! Refusals that are told by a Close: what a client gets, how often, and what it can't hold.

use std::time::Duration;

use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, ask, until};

const TOKEN: &str =
    "jwt = \"main\"\ntoken_from = [\"header\", \"subprotocol\", \"subprotocol:auth.\"]\ndeny = \"close\"\n";

/// A client that is told: the 101, and the Close behind it.
async fn told(gate: &Gate, ask: &Ask) -> (Peer, Head, u16, String) {
    let mut client = gate.asking(ask).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    let frame = client.frame().await;
    let (code, reason) = frame.as_close();
    let reason = reason.to_owned();
    (client, head, code, reason)
}

/// The same, and its answer, after which the gateway ends the connection.
async fn told_and_gone(gate: &mut Gate, ask: &Ask, code: u16, reason: &str) -> Head {
    let (mut client, head, said, label) = told(gate, ask).await;
    assert_eq!((said, label.as_str()), (code, reason));
    client.say(&Frame::close(code, "")).await;
    client.ended().await;
    let line = gate.refused(reason).await;
    assert_eq!((line["status"].as_u64(), line["close_code"].as_u64()), (Some(101), Some(u64::from(code))), "{line}");
    head
}

#[tokio::test]
async fn each_refusal_is_told_with_its_code_and_label_and_counts_as_what_it_is() {
    let backend = Backend::new().await;
    let terms = format!(
        "{TOKEN}origins = [\"https://app.example.com\"]\nallow_missing_origin = true\nrequire = {{ role = \"admin\" }}"
    );
    let mut gate = Gate::new(&backend.url(), &terms);
    let alice = gate.token("alice", 60);
    let expired = gate.sign(&serde_json::json!({ "exp": 1 }));
    let from = |origin| Ask::to("/ws").with("Origin", origin);
    for (ask, code, label) in [
        (Ask::to("/ws"), 4001, "token_missing"),
        (Ask::to("/ws").bearer("x"), 4001, "token_invalid"),
        (Ask::to("/ws").bearer(&expired), 4001, "token_expired"),
        (from("https://evil.example").bearer(&alice), 4003, "origin_forbidden"),
        (from("https://app.example.com").bearer(&alice), 4003, "token_forbidden"),
    ] {
        let head = told_and_gone(&mut gate, &ask, code, label).await;
        let accept = ask::switch(ask::KEY, "");
        let accept = String::from_utf8(accept).unwrap();
        assert!(accept.contains(head.one("sec-websocket-accept").unwrap()), "{head:?}");
        assert_eq!((head.one("connection"), head.one("upgrade")), (Some("Upgrade"), Some("websocket")));
        assert_eq!(gate.refusals("ws", label), 1.0);
    }
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn an_allowed_origin_is_named_in_the_101_and_another_is_not() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{TOKEN}origins = [\"https://app.example.com\"]"));
    let ask = |origin| Ask::to("/ws").with("Origin", origin);
    let head = told_and_gone(&mut gate, &ask("https://app.example.com"), 4001, "token_missing").await;
    assert_eq!(head.one("access-control-allow-origin"), Some("https://app.example.com"));
    let head = told_and_gone(&mut gate, &ask("https://evil.example"), 4003, "origin_forbidden").await;
    assert_eq!(head.one("access-control-allow-origin"), None);
    gate.finish().await;
}

#[tokio::test]
async fn limits_are_told_too_and_hold_nothing() {
    let backend = Backend::new().await;
    let capped = "deny = \"close\"\norigins = \"any\"\nconnections = { per_ip = 1 }";
    let rated = "deny = \"close\"\norigins = \"any\"\nhandshakes = { rate = \"1r/m\" }";
    let setup = Setup::new().route("/ws", &backend.url(), capped).route("/rated", &backend.url(), rated);
    let mut gate = setup.start();
    let (client, mut upstream) = gate.session(&backend).await;
    told_and_gone(&mut gate, &Ask::to("/ws"), 4029, "ip_cap").await;
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    let (client, mut upstream) = gate.session_of(&backend, &Ask::to("/rated")).await;
    told_and_gone(&mut gate, &Ask::to("/rated"), 4029, "handshake_rate").await;
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_says_no_is_told_as_1014() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "deny = \"close\"\norigins = \"any\"");
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.frame().await.as_close(), (1014, "upstream_refused"));
    client.say(&Frame::close(1014, "")).await;
    client.ended().await;
    gate.refused("upstream_refused").await;
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_opening_handshake_or_has_no_route_gets_its_status() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    for (ask, status, label) in [
        (Ask::to("/elsewhere"), 404, "no_route"),
        (Ask::to("/ws").without("Sec-WebSocket-Key"), 400, "bad_handshake"),
        (Ask::to("/ws").but("Sec-WebSocket-Version", "8"), 426, "not_websocket"),
    ] {
        assert_eq!(gate.refusal(&ask).await.status(), status);
        let line = gate.refused(label).await;
        assert!(line.get("close_code").is_none(), "{line}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_101_names_the_marker_or_else_what_carries_no_token_and_no_extension() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    for (offered, named) in [
        (Some("bearer, bearer.x"), Some("bearer")),
        (Some("chat, bearer, bearer.x"), Some("bearer")),
        (Some("bearer.x, chat, v2"), Some("chat")),
        (Some("bearer.x"), None),
        (Some("auth.x, chat, auth"), Some("auth")),
        (Some("auth.x, chat"), Some("chat")),
        (Some("auth.x"), None),
        (None, None),
    ] {
        let ask = Ask::to("/ws").with("Sec-WebSocket-Extensions", "permessage-deflate");
        let ask = offered.map_or(ask.clone(), |offered| ask.with("Sec-WebSocket-Protocol", offered));
        let label = if offered.is_some() { "token_invalid" } else { "token_missing" };
        let head = told_and_gone(&mut gate, &ask, 4001, label).await;
        assert_eq!(head.one("sec-websocket-protocol"), named, "{offered:?}");
        assert_eq!(head.one("sec-websocket-extensions"), None);
    }
    gate.finish().await;
}

/// The route of an application that reads tokens itself: the gateway does not tell its client's token back.
#[tokio::test]
async fn what_looks_like_a_token_is_not_named_on_a_route_that_does_not_look_for_one() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "origins = [\"https://app.example.com\"]\ndeny = \"close\"");
    for (offered, named) in [("bearer.x", None), ("bearer.x, bearer", Some("bearer")), ("bearer.x, chat", Some("chat"))]
    {
        let ask = Ask::to("/ws").with("Sec-WebSocket-Protocol", offered);
        let head = told_and_gone(&mut gate, &ask, 4003, "origin_missing").await;
        assert_eq!(head.one("sec-websocket-protocol"), named, "{offered}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn one_address_is_told_eleven_times_at_once_and_then_gets_a_status() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    for _ in 0..11 {
        told_and_gone(&mut gate, &Ask::to("/ws"), 4001, "token_missing").await;
        // The clock of a test does not stand still: what drained meanwhile is a fraction of one.
    }
    let (mut statuses, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let mut client = gate.asking(&Ask::to("/ws")).await;
        let status = client.head().await.status();
        if status == 101 {
            client.frame().await;
            client.say(&Frame::close(4001, "")).await;
        }
        client.ended().await;
        statuses.push(status);
        lines.push(gate.refused("token_missing").await);
    }
    assert!(statuses.contains(&403), "{statuses:?}");
    for (status, line) in statuses.iter().zip(&lines) {
        assert_eq!(line["status"].as_u64(), Some(u64::from(*status)));
        assert_eq!(line.get("close_code").is_some(), *status == 101, "{line}");
    }
    gate.advance(Duration::from_secs(3));
    told_and_gone(&mut gate, &Ask::to("/ws"), 4001, "token_missing").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_never_answers_the_close_is_let_go_after_a_second() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    let begun = gate.clock.mono();
    let (mut client, ..) = told(&gate, &Ask::to("/ws")).await;
    assert!(gate.shared().handshakes_under_way() == 1, "it keeps its place meanwhile");
    client.ended().await;
    let took = gate.clock.mono() - begun;
    assert!(took >= 900, "{took} ms");
    gate.refused("token_missing").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_is_cut_and_reaches_nobody() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    let (mut client, ..) = told(&gate, &Ask::to("/ws")).await;
    let flood = Frame::binary(vec![0; 1 << 20]).bytes(true);
    // It may be cut in the midst of it, well before its second is over, or take it while its socket's buffers do.
    let _ = client.try_send(&flood).await;
    gate.rests().await;
    client.rest().await;
    gate.refused("token_missing").await;
    backend.saw_nobody();
    gate.finish().await;
}

/// What a page sends in its `open` event, before it has read the Close.
#[tokio::test]
async fn messages_before_the_client_s_close_are_thrown_away() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    let (mut client, ..) = told(&gate, &Ask::to("/ws")).await;
    let mut bytes = Frame::text("hello").bytes(true);
    bytes.extend(Frame::ping("x").bytes(true));
    bytes.extend(Frame::binary(vec![7; 5000]).bytes(true));
    bytes.extend(Frame::close(4001, "").bytes(true));
    client.send(&bytes).await;
    client.ended().await;
    gate.refused("token_missing").await;
    backend.saw_nobody();
    gate.finish().await;
}

/// Its Close may also come split at any byte, or together with the request of an impatient client.
#[tokio::test]
async fn a_close_is_known_however_it_arrives() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TOKEN);
    let mut impatient = gate.client().await;
    let close = Frame::close(1000, "bye").bytes(true);
    impatient.send([Ask::to("/ws").bytes(), close.clone()].concat()).await;
    assert_eq!(impatient.head().await.status(), 101);
    impatient.frame().await;
    impatient.ended().await;
    gate.refused("token_missing").await;
    let (mut client, ..) = told(&gate, &Ask::to("/ws")).await;
    for byte in close {
        client.send([byte]).await;
    }
    client.ended().await;
    gate.refused("token_missing").await;
    gate.finish().await;
}

/// Who waited for a turn gave its place away; without a free one it is not told, but answered.
#[tokio::test]
async fn without_a_free_place_a_refusal_is_a_status() {
    let backend = Backend::new().await;
    let terms = format!("{TOKEN}handshakes = {{ rate = \"1r/s\", burst = 5 }}");
    let setup =
        Setup::new().server("handshakes_in_flight = 1").jwt("leeway = \"0s\"").route("/ws", &backend.url(), &terms);
    let mut gate = setup.start();
    let token = gate.token("alice", 8);
    let (first, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&token)).await;
    first.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.rests().await;
    let mut waiting = gate.asking(&Ask::to("/ws").bearer(&token)).await;
    until("it waits", || gate.shared().handshakes_under_way() == 0 && gate.shared().edition().policy.total.used() == 1)
        .await;
    let idle = gate.client().await;
    until("the one place is taken", || gate.shared().handshakes_under_way() == 1).await;
    gate.advance(Duration::from_secs(9));
    assert_eq!(waiting.head().await.status(), 403);
    gate.refused("token_expired").await;
    waiting.ended().await;
    idle.reset();
    gate.finish().await;
}
