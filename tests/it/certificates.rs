//! A client's certificate as its identity: whom TLS lets in, as whom, and until when.

use std::sync::Arc;
use std::time::Duration;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use serde_json::json;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::secure::{self, Authority, Pair};
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Peer, Setup, within};

const SECOND: Duration = Duration::from_secs(1);

/// One TLS listener behind the first, which asks for certificates of this authority, and trusts it in all else.
pub fn asking(authority: &Authority, setup: Setup, more: &str) -> Setup {
    let folder = setup.folder.path().to_owned();
    authority.sign("chat.example.com").write(&folder, "chat");
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    setup
        .listen()
        .listener(&format!("tls = {{ certificate = \"chat.pem\", key = \"chat.key\", client_ca = \"ca.pem\"{more} }}"))
}

/// What a certificate of this holder says.
pub fn of(cn: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub fn client(authority: &Authority, own: Option<&Pair>) -> Arc<ClientConfig> {
    Arc::new(authority.client_of(&[&TLS13, &TLS12], own))
}

/// A client that has shaken hands with the last listener.
pub async fn connect(gate: &Gate, config: &Arc<ClientConfig>) -> Peer {
    let tcp = TcpStream::connect(gate.gateway().addresses.last().unwrap()).await.unwrap();
    Peer::new(secure::stream(secure::connect(tcp, config, "chat.example.com").await), true)
}

/// The subject that the upstream is told, of a session that ends at once.
pub async fn subject(gate: &mut Gate, backend: &Backend, config: &Arc<ClientConfig>, ask: &Ask) -> Option<String> {
    let mut client = connect(gate, config).await;
    client.ask(ask).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    client.reset();
    let told = request.one("x-auth-subject").map(str::to_owned);
    let line = gate.ended("client", "client_lost").await;
    assert_eq!(line.get("subject").and_then(|subject| subject.as_str()).is_some(), told.is_some(), "{line}");
    told
}

/// A handshake that HTTP refuses: its status, and what the log knows of it.
pub async fn refused(gate: &mut Gate, config: &Arc<ClientConfig>, ask: &Ask, reason: &str) -> (u16, String) {
    let mut client = connect(gate, config).await;
    client.ask(ask).await;
    let head = client.head().await;
    client.ended().await;
    assert!(head.body.starts_with(reason), "{head:?}");
    (head.status(), gate.refused(reason).await["why"].as_str().unwrap().to_owned())
}

/// A client that TLS itself turns away: what it is told, and what the log knows of it.
pub async fn turned_away(gate: &mut Gate, config: &Arc<ClientConfig>, reason: &str) -> (String, String) {
    let tcp = TcpStream::connect(gate.gateway().addresses.last().unwrap()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("chat.example.com").unwrap();
    let told = match within("TLS", TlsConnector::from(config.clone()).connect(name, tcp)).await {
        Err(error) => error.to_string(),
        // RFC 8446 s4.4.2.4: a client of TLS 1.3 is done before the server has seen its certificate.
        Ok(stream) => Peer::new(secure::stream(stream), true).error().await,
    };
    let line = gate.refused(reason).await;
    assert_eq!(line.get("status"), None, "there was nobody to tell in HTTP: {line}");
    (told, line["why"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_listener_that_requires_a_certificate_lets_nobody_else_in() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    let mut gate = setup.route("/ws", &backend.url(), "client_certificate = \"required\"").start();
    let mut expired = of("alice");
    expired.not_after = date_time_ymd(2020, 1, 1);
    let mut early = of("alice");
    early.not_before = date_time_ymd(4000, 1, 1);
    let mut server = of("alice");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut of_an_authority = of("alice");
    of_an_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own_key = KeyPair::generate().unwrap();
    let by_itself = of("alice").self_signed(&own_key).unwrap();
    let by_itself = Pair { certificate: by_itself.pem(), key: own_key.serialize_pem() };
    for version in [&TLS13, &TLS12] {
        for (pair, why) in [
            (other.issue(of("alice")), "not signed by an authority of client_ca"),
            (by_itself.clone(), "not signed by an authority of client_ca"),
            (authority.issue(expired.clone()), "is expired"),
            (authority.issue(early.clone()), "not valid yet"),
            (authority.issue(server.clone()), "not for TLS clients"),
            (authority.issue(of_an_authority.clone()), "is one for an authority"),
        ] {
            let config = Arc::new(authority.client_of(&[version], Some(&pair)));
            let (_, said) = turned_away(&mut gate, &config, "bad_handshake").await;
            assert!(said.contains(why), "{said} instead of {why}");
        }
        let config = Arc::new(authority.client_of(&[version], None));
        let (told, why) = turned_away(&mut gate, &config, "certificate_missing").await;
        assert_eq!(why, "no certificate, and the listener requires one");
        assert!(told.contains("CertificateRequired"), "{told}");
        let config = Arc::new(authority.client_of(&[version], Some(&authority.issue(of("alice")))));
        assert_eq!(subject(&mut gate, &backend, &config, &Ask::to("/ws")).await.as_deref(), Some("alice"));
    }
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn an_optional_certificate_is_the_routes_affair_but_a_bad_one_never_is() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), ", verify_client = \"optional\"");
    let setup = setup.route("/off", &backend.url(), "");
    let setup = setup.route("/optional", &backend.url(), "client_certificate = \"optional\"");
    let mut gate = setup.route("/required", &backend.url(), "client_certificate = \"required\"").start();
    let (nobody, alice) = (client(&authority, None), client(&authority, Some(&authority.issue(of("alice")))));
    for (path, of_nobody, of_alice) in
        [("/off", Some(None), None), ("/optional", Some(None), Some("alice")), ("/required", None, Some("alice"))]
    {
        let ask = Ask::to(path);
        match of_nobody {
            Some(expected) => assert_eq!(subject(&mut gate, &backend, &nobody, &ask).await, expected, "{path}"),
            None => {
                let (status, why) = refused(&mut gate, &nobody, &ask, "certificate_missing").await;
                assert_eq!((status, &*why), (403, "no client certificate, and the route requires one"));
            }
        }
        assert_eq!(subject(&mut gate, &backend, &alice, &ask).await.as_deref(), of_alice, "{path}");
    }
    let stranger = client(&authority, Some(&other.issue(of("alice"))));
    turned_away(&mut gate, &stranger, "bad_handshake").await;
    // The first listener is a plain one: there nobody has a certificate.
    assert_eq!(gate.refusal(&Ask::to("/required")).await.status(), 403);
    gate.refused("certificate_missing").await;
    gate.finish().await;
}

#[tokio::test]
async fn the_route_says_which_part_of_a_certificate_is_the_subject() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let mut setup = asking(&authority, Setup::new(), "");
    for part in ["cn", "dn", "dns", "uri", "email"] {
        let keys = format!("client_certificate = \"required\"\ncertificate_subject = \"{part}\"");
        setup = setup.route(&format!("/{part}"), &backend.url(), &keys);
    }
    let mut gate = setup.start();
    let ia5 = |text: &str| Ia5String::try_from(text).unwrap();
    let mut full = of("jörg, x");
    full.distinguished_name.push(DnType::OrganizationName, "Example");
    full.subject_alt_names = vec![
        SanType::DnsName(ia5("Device-7.example.com")),
        SanType::URI(ia5("spiffe://example.org/chat")),
        SanType::Rfc822Name(ia5("a@example.com")),
    ];
    let (full, poor) = (authority.issue(full), authority.issue(of("alice")));
    let (full, poor) = (client(&authority, Some(&full)), client(&authority, Some(&poor)));
    for (part, expected, missing) in [
        // What is not visible ASCII is escaped on its way up, as of a token's `sub`.
        ("cn", "j%C3%B6rg,%20x", None),
        ("dn", "O=Example,CN=j%C3%B6rg\\,%20x", None),
        ("dns", "device-7.example.com", Some("the client's certificate has no DNS name")),
        ("uri", "spiffe://example.org/chat", Some("the client's certificate has no URI")),
        ("email", "a@example.com", Some("the client's certificate has no email address")),
    ] {
        // Whoever pretends to be somebody else in a header is not heard.
        let ask = Ask::to(&format!("/{part}")).with("X-Auth-Subject", "admin").with("X-Client-Cert", "CN=admin");
        assert_eq!(subject(&mut gate, &backend, &full, &ask).await.as_deref(), Some(expected));
        if let Some(missing) = missing {
            let (status, why) = refused(&mut gate, &poor, &ask, "certificate_missing").await;
            assert_eq!((status, &*why), (403, missing));
        }
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_certificate_that_tls_likes_and_nobody_should_read_is_refused() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    // On a route too that looks at none.
    let mut gate = setup.route("/ws", &backend.url(), "").start();
    let evil = client(&authority, Some(&authority.issue(of("admin\0.evil.example"))));
    let (status, why) = refused(&mut gate, &evil, &Ask::to("/ws"), "bad_handshake").await;
    assert_eq!((status, &*why), (400, "a name in the client's certificate has control characters"));
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_and_nobody_comes_back_with_it() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    let mut gate = setup.route("/ws", &backend.url(), "client_certificate = \"required\"").start();
    let ends = gate.clock.now().wall / 1000 + 60;
    let mut params = of("alice");
    params.not_after = OffsetDateTime::from_unix_timestamp(ends.try_into().unwrap()).unwrap();
    let config = client(&authority, Some(&authority.issue(params)));
    let mut alice = connect(&gate, &config).await;
    alice.ask(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(alice.head().await.status(), 101);
    alice.say(&Frame::text("still here")).await;
    assert_eq!(upstream.frame().await, Frame::text("still here"));
    gate.advance(61 * SECOND);
    for peer in [&mut alice, &mut upstream] {
        assert_eq!(peer.frame().await.as_close(), (4001, "certificate_expired"));
        peer.say(&Frame::close(4001, "")).await;
    }
    gate.ended("gateway", "certificate_expired").await;
    // TLS keeps the system's time, and takes it still, as it would in a session that is resumed.
    let (status, _) = refused(&mut gate, &config, &Ask::to("/ws"), "certificate_expired").await;
    assert_eq!(status, 403);
    gate.finish().await;
}

#[tokio::test]
async fn the_subject_of_a_certificate_has_its_cap() {
    let authority = Authority::new();
    let echo = Echo::new().await;
    let keys = "client_certificate = \"required\"\nconnections = { per_subject = 1 }";
    let mut gate = asking(&authority, Setup::new(), "").route("/ws", &echo.url(), keys).start();
    let alice = client(&authority, Some(&authority.issue(of("alice"))));
    // Another certificate, and the same holder.
    let alice_too = client(&authority, Some(&authority.issue(of("alice"))));
    let bob = client(&authority, Some(&authority.issue(of("bob"))));
    let mut held = Vec::new();
    for config in [&alice, &bob] {
        let mut peer = connect(&gate, config).await;
        peer.ask(&Ask::to("/ws")).await;
        assert_eq!(peer.head().await.status(), 101);
        held.push(peer);
    }
    let (status, _) = refused(&mut gate, &alice_too, &Ask::to("/ws"), "subject_cap").await;
    assert_eq!(status, 429);
    held.into_iter().for_each(Peer::reset);
    for _ in 0..2 {
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_revoked_certificate_does_not_get_in_and_without_a_list_none_does() {
    let (authority, other) = (Authority::new(), Authority::new());
    let backend = Backend::new().await;
    let with_serial = |serial: u64| {
        let mut params = of("alice");
        params.serial_number = Some(SerialNumber::from(serial));
        params
    };
    let setup = asking(&authority, Setup::new(), ", client_crl = \"revoked.pem\"");
    let folder = setup.folder.path().to_owned();
    std::fs::write(folder.join("ca.pem"), authority.pem() + &other.pem()).unwrap();
    std::fs::write(folder.join("revoked.pem"), authority.revoke(&[7])).unwrap();
    let mut gate = setup.route("/ws", &backend.url(), "client_certificate = \"required\"").start();
    let good = client(&authority, Some(&authority.issue(with_serial(8))));
    assert_eq!(subject(&mut gate, &backend, &good, &Ask::to("/ws")).await.as_deref(), Some("alice"));
    let revoked = client(&authority, Some(&authority.issue(with_serial(7))));
    let (told, why) = turned_away(&mut gate, &revoked, "bad_handshake").await;
    assert_eq!(why, "the client's certificate is revoked by client_crl");
    assert!(told.contains("CertificateRevoked"), "{told}");
    let unlisted = client(&authority, Some(&other.issue(with_serial(8))));
    let (_, why) = turned_away(&mut gate, &unlisted, "bad_handshake").await;
    assert_eq!(why, "client_crl has no list of an authority of the client's certificate");
    assert_eq!(gate.refusals("none", "bad_handshake"), 2.0);
    gate.finish().await;
}

#[tokio::test]
async fn beside_a_token_the_certificate_is_wanted_and_the_token_says_who() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let keys = "client_certificate = \"required\"\njwt = \"main\"";
    let mut gate = asking(&authority, Setup::new(), "").route("/ws", &backend.url(), keys).start();
    // It has no part that would do for a subject, and need not have one.
    let mut device = CertificateParams::default();
    device.distinguished_name = rcgen::DistinguishedName::new();
    let device = client(&authority, Some(&authority.issue(device)));
    let token = gate.token("bob", 60);
    let with_token = Ask::to("/ws").bearer(&token);
    assert_eq!(subject(&mut gate, &backend, &device, &with_token).await.as_deref(), Some("bob"));
    refused(&mut gate, &device, &Ask::to("/ws"), "token_missing").await;
    assert_eq!(gate.refusal(&with_token).await.status(), 403);
    let line = gate.refused("certificate_missing").await;
    assert_eq!(line["subject"], json!(null), "the token was not looked at: {line}");
    gate.finish().await;
}

#[tokio::test]
async fn a_subject_that_was_revoked_is_turned_away_whatever_proves_it() {
    let authority = Authority::new();
    let backend = Backend::new().await;
    let setup = asking(&authority, Setup::new(), "");
    let mut gate = setup.route("/ws", &backend.url(), "client_certificate = \"required\"").start();
    let mut renewed = of("alice");
    renewed.not_before = OffsetDateTime::now_utc();
    let (old, renewed) = (authority.issue(of("alice")), authority.issue(renewed));
    let (old, renewed) = (client(&authority, Some(&old)), client(&authority, Some(&renewed)));
    let bob = client(&authority, Some(&authority.issue(of("bob"))));
    let wall = gate.clock.now().wall;
    let before = format!("{{\"subject\": \"alice\", \"issued_before\": {}}}", wall / 1000 - 60);
    for (body, renewed_too) in [(before, false), ("{\"subject\": \"alice\"}".to_owned(), true)] {
        let revocations = &gate.shared().edition().policy.revocations;
        let wanted = revocations.read(body.as_bytes(), wall).unwrap();
        revocations.revoke(wanted, wall).unwrap();
        refused(&mut gate, &old, &Ask::to("/ws"), "token_revoked").await;
        if renewed_too {
            refused(&mut gate, &renewed, &Ask::to("/ws"), "token_revoked").await;
        } else {
            // A certificate is as old as its notBefore.
            assert_eq!(subject(&mut gate, &backend, &renewed, &Ask::to("/ws")).await.as_deref(), Some("alice"));
        }
        assert_eq!(subject(&mut gate, &backend, &bob, &Ask::to("/ws")).await.as_deref(), Some("bob"));
    }
    gate.finish().await;
}
