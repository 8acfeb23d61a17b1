//! What the end of a token does, how old a session may get, and what its client is told ahead.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Ask, Backend, Frame, Gate, Peer};

const TEXT: &str = r#"{"type":"token_expiring","seconds":{seconds}}"#;

/// Both sides answer the Close that they got.
async fn part(client: &mut Peer, upstream: &mut Peer, code: u16, reason: &str) {
    assert_eq!(client.frame().await.as_close(), (code, reason));
    assert_eq!(upstream.frame().await.as_close(), (code, reason));
    client.say(&Frame::close(code, "")).await;
    upstream.say(&Frame::close(code, "")).await;
    client.ended().await;
    upstream.ended().await;
}

#[tokio::test]
async fn where_expiry_is_logged_the_session_goes_on_and_one_line_says_so() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\non_expiry = \"log\"");
    let ask = Ask::to("/ws").bearer(&gate.token("alice", 60));
    let (mut client, mut upstream) = gate.session_of(&backend, &ask).await;
    gate.advance(Duration::from_secs(66));
    let line = gate.lines.next().await;
    assert_eq!(line["event"], "identity_expired", "{line}");
    assert_eq!((&line["route"], &line["subject"]), (&json!("ws"), &json!("alice")));
    assert_eq!((&line["client"], line["connection_id"].is_string()), (&json!("127.0.0.1"), true));
    gate.advance(Duration::from_secs(66));
    upstream.say(&Frame::text("on")).await;
    assert_eq!(client.frame().await, Frame::text("on"));
    assert_eq!(gate.count("wsgate_sessions_expired_total{route=\"ws\"}"), 1.0);
    client.say(&Frame::close(1000, "")).await;
    assert_eq!(upstream.frame().await.as_close().0, 1000);
    upstream.say(&Frame::close(1000, "")).await;
    assert_eq!(client.frame().await.as_close().0, 1000);
    client.ended().await;
    let ended = gate.ended("client", "closed").await;
    assert_eq!(ended["connection_id"], line["connection_id"]);
    gate.finish().await;
}

#[tokio::test]
async fn a_session_ends_with_1001_when_it_is_as_old_as_it_may_get() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nmax_lifetime = \"1m\"");
    let ask = Ask::to("/ws").bearer(&gate.token("alice", 3600));
    let (mut client, mut upstream) = gate.session_of(&backend, &ask).await;
    gate.advance(Duration::from_secs(50));
    upstream.say(&Frame::text("still here")).await;
    assert_eq!(client.frame().await, Frame::text("still here"));
    gate.advance(Duration::from_secs(10));
    part(&mut client, &mut upstream, 1001, "lifetime_over").await;
    gate.ended("gateway", "lifetime_over").await;
    assert_eq!(gate.count("wsgate_sessions_ended_total{route=\"ws\",side=\"gateway\",reason=\"lifetime_over\"}"), 1.0);
    gate.finish().await;
}

#[tokio::test]
async fn the_client_is_told_ahead_between_two_messages_and_the_upstream_is_not() {
    let backend = Backend::new().await;
    let terms = format!("jwt = \"main\"\nexpiry_notice = {{ before = \"1m\", text = {} }}", Value::from(TEXT));
    let mut gate = Gate::new(&backend.url(), &terms);
    let ask = Ask::to("/ws").bearer(&gate.token("alice", 600));
    let (mut client, mut upstream) = gate.session_of(&backend, &ask).await;
    // The first half of a message.
    upstream.say(&Frame::new(0x01, "fir")).await;
    assert_eq!(client.frame().await, Frame::new(0x01, "fir"));
    // Ten minutes and a leeway of five seconds, less one minute.
    gate.advance(Duration::from_secs(546));
    upstream.say(&Frame::new(0x80, "st")).await;
    upstream.say(&Frame::text("second")).await;
    assert_eq!(client.frame().await, Frame::new(0x80, "st"));
    let notice = client.frame().await;
    assert_eq!(notice.first, 0x81);
    let told: Value = serde_json::from_slice(&notice.payload).unwrap();
    assert_eq!(told["type"], "token_expiring");
    assert!((50..=60).contains(&told["seconds"].as_u64().unwrap()), "{told}");
    assert_eq!(client.frame().await, Frame::text("second"));
    gate.advance(Duration::from_secs(60));
    part(&mut client, &mut upstream, 4001, "token_expired").await;
    let line = gate.ended("gateway", "token_expired").await;
    assert_eq!(line["messages_to_client"], 2, "the notice is nobody's message");
    gate.finish().await;
}
