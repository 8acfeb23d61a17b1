//! A server that an operator takes out and lets in again.

use std::time::Duration;

use serde_json::{Value, json};

use super::{end, gate, of_server, quoted, up};
use crate::harness::{Backend, Frame, Gate, until};

fn path(backend: &Backend, act: &str) -> String {
    format!("/upstreams/chat/{}/{act}", backend.address())
}

async fn asked(gate: &Gate, path: &str) -> Value {
    let answer = gate.operate("POST", path, "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_drained_server_s_sessions_are_told_1012_and_the_others_are_untouched() {
    let (out, stays) = (Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&out, &stays]), "", "");
    let (mut client, mut upstream) = gate.session(&out).await;
    let (mut other, mut its_upstream) = gate.session(&stays).await;
    let said = asked(&gate, &path(&out, "drain?window=0s")).await;
    let server = out.address().to_string();
    let expected = json!({ "upstream": "chat", "server": server, "drained": true, "changed": true, "sessions": 1 });
    assert_eq!(said, expected);
    for side in [&mut client, &mut upstream] {
        let close = side.frame().await;
        assert_eq!(close.as_close(), (1012, "upstream_drained"));
        side.say(&close).await;
    }
    let line = gate.ended("gateway", "upstream_drained").await;
    assert_eq!(line["upstream"], json!(server));
    other.say(&Frame::text("still here")).await;
    assert_eq!(its_upstream.frame().await.payload, b"still here");
    assert!(!up(&gate, &server));
    for _ in 0..3 {
        let (client, upstream) = gate.session(&stays).await;
        end(&mut gate, client, upstream).await;
    }
    assert_eq!(asked(&gate, &path(&out, "drain")).await["changed"], json!(false));
    let page = gate.page("/upstreams").await;
    let page: Value = serde_json::from_str(&page.body).unwrap();
    assert_eq!(page["upstreams"][0]["servers"][0], json!({ "server": server, "state": "drained", "sessions": 0 }));
    assert_eq!(asked(&gate, &path(&out, "undrain")).await["changed"], json!(true));
    until("it is in again", || up(&gate, &server)).await;
    let (client, upstream) = gate.session(&out).await;
    end(&mut gate, client, upstream).await;
    end(&mut gate, other, its_upstream).await;
    gate.finish().await;
}

#[tokio::test]
async fn the_sessions_of_a_drained_server_are_told_one_after_the_other_until_it_is_let_in_again() {
    let backend = Backend::new().await;
    let mut gate = gate(&quoted(&[&backend]), "", "idle_timeout = \"7d\"");
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(gate.session(&backend).await);
    }
    asked(&gate, &path(&backend, "drain?window=1d")).await;
    // One of them at once; which, is not said.
    let closed = |gate: &Gate| {
        gate.count("wsgate_sessions_ended_total{route=\"ws\",side=\"gateway\",reason=\"upstream_drained\"}")
    };
    let told = |gate: &Gate| gate.shared().books.sessions.all().iter().filter(|live| live.ordered().is_some()).count();
    until("the first is told", || told(&gate) as f64 + closed(&gate) == 1.0).await;
    // Nobody is left to take a handshake.
    assert_eq!(gate.refusal(&crate::harness::Ask::to("/ws")).await.status(), 503);
    let line = gate.lines.next().await;
    assert_eq!((&line["reason"], &line["why"]), (&json!("upstream_full"), &json!("every server is drained")));
    asked(&gate, &path(&backend, "undrain")).await;
    let (client, upstream) = gate.session(&backend).await;
    // The moments of the others come, and whoever would tell them looks several times.
    gate.clock.advance(Duration::from_secs(86_400));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let untold = gate.shared().books.sessions.all().iter().filter(|live| live.ordered().is_none()).count();
    assert_eq!(untold, 3, "two of before, and the new one");
    drop((sessions, client, upstream));
    until("all are gone", || of_server(&gate, "sessions", backend.address(), "") == 0.0).await;
    for _ in 0..4 {
        assert_eq!(gate.lines.next().await["event"], json!("session_ended"));
    }
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_server_and_what_is_no_question_is_said_to_be() {
    let backend = Backend::new().await;
    let gate = gate(&quoted(&[&backend]), "", "");
    let server = backend.address();
    for (method, path, status) in [
        ("POST", "/upstreams/chat/10.0.0.1:1/drain".to_owned(), 404),
        ("POST", format!("/upstreams/none/{server}/drain"), 404),
        ("POST", format!("/upstreams/chat/{server}/stop"), 404),
        ("POST", format!("/upstreams/chat/{server}/drain?window=soon"), 400),
        ("GET", format!("/upstreams/chat/{server}/drain"), 405),
        ("POST", "/upstreams".to_owned(), 405),
    ] {
        assert_eq!(gate.operate(method, &path, "").await.status(), status, "{method} {path}");
    }
    assert!(up(&gate, server));
    gate.finish().await;
}
