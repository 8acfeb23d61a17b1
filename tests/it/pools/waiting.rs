//! What may end, or begin, while somebody waits for a server that is full.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::end;
use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Gate, Peer, Setup, until};

const TERMS: &str = "jwt = \"main\"\nhttp = \"forward\"\nread_timeout = \"1m\"\nidle_timeout = \"1d\"";

/// One server that has one place, which is taken; `/ws` takes handshakes and requests, and signs what goes up.
async fn full(backend: &Backend) -> (Gate, (Peer, Peer)) {
    let server = format!("{{ address = \"{}\", max_connections = 1 }}", backend.address());
    let section = format!("[upstream.chat]\nservers = [{server}]\nqueue = 9\nqueue_timeout = \"1d\"");
    let assertion = "[assertion.up]\nalgorithm = \"ES256\"\nprivate_key = \"file:key.pem\"\nlifetime = \"5s\"\n";
    let setup = Setup::new().jwt(assertion).admin(&section);
    let key = std::fs::read(format!("{}/tests/keys/es256.pem", env!("CARGO_MANIFEST_DIR"))).unwrap();
    std::fs::write(setup.folder.path().join("key.pem"), key).unwrap();
    let gate = setup.route("/ws", "chat", &format!("{TERMS}\nassertion = \"up\"")).start();
    let holder = gate.session_of(backend, &Ask::to("/ws").bearer(&gate.token("bob", 86_400))).await;
    (gate, holder)
}

async fn waits(gate: &Gate, count: usize) {
    until("they wait", || gate.count("wsgate_upstream_queue{upstream=\"chat\"}") == count as f64).await;
}

/// An ordinary request of whom this token is.
async fn requesting(gate: &Gate, token: &str) -> Peer {
    let mut client = gate.client().await;
    client.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")).await;
    client
}

fn signed(head: &Head) -> Value {
    let claims = head.one("x-auth-assertion").unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn who_is_revoked_or_expires_meanwhile_goes_no_further() {
    for (seconds, reason) in [(86_400, "token_revoked"), (600, "token_expired")] {
        let backend = Backend::new().await;
        let (mut gate, (holder, upstream)) = full(&backend).await;
        let token = gate.token("alice", seconds);
        let mut handshake = gate.asking(&Ask::to("/ws").bearer(&token)).await;
        let mut request = requesting(&gate, &token).await;
        waits(&gate, 2).await;
        if reason == "token_revoked" {
            gate.revoke(&json!({ "subject": "alice" })).await;
        } else {
            gate.clock.advance(Duration::from_secs(3600));
        }
        end(&mut gate, holder, upstream).await;
        for client in [&mut handshake, &mut request] {
            let head = client.head().await;
            assert_eq!((head.status(), head.body.starts_with(reason)), (403, true), "{head:?}");
        }
        for _ in 0..2 {
            assert_eq!(gate.lines.next().await["reason"], json!(reason));
        }
        backend.saw_nobody();
        let lost = "wsgate_upstream_server_handshakes_total{upstream=\"chat\",server=\"";
        let lost = format!("{lost}{}\",result=\"client_lost\"}}", backend.address());
        assert_eq!(gate.count(&lost), 0.0, "nothing was sent there");
        gate.finish().await;
    }
}

#[tokio::test]
async fn what_is_signed_and_what_a_server_may_take_begin_when_the_wait_is_over() {
    let backend = Backend::new().await;
    let (mut gate, (holder, upstream)) = full(&backend).await;
    let mut client = requesting(&gate, &gate.token("alice", 86_400)).await;
    waits(&gate, 1).await;
    // Longer than the assertion lives, and longer than read_timeout.
    gate.clock.advance(Duration::from_secs(600));
    let now = gate.clock.now().wall / 1000;
    end(&mut gate, holder, upstream).await;
    let mut upstream = backend.accept().await;
    let head = upstream.head().await;
    assert!(signed(&head)["iat"].as_u64().unwrap() >= now, "{head:?}");
    upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(gate.lines.next().await["status"], json!(200));
    drop(client);
    gate.finish().await;
}

#[tokio::test]
async fn who_waits_when_the_last_server_is_drained_is_told_so_at_once() {
    let backend = Backend::new().await;
    let (mut gate, holder) = full(&backend).await;
    let token = gate.token("alice", 86_400);
    let mut waiting = gate.asking(&Ask::to("/ws").bearer(&token)).await;
    waits(&gate, 1).await;
    let path = format!("/upstreams/chat/{}/drain?window=1d", backend.address());
    assert_eq!(gate.operate("POST", &path, "").await.status(), 200);
    assert_eq!(waiting.head().await.status(), 503);
    assert_eq!(gate.refused("upstream_full").await["why"], json!("every server is drained"));
    assert_eq!(gate.refusal(&Ask::to("/ws").bearer(&token)).await.status(), 503);
    assert_eq!(gate.refused("upstream_full").await["why"], json!("every server is drained"));
    drop(holder);
    gate.leave().await;
}
