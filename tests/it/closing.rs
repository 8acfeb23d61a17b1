//! How a session ends: every Close arrives, after all that was said before it, and nothing comes after it.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Ask, Backend, Frame, Gate, Peer};

const SECOND: Duration = Duration::from_secs(1);

/// No test here may end because a Close waited long enough.
const PATIENT: &str = "close_timeout = \"1h\"";

#[tokio::test]
async fn codes_and_reasons_pass_both_ways_and_both_connections_end() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let closes = [
        Frame::close(1000, ""),
        Frame::close(1001, "going away"),
        Frame::close(3000, "ü"),
        Frame::close(4999, &"r".repeat(123)),
        Frame::new(0x88, ""),
    ];
    for close in closes {
        for from_client in [true, false] {
            let (mut client, mut upstream) = gate.session(&backend).await;
            let (first, second) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
            first.say(&close).await;
            assert_eq!(second.frame().await, close);
            let answer = Frame::close(1000, "bye");
            second.say(&answer).await;
            assert_eq!(first.frame().await, answer, "the answer is the other side's own");
            first.ended().await;
            second.ended().await;
            let line = gate.ended(if from_client { "client" } else { "upstream" }, "closed").await;
            let code = (close.payload.len() > 1).then(|| json!(close.as_close().0));
            assert_eq!(line.get("close_code"), code.as_ref());
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn what_was_said_before_a_close_arrives_and_what_is_said_after_it_does_not() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    for from_client in [true, false] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        let (first, second) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let large = Frame::binary(vec![7; 300_000]);
        let mut words = vec![Frame::text("a"), large.clone(), Frame::ping("p"), Frame::close(1000, "done")];
        let said: Vec<u8> = words.iter().flat_map(|frame| frame.bytes(from_client)).collect();
        first.send([said, Frame::text("too late").bytes(from_client)].concat()).await;
        for frame in words.drain(..) {
            assert_eq!(second.frame().await, frame);
        }
        // What the other side had under way still goes to the first, up to its own Close.
        for frame in [Frame::text("b"), large, Frame::close(1000, "")] {
            second.say(&frame).await;
            assert_eq!(first.frame().await, frame);
        }
        first.ended().await;
        second.ended().await;
        gate.ended(if from_client { "client" } else { "upstream" }, "closed").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn two_closes_that_cross_each_other_end_the_session_once() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.say(&Frame::close(1000, "c")).await;
    upstream.say(&Frame::close(1001, "u")).await;
    assert_eq!(upstream.frame().await.as_close(), (1000, "c"));
    assert_eq!(client.frame().await.as_close(), (1001, "u"));
    client.ended().await;
    upstream.ended().await;
    let line = gate.lines.next().await;
    assert_eq!(line["reason"], json!("closed"));
    gate.finish().await;
}

#[tokio::test]
async fn a_close_that_nobody_answers_waits_for_close_timeout_and_no_longer() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "close_timeout = \"5s\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.say(&Frame::close(1000, "")).await;
    assert_eq!(upstream.frame().await.as_close(), (1000, ""));
    gate.advance(4 * SECOND);
    upstream.say(&Frame::text("still here")).await;
    assert_eq!(client.frame().await, Frame::text("still here"));
    gate.advance(2 * SECOND);
    client.ended().await;
    upstream.ended().await;
    gate.ended("client", "closed").await;
    gate.finish().await;
}

/// A session on `/ws` whose token ends in 60 s; with the leeway of 5 s it lives between 64 and 65 s more.
async fn with_token(gate: &Gate, backend: &Backend) -> (Peer, Peer) {
    let token = gate.token("alice", 60);
    gate.session_of(backend, &Ask::to("/ws").bearer(&token)).await
}

#[tokio::test]
async fn a_session_ends_with_its_token_plus_leeway_with_4001_on_both_sides() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("jwt = \"main\"\n{PATIENT}"));
    let (mut client, mut upstream) = with_token(&gate, &backend).await;
    gate.advance(63 * SECOND);
    client.say(&Frame::text("alive")).await;
    assert_eq!(upstream.frame().await, Frame::text("alive"));
    gate.advance(3 * SECOND);
    assert_eq!(client.frame().await.as_close(), (4001, "token_expired"));
    assert_eq!(upstream.frame().await.as_close(), (4001, "token_expired"));
    // Nothing is sent after a Close.
    client.say(&Frame::text("late")).await;
    upstream.say(&Frame::text("late")).await;
    client.say(&Frame::close(4001, "")).await;
    upstream.say(&Frame::close(4001, "")).await;
    client.ended().await;
    upstream.ended().await;
    let line = gate.ended("gateway", "token_expired").await;
    assert_eq!((&line["close_code"], &line["subject"]), (&json!(4001), &json!("alice")));
    gate.finish().await;
}

