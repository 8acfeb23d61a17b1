//! Floods within a session: each is over soon, takes no memory, and leaves the neighbours alone.

use std::future::Future;

use crate::harness::{Backend, Frame, Gate, Peer, until};

const PINGS: usize = 100_000;

/// Sends a flood while what is to be seen of it is looked at: the gateway may stop to read, or go.
async fn flood(client: &mut Peer, bytes: Vec<u8>, seen: impl Future<Output = ()>) {
    let flood = async {
        let _ = client.try_send(bytes).await;
        std::future::pending().await
    };
    tokio::select! {
        () = flood => {}
        () = seen => {}
    }
}

/// A session that is alive, and whose memory is not that of its neighbour's flood.
struct Neighbour {
    peers: (Peer, Peer),
    before: f64,
}

impl Neighbour {
    async fn new(gate: &Gate, backend: &Backend) -> Self {
        let peers = gate.session(backend).await;
        Self { peers, before: gate.count("process_resident_memory_bytes") }
    }

    async fn lives_on(&mut self, gate: &Gate) {
        let (client, upstream) = &mut self.peers;
        client.say(&Frame::text("still here")).await;
        assert_eq!(upstream.frame().await, Frame::text("still here"));
        let grown = gate.count("process_resident_memory_bytes") - self.before;
        // The flood itself is this process' too, and the few megabytes of it are held by its sender.
        assert!(grown < 32e6, "{grown} bytes more");
    }
}

#[tokio::test]
async fn a_flood_of_pings_is_closed_or_dropped_or_read_no_further_as_the_route_says() {
    let backend = Backend::new().await;
    for on_excess in ["close", "drop", "delay"] {
        let terms = format!("control = {{ rate = \"1/h\", burst = 9, delay = 9, on_excess = \"{on_excess}\" }}");
        let gate = Gate::new(&backend.url(), &terms);
        let mut neighbour = Neighbour::new(&gate, &backend).await;
        let (mut client, mut upstream) = gate.session(&backend).await;
        let end = Frame::text("the end").bytes(true);
        let bytes = [Frame::ping("flood").bytes(true).repeat(PINGS), end].concat();
        let seen = async {
            for _ in 0..10 {
                assert_eq!(upstream.frame().await, Frame::ping("flood"));
            }
            match on_excess {
                "close" => assert_eq!(upstream.frame().await.as_close(), (4029, "control_rate")),
                "drop" => assert_eq!(upstream.frame().await, Frame::text("the end")),
                _ => until("the eleventh to wait", || gate.count(&sample("control", "delay")) == 1.0).await,
            }
            neighbour.lives_on(&gate).await;
            if on_excess == "drop" {
                until("the rest to be counted", || gate.count(&sample("control", "drop")) == (PINGS - 10) as f64).await;
            }
        };
        flood(&mut client, bytes, seen).await;
        ended(gate, vec![neighbour.peers, (client, upstream)]).await;
    }
}

/// All sockets go, and each session is written down and gives back what it held.
async fn ended(mut gate: Gate, sessions: Vec<(Peer, Peer)>) {
    for (client, upstream) in sessions {
        client.reset();
        upstream.reset();
        gate.lines.next().await;
    }
    gate.finish().await;
}

fn sample(limit: &str, action: &str) -> String {
    format!(
        "wsgate_limit_exceeded_total{{route=\"ws\",limit=\"{limit}\",direction=\"to_upstream\",action=\"{action}\",dry_run=\"false\"}}"
    )
}

#[tokio::test]
async fn a_million_continuations_of_one_byte_end_at_the_default_of_4096_frames() {
    let backend = Backend::new().await;
    let gate = Gate::new(&backend.url(), "");
    let mut neighbour = Neighbour::new(&gate, &backend).await;
    let (mut client, mut upstream) = gate.session(&backend).await;
    let bytes = [Frame::new(0x01, "x").bytes(true), Frame::new(0x00, "x").bytes(true).repeat(1_000_000)].concat();
    let seen = async {
        for n in 0..4096 {
            assert_eq!(upstream.frame().await, Frame::new(u8::from(n == 0), "x"));
        }
        assert_eq!(upstream.frame().await.as_close(), (1008, "too_many_fragments"));
        neighbour.lives_on(&gate).await;
        assert_eq!(gate.count(&sample("fragments", "close")), 1.0);
    };
    flood(&mut client, bytes, seen).await;
    ended(gate, vec![neighbour.peers, (client, upstream)]).await;
}

#[tokio::test]
async fn a_flood_of_messages_of_one_byte_is_dropped_and_counted_to_the_last() {
    const MESSAGES: usize = 200_000;
    let backend = Backend::new().await;
    let gate = Gate::new(&backend.url(), "messages = { rate = \"1/h\", burst = 4, on_excess = \"drop\" }");
    let mut neighbour = Neighbour::new(&gate, &backend).await;
    let (mut client, mut upstream) = gate.session(&backend).await;
    let bytes = [Frame::text("x").bytes(true).repeat(MESSAGES), Frame::ping("the end").bytes(true)].concat();
    let seen = async {
        for _ in 0..5 {
            assert_eq!(upstream.frame().await, Frame::text("x"));
        }
        assert_eq!(upstream.frame().await, Frame::ping("the end"));
        neighbour.lives_on(&gate).await;
        let dropped = (MESSAGES - 5) as f64;
        until("the rest to be counted", || gate.count("wsgate_messages_dropped_total{route=\"ws\"}") == dropped).await;
        assert_eq!(gate.count(&sample("messages", "drop")), dropped);
    };
    flood(&mut client, bytes, seen).await;
    ended(gate, vec![neighbour.peers, (client, upstream)]).await;
}
