//! The gateway's own end, and what is said of every other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use wsgate::session::live::Live;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until, within};

async fn answer_closes(peers: &mut (Peer, Peer)) {
    for peer in [&mut peers.0, &mut peers.1] {
        assert_eq!(peer.frame().await.as_close(), (1012, "draining"));
        peer.say(&Frame::close(1012, "")).await;
        peer.ended().await;
    }
}

/// Whom the gateway has told to go, by their place in the list.
fn told(open: &[(Arc<Live>, (Peer, Peer))]) -> Vec<usize> {
    open.iter().enumerate().filter(|(_, (live, _))| live.ordered().is_some()).map(|(at, _)| at).collect()
}

/// Waits until so many are told to go, and sees them off.
async fn go(gate: &mut Gate, open: &mut Vec<(Arc<Live>, (Peer, Peer))>, enough: impl Fn(usize) -> bool) {
    until("the next ones to be told", || enough(told(open).len())).await;
    for next in told(open).into_iter().rev() {
        let (_, mut peers) = open.remove(next);
        answer_closes(&mut peers).await;
        gate.ended("gateway", "draining").await;
    }
}

async fn nobody_is_accepted(gate: &Gate) {
    let address = gate.address();
    let refused = async {
        // The listeners close as their threads notice; from then on the kernel itself says no.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    within("new clients to be refused", refused).await;
}

async fn open_some(gate: &Gate, backend: &Backend, count: usize) -> Vec<(Arc<Live>, (Peer, Peer))> {
    let mut open: Vec<(Arc<Live>, (Peer, Peer))> = Vec::new();
    for _ in 0..count {
        let peers = gate.session(backend).await;
        let lives = gate.shared().books.sessions.all();
        let new = lives.into_iter().find(|live| open.iter().all(|(known, _)| known.id != live.id)).unwrap();
        open.push((new, peers));
    }
    open
}

#[tokio::test]
async fn a_drain_closes_the_sessions_one_after_the_other_and_lets_nobody_in() {
    let backend = Backend::new().await;
    let terms = "idle_timeout = \"1d\"";
    let mut gate = Setup::new().server("drain_timeout = \"1h\"").route("/ws", &backend.url(), terms).start();
    assert_eq!(gate.page("/readyz").await.status(), 200);
    let mut open = open_some(&gate, &backend, 4).await;
    gate.gateway().drain();
    nobody_is_accepted(&gate).await;
    let page = gate.page("/readyz").await;
    assert_eq!((page.status(), page.body.as_str()), (503, "draining"));
    assert_eq!(gate.page("/healthz").await.status(), 200);

    // The first at once, the next in the second quarter of the hour: the gateway's clock stands still for all that this
    // test can tell. After half of it one is left at the least, whose quarter is the last.
    until("the first to be told", || !told(&open).is_empty()).await;
    go(&mut gate, &mut open, |told| told == 1).await;
    assert!(told(&open).is_empty(), "one at a time");
    gate.clock.advance(Duration::from_secs(1801));
    go(&mut gate, &mut open, |told| told > 0).await;
    assert!(!open.is_empty());
    gate.clock.advance(Duration::from_secs(1801));
    let left = open.len();
    go(&mut gate, &mut open, |told| told == left).await;
    gate.drain().await;
}

#[tokio::test]
async fn clients_are_let_in_for_drain_delay_while_readyz_says_no() {
    let backend = Backend::new().await;
    let mut gate =
        Setup::new().server("drain_delay = \"1h\"").route("/ws", &backend.url(), "idle_timeout = \"1d\"").start();
    let mut before = open_some(&gate, &backend, 1).await;
    gate.gateway().drain();
    let page = gate.page("/readyz").await;
    assert_eq!((page.status(), page.body.as_str()), (503, "draining"));
    let mut meanwhile = gate.session(&backend).await;
    assert!(told(&before).is_empty(), "nobody is told to go");
    gate.clock.advance(Duration::from_secs(3601));
    answer_closes(&mut before[0].1).await;
    answer_closes(&mut meanwhile).await;
    gate.ended("gateway", "draining").await;
    gate.ended("gateway", "draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn the_operator_drains_it_over_a_window_of_his_own_and_sees_how_far_it_is() {
    let backend = Backend::new().await;
    let terms = "close_timeout = \"5s\"\nidle_timeout = \"1d\"";
    let mut gate = Setup::new().server("drain_timeout = \"1d\"").route("/ws", &backend.url(), terms).start();
    let mut open = open_some(&gate, &backend, 2).await;
    for wrong in ["/drain?window=soon", "/drain?window=8d", "/drain?in=5s", "/drain?window=1s&window=2s"] {
        assert_eq!(gate.operate("POST", wrong, "").await.status(), 400, "{wrong}");
    }
    assert_eq!(gate.operate("GET", "/drain", "").await.status(), 405);
    assert_eq!(gate.page("/readyz").await.status(), 200);
    // Who asks again, or by a signal, changes nothing.
    for again in ["/drain?window=10m", "/drain?window=1s", "/drain"] {
        let answer = gate.operate("POST", again, "").await;
        assert_eq!(answer.status(), 202, "{answer:?}");
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let deadline = answer["deadline_seconds"].as_u64().unwrap();
        assert!((500..=606).contains(&deadline), "{answer}");
        gate.gateway().drain();
    }
    until("the first to be told", || told(&open).len() == 1).await;
    let (_, mut peers) = open.remove(told(&open)[0]);
    answer_closes(&mut peers).await;
    gate.ended("gateway", "draining").await;
    // Its line is written a moment before it is gone.
    until("one to be left", || gate.sessions() == 1).await;
    let status: Value = serde_json::from_str(&gate.page("/status").await.body).unwrap();
    assert_eq!((&status["phase"], &status["drain"]["left"]), (&json!("draining"), &json!(1)), "{status}");
    assert!(told(&open).is_empty(), "the other one has the second half of the window");
    gate.clock.advance(Duration::from_secs(601));
    answer_closes(&mut open[0].1).await;
    gate.ended("gateway", "draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_cut_when_the_drain_is_over() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "close_timeout = \"100ms\"");
    let (mut client, mut upstream) = gate.session(&backend).await;
    gate.gateway().drain();
    client.frame().await;
    upstream.frame().await;
    client.ended().await;
    upstream.ended().await;
    gate.ended("gateway", "draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn a_second_stop_cuts_at_once() {
    let backend = Backend::new().await;
    let terms = "close_timeout = \"1h\"";
    let mut gate = Setup::new().server("drain_timeout = \"1h\"").route("/ws", &backend.url(), terms).start();
    let (mut client, mut upstream) = gate.session(&backend).await;
    let (mut second, mut other) = gate.session(&backend).await;
    gate.gateway().drain();
    gate.gateway().stop();
    for peer in [&mut client, &mut upstream, &mut second, &mut other] {
        // A Close, if it was sent, and then the end.
        peer.rest().await;
    }
    gate.ended("gateway", "draining").await;
    gate.ended("gateway", "draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn a_handshake_that_a_stop_cuts_is_the_gateway_s_doing_and_not_the_client_s() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "response_timeout = \"1h\"");
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    gate.gateway().drain();
    gate.gateway().stop();
    client.rest().await;
    assert_eq!(gate.refused("draining").await.get("status"), None, "nobody was answered");
    gate.drain().await;
}

#[tokio::test]
async fn a_handshake_under_way_when_the_drain_begins_gets_its_answer_and_then_its_close() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    gate.gateway().drain();
    until("the drain to begin", || gate.shared().is_draining()).await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    answer_closes(&mut (client, upstream)).await;
    gate.ended("gateway", "draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn a_head_that_comes_after_the_drain_began_gets_503() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut client = gate.client().await;
    client.send("GET /ws HTTP/1.1\r\n").await;
    until("the handshake to be under way", || gate.shared().handshakes_under_way() == 1).await;
    gate.gateway().drain();
    client.send(&Ask::to("/ws").bytes()["GET /ws HTTP/1.1\r\n".len()..]).await;
    let told = client.head().await;
    assert_eq!((told.status(), told.one("retry-after")), (503, Some("1")));
    assert!(told.body.starts_with("draining: "), "{told:?}");
    client.ended().await;
    gate.refused("draining").await;
    gate.drain().await;
}

#[tokio::test]
async fn the_line_of_an_end_says_all_that_is_known_of_it() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"");
    let token = gate.token("alice", 60);
    let (mut client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&token)).await;
    client.say(&Frame::text("12345")).await;
    upstream.frame().await;
    upstream.say(&Frame::text("1")).await;
    upstream.say(&Frame::text("2")).await;
    client.frame().await;
    client.frame().await;
    gate.advance(Duration::from_secs(7));
    client.say(&Frame::close(1000, "")).await;
    upstream.frame().await;
    upstream.say(&Frame::close(1000, "")).await;
    client.frame().await;
    let line = gate.ended("client", "closed").await;
    let duration = line["duration_ms"].as_u64().unwrap();
    assert!((7000..8000).contains(&duration), "{line}");
    for (key, value) in [
        ("listener", json!(gate.address().to_string())),
        ("route", json!("ws")),
        ("client", json!("127.0.0.1")),
        ("subject", json!("alice")),
        ("close_code", json!(1000)),
        ("messages_to_upstream", json!(1)),
        ("messages_to_client", json!(2)),
        // 6 bytes of header and mask, 5 of text; and a Close of 8. Towards the client no masks.
        ("bytes_to_upstream", json!(11 + 8)),
        ("bytes_to_client", json!(3 + 3 + 4)),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    for (direction, messages) in [("to_upstream", 1.0), ("to_client", 2.0)] {
        let labels = format!("{{route=\"ws\",direction=\"{direction}\"}}");
        assert_eq!(gate.count(&format!("wsgate_messages_total{labels}")), messages);
        assert_eq!(gate.count(&format!("wsgate_session_messages_sum{labels}")), messages);
    }
    gate.finish().await;
}

/// Neither the token nor a part of it, wherever it was carried and whatever became of it.
#[tokio::test]
async fn a_token_is_in_no_line_and_on_no_page() {
    let backend = Backend::new().await;
    let from =
        "token_from = [\"header\", \"cookie:t\", \"query:t\", \"subprotocol\"]\norigins = \"any\"\njwt = \"main\"";
    let mut gate = Gate::new(&backend.url(), from);
    let good = gate.token("alice", 60);
    let expired = gate.sign(&json!({ "sub": "alice", "exp": 1 }));
    for token in [&good, &expired] {
        for ask in [
            Ask::to("/ws").bearer(token),
            Ask::to("/ws").with("Cookie", &format!("t={token}")),
            Ask::to(&format!("/ws?t={token}")),
            Ask::to("/ws").with("Sec-WebSocket-Protocol", &format!("bearer.{token}")),
        ] {
            if token == &expired {
                let told = gate.refusal(&ask).await;
                assert!(!format!("{told:?}").contains(token.as_str()));
                gate.refused("token_expired").await;
                continue;
            }
            let (client, mut upstream) = gate.session_of(&backend, &ask).await;
            for page in ["/metrics", "/connections"] {
                leaks_nothing(&gate.page(page).await.body, token);
            }
            client.reset();
            upstream.ended().await;
            gate.ended("client", "client_lost").await;
        }
        // Where there is no route, and where it is malformed, nobody looks for a token; it still stays secret.
        gate.refusal(&Ask::to(&format!("/elsewhere?t={token}"))).await;
        gate.refused("no_route").await;
        gate.refusal(&Ask::to(&format!("/ws?t={token}")).without("Sec-WebSocket-Key")).await;
        gate.refused("bad_handshake").await;
        leaks_nothing(&gate.lines.all(), token);
        leaks_nothing(&gate.page("/metrics").await.body, token);
    }
    gate.finish().await;
}

fn leaks_nothing(text: &str, token: &str) {
    for part in token.split('.').skip(1) {
        assert!(!text.contains(&part[..16]), "{part} in {text}");
    }
}