#[tokio::test]
async fn a_side_that_has_answered_its_close_is_let_go_before_the_other_has() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("jwt = \"main\"\n{PATIENT}"));
    for client_first in [true, false] {
        let (mut client, mut upstream) = with_token(&gate, &backend).await;
        gate.advance(66 * SECOND);
        let (first, second) = if client_first { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        first.frame().await;
        first.say(&Frame::close(4001, "")).await;
        first.ended().await;
        assert_eq!(second.frame().await.as_close(), (4001, "token_expired"));
        second.say(&Frame::close(4001, "")).await;
        second.ended().await;
        gate.ended("gateway", "token_expired").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_message_under_way_at_the_token_s_end_arrives_whole_before_the_close() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("jwt = \"main\"\n{PATIENT}"));
    for from_client in [true, false] {
        let (mut client, mut upstream) = with_token(&gate, &backend).await;
        let (sender, receiver) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let message = Frame::binary((0..200_000).map(|n| n as u8).collect::<Vec<_>>());
        let bytes = message.bytes(from_client);
        sender.send(&bytes[..70_000]).await;
        let begun = receiver.bytes(60_000).await;
        gate.advance(66 * SECOND);
        assert_eq!(sender.frame().await.as_close(), (4001, "token_expired"), "its own way stands on a boundary");
        sender.send(&bytes[70_000..]).await;
        let rest = receiver.bytes(bytes.len() - begun.len()).await;
        assert_eq!(Frame::read(&[begun, rest].concat(), from_client), Some((message, bytes.len())));
        assert_eq!(receiver.frame().await.as_close(), (4001, "token_expired"));
        sender.say(&Frame::close(4001, "")).await;
        receiver.say(&Frame::close(4001, "")).await;
        sender.ended().await;
        receiver.ended().await;
        gate.ended("gateway", "token_expired").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_message_that_never_ends_keeps_a_session_no_longer_than_close_timeout() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\nclose_timeout = \"5s\"");
    let (mut client, mut upstream) = with_token(&gate, &backend).await;
    upstream.send(&Frame::binary(vec![1; 1000]).bytes(false)[..500]).await;
    client.bytes(500).await;
    gate.advance(66 * SECOND);
    assert_eq!(upstream.frame().await.as_close(), (4001, "token_expired"));
    gate.advance(6 * SECOND);
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "token_expired").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_vanishes_ends_the_upstream_s_connection_at_once() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    for (reset, begun) in [(false, 0), (true, 0), (false, 3), (true, 500)] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        client.say(&Frame::text("last words")).await;
        client.send(&Frame::binary(vec![0; 1000]).bytes(true)[..begun]).await;
        assert_eq!(upstream.frame().await, Frame::text("last words"));
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        let rest = upstream.rest().await;
        assert!(rest.len() <= begun, "no more than the client sent");
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_vanishes_is_told_to_the_client_with_1014() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    for reset in [false, true] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        upstream.say(&Frame::text("last words")).await;
        assert_eq!(client.frame().await, Frame::text("last words"));
        if reset {
            upstream.reset();
        } else {
            drop(upstream);
        }
        assert_eq!(client.frame().await.as_close(), (1014, "upstream_lost"));
        client.say(&Frame::close(1014, "")).await;
        client.ended().await;
        gate.ended("upstream", "upstream_lost").await;
    }
    gate.finish().await;
}

/// There is no boundary on which a Close could stand, so the end of the connection has to say it, and at once.
#[tokio::test]
async fn an_upstream_that_vanishes_in_a_frame_ends_the_client_s_connection_at_once() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let (mut client, mut upstream) = gate.session(&backend).await;
    let begun = &Frame::binary(vec![1; 1000]).bytes(false)[..500];
    upstream.send(begun).await;
    assert_eq!(client.bytes(500).await, begun);
    drop(upstream);
    client.ended().await;
    drop(client);
    gate.ended("upstream", "upstream_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn half_a_frame_header_is_nothing_that_a_close_would_have_to_wait_for() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let (mut client, mut upstream) = gate.session(&backend).await;
    upstream.send([0x82]).await;
    drop(upstream);
    assert_eq!(client.frame().await.as_close(), (1014, "upstream_lost"));
    drop(client);
    gate.ended("upstream", "upstream_lost").await;
    gate.finish().await;
}
