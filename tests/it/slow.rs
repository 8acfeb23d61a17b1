//! Receivers that never read, in numbers: what is kept for them, and that nobody else notices.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::ClientConfig;
use rustls::version::TLS13;
use socket2::SockRef;
use tokio::net::TcpSocket;
use wsgate::stream::Stream;

use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Peer, Setup, until};

/// Far more than the sockets' own buffers hold.
const MUCH: usize = 32 * 1024 * 1024;
/// A pause in which a writer that could go on would have gone on.
const CALM: Duration = Duration::from_millis(20);
/// Sessions of one round.
const MANY: usize = 12;
/// The most that one direction keeps: one read, and frames of the gateway's own.
const MOST: f64 = 65_536.0 + 512.0;

/// A client whose socket holds little of what it does not read. (The gateway's own hold megabytes.)
async fn small_client(gate: &Gate, tls: Option<&Arc<ClientConfig>>) -> Peer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let tcp = socket.connect(gate.address()).await.unwrap();
    let stream = match tls {
        None => Stream::Tcp(tcp),
        Some(config) => secure::stream(secure::connect(tcp, config, "chat.example.com").await),
    };
    Peer::new(stream, true)
}

async fn session(gate: &Gate, backend: &Backend, tls: Option<&Arc<ClientConfig>>) -> (Peer, Peer) {
    let mut client = small_client(gate, tls).await;
    client.ask(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let Stream::Tcp(tcp) = upstream.stream() else { panic!("no TCP") };
    SockRef::from(tcp).set_recv_buffer_size(8 * 1024).unwrap();
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    (client, upstream)
}

/// Sends without end, many messages of one byte or one that is never over, until it is told that nobody takes it.
async fn flood(sender: &mut Peer, small: bool, masked: bool) {
    let chunk = if small { Frame::text("x").bytes(masked).repeat(4096) } else { vec![7; 60_000] };
    if !small {
        sender.send(Frame::binary([]).header(1 << 29, masked)).await;
    }
    let mut sent = 0;
    loop {
        let here = &chunk[sent % chunk.len()..];
        match sender.stuff(here, here.len(), CALM).await {
            // A Close, or the end behind it.
            0 if !sender.is_quiet_for(CALM).await => return,
            0 => {}
            taken => sent += taken,
        }
        assert!(sent < MUCH, "the writer was not held back: {sent}");
    }
}

fn kept(gate: &Gate) -> f64 {
    gate.shared().books.buffered.bytes() as f64
}

/// Rounds of many sessions of which one side never reads.
async fn rounds(from_client: bool, tls: bool) {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let mut setup = Setup::new();
    if tls {
        authority.sign("chat.example.com").write(setup.folder.path(), "chat");
        setup = setup.listener("tls = { certificate = \"chat.pem\", key = \"chat.key\" }");
    }
    let terms = "max_message_size = \"1g\"\nidle_timeout = \"1d\"\nsend_timeout = \"1m\"";
    let mut gate = setup.route("/ws", &backend.url(), terms).start();
    let config = tls.then(|| Arc::new(authority.client(&[&TLS13])));
    let mut resident = Vec::new();
    for round in 0..3 {
        let mut sessions = Vec::new();
        for _ in 0..MANY {
            sessions.push(session(&gate, &backend, config.as_ref()).await);
        }
        let idle = gate.count("process_resident_memory_bytes");
        let mut most = 0.0;
        let flooding = sessions.iter_mut().map(|(client, upstream)| {
            let sender = if from_client { client } else { upstream };
            flood(sender, round % 2 == 0, from_client)
        });
        let looking = async {
            until("most of them to be kept waiting", || kept(&gate) > (MANY * 1000) as f64).await;
            let grown = gate.count("process_resident_memory_bytes") - idle;
            assert!(grown < MANY as f64 * (MOST + 65_536.0) + 4e6, "memory grew by {grown}");
            loop {
                most = kept(&gate).max(most);
                gate.advance(Duration::from_secs(20));
                tokio::time::sleep(CALM).await;
            }
        };
        tokio::select! {
            _ = join_all(flooding) => {}
            () = looking => {}
        }
        assert!(most <= MANY as f64 * MOST, "{most} bytes are kept for {MANY}");
        drop(sessions);
        for _ in 0..MANY {
            gate.ended(if from_client { "upstream" } else { "client" }, "slow_consumer").await;
        }
        until("all of it to be given back", || kept(&gate) == 0.0).await;
        resident.push(gate.count("process_resident_memory_bytes"));
    }
    assert!(resident[2] - resident[0] < 4e6, "memory grows from round to round: {resident:?}");
    gate.finish().await;
}

#[tokio::test]
async fn clients_that_never_read_take_one_read_each_and_end_after_send_timeout() {
    rounds(false, false).await;
}

#[tokio::test]
async fn clients_that_never_read_over_tls_take_no_more() {
    rounds(false, true).await;
}

#[tokio::test]
async fn upstreams_that_never_read_take_one_read_each_and_end_after_send_timeout() {
    rounds(true, false).await;
}

#[tokio::test]
async fn upstreams_that_never_read_what_comes_over_tls_take_no_more() {
    rounds(true, true).await;
}

#[tokio::test]
async fn the_session_that_would_keep_more_than_all_may_ends_and_the_others_go_on() {
    let backend = Backend::new().await;
    let setup = Setup::new().server("max_buffered = \"128k\"");
    let mut gate = setup.route("/ws", &backend.url(), "max_message_size = \"1g\"\nsend_timeout = \"1d\"").start();
    assert_eq!(gate.count("wsgate_buffered_limit_bytes"), 131_072.0);
    let mut stalled = Vec::new();
    let frames = Frame::binary(vec![7; 5000]).bytes(false);
    let ended = loop {
        assert!(stalled.len() < 100, "there is always room");
        let (client, mut upstream) = session(&gate, &backend, None).await;
        let (before, mut sent) = (kept(&gate), 0);
        // Until it is kept waiting; or it ends, which shows as an upstream that is read on.
        let has_ended = loop {
            let here = &frames[sent % frames.len()..];
            let taken = upstream.stuff(here, here.len(), CALM).await;
            sent += taken;
            if sent > MUCH || (taken == 0 && kept(&gate) > before) {
                break sent > MUCH;
            }
        };
        assert!(kept(&gate) <= 131_072.0, "{}", kept(&gate));
        if has_ended {
            break (client, upstream);
        }
        stalled.push((client, upstream, sent));
    };
    assert!(stalled.len() > 4, "{} sessions had room", stalled.len());
    let (client, mut upstream) = ended;
    assert_eq!(upstream.frame().await.as_close(), (1008, "slow_consumer"));
    drop((client, upstream));
    gate.advance(Duration::from_secs(6));
    gate.ended("client", "slow_consumer").await;
    for (client, upstream, sent) in &mut stalled {
        let mut read = 0;
        while read < *sent {
            read += client.bytes((*sent - read).min(65_536)).await.len();
        }
        client.say(&Frame::text("still here")).await;
        assert_eq!(upstream.frame().await, Frame::text("still here"));
    }
    until("all to be taken", || kept(&gate) == 0.0).await;
    let (there, all) = (gate.sessions(), stalled.len());
    assert_eq!(there, all, "nobody else ended");
    for (client, upstream, _) in stalled {
        client.reset();
        drop(upstream);
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

/// Sends this frame without end, to an upstream that reads.
async fn storm(client: &mut Peer, upstream: &mut Peer, frame: Frame) {
    let frames = frame.bytes(true).repeat(2000);
    loop {
        client.send(&frames).await;
        upstream.bytes(frames.len()).await;
    }
}

#[tokio::test]
async fn floods_of_pings_and_of_messages_of_one_byte_leave_others_their_turn() {
    let (backend, echo) = (Backend::new().await, Echo::new().await);
    let setup = Setup::new().server("workers = 1").route("/ws", &backend.url(), "");
    let mut gate = setup.route("/echo", &echo.url(), "").start();
    let (mut one, mut other) = (gate.session(&backend).await, gate.session(&backend).await);
    let mut client = gate.asking(&Ask::to("/echo")).await;
    assert_eq!(client.head().await.status(), 101);
    let talk = async {
        for turn in 0..100 {
            let said = Frame::text(&turn.to_string());
            client.say(&said).await;
            assert_eq!(client.frame().await, said);
        }
    };
    tokio::select! {
        () = talk => {}
        () = storm(&mut one.0, &mut one.1, Frame::ping("")) => {}
        () = storm(&mut other.0, &mut other.1, Frame::text("x")) => {}
    }
    let passed = gate.count("wsgate_bytes_total{route=\"ws\",direction=\"to_upstream\"}");
    assert!(passed > 10_000.0, "it was a flood: {passed}");
    for peer in [client, one.0, other.0] {
        peer.reset();
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}
