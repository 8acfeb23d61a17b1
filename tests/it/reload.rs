//! A new config in a gateway that runs: what changes, what stays, and that nobody who is connected notices.

mod enforce;
mod files;
mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::secure::{self, Authority};
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Setup, within};

fn ask() -> Ask {
    Ask::to("/ws")
}

/// One more route, with these keys.
pub fn with_route(text: &str, name: &str, path: &str, upstream: &str, keys: &str) -> String {
    format!("{text}[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"{upstream}\"\n{keys}\n")
}

#[tokio::test]
async fn a_broken_file_keeps_the_old_policy_and_is_told_of_everywhere() {
    let backend = Backend::new().await;
    let gate = Setup::new().admin("").route("/ws", &backend.url(), "origins = \"any\"").start();
    let good = String::from_utf8(std::fs::read(gate.folder.path().join("test.toml")).unwrap()).unwrap();
    let started = gate.count("wsgate_config_last_reload_success_timestamp_seconds");
    let hash = gate.status().await["config"]["hash"].clone();
    // Before any reload too it is said what is obeyed.
    assert_eq!(hash.as_str().map(str::len), Some(16), "{hash}");
    for (broken, said) in [("[[route]\n", "test.toml:"), ("[server]\nworker = 3\n", "did you mean `workers`?")] {
        let answer = gate.reload(|_| broken.to_owned()).await;
        assert_eq!(answer.status(), 422, "{}", answer.body);
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["result"], "failed");
        assert!(body["error"].as_str().unwrap().contains(said), "{body}");
        let status = gate.status().await;
        assert_eq!(status["config"]["last_reload_successful"], false);
        assert_eq!(status["config"]["error"], body["error"]);
        assert_eq!(status["config"]["hash"], hash);
        assert_eq!(gate.count("wsgate_config_last_reload_successful"), 0.0);
    }
    assert_eq!(gate.count("wsgate_config_reloads_total{result=\"failed\"}"), 2.0);
    let session = gate.session(&backend).await;
    gate.reloaded(|_| good).await;
    let status = gate.status().await;
    assert_eq!((&status["config"]["last_reload_successful"], &status["config"]["error"]), (&true.into(), &Value::Null));
    assert_eq!(status["config"]["hash"], hash, "the same bytes");
    assert_eq!(gate.count("wsgate_config_reloads_total{result=\"ok\"}"), 1.0);
    assert_eq!(gate.count("wsgate_config_last_reload_successful"), 1.0);
    assert!(gate.count("wsgate_config_last_reload_success_timestamp_seconds") >= started);
    drop(session);
    gate.leave().await;
}

#[tokio::test]
async fn what_cannot_change_is_refused_by_name_all_of_it_at_once() {
    let backend = Backend::new().await;
    let gate = Setup::new().route("/ws", &backend.url(), "").start();
    let good = String::from_utf8(std::fs::read(gate.folder.path().join("test.toml")).unwrap()).unwrap();
    let answer = gate
        .reload(|text| {
            let text = text.replacen("workers = 2", "workers = 3\nmax_buffered = \"1m\"", 1);
            let text = text.replacen("[[listen]]", "[[listen]]\naddress = \"127.0.0.1:1\"\n[[listen]]", 1);
            let text = text.replacen("[access_log]", "[access_log]\nformat = \"text\"", 1);
            format!("{text}[revocation]\nclaims = [\"device\"]\n[redis]\nurl = \"redis://127.0.0.1:1\"\n")
        })
        .await;
    assert_eq!(answer.status(), 422);
    for key in
        ["server.workers", "server.max_buffered", "listen[0].address", "revocation.claims", "redis", "access_log"]
    {
        assert!(answer.body.contains(&format!("in {key}:")), "{key}: {}", answer.body);
    }
    assert!(answer.body.contains("restart the gateway"), "{}", answer.body);
    assert!(!answer.body.contains("handshakes_in_flight"), "{}", answer.body);
    let socket = |text: String| text.replacen("[[listen]]", "[[listen]]\nsocket = \"web\"", 1);
    let answer = gate.reload(|_| socket(good)).await;
    assert!(answer.status() == 422 && answer.body.contains("in listen[0].socket:"), "{}", answer.body);
    gate.finish().await;
}

/// A client that counts up, and takes nothing but its own numbers in their order.
async fn count_up<S>(mut socket: WebSocketStream<S>, until: Arc<AtomicBool>, said: Arc<AtomicU64>) -> u64
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut next = 0_u64;
    while !until.load(Ordering::Relaxed) {
        // Three under way, so that something always is when a config changes.
        for number in next..next + 3 {
            socket.send(Message::text(number.to_string())).await.unwrap();
        }
        for number in next..next + 3 {
            let message = within("an echo", socket.next()).await.expect("it goes on").unwrap();
            assert_eq!(message.into_text().unwrap().as_str(), number.to_string());
        }
        next += 3;
        said.fetch_add(3, Ordering::Relaxed);
        // Many sessions on one thread: each leaves the others, and the reloads, their turn.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
    next
}

/// A new session over TLS, and the certificate that it met.
async fn secure_session(
    gate: &Gate,
    client: &Arc<ClientConfig>,
) -> (WebSocketStream<TlsStream<TcpStream>>, CertificateDer<'static>) {
    let tcp = TcpStream::connect(gate.gateway().addresses[1]).await.unwrap();
    let tls = secure::connect(tcp, client, "chat.example.com").await;
    let met = tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let opening = tokio_tungstenite::client_async("ws://chat.example.com/ws", tls);
    (within("a session", opening).await.unwrap().0, met)
}

