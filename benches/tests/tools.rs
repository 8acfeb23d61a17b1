//! The tools themselves: an echo that is one, a floor that loses nothing, a load that is not fooled.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Cursor, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::{Message, WebSocket};
use wsgate_bench::load::{self, Span, Target};
use wsgate_bench::wire::Handshake;
use wsgate_bench::{echo, floor};

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The threads of these tests live as long as their process.
fn echo_backend() -> SocketAddr {
    let listener = mio::net::TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || echo::serve(listener).unwrap());
    address
}

fn floor_before(upstream: SocketAddr) -> SocketAddr {
    let listener = mio::net::TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || floor::relay(listener, upstream).unwrap());
    address
}

fn target(address: SocketAddr) -> Target {
    let handshake = Handshake { path: "/".into(), origin: Some("https://a.example".into()), token: Some("t".into()) };
    Target { address, tls: None, handshake }
}

fn short() -> Span {
    Span { warmup: Duration::ZERO, length: Duration::from_millis(50), watch: Some(std::process::id()) }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

fn echoes_to_tungstenite(address: SocketAddr) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (mut socket, _) = tungstenite::client(format!("ws://{address}/"), stream).unwrap();
    for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
        socket.send(Message::binary(pattern(size))).unwrap();
        assert_eq!(socket.read().unwrap(), Message::binary(pattern(size)), "{size} bytes");
    }
    socket.send(Message::Ping("here".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("here".into()));
    socket.close(None).unwrap();
    assert!(socket.read().unwrap().is_close());
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
}

#[test]
fn the_echo_answers_another_client_in_all_sizes() {
    echoes_to_tungstenite(echo_backend());
}

#[test]
fn the_floor_relays_all_sizes_and_the_end() {
    echoes_to_tungstenite(floor_before(echo_backend()));
}

#[test]
fn the_floor_passes_a_half_close_and_what_comes_after_it() {
    let upstream = TcpListener::bind(ANY).unwrap();
    let floor = floor_before(upstream.local_addr().unwrap());
    let sent = pattern(3 << 20);
    let mut client = TcpStream::connect(floor).unwrap();
    let writer = thread::spawn({
        let (mut client, sent) = (client.try_clone().unwrap(), sent.clone());
        move || {
            client.write_all(&sent).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        }
    });
    let (mut backend, _) = upstream.accept().unwrap();
    let mut got = Vec::new();
    backend.read_to_end(&mut got).unwrap();
    assert!(got == sent, "{} of {} bytes came up", got.len(), sent.len());
    writer.join().unwrap();
    let answering = thread::spawn(move || backend.write_all(&got).unwrap());
    let mut back = Vec::new();
    client.read_to_end(&mut back).unwrap();
    assert!(back == sent, "{} of {} bytes came down", back.len(), sent.len());
    answering.join().unwrap();
}

#[test]
fn the_load_counts_echoes_in_all_sizes_and_cpu_time() {
    let address = floor_before(echo_backend());
    for size in [0, 5, 64, 70_000, 1 << 20] {
        let measured = load::echo(&target(address), 3, size, short()).unwrap();
        assert!(measured.done > 0 && measured.latency_us.p50 > 0.0, "{size} bytes: {measured:?}");
        assert!(measured.cpu_ns.unwrap() > 0, "{size} bytes: {measured:?}");
    }
}

#[test]
fn the_load_counts_handshakes() {
    let measured = load::handshake(&target(floor_before(echo_backend())), 4, short()).unwrap();
    assert!(measured.done > 4, "{measured:?}");
}

#[test]
fn idle_connections_are_alive_at_the_end() {
    let mut said = Vec::new();
    load::idle(&target(floor_before(echo_backend())), 200, 64, Cursor::new("held\n"), &mut said).unwrap();
    assert_eq!(String::from_utf8(said).unwrap(), "{\"open\":200}\n{\"alive\":200}\n");
}

/// A backend whose answers to messages go through `answer`.
fn backend(answer: fn(&mut WebSocket<TcpStream>, Message)) -> SocketAddr {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || {
                let mut socket = tungstenite::accept(stream.unwrap()).unwrap();
                while let Ok(message) = socket.read() {
                    answer(&mut socket, message);
                }
            });
        }
    });
    address
}

fn load_fails(answer: fn(&mut WebSocket<TcpStream>, Message)) -> String {
    load::echo(&target(backend(answer)), 2, 1000, short()).unwrap_err().to_string()
}

#[test]
fn the_load_sees_one_wrong_byte() {
    let wrong = load_fails(|socket, message| {
        let mut bytes = message.into_data().to_vec();
        bytes[777] ^= 1;
        let _ = socket.send(Message::binary(bytes));
    });
    assert!(wrong.contains("wrong echo"), "{wrong}");
}

#[test]
fn the_load_sees_an_echo_that_is_not_its_own() {
    let wrong = load_fails(|socket, message| {
        let mut bytes = message.into_data().to_vec();
        bytes[..4].copy_from_slice(&7u32.to_be_bytes());
        let _ = socket.send(Message::binary(bytes));
    });
    assert!(wrong.contains("wrong echo"), "{wrong}");
}

#[test]
fn the_load_sees_a_close_and_an_end() {
    let closed = load_fails(|socket, _| drop(socket.close(None)));
    assert!(closed.contains("a Close instead of an echo"), "{closed}");
    let ended = load_fails(|socket, _| drop(socket.get_mut().shutdown(Shutdown::Both)));
    assert!(ended.contains("closed at byte 0"), "{ended}");
}

#[test]
fn the_load_tells_a_refusal() {
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 429 Too Many Requests\r\n\r\n");
        }
    });
    let refused = load::handshake(&target(address), 1, short()).unwrap_err().to_string();
    assert!(refused.contains("429 Too Many Requests"), "{refused}");
}

#[test]
fn the_load_echoes_over_tls_with_the_authority_it_was_given_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (address, ours) = tls_backend(dir.path());
    let mut over_tls = target(address);
    over_tls.tls = Some(load::tls(&ours).unwrap());
    for size in [64, 200_000] {
        assert!(load::echo(&over_tls, 3, size, short()).unwrap().done > 0, "{size} bytes");
    }
    let (_, other) = tls_backend(dir.path());
    over_tls.tls = Some(load::tls(&other).unwrap());
    let refused = load::echo(&over_tls, 1, 64, short()).unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

/// An echo over TLS with a certificate of its own, and the file that holds it.
fn tls_backend(dir: &Path) -> (SocketAddr, PathBuf) {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap());
    let listener = TcpListener::bind(ANY).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = StreamOwned::new(session, stream.unwrap());
            thread::spawn(move || {
                let Ok(mut socket) = tungstenite::accept(stream) else { return };
                while let Ok(message) = socket.read() {
                    let _ = socket.send(message);
                }
            });
        }
    });
    let file = dir.join(format!("{}.pem", address.port()));
    std::fs::write(&file, own.cert.pem()).unwrap();
    (address, file)
}
