//! How much a client may say, and what happens beyond it.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Backend, Frame, Gate, until};

const SECOND: Duration = Duration::from_secs(1);
const PATIENT: &str = "close_timeout = \"1h\"";

fn word(n: usize) -> Frame {
    Frame::text(&format!("word {n}"))
}

#[tokio::test]
async fn on_close_the_session_ends_with_4029_after_what_the_burst_allows() {
    let backend = Backend::new().await;
    let terms = format!("messages = {{ rate = \"1r/m\", burst = 2 }}\n{PATIENT}");
    let mut gate = Gate::new(&backend.url(), &terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    let all: Vec<u8> = (0..4).flat_map(|n| word(n).bytes(true)).collect();
    client.send(all).await;
    for n in 0..3 {
        assert_eq!(upstream.frame().await, word(n));
    }
    assert_eq!(upstream.frame().await.as_close(), (4029, "message_rate"));
    assert_eq!(client.frame().await.as_close(), (4029, "message_rate"));
    upstream.say(&Frame::close(4029, "")).await;
    client.say(&Frame::close(4029, "")).await;
    client.ended().await;
    upstream.ended().await;
    let line = gate.ended("gateway", "message_rate").await;
    assert_eq!(line["messages_to_upstream"], json!(3));
    gate.finish().await;
}

#[tokio::test]
async fn an_idle_second_earns_one_message_more() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "messages = { rate = \"1r/s\", burst = 1 }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    for n in 0..2 {
        client.say(&word(n)).await;
        assert_eq!(upstream.frame().await, word(n));
    }
    for n in 2..6 {
        gate.advance(SECOND);
        client.say(&word(n)).await;
        assert_eq!(upstream.frame().await, word(n));
    }
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn control_frames_and_fragments_and_the_upstream_s_messages_do_not_count() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "messages = { rate = \"1r/m\" }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    let one_message =
        [Frame::new(0x01, "a"), Frame::ping("1"), Frame::new(0x00, "b"), Frame::pong("2"), Frame::new(0x80, "c")];
    for frame in one_message.iter().chain(&[Frame::ping("3"), Frame::pong("4")]) {
        client.say(frame).await;
        assert_eq!(upstream.frame().await, *frame);
    }
    for n in 0..20 {
        upstream.say(&word(n)).await;
        assert_eq!(client.frame().await, word(n));
    }
    client.reset();
    upstream.ended().await;
    let line = gate.ended("client", "client_lost").await;
    assert_eq!((&line["messages_to_upstream"], &line["messages_to_client"]), (&json!(1), &json!(20)));
    gate.finish().await;
}

#[tokio::test]
async fn on_drop_a_message_is_lost_whole_and_what_stands_between_its_fragments_is_not() {
    let backend = Backend::new().await;
    // So slow that no turn comes by itself, however long the test takes: 62.5 s.
    let terms = "messages = { rate = \"1r/m\", on_excess = \"drop\" }";
    let mut gate = Gate::new(&backend.url(), terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.say(&word(0)).await;
    assert_eq!(upstream.frame().await, word(0));
    let lost = [Frame::new(0x02, vec![1; 70_000]), Frame::new(0x00, vec![2; 10]), Frame::new(0x80, "end")];
    client.say(&lost[0]).await;
    client.say(&Frame::ping("between")).await;
    client.say(&lost[1]).await;
    client.say(&lost[2]).await;
    client.say(&word(1)).await;
    client.say(&Frame::ping("after")).await;
    assert_eq!(upstream.frame().await, Frame::ping("between"));
    assert_eq!(upstream.frame().await, Frame::ping("after"));
    // What a wake moved is counted behind it.
    until("both to be counted", || gate.count("wsgate_messages_dropped_total{route=\"ws\"}") == 2.0).await;
    gate.advance(63 * SECOND);
    client.say(&word(2)).await;
    assert_eq!(upstream.frame().await, word(2));
    client.reset();
    upstream.ended().await;
    let line = gate.ended("client", "client_lost").await;
    assert_eq!(line["messages_to_upstream"], json!(2));
    gate.finish().await;
}

#[tokio::test]
async fn on_delay_a_message_waits_for_its_turn_while_the_other_direction_flows() {
    let backend = Backend::new().await;
    let terms = "messages = { rate = \"1r/m\", on_excess = \"delay\" }\nidle_timeout = \"1h\"";
    let mut gate = Gate::new(&backend.url(), terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.send((0..3).flat_map(|n| word(n).bytes(true)).collect::<Vec<_>>()).await;
    // 1r/m is 16 in a thousand seconds: turns come at 0, 62.5 and 125 s.
    for (n, early) in [(0, 62), (1, 61)] {
        assert_eq!(upstream.frame().await, word(n));
        until("the next to wait", || gate.count("wsgate_messages_delayed_total{route=\"ws\"}") == (n + 1) as f64).await;
        upstream.say(&Frame::text("meanwhile")).await;
        assert_eq!(client.frame().await, Frame::text("meanwhile"));
        gate.advance(early * SECOND);
        upstream.say(&Frame::ping("not yet")).await;
        assert_eq!(client.frame().await, Frame::ping("not yet"));
        assert!(upstream.is_quiet_for(Duration::ZERO).await, "{early} s are too early");
        gate.advance(SECOND);
    }
    assert_eq!(upstream.frame().await, word(2));
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

/// Its bytes are here, and it is the gateway that does not read them.
#[tokio::test]
async fn a_client_that_waits_for_its_turn_is_not_idle() {
    let backend = Backend::new().await;
    let terms = "messages = { rate = \"1r/m\", on_excess = \"delay\" }\nidle_timeout = \"30s\"";
    let mut gate = Gate::new(&backend.url(), terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.send([word(0).bytes(true), word(1).bytes(true)].concat()).await;
    assert_eq!(upstream.frame().await, word(0));
    until("the second to wait", || gate.count("wsgate_messages_delayed_total{route=\"ws\"}") == 1.0).await;
    gate.advance(40 * SECOND);
    gate.advance(23 * SECOND);
    assert_eq!(upstream.frame().await, word(1));
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

/// A wait for one's turn is no place to hide from the token's end.
#[tokio::test]
async fn a_client_that_waits_for_its_turn_still_ends_with_an_order_to() {
    let backend = Backend::new().await;
    let terms = format!("messages = {{ rate = \"1r/m\", on_excess = \"delay\" }}\n{PATIENT}");
    let mut gate = Gate::new(&backend.url(), &terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.send([word(0).bytes(true), word(1).bytes(true)].concat()).await;
    assert_eq!(upstream.frame().await, word(0));
    until("the second to wait", || gate.count("wsgate_messages_delayed_total{route=\"ws\"}") == 1.0).await;
    gate.shared().books.sessions.all()[0].order(wsgate::deny::Deny::Draining);
    assert_eq!(client.frame().await.as_close(), (1012, "draining"));
    assert_eq!(upstream.frame().await.as_close(), (1012, "draining"));
    client.say(&Frame::close(1012, "")).await;
    upstream.say(&Frame::close(1012, "")).await;
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "draining").await;
    gate.finish().await;
}