#[tokio::test]
async fn through_a_hundred_reloads_no_message_is_lost_doubled_or_reordered_and_no_client_refused() {
    const SESSIONS: usize = 500;
    const RELOADS: usize = 100;
    let (echo, authority) = (Echo::new().await, Authority::new());
    let setup = Setup::new();
    let folder = setup.folder.path().to_owned();
    let tls = "tls = { certificate = \"chat.pem\", key = \"chat.key\" }";
    authority.sign("chat.example.com").write(&folder, "chat");
    let gate = setup.listen().listener(tls).route("/ws", &echo.url(), "").start();
    let (done, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..SESSIONS {
        clients.spawn(count_up(gate.tungstenite("/ws").await, done.clone(), said.clone()));
    }
    let client = Arc::new(authority.client(&[&TLS13]));
    let mut met = Vec::new();
    for number in 0..RELOADS {
        // A certificate takes the place of the one before, a route comes, one goes, and the terms of the sessions' own change.
        if number % 10 == 0 {
            authority.sign("chat.example.com").write(&folder, "chat");
        }
        let comes = |text: String| {
            let text = with_route(&text, &format!("extra{number}"), &format!("/extra{number}"), &echo.url(), "");
            text.replacen("upstream = ", &format!("max_message_size = \"{}k\"\nupstream = ", 2 + number), 1)
        };
        let first = number == 0;
        let original = String::from_utf8(std::fs::read(gate.folder.path().join("test.toml")).unwrap()).unwrap();
        let kept = std::cell::RefCell::new(original);
        gate.reloaded(comes).await;
        let (socket, certificate) = secure_session(&gate, &client).await;
        clients.spawn(count_up(socket, done.clone(), said.clone()));
        met.push(certificate);
        gate.rewrite(|_| kept.take());
        assert!(first || gate.count("wsgate_config_reloads_total{result=\"ok\"}") > 1.0);
    }
    done.store(true, Ordering::Relaxed);
    met.dedup();
    assert_eq!(met.len(), RELOADS / 10, "each certificate is met until the next one");
    let mut total = 0;
    while let Some(sent) = clients.join_next().await {
        total += sent.unwrap();
    }
    let passed = |direction| gate.count(&format!("wsgate_messages_total{{route=\"ws\",direction=\"{direction}\"}}"));
    assert_eq!((total as f64, total as f64), (passed("to_upstream"), passed("to_client")));
    assert!(total >= 3 * (SESSIONS + RELOADS) as u64 && total == said.load(Ordering::Relaxed));
    assert_eq!(gate.count("wsgate_config_reloads_total{result=\"ok\"}"), RELOADS as f64);
    let admitted = gate.count("wsgate_handshakes_total{route=\"ws\",result=\"admitted\"}");
    assert_eq!(admitted, (SESSIONS + RELOADS) as f64);
    gate.rests().await;
    gate.leave().await;
}

#[tokio::test]
async fn a_handshake_under_way_is_judged_by_the_config_that_it_began_with() {
    let backend = Backend::new().await;
    let gate = Gate::new(&backend.url(), "");
    let mut client = gate.client().await;
    let bytes = ask().bytes();
    let (head, tail) = bytes.split_at(20);
    client.send(head).await;
    crate::harness::until("it to be accepted", || gate.shared().handshakes_under_way() == 1).await;
    let old = Arc::downgrade(&gate.shared().edition());
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/new\"")).await;
    assert!(old.upgrade().is_some(), "a handshake holds it");
    client.send(tail).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    crate::harness::until("the old config to be freed", || old.upgrade().is_none()).await;
    // The session goes on without it.
    client.say(&Frame::text("on")).await;
    assert_eq!(upstream.frame().await, Frame::text("on"));
    assert_eq!(gate.refusal(&ask()).await.status(), 404);
    drop((client, upstream));
    gate.leave().await;
}

#[tokio::test]
async fn routes_come_go_and_change_their_names_and_counts_go_on_by_name() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().route("/ws", &backend.url(), "").route("/other", &backend.url(), "").start();
    let admitted =
        |gate: &Gate, route| gate.count(&format!("wsgate_handshakes_total{{route=\"{route}\",result=\"admitted\"}}"));
    let (mut client, mut upstream) = gate.session(&backend).await;
    // `ws` goes, `third` comes, and `other` is first.
    gate.reloaded(|text| {
        let text = text.replace("name = \"ws\"\npath = \"/ws\"", "name = \"third\"\npath = \"/third\"");
        assert!(text.contains("third"));
        text
    })
    .await;
    assert_eq!(gate.refusal(&ask()).await.status(), 404);
    gate.refused("no_route").await;
    client.say(&Frame::text("a")).await;
    assert_eq!(upstream.frame().await, Frame::text("a"));
    let third = gate.session_of(&backend, &Ask::to("/third")).await;
    let other = gate.session_of(&backend, &Ask::to("/other")).await;
    assert_eq!(["ws", "third", "other"].map(|route| admitted(&gate, route)), [1.0, 1.0, 1.0]);
    assert_eq!(gate.count("wsgate_sessions_active{route=\"ws\"}"), 1.0);
    assert_eq!(gate.count("wsgate_messages_total{route=\"ws\",direction=\"to_upstream\"}"), 1.0);
    client.reset();
    assert_eq!(gate.ended("client", "client_lost").await["route"], "ws");
    // It comes back, and its counts go on.
    gate.reloaded(|text| with_route(&text, "ws", "/ws", &backend.url(), "")).await;
    let again = gate.session(&backend).await;
    assert_eq!(["ws", "third", "other"].map(|route| admitted(&gate, route)), [2.0, 1.0, 1.0]);
    assert_eq!(gate.count("wsgate_sessions_ended_total{route=\"ws\",side=\"client\",reason=\"client_lost\"}"), 1.0);
    drop((third, other, again));
    gate.leave().await;
}
