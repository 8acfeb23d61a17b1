//! Handshakes that wait for keys.

use super::*;
use crate::harness::Echo;

const UNKNOWN: &str = "wsgate_jwks_unknown_kids_total{jwt=\"remote\"}";

#[tokio::test]
async fn until_the_first_set_is_there_a_handshake_waits_a_second_and_is_told_to_come_again() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let server = KeyServer::new(Says::Later(set(&[&key]))).await;
    let mut gate = setup(&backend, &jwks(&server)).start();
    let ready = gate.page("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.body.contains("jwt.remote") && ready.body.contains("never fetched"), "{ready:?}");
    until("the first fetch", || server.asked("/jwks.json") == 1).await;
    // One that names no key gets its answer at once, the other waits in vain.
    let (token, nameless) = (key.sign(&claims(&gate)), key.sign_as(None, &claims(&gate)));
    refused(&mut gate, &nameless, "keys_unavailable").await;
    let line = refused(&mut gate, &token, "keys_unavailable").await;
    assert!(line["duration_ms"].as_u64().unwrap() >= 1000, "{line}");

    let mut client = gate.asking(&ask(&token)).await;
    until("the handshake to wait", || gate.shared().handshakes_under_way() == 1).await;
    server.release();
    let mut upstream = backend.accept().await;
    upstream.head().await;
    upstream.reset();
    assert_eq!(client.head().await.status(), 502, "it was let in as far as to the upstream");
    gate.refused("upstream_refused").await;
    assert_eq!(gate.page("/readyz").await.status(), 200);
    assert_eq!((server.asked("/jwks.json"), gate.count(UNKNOWN)), (1, 0.0));
    gate.finish().await;
}

#[tokio::test]
async fn forty_handshakes_at_once_share_one_fetch_and_all_are_let_in() {
    let (echo, backend) = (Echo::new().await, Backend::new().await);
    let (old, new) = (Key::new("old"), Key::new("new"));
    let server = KeyServer::new(Says::Bytes(set(&[&old]))).await;
    let mut gate = setup(&backend, &jwks(&server)).route("/echo", &echo.url(), "jwt = \"remote\"").start();
    fetched(&gate, 1).await;
    server.says("/jwks.json", Says::Later(set(&[&old, &new])));
    let ask = Ask::to("/echo").bearer(&new.sign(&claims(&gate)));
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(gate.client().await);
    }
    // All of it in less than the second that each of them waits.
    for client in &mut clients {
        client.ask(&ask).await;
    }
    until("all to have asked", || gate.count(UNKNOWN) == 40.0).await;
    server.release();
    for client in &mut clients {
        assert_eq!(client.head().await.status(), 101);
    }
    assert_eq!(server.asked("/jwks.json"), 2);
    until("the sessions to begin", || gate.sessions() == 40).await;
    for client in clients {
        client.reset();
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_rate_is_charged_once_for_a_handshake_that_is_judged_twice() {
    let backend = Backend::new().await;
    let (old, new) = (Key::new("old"), Key::new("new"));
    let server = KeyServer::new(Says::Bytes(set(&[&old]))).await;
    let limit = "jwt = \"remote\"\nhandshakes = { rate = \"1/hour\", burst = 1, nodelay = true }";
    let setup = Setup::new().jwt(&format!("[jwt.remote]\nalgorithms = [\"ES256\"]\n{}", jwks(&server)));
    let mut gate = setup.route("/ws", &backend.url(), limit).start();
    fetched(&gate, 1).await;
    server.publishes(&[&new]);
    let token = new.sign(&claims(&gate));
    opens(&mut gate, &backend, &token).await;
    assert_eq!(server.asked("/jwks.json"), 2);
    opens(&mut gate, &backend, &token).await;
    assert_eq!(gate.refusal(&ask(&token)).await.status(), 429);
    gate.refused("handshake_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_quarter_of_the_places_waits_and_the_others_are_told_at_once() {
    let backend = Backend::new().await;
    let (old, new) = (Key::new("old"), Key::new("new"));
    let server = KeyServer::new(Says::Bytes(set(&[&old]))).await;
    let mut gate = setup(&backend, &jwks(&server)).server("handshakes_in_flight = 4").start();
    fetched(&gate, 1).await;
    server.says("/jwks.json", Says::Later(set(&[&new])));
    let token = new.sign(&claims(&gate));
    let mut waiting = gate.asking(&ask(&token)).await;
    until("the first to wait", || gate.count(UNKNOWN) == 1.0 && server.asked("/jwks.json") == 2).await;
    refused(&mut gate, &token, "token_invalid").await;
    server.release();
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(waiting.head().await.status(), 101);
    until("the session to begin", || gate.sessions() == 1).await;
    waiting.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_key_server() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let server = KeyServer::new(Says::Later(set(&[&key]))).await;
    let mut gate = setup(&backend, &jwks(&server)).start();
    let token = key.sign(&claims(&gate));
    until("the first fetch", || server.asked("/jwks.json") == 1).await;
    let mut waiting = gate.asking(&ask(&token)).await;
    until("the handshake to wait", || gate.shared().handshakes_under_way() == 1).await;
    gate.gateway().drain();
    let answer = waiting.head().await;
    assert!(answer.status() == 503 && answer.body.starts_with("draining: "), "{answer:?}");
    gate.refused("draining").await;
    gate.drain().await;
}
