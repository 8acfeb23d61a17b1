//! What may stand in a stream of frames, and what may not.

use crate::harness::{Ask, Backend, Frame, Gate, Peer};
use serde_json::json;

/// No test here may end because a Close waited long enough.
const PATIENT: &str = "close_timeout = \"1h\"";

/// What is wrong, and the bytes; `masked` as the sender has to.
fn bad(masked: bool) -> Vec<(&'static str, Vec<u8>)> {
    let mask: &[u8] = if masked { &[0x80, 1, 2, 3, 4] } else { &[0] };
    let bit = mask[0];
    let key = &mask[1..];
    let form = |first: u8, length: &[u8]| [&[first, bit | length[0]], &length[1..], key].concat();
    let of = |first: u8, payload: &[u8]| Frame::new(first, payload).bytes(masked);
    vec![
        ("the wrong mask bit", Frame::text("x").bytes(!masked)),
        ("RSV1", of(0xc1, b"x")),
        ("RSV2", of(0xa1, b"x")),
        ("RSV3", of(0x91, b"x")),
        ("opcode 3", of(0x83, b"x")),
        ("opcode 11", of(0x8b, b"x")),
        ("a ping in fragments", of(0x09, b"x")),
        ("a ping with RSV1", of(0xc9, b"x")),
        ("a ping of 126 bytes", of(0x89, &[b'x'; 126])),
        ("a continuation of nothing", of(0x80, b"x")),
        ("a message in a message", [of(0x01, b"x"), of(0x81, b"y")].concat()),
        ("125 bytes in the form for 126", form(0x82, &[126, 0, 125])),
        ("65535 bytes in the form for 65536", form(0x82, &[127, 0, 0, 0, 0, 0, 0, 0xff, 0xff])),
        ("2^63 bytes", form(0x82, &[127, 0x80, 0, 0, 0, 0, 0, 0, 0])),
        ("a Close with half a code", of(0x88, &[3])),
        ("a Close with 1005", of(0x88, &1005_u16.to_be_bytes())),
        ("a Close with 999", of(0x88, &999_u16.to_be_bytes())),
        ("a Close with a reason that is no UTF-8", of(0x88, &[0x03, 0xe8, 0xff])),
    ]
}

#[tokio::test]
async fn a_bad_frame_ends_the_session_with_1002_on_both_sides_and_does_not_pass() {
    let backend = Backend::new().await;
    for from_client in [true, false] {
        let mut gate = Gate::new(&backend.url(), PATIENT);
        let side = if from_client { "client" } else { "upstream" };
        let sample = format!("wsgate_sessions_ended_total{{route=\"ws\",side=\"{side}\",reason=\"bad_frame\"}}");
        assert_eq!(gate.count(&sample), 0.0, "it stands there at zero");
        let table = bad(from_client);
        let walked = table.len();
        for (what, bytes) in table {
            let (mut client, mut upstream) = gate.session(&backend).await;
            let (sender, receiver) =
                if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
            sender.send([Frame::text("good").bytes(from_client), bytes].concat()).await;
            assert_eq!(receiver.frame().await, Frame::text("good"), "{what}");
            if what == "a message in a message" {
                assert_eq!(receiver.frame().await, Frame::new(0x01, "x"));
            }
            assert_eq!(receiver.frame().await.as_close(), (1002, "bad_frame"), "{what}");
            assert_eq!(sender.frame().await.as_close(), (1002, "bad_frame"), "{what}");
            // Its Close can't be found any more, so that the end of the stream comes unasked.
            sender.ended().await;
            receiver.say(&Frame::close(1002, "")).await;
            drop(client);
            drop(upstream);
            let line = gate.ended(side, "bad_frame").await;
            assert_eq!(line["close_code"], json!(1002), "{what}");
        }
        assert_eq!(gate.count(&sample), walked as f64);
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_message_that_is_too_big_is_refused_by_its_header_before_its_payload() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("max_message_size = 1000\n{PATIENT}"));
    let header = |length: u64| Frame::binary([]).header(length, true);
    for (what, passing, refused) in [
        ("at once", vec![], header(1001)),
        ("a terabyte", vec![], header(1 << 40)),
        ("after one that fits", Frame::binary(vec![1; 1000]).bytes(true), header(1001)),
        ("in fragments", Frame::new(0x02, vec![1; 600]).bytes(true), Frame::new(0x80, []).header(401, true)),
        (
            "after fragments that fit",
            [Frame::new(0x02, vec![1; 600]).bytes(true), Frame::new(0x80, vec![1; 400]).bytes(true)].concat(),
            header(1001),
        ),
    ] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        client.send(&passing).await;
        assert_eq!(upstream.bytes(passing.len()).await.len(), passing.len(), "{what}");
        client.send(&refused).await;
        assert_eq!(client.frame().await.as_close(), (1009, "message_too_big"), "{what}");
        assert_eq!(upstream.frame().await.as_close(), (1009, "message_too_big"), "{what}");
        drop(client);
        drop(upstream);
        gate.ended("client", "message_too_big").await;
    }
    gate.finish().await;
}

