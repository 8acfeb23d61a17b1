//! Files that change by themselves: the config, and the certificates and keys that it names.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;

use super::ask;
use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

const QUICKLY: &str = "auto_reload_interval = \"10ms\"";

fn reloads(gate: &Gate, result: &str) -> f64 {
    gate.count(&format!("wsgate_config_reloads_total{{result=\"{result}\"}}"))
}

#[tokio::test]
async fn a_file_that_changed_is_taken_by_itself_and_half_of_one_is_refused_once() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server(QUICKLY).route("/ws", &backend.url(), "").start();
    let good = String::from_utf8(std::fs::read(gate.folder.path().join("test.toml")).unwrap()).unwrap();
    gate.rewrite(|text| text.replace("path = \"/ws\"", "path = \"/new\""));
    until("it to be taken", || reloads(&gate, "ok") == 1.0).await;
    assert_eq!(gate.refusal(&ask()).await.status(), 404);
    gate.refused("no_route").await;
    gate.rewrite(|text| text[..text.len() - 20].to_owned());
    until("it to be refused", || reloads(&gate, "failed") == 1.0).await;
    // It is looked at many times meanwhile, and read no more.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!((reloads(&gate, "ok"), reloads(&gate, "failed")), (1.0, 1.0));
    gate.rewrite(|_| good);
    until("the rest to be taken", || reloads(&gate, "ok") == 2.0).await;
    drop(gate.session(&backend).await);
    gate.leave().await;
}

