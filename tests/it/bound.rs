//! Tokens that are bound to a certificate (RFC 8705), and TLS sessions that are resumed with one.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::certificates::{asking, client, connect, of, refused, subject, turned_away};
use crate::harness::secure::{Authority, Pair};
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup};

fn thumbprint(pair: &Pair) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &pair.der().0[0]))
}

/// A handshake with a token of alice's that has this `cnf`.
fn with_cnf(gate: &Gate, path: &str, cnf: &Value) -> Ask {
    let exp = gate.clock.now().wall / 1000 + 60;
    Ask::to(path).bearer(&gate.sign(&json!({ "sub": "alice", "exp": exp, "cnf": cnf })))
}

#[tokio::test]
async fn a_bound_token_opens_nothing_without_its_certificate_on_any_route() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), ", verify_client = \"optional\"");
    let setup = setup.route("/off", &backend.url(), "jwt = \"main\"");
    let keys = "jwt = \"main\"\nclient_certificate = \"required\"\nrequire_bound_token = true";
    let mut gate = setup.route("/bound", &backend.url(), keys).start();
    let (mine, others) = (authority.issue(of("device 1")), authority.issue(of("device 2")));
    let cnf = json!({ "x5t#S256": thumbprint(&mine) });
    let (mine, others, none) =
        (client(&authority, Some(&mine)), client(&authority, Some(&others)), client(&authority, None));
    for path in ["/off", "/bound"] {
        let ask = with_cnf(&gate, path, &cnf);
        assert_eq!(subject(&mut gate, &backend, &mine, &ask).await.as_deref(), Some("alice"), "{path}");
        let (status, why) = refused(&mut gate, &others, &ask, "token_invalid").await;
        assert_eq!((status, &*why), (403, "it is bound to another certificate"), "{path}");
        for cnf in [json!("x"), json!({ "x5t#S256": "short" }), json!({ "x5t#S256": 1 }), json!(null)] {
            let ask = with_cnf(&gate, path, &cnf);
            refused(&mut gate, &mine, &ask, "token_invalid").await;
        }
    }
    // Whoever stole the token has no certificate, and no TLS either.
    let stolen = with_cnf(&gate, "/off", &cnf);
    let (_, why) = refused(&mut gate, &none, &stolen, "token_invalid").await;
    assert_eq!(why, "it is bound to a certificate, and the client presented none");
    assert_eq!(gate.refusal(&stolen).await.status(), 403);
    gate.refused("token_invalid").await;
    // A token that is bound to nothing.
    for cnf in [json!({}), json!({ "jkt": "the thumbprint of another kind of key" })] {
        let ask = with_cnf(&gate, "/off", &cnf);
        assert_eq!(subject(&mut gate, &backend, &none, &ask).await.as_deref(), Some("alice"));
        let ask = with_cnf(&gate, "/bound", &cnf);
        let (_, why) = refused(&mut gate, &mine, &ask, "token_invalid").await;
        assert_eq!(why, "it is bound to no certificate, and require_bound_token is on");
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_bound_token_does_not_outlive_its_certificate() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    let mut gate = setup.route("/ws", &backend.url(), "jwt = \"main\"").start();
    let now = gate.clock.now().wall / 1000;
    let mut params = of("device");
    params.not_after = time::OffsetDateTime::from_unix_timestamp((now + 30).try_into().unwrap()).unwrap();
    let pair = authority.issue(params);
    let ask = with_cnf(&gate, "/ws", &json!({ "x5t#S256": thumbprint(&pair) }));
    let mut peer = connect(&gate, &client(&authority, Some(&pair))).await;
    peer.ask(&ask).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(peer.head().await.status(), 101);
    peer.say(&Frame::text("still here")).await;
    assert_eq!(upstream.frame().await, Frame::text("still here"));
    gate.advance(std::time::Duration::from_secs(31));
    assert_eq!(peer.frame().await.as_close(), (4001, "certificate_expired"));
    peer.reset();
    drop(upstream);
    gate.ended("gateway", "certificate_expired").await;
    gate.finish().await;
}

