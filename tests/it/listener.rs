//! The way in: nobody's slowness is anybody else's, and TLS as clients want it.

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Peer, Setup, until};

/// One TLS listener for `chat.example.com`, and `*.other.example` as a further certificate.
fn with_tls(authority: &Authority, setup: Setup) -> Setup {
    let folder = setup.folder.path().to_owned();
    authority.sign("chat.example.com").write(&folder, "chat");
    authority.sign("*.other.example").write(&folder, "other");
    let tls = "tls = { certificate = \"chat.pem\", key = \"chat.key\", additional = [{ certificate = \"other.pem\", key = \"other.key\" }] }";
    setup.listener(tls)
}

fn client(authority: &Authority) -> Arc<ClientConfig> {
    Arc::new(authority.client(&[&TLS13, &TLS12]))
}

/// A client that has shaken hands with the gateway's last listener.
async fn connect(gate: &Gate, config: &Arc<ClientConfig>, name: &str) -> Peer {
    let address = *gate.gateway().addresses.last().unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    Peer::new(secure::stream(secure::connect(tcp, config, name).await), true)
}

/// What rustls knows of the connection.
fn known(peer: &Peer) -> &rustls::ClientConnection {
    let wsgate::stream::Stream::Tls(tls) = peer.stream() else { panic!("no TLS") };
    let tokio_rustls::TlsStream::Client(tls) = &**tls else { panic!("not a client") };
    tls.get_ref().1
}

/// Opens a session on a connection, says a word and gets it back, and closes.
async fn talk(gate: &mut Gate, client: &mut Peer) {
    client.ask(&Ask::to("/ws")).await;
    assert_eq!(client.head().await.status(), 101);
    client.say(&Frame::text("hello")).await;
    assert_eq!(client.frame().await, Frame::text("hello"));
    client.say(&Frame::close(1000, "")).await;
    assert_eq!(client.frame().await.as_close().0, 1000);
    gate.ended("client", "closed").await;
}

