//! A reader that is slower than its writer.

use std::time::Duration;

use crate::harness::{Backend, Frame, Gate, Peer};

/// Far more than the sockets' own buffers hold.
const MUCH: usize = 64 * 1024 * 1024;
/// A pause in which a writer that could go on would have gone on.
const CALM: Duration = Duration::from_millis(200);

fn resident(gate: &Gate) -> f64 {
    gate.count("process_resident_memory_bytes")
}

#[tokio::test]
async fn a_slow_reader_stops_its_writer_and_nothing_else() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "max_message_size = \"1g\"");
    for from_client in [true, false] {
        let (mut client, mut upstream) = gate.session(&backend).await;
        let (writer, reader): (&mut Peer, &mut Peer) =
            if from_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let payload: Vec<u8> = (0..1_000_003_u32).map(|n| n as u8).collect();
        writer.send(Frame::binary([]).header(MUCH as u64, from_client)).await;
        let before = resident(&gate);
        let taken = writer.stuff(&payload, MUCH, CALM).await;
        assert!(taken < MUCH / 2, "the writer was not held back: {taken}");
        assert!(resident(&gate) - before < 4e6, "memory grew with what nobody takes");

        reader.say(&Frame::text("the other way")).await;
        assert_eq!(writer.frame().await, Frame::text("the other way"));

        let header = Frame::binary([]).header(MUCH as u64, from_client);
        assert_eq!(reader.bytes(header.len()).await, header);
        let mut read = 0;
        while read < taken {
            let here = reader.bytes((taken - read).min(65_536)).await;
            let expected = payload.iter().cycle().skip(read % payload.len()).take(here.len());
            assert!(here.iter().eq(expected), "what comes out is what went in, around byte {read}");
            read += here.len();
        }
        let more = writer.stuff(&payload[taken % payload.len()..], 1000, CALM).await;
        assert!(more >= 1000, "it goes on when it is read again");
        client.reset();
        drop(upstream);
        gate.lines.next().await;
    }
    gate.finish().await;
}

/// A Close to a client that takes nothing can't get through: the session must not wait for it for ever.
#[tokio::test]
async fn a_reader_that_takes_nothing_is_cut_after_close_timeout() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "idle_timeout = \"60s\"\nsend_timeout = \"1h\"\nclose_timeout = \"5s\"");
    let (client, mut upstream) = gate.session(&backend).await;
    upstream.send(Frame::binary([]).header(MUCH as u64, false)).await;
    upstream.stuff(&[0; 65_536], MUCH, CALM).await;
    gate.advance(Duration::from_secs(61));
    assert_eq!(upstream.frame().await.as_close(), (1001, "idle_timeout"));
    gate.advance(Duration::from_secs(6));
    upstream.ended().await;
    drop(client);
    gate.ended("gateway", "idle_timeout").await;
    gate.finish().await;
}