/// How this client's TLS began.
fn kind(peer: &Peer) -> HandshakeKind {
    let wsgate::stream::Stream::Tls(tls) = peer.stream() else { panic!("no TLS") };
    let tokio_rustls::TlsStream::Client(tls) = &**tls else { panic!("not a client") };
    tls.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_resumed_tls_session_has_the_certificate_of_the_first() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    let mut gate = setup.route("/ws", &backend.url(), "client_certificate = \"required\"").start();
    for version in [&TLS13, &TLS12] {
        let config = Arc::new(authority.client_of(&[version], Some(&authority.issue(of("alice")))));
        for turn in 0..3 {
            let mut peer = connect(&gate, &config).await;
            peer.ask(&Ask::to("/ws")).await;
            let mut upstream = backend.accept().await;
            let request = upstream.head().await;
            assert_eq!(request.one("x-auth-subject"), Some("alice"), "turn {turn}");
            upstream.send(request.switch("")).await;
            assert_eq!(peer.head().await.status(), 101);
            assert_eq!(kind(&peer) == HandshakeKind::Resumed, turn > 0, "turn {turn}");
            peer.reset();
            gate.ended("client", "client_lost").await;
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_ticket_of_a_listener_that_asks_for_less_does_not_open_one_that_asks_for_more() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let backend = Backend::new().await;
    // Three ways in with the same certificate: without a question, with one that may stay unanswered, and with one for
    // another authority's certificates.
    let setup = Setup::new();
    let folder = setup.folder.path().to_owned();
    authority.sign("chat.example.com").write(&folder, "chat");
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("clients.pem"), clients.pem()).unwrap();
    let tls = |more: &str| format!("tls = {{ certificate = \"chat.pem\", key = \"chat.key\"{more} }}");
    let setup = setup.listener(&tls(""));
    let setup = setup.listen().listener(&tls(", client_ca = \"ca.pem\", verify_client = \"optional\""));
    let setup = setup.listen().listener(&tls(", client_ca = \"clients.pem\""));
    let mut gate = setup.route("/ws", &backend.url(), "").start();
    for version in [&TLS13, &TLS12] {
        for own in [None, Some(authority.issue(of("alice")))] {
            let config = Arc::new(authority.client_of(&[version], own.as_ref()));
            for listener in [0, 1] {
                let tcp = tokio::net::TcpStream::connect(gate.gateway().addresses[listener]).await.unwrap();
                let stream = crate::harness::secure::connect(tcp, &config, "chat.example.com").await;
                let mut peer = Peer::new(crate::harness::secure::stream(stream), true);
                peer.ask(&Ask::to("/ws")).await;
                let mut upstream = backend.accept().await;
                let request = upstream.head().await;
                upstream.send(request.switch("")).await;
                assert_eq!(peer.head().await.status(), 101);
                assert_eq!(kind(&peer), HandshakeKind::Full, "listener {listener}");
                peer.reset();
                gate.ended("client", "client_lost").await;
            }
            let reason = if own.is_some() { "bad_handshake" } else { "certificate_missing" };
            turned_away(&mut gate, &config, reason).await;
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_renewal_wants_the_certificate_that_its_token_is_bound_to() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nclient_certificate = \"required\"\nrequire_bound_token = true\nrenew = \"/renew\"\n\
        origins = \"any\"";
    let mut gate = asking(&authority, Setup::new(), "").route("/ws", &backend.url(), keys).start();
    let (mine, others) = (authority.issue(of("device 1")), authority.issue(of("device 2")));
    let cnf = json!({ "x5t#S256": thumbprint(&mine) });
    let (mine, others) = (client(&authority, Some(&mine)), client(&authority, Some(&others)));
    let mut peer = connect(&gate, &mine).await;
    peer.ask(&with_cnf(&gate, "/ws", &cnf)).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(peer.head().await.status(), 101);
    peer.say(&Frame::text("here")).await;
    assert_eq!(upstream.frame().await, Frame::text("here"));
    let later = gate.clock.now().wall / 1000 + 7200;
    let bound = gate.sign(&json!({ "sub": "alice", "exp": later, "cnf": cnf }));
    let loose = gate.sign(&json!({ "sub": "alice", "exp": later }));
    let plain = Peer::new(wsgate::stream::Stream::Tcp(gate.tcp().await), true);
    for (mut who, token, status) in [
        (connect(&gate, &others).await, &bound, 403),
        (connect(&gate, &mine).await, &loose, 403),
        (plain, &bound, 403),
        (connect(&gate, &mine).await, &bound, 200),
    ] {
        let head = "POST /renew HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n";
        who.send(format!("{head}Authorization: Bearer {token}\r\n\r\n")).await;
        assert_eq!(who.head().await.status(), status);
        assert_eq!(gate.lines.next().await["event"], json!("renewal"));
    }
    peer.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}