#[tokio::test]
async fn a_plain_listener_and_one_with_tls_stand_side_by_side() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = with_tls(&authority, Setup::new().listen()).route("/ws", &backend.url(), "");
    let mut gate = setup.start();
    for (tls, proto) in [(false, "http"), (true, "https")] {
        let mut client =
            if tls { connect(&gate, &client(&authority), "chat.example.com").await } else { gate.client().await };
        client.ask(&Ask::to("/ws")).await;
        let mut upstream = backend.accept().await;
        let request = upstream.head().await;
        assert_eq!(request.one("x-forwarded-proto"), Some(proto));
        upstream.send(request.switch("")).await;
        assert_eq!(client.head().await.status(), 101);
        let large = Frame::binary((0..700_000).map(|n| n as u8).collect::<Vec<_>>());
        upstream.say(&large).await;
        assert_eq!(client.frame().await, large);
        client.say(&large).await;
        assert_eq!(upstream.frame().await, large);
        upstream.say(&Frame::close(1001, "bye")).await;
        assert_eq!(client.frame().await.as_close(), (1001, "bye"));
        client.say(&Frame::close(1001, "")).await;
        client.ended().await;
        let line = gate.ended("upstream", "closed").await;
        assert_eq!(line["listener"], gate.gateway().addresses[usize::from(tls)].to_string());
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_name_that_a_client_gives_chooses_the_certificate() {
    let authority = Authority::new();
    let echo = Echo::new().await;
    let mut gate = with_tls(&authority, Setup::new()).route("/ws", &echo.url(), "").start();
    // The client checks the name: with the wrong certificate there is no connection.
    for name in ["chat.example.com", "a.other.example", "CHAT.example.com"] {
        let mut peer = connect(&gate, &client(&authority), name).await;
        talk(&mut gate, &mut peer).await;
    }
    // An unknown name, and two labels where the star stands for one, get the default.
    for name in ["unknown.example", "a.b.other.example"] {
        let tcp = gate.tcp().await;
        let connector = tokio_rustls::TlsConnector::from(client(&authority));
        let name = rustls::pki_types::ServerName::try_from(name).unwrap();
        let refused = crate::harness::within("TLS", connector.connect(name, tcp)).await.unwrap_err();
        assert!(refused.to_string().contains("chat.example.com"), "{refused}");
        gate.lines.next().await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_the_post_quantum_group_is_taken_when_offered() {
    let authority = Authority::new();
    let echo = Echo::new().await;
    let mut gate = with_tls(&authority, Setup::new()).route("/ws", &echo.url(), "").start();
    for (config, version, group) in [
        (authority.client(&[&TLS13]), ProtocolVersion::TLSv1_3, Some(NamedGroup::X25519MLKEM768)),
        (authority.client(&[&TLS12]), ProtocolVersion::TLSv1_2, None),
    ] {
        let mut peer = connect(&gate, &Arc::new(config), "chat.example.com").await;
        talk(&mut gate, &mut peer).await;
        let tls = known(&peer);
        assert_eq!(tls.protocol_version(), Some(version));
        if let Some(group) = group {
            assert_eq!(tls.negotiated_key_exchange_group().map(|taken| taken.name()), Some(group));
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_with_its_ticket_on_any_worker() {
    let authority = Authority::new();
    let echo = Echo::new().await;
    let mut gate = with_tls(&authority, Setup::new()).route("/ws", &echo.url(), "").start();
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(authority.client(&[version]));
        for turn in 0..5 {
            let mut peer = connect(&gate, &config, "chat.example.com").await;
            talk(&mut gate, &mut peer).await;
            let resumed = known(&peer).handshake_kind() == Some(HandshakeKind::Resumed);
            assert_eq!(resumed, turn > 0, "turn {turn}");
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn clients_that_are_slow_in_tls_or_in_their_head_delay_nobody() {
    let authority = Authority::new();
    let echo = Echo::new().await;
    let setup = with_tls(&authority, Setup::new().server("workers = 1").listener("handshake_timeout = \"1s\""));
    let mut gate = setup.route("/ws", &echo.url(), "").start();
    let mut slow = Vec::new();
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"].into_iter().cycle().take(30) {
        let mut tcp = gate.tcp().await;
        tcp.write_all(bytes).await.unwrap();
        slow.push(tcp);
    }
    until("all of them to be accepted", || gate.shared().handshakes_under_way() == 30).await;
    let begun = gate.clock.mono();
    let mut peer = connect(&gate, &client(&authority), "chat.example.com").await;
    talk(&mut gate, &mut peer).await;
    assert!(gate.clock.mono() - begun < 1000, "it waited for the slow ones' deadline");
    for _ in 0..30 {
        let line = gate.refused("handshake_timeout").await;
        assert_eq!(line.get("status"), None, "there was nobody to tell in HTTP: {line}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_tls_on_a_tls_listener_is_a_bad_handshake() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let mut gate = with_tls(&authority, Setup::new()).route("/ws", &backend.url(), "").start();
    let mut peer = gate.asking(&Ask::to("/ws")).await;
    peer.rest().await;
    gate.refused("bad_handshake").await;
    // One that leaves in the middle was simply lost.
    let mut peer = gate.client().await;
    peer.send(b"\x16\x03\x01").await;
    drop(peer);
    gate.refused("client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn one_address_has_its_share_of_the_handshakes_and_no_more() {
    let echo = Echo::new().await;
    let server = "handshakes_in_flight_per_ip = 2";
    let mut gate = Setup::new().server(server).route("/ws", &echo.url(), "").start();
    let slow = [gate.client().await, gate.client().await];
    until("both to be accepted", || gate.shared().handshakes_under_way() == 2).await;
    let mut third = gate.client().await;
    third.ended().await;
    assert_eq!(gate.count(&format!("wsgate_handshakes_shed_total{{listener=\"{}\"}}", gate.address())), 1.0);
    drop(slow);
    gate.rests().await;
    let mut peer = gate.client().await;
    talk(&mut gate, &mut peer).await;
    gate.finish().await;
}

#[tokio::test]
async fn beyond_the_bound_on_handshakes_clients_wait_and_are_served_in_the_end() {
    let echo = Echo::new().await;
    let setup = Setup::new().server("handshakes_in_flight = 1\nworkers = 1").listener("handshake_timeout = \"300ms\"");
    let mut gate = setup.route("/ws", &echo.url(), "").start();
    let slow = gate.client().await;
    until("the slow one to be accepted", || gate.shared().handshakes_under_way() == 1).await;
    let mut peer = gate.client().await;
    peer.ask(&Ask::to("/ws")).await;
    assert!(peer.is_quiet_for(Duration::from_millis(50)).await, "it waits");
    gate.refused("handshake_timeout").await;
    drop(slow);
    assert_eq!(peer.head().await.status(), 101);
    peer.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_of_tls_is_lost() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let mut gate = with_tls(&authority, Setup::new()).route("/ws", &backend.url(), "").start();
    for reset in [true, false] {
        let mut client = connect(&gate, &client(&authority), "chat.example.com").await;
        client.ask(&Ask::to("/ws")).await;
        let mut upstream = backend.accept().await;
        let request = upstream.head().await;
        upstream.send(request.switch("")).await;
        assert_eq!(client.head().await.status(), 101);
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}
