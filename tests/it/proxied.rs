//! Who a client is where a proxy stands in front or a PROXY header goes on to the upstream.

use std::time::Duration;

use serde_json::json;
use tokio::net::TcpStream;
use wsgate::stream::Stream;

use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Gate, Peer, Setup, until};

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";
const REQUIRED: &str = "proxy_protocol = \"required\"";
const V1: &[u8] = b"PROXY TCP4 198.51.100.7 203.0.113.1 56324 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc6\x33\x64\x07\xcb\0\x71\x01\xdc\x04\x01\xbb\x04\0\0";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A gateway whose only listener wants the header, from this machine.
fn behind_a_balancer(backend: &Backend, keys: &str) -> Setup {
    Setup::new().server(TRUSTED).listener(REQUIRED).route("/ws", &backend.url(), keys)
}

/// The upstream's view of a client that begins so.
async fn seen(gate: &mut Gate, backend: &Backend, head: &[u8]) -> crate::harness::peer::Head {
    let mut client = gate.client().await;
    client.send([head, &Ask::to("/ws").bytes()].concat()).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 404);
    request
}

#[tokio::test]
async fn the_client_is_whom_the_header_names_and_the_proxy_where_it_names_nobody() {
    let backend = Backend::new().await;
    let mut gate = behind_a_balancer(&backend, "").start();
    let table: &[(&[u8], &str)] = &[
        (V1, "198.51.100.7"),
        (V2, "198.51.100.7"),
        (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 2\r\n", "198.51.100.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n", "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (LOCAL, "127.0.0.1"),
    ];
    for (head, client) in table {
        let request = seen(&mut gate, &backend, head).await;
        assert_eq!(request.one("x-forwarded-for"), Some(*client));
        assert_eq!(gate.refused("upstream_refused").await["client"], *client);
    }
    gate.finish().await;
}

/// Whom the header names is believed no more than on a connection of his own.
#[tokio::test]
async fn a_client_behind_the_header_does_not_speak_for_others() {
    let backend = Backend::new().await;
    let mut gate = behind_a_balancer(&backend, "").start();
    let mut client = gate.client().await;
    client.send([V1, &Ask::to("/ws").with("X-Forwarded-For", "6.6.6.6").bytes()].concat()).await;
    let mut upstream = backend.accept().await;
    assert_eq!(upstream.head().await.one("x-forwarded-for"), Some("198.51.100.7"));
    drop((client, upstream));
    assert_eq!(gate.lines.next().await["client"], "198.51.100.7");
    gate.finish().await;
}

/// TLS begins at the very next byte, however the bytes before it came.
#[tokio::test]
async fn no_byte_behind_the_header_is_taken_however_it_is_cut() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = behind_a_balancer(&backend, "");
    authority.sign("chat.example.com").write(setup.folder.path(), "chat");
    let mut gate = setup.listener("tls = { certificate = \"chat.pem\", key = \"chat.key\" }").start();
    let config = std::sync::Arc::new(authority.client(&[&rustls::version::TLS13]));
    for (head, step) in [(V1, 1), (V1, 1000), (V2, 1), (V2, 1000)] {
        let tcp = gate.tcp().await;
        tcp.set_nodelay(true).unwrap();
        let mut peer = Peer::new(Stream::Tcp(tcp), true);
        for piece in head.chunks(step) {
            peer.send(piece).await;
        }
        let Stream::Tcp(tcp) = peer.into_stream() else { panic!("no TCP") };
        let tls = secure::connect(tcp, &config, "chat.example.com").await;
        let mut client = Peer::new(secure::stream(tls), true);
        client.ask(&Ask::to("/nowhere")).await;
        assert_eq!(client.head().await.status(), 404);
        assert_eq!(gate.refused("no_route").await["client"], "198.51.100.7");
    }
    gate.finish().await;
}