/// RFC 6455 s7.1.1: the client answers the Close with its own; all of the payload comes before it.
#[tokio::test]
async fn after_a_message_that_was_too_big_the_client_s_close_is_still_found() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("max_message_size = \"1k\"\n{PATIENT}"));
    let (mut client, mut upstream) = gate.session(&backend).await;
    let message = Frame::binary(vec![1; 500_000]).bytes(true);
    client.send(&message[..100]).await;
    assert_eq!(client.frame().await.as_close(), (1009, "message_too_big"));
    client.send(&message[100..]).await;
    client.say(&Frame::text("more")).await;
    client.say(&Frame::close(1009, "")).await;
    assert_eq!(upstream.frame().await.as_close(), (1009, "message_too_big"));
    upstream.say(&Frame::close(1009, "")).await;
    client.ended().await;
    upstream.ended().await;
    let line = gate.ended("client", "message_too_big").await;
    assert_eq!((&line["messages_to_upstream"], &line["bytes_to_upstream"]), (&json!(0), &json!(0)));
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_s_messages_may_have_any_size() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "max_message_size = \"1k\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    let message = Frame::binary(vec![9; 50_000]);
    upstream.say(&message).await;
    assert_eq!(client.frame().await, message);
    leave(client, upstream).await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

async fn leave(client: Peer, mut upstream: Peer) {
    client.reset();
    upstream.ended().await;
}

#[tokio::test]
async fn compressed_messages_pass_where_both_agreed_on_it() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let mut client = gate.asking(&Ask::to("/ws").with("Sec-WebSocket-Extensions", "permessage-deflate")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("Sec-WebSocket-Extensions: permessage-deflate\r\n")).await;
    assert_eq!(client.head().await.status(), 101);
    for frame in [Frame::new(0xc1, "x"), Frame::new(0x41, "y"), Frame::new(0x80, "z"), Frame::text("plain")] {
        client.say(&frame).await;
        assert_eq!(upstream.frame().await, frame);
        upstream.say(&frame).await;
        assert_eq!(client.frame().await, frame);
    }
    client.say(&Frame::new(0x41, "y")).await;
    client.say(&Frame::new(0xc0, "RSV1 on a continuation")).await;
    assert_eq!(client.frame().await.as_close(), (1002, "bad_frame"));
    drop(client);
    upstream.frame().await;
    assert_eq!(upstream.frame().await.as_close(), (1002, "bad_frame"));
    drop(upstream);
    gate.ended("client", "bad_frame").await;
    gate.finish().await;
}

/// An upstream must not compress for a client that did not offer it, whatever the upstream's 101 says.
#[tokio::test]
async fn an_offer_that_the_upstream_did_not_take_is_no_agreement() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), PATIENT);
    let ask = Ask::to("/ws").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let (mut client, mut upstream) = gate.session_of(&backend, &ask).await;
    upstream.say(&Frame::new(0xc1, "x")).await;
    assert_eq!(client.frame().await.as_close(), (1002, "bad_frame"));
    drop(client);
    drop(upstream);
    gate.ended("upstream", "bad_frame").await;
    gate.finish().await;
}

/// After each byte something comes back from the upstream, so that the gateway has looked at that byte alone.
#[tokio::test]
async fn a_conversation_cut_at_every_byte_is_the_same_conversation() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let words = [
        Frame::text("hello"),
        Frame::new(0x01, "frag"),
        Frame::ping("in between"),
        Frame::new(0x00, ""),
        Frame::new(0x80, "ments"),
        Frame::binary(vec![3; 130]),
        Frame::pong(""),
        Frame::text(""),
        Frame::close(1000, "done"),
    ];
    for from_client in [true, false] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        let (speaker, listener) = if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let said: Vec<u8> = words.iter().flat_map(|frame| frame.bytes(from_client)).collect();
        for byte in &said {
            speaker.send([*byte]).await;
            listener.say(&Frame::ping("go on")).await;
            assert_eq!(speaker.frame().await, Frame::ping("go on"));
        }
        for frame in &words {
            assert_eq!(listener.frame().await, *frame);
        }
        listener.say(&Frame::close(1000, "")).await;
        assert_eq!(speaker.frame().await.as_close(), (1000, ""));
        speaker.ended().await;
        let line = gate.ended(if from_client { "client" } else { "upstream" }, "closed").await;
        assert_eq!(line[if from_client { "messages_to_upstream" } else { "messages_to_client" }], json!(4));
    }
    gate.finish().await;
}
