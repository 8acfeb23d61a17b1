//! Nobody says anything: idle timeouts, and the gateway's own pings.

use std::time::Duration;

use crate::harness::{Backend, Frame, Gate};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_session_without_a_byte_from_either_side_ends_with_1001() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "idle_timeout = \"60s\"\nclose_timeout = \"1h\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    for from_client in [true, false] {
        gate.advance(40 * SECOND);
        let (one, other) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        one.say(&Frame::ping("awake")).await;
        assert_eq!(other.frame().await, Frame::ping("awake"), "a ping counts as a byte");
    }
    gate.advance(59 * SECOND);
    upstream.say(&Frame::ping("still")).await;
    assert_eq!(client.frame().await, Frame::ping("still"));
    gate.advance(61 * SECOND);
    assert_eq!(client.frame().await.as_close(), (1001, "idle_timeout"));
    assert_eq!(upstream.frame().await.as_close(), (1001, "idle_timeout"));
    client.say(&Frame::close(1001, "")).await;
    upstream.say(&Frame::close(1001, "")).await;
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "idle_timeout").await;
    gate.finish().await;
}

#[tokio::test]
async fn half_a_frame_header_and_then_silence_is_silence() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "idle_timeout = \"60s\"\nclose_timeout = \"1h\"");
    for cut in [1, 2, 5] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        client.send(&Frame::text("hello").bytes(true)[..cut]).await;
        // Nothing shows that the gateway has read the half: until it has, what is in the socket is no silence.
        let heard = loop {
            gate.advance(61 * SECOND);
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(100), client.frame()).await {
                break frame;
            }
        };
        assert_eq!(heard.as_close(), (1001, "idle_timeout"));
        assert_eq!(upstream.frame().await.as_close(), (1001, "idle_timeout"), "nothing of the header went on");
        drop(client);
        drop(upstream);
        gate.ended("gateway", "idle_timeout").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn half_a_message_and_then_silence_ends_after_close_timeout() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "idle_timeout = \"60s\"\nclose_timeout = \"5s\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    client.send(&Frame::text("hello").bytes(true)[..8]).await;
    upstream.bytes(8).await;
    gate.advance(61 * SECOND);
    assert_eq!(client.frame().await.as_close(), (1001, "idle_timeout"));
    gate.advance(6 * SECOND);
    upstream.ended().await;
    client.ended().await;
    gate.ended("gateway", "idle_timeout").await;
    gate.finish().await;
}

#[tokio::test]
async fn the_pong_that_answers_the_gateway_s_ping_stays_here_and_all_others_pass() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "ping_interval = \"30s\"\nping_timeout = \"20s\"\nidle_timeout = \"1h\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    for _ in 0..3 {
        gate.advance(31 * SECOND);
        let ping = client.frame().await;
        assert_eq!((ping.first, ping.payload.len()), (0x89, 8));
        let pong = |payload: &[u8]| Frame::new(0x8a, payload);
        for frame in [pong(b"my own"), Frame::ping("mine"), Frame::text("hi")] {
            client.say(&frame).await;
            assert_eq!(upstream.frame().await, frame);
        }
        client.say(&pong(&ping.payload)).await;
        client.say(&pong(b"")).await;
        assert_eq!(upstream.frame().await, pong(b""), "the answer to the gateway is left out");
        upstream.say(&Frame::ping("from the upstream")).await;
        assert_eq!(client.frame().await, Frame::ping("from the upstream"));
    }
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_ping_that_nobody_answers_ends_the_session_whatever_the_upstream_says() {
    let backend = Backend::new().await;
    let terms = "ping_interval = \"30s\"\nping_timeout = \"20s\"\nidle_timeout = \"1h\"\nclose_timeout = \"1h\"";
    let mut gate = Gate::new(&backend.url(), terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    gate.advance(31 * SECOND);
    assert_eq!(client.frame().await.first, 0x89);
    gate.advance(19 * SECOND);
    upstream.say(&Frame::text("are you there?")).await;
    assert_eq!(client.frame().await, Frame::text("are you there?"));
    gate.advance(2 * SECOND);
    assert_eq!(client.frame().await.as_close(), (1001, "idle_timeout"));
    assert_eq!(upstream.frame().await.as_close(), (1001, "idle_timeout"));
    drop(client);
    drop(upstream);
    gate.ended("gateway", "idle_timeout").await;
    gate.finish().await;
}

/// Pings go out on a frame boundary too.
#[tokio::test]
async fn a_ping_waits_for_the_end_of_the_frame_under_way() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "ping_interval = \"30s\"\nidle_timeout = \"1h\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    let message = Frame::binary(vec![5; 1000]);
    upstream.send(&message.bytes(false)[..500]).await;
    let begun = client.bytes(500).await;
    gate.advance(31 * SECOND);
    upstream.send(&message.bytes(false)[500..]).await;
    let rest = client.bytes(504).await;
    assert_eq!(Frame::read(&[begun, rest].concat(), false), Some((message, 1004)));
    assert_eq!(client.frame().await.first, 0x89);
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}