#[tokio::test]
async fn without_a_good_header_a_connection_is_closed_and_the_log_says_why() {
    let backend = Backend::new().await;
    let mut gate = behind_a_balancer(&backend, "").start();
    let table: &[(&[u8], &str)] = &[
        (&Ask::to("/ws").bytes(), "the connection does not begin with a PROXY header"),
        (b"\x16\x03\x01", "the connection does not begin with a PROXY header"),
        (b"PROXY TCP4 198.51.100.7 203.0.113.1 1 99999\r\n", "a malformed PROXY header"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "a PROXY header of more than 4096 bytes"),
    ];
    for (head, why) in table {
        let mut client = gate.client().await;
        let _ = client.try_send(head).await;
        client.ended().await;
        let line = gate.refused("bad_proxy_header").await;
        assert_eq!((&line["why"], &line["client"], &line["status"]), (&json!(why), &json!("127.0.0.1"), &json!(null)));
    }
    let mut cut = gate.client().await;
    cut.send(&V1[..20]).await;
    drop(cut);
    assert_eq!(gate.refused("bad_proxy_header").await["why"], "the connection ended in the midst of the PROXY header");
    assert_eq!(gate.refusals("none", "bad_proxy_header"), 5.0);
    backend.saw_nobody();
    gate.finish().await;
}