#[tokio::test]
async fn a_folder_that_is_swapped_by_a_symbolic_link_is_seen_as_kubernetes_swaps_it() {
    let (backend, authority) = (Backend::new().await, Authority::new());
    let setup = Setup::new().server(QUICKLY);
    let folder = setup.folder.path().to_owned();
    let mount = |number: usize| {
        let inside = folder.join(format!("..{number}"));
        std::fs::create_dir(&inside).unwrap();
        authority.sign("chat.example.com").write(&inside, "chat");
        symlink(&inside, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    };
    mount(1);
    symlink("..data/chat.pem", folder.join("chat.pem")).unwrap();
    symlink("..data/chat.key", folder.join("chat.key")).unwrap();
    let tls = "tls = { certificate = \"chat.pem\", key = \"chat.key\" }";
    let gate = setup.listen().listener(tls).route("/ws", &backend.url(), "").start();
    let client = Arc::new(authority.client(&[&TLS13]));
    let first = presented(&gate, &client).await;
    assert_eq!(presented(&gate, &client).await, first);
    mount(2);
    until("the pair to be taken", || reloads(&gate, "ok") == 1.0).await;
    assert_ne!(presented(&gate, &client).await, first);
    gate.leave().await;
}

async fn connect(gate: &Gate, config: &Arc<ClientConfig>) -> tokio_rustls::client::TlsStream<TcpStream> {
    let tcp = TcpStream::connect(gate.gateway().addresses.last().unwrap()).await.unwrap();
    secure::connect(tcp, config, "chat.example.com").await
}

/// The certificate that a new connection meets.
async fn presented(gate: &Gate, config: &Arc<ClientConfig>) -> Vec<u8> {
    let tls = connect(gate, config).await;
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_certificate_is_swapped_under_new_connections_and_a_mismatched_pair_keeps_the_good_one() {
    let (backend, authority) = (Backend::new().await, Authority::new());
    let setup = Setup::new();
    let folder = setup.folder.path().to_owned();
    let (first, second) = (authority.sign("chat.example.com"), authority.sign("chat.example.com"));
    first.write(&folder, "chat");
    let tls = "tls = { certificate = \"chat.pem\", key = \"chat.key\" }";
    let gate = setup.listen().listener(tls).route("/ws", &backend.url(), "").start();
    let client = Arc::new(authority.client(&[&TLS13]));
    let before = presented(&gate, &client).await;
    let mut session = Peer::new(secure::stream(connect(&gate, &client).await), true);
    session.ask(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(session.head().await.status(), 101);
    // Half of the swap: the new certificate with the old key.
    std::fs::write(folder.join("chat.pem"), &second.certificate).unwrap();
    let answer = gate.reload(|text| text).await;
    assert_eq!(answer.status(), 422);
    assert!(answer.body.contains("the key is not this certificate's"), "{}", answer.body);
    assert_eq!(presented(&gate, &client).await, before);
    assert_eq!(reloads(&gate, "failed"), 1.0);
    second.write(&folder, "chat");
    gate.reloaded(|text| text).await;
    assert_ne!(presented(&gate, &client).await, before);
    session.say(&Frame::text("still here")).await;
    assert_eq!(upstream.frame().await, Frame::text("still here"));
    drop((session, upstream));
    gate.leave().await;
}

#[tokio::test]
async fn a_ticket_from_before_a_reload_is_taken_after_it_until_the_certificate_is_another() {
    let (backend, authority) = (Backend::new().await, Authority::new());
    let setup = Setup::new();
    let folder = setup.folder.path().to_owned();
    authority.sign("chat.example.com").write(&folder, "chat");
    let tls = "tls = { certificate = \"chat.pem\", key = \"chat.key\" }";
    let mut gate = setup.listener(tls).route("/ws", &backend.url(), "").start();
    let client = Arc::new(authority.client(&[&TLS13]));
    assert_eq!(resumed(&mut gate, &client).await, HandshakeKind::Full);
    assert_eq!(resumed(&mut gate, &client).await, HandshakeKind::Resumed);
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nidle_timeout = \"59s\"")).await;
    assert_eq!(resumed(&mut gate, &client).await, HandshakeKind::Resumed);
    authority.sign("chat.example.com").write(&folder, "chat");
    gate.reloaded(|text| text).await;
    assert_ne!(resumed(&mut gate, &client).await, HandshakeKind::Resumed);
    assert_eq!(resumed(&mut gate, &client).await, HandshakeKind::Resumed);
    gate.finish().await;
}

/// How a new connection came about; it gets an answer, and a ticket for the next one.
async fn resumed(gate: &mut Gate, config: &Arc<ClientConfig>) -> HandshakeKind {
    let tls = connect(gate, config).await;
    let kind = tls.get_ref().1.handshake_kind().unwrap();
    let mut client = Peer::new(secure::stream(tls), true);
    client.ask(&Ask::to("/nowhere")).await;
    assert_eq!(client.head().await.status(), 404);
    client.ended().await;
    gate.refused("no_route").await;
    kind
}

#[tokio::test]
async fn the_operators_own_token_and_certificate_are_swapped_too() {
    let (backend, authority) = (Backend::new().await, Authority::new());
    let (first, second) = ("the-first-token-of-all", "the-second-token-of-all");
    let setup = Setup::new();
    let folder = setup.folder.path().to_owned();
    authority.sign("localhost").write(&folder, "admin");
    secret(&folder.join("token"), first);
    let admin = "token = \"file:token\"\ntls = { certificate = \"admin.pem\", key = \"admin.key\" }";
    let gate = setup.admin(admin).route("/ws", &backend.url(), "").start();
    let client = Arc::new(authority.client(&[&TLS13]));
    let status = |token| operator(&gate, &client, token, "GET /status");
    let (before, told) = status(first).await;
    assert_eq!((told, status(second).await.1), (200, 401));
    secret(&folder.join("token"), second);
    authority.sign("localhost").write(&folder, "admin");
    assert_eq!(operator(&gate, &client, second, "POST /reload").await.1, 401, "it is not known yet");
    assert_eq!(operator(&gate, &client, first, "POST /reload").await, (before.clone(), 200));
    let (after, told) = status(second).await;
    assert_eq!((told, status(first).await.1), (200, 401));
    assert_ne!(before, after);
    gate.leave().await;
}

/// A file that nobody else may read.
fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// The certificate that an operator meets, and the status of what he is answered who has this token.
async fn operator(gate: &Gate, config: &Arc<ClientConfig>, token: &str, asked: &str) -> (Vec<u8>, u16) {
    let tcp = TcpStream::connect(gate.gateway().admin_address.unwrap()).await.unwrap();
    let tls = secure::connect(tcp, config, "localhost").await;
    let certificate = tls.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    let mut operator = Peer::new(secure::stream(tls), true);
    let headers = format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n");
    let request = format!("{asked} HTTP/1.1\r\n{headers}\r\n");
    operator.send(request).await;
    (certificate, operator.head().await.status())
}