/// A check of whether anybody listens is no refusal.
#[tokio::test]
async fn a_connection_without_a_byte_leaves_no_line() {
    let backend = Backend::new().await;
    let gate = behind_a_balancer(&backend, "").start();
    drop(gate.tcp().await);
    let sample = format!("wsgate_accepted_total{{listener=\"{}\"}}", gate.address());
    until("the connection to be accepted", || gate.count(&sample) == 1.0).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_is_no_trusted_proxy_may_not_say_so() {
    let backend = Backend::new().await;
    let setup = Setup::new().server("trusted_proxies = [\"192.0.2.0/24\"]").listener(REQUIRED);
    let mut gate = setup.route("/ws", &backend.url(), "").start();
    let mut client = gate.client().await;
    let _ = client.try_send(V1).await;
    client.ended().await;
    assert_eq!(gate.refused("bad_proxy_header").await["why"], "the peer is not one of trusted_proxies");
    gate.finish().await;
}

/// Not "maybe": where it is off, a header is no HTTP.
#[tokio::test]
async fn where_it_is_off_a_header_is_bad_http() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server(TRUSTED).route("/ws", &backend.url(), "").start();
    for head in [V1, V2] {
        let mut client = gate.client().await;
        client.send([head, &Ask::to("/ws").bytes()].concat()).await;
        assert_eq!(client.head().await.status(), 400);
        assert_eq!(gate.refused("bad_handshake").await["client"], "127.0.0.1");
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_header_that_does_not_come_has_the_deadline_of_the_handshake() {
    let backend = Backend::new().await;
    let mut gate = behind_a_balancer(&backend, "").listener("handshake_timeout = \"50ms\"").start();
    let mut client = gate.client().await;
    client.send(&V1[..20]).await;
    client.ended().await;
    let line = gate.refused("handshake_timeout").await;
    assert_eq!(line["why"], "the PROXY header took longer than handshake_timeout");
    gate.finish().await;
}

/// The proxy's own address has no bound; each client's has, once it is known, and the others of the proxy are not in its way.
#[tokio::test]
async fn handshakes_under_way_are_counted_by_whom_the_header_names() {
    let backend = Backend::new().await;
    let setup = behind_a_balancer(&backend, "").server("handshakes_in_flight_per_ip = 1");
    let gate = setup.start();
    let mut first = gate.client().await;
    first.send(V1).await;
    until("the first to be known", || gate.shared().handshakes_per_ip.used() == 1).await;
    let mut second = gate.client().await;
    let _ = second.try_send(V1).await;
    second.ended().await;
    assert_eq!(gate.count(&format!("wsgate_handshakes_shed_total{{listener=\"{}\"}}", gate.address())), 1.0);
    let mut other = gate.client().await;
    other.send(b"PROXY TCP4 198.51.100.8 203.0.113.1 1 2\r\n").await;
    until("another to be let in beside", || gate.shared().handshakes_per_ip.used() == 2).await;
    drop((first, other));
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_gets_the_header_before_anything_else() {
    let backend = Backend::new().await;
    for (version, expected) in [("v1", V1), ("v2", &[&V2[..15], b"\x0c", &V2[16..28]].concat()[..])] {
        let mut gate = behind_a_balancer(&backend, &format!("proxy_protocol = \"{version}\"")).start();
        let mut client = gate.client().await;
        client.send([V1, &Ask::to("/ws").bytes()].concat()).await;
        let mut upstream = backend.accept().await;
        assert_eq!(upstream.bytes(expected.len()).await, expected);
        assert_eq!(upstream.head().await.one("x-forwarded-for"), Some("198.51.100.7"));
        drop((client, upstream));
        gate.lines.next().await;
        gate.finish().await;
    }
}

/// Its own ends, where no proxy stands in front; of a client that a header of HTTP names, the port is not known.
#[tokio::test]
async fn the_header_names_the_ends_of_the_clients_connection() {
    let backend = Backend::new().await;
    let keys = "proxy_protocol = \"v1\"";
    let mut gate = Setup::new().server(TRUSTED).route("/ws", &backend.url(), keys).start();
    let port = gate.address().port();
    for (forwarded, source) in [(None, None), (Some("198.51.100.7"), Some("198.51.100.7 127.0.0.1 0"))] {
        let tcp = TcpStream::connect(gate.address()).await.unwrap();
        let own = format!("127.0.0.1 127.0.0.1 {}", tcp.local_addr().unwrap().port());
        let mut client = Peer::new(Stream::Tcp(tcp), true);
        let ask = forwarded.map_or(Ask::to("/ws"), |client| Ask::to("/ws").with("X-Forwarded-For", client));
        client.ask(&ask).await;
        let mut upstream = backend.accept().await;
        let line = format!("PROXY TCP4 {} {port}\r\n", source.unwrap_or(&own));
        assert_eq!(String::from_utf8(upstream.bytes(line.len()).await).unwrap(), line);
        drop((client, upstream));
        gate.lines.next().await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn towards_an_upstream_with_tls_it_comes_before_tls() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = Setup::new();
    std::fs::write(setup.folder.path().join("ca.pem"), authority.pem()).unwrap();
    let keys = "proxy_protocol = \"v2\"\nupstream_ca = \"ca.pem\"";
    let url = format!("https://localhost:{}", backend.address().port());
    let mut gate = setup.route("/ws", &url, keys).start();
    let client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    assert_eq!(upstream.bytes(28).await[..13], b"\r\n\r\n\0\r\nQUIT\n\x21"[..]);
    assert_eq!(upstream.bytes(1).await, [0x16], "a TLS record of a handshake");
    drop((client, upstream));
    gate.lines.next().await;
    gate.finish().await;
}

#[tokio::test]
async fn forwarded_is_believed_where_the_file_says_so_and_the_other_header_then_is_not() {
    let backend = Backend::new().await;
    let believed = format!("{TRUSTED}\nforwarded_header = \"forwarded\"");
    let mut gate = Setup::new().server(&believed).route("/ws", &backend.url(), "").start();
    let ask = Ask::to("/ws")
        .with("Forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:99\";proto=https")
        .with("X-Forwarded-For", "7.7.7.7");
    let mut client = gate.asking(&ask).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    assert_eq!(request.one("x-forwarded-for"), Some("2001:db8::7, 127.0.0.1"));
    assert_eq!(request.one("x-forwarded-proto"), Some("https"));
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 404);
    assert_eq!(gate.refused("upstream_refused").await["client"], "2001:db8::7");
    gate.advance(Duration::from_secs(1));
    gate.finish().await;
}
