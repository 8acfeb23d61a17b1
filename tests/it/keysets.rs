//! Keys that an issuer publishes, on a gateway that runs: rotated, late, wrong, gone and back.

mod lies;
mod waiting;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::keyserver::{Key, KeyServer, Says, body, ok, set};
use crate::harness::secure::Authority;
use crate::harness::{Ask, Backend, Gate, Setup, until};

const REFRESH: Duration = Duration::from_secs(301);
const COOLDOWN: Duration = Duration::from_secs(31);

/// A gateway whose `/ws` takes tokens of `[jwt.remote]`, and its keys from there.
fn setup(backend: &Backend, from: &str) -> Setup {
    Setup::new().jwt(&format!("[jwt.remote]\nalgorithms = [\"ES256\"]\n{from}")).route(
        "/ws",
        &backend.url(),
        "jwt = \"remote\"",
    )
}

/// The same, once the first set is there.
async fn running(backend: &Backend, server: &KeyServer) -> Gate {
    let gate = setup(backend, &jwks(server)).start();
    fetched(&gate, 1).await;
    gate
}

fn jwks(server: &KeyServer) -> String {
    format!("jwks = \"{}\"", server.url())
}

/// Claims that hold on this gateway for an hour.
fn claims(gate: &Gate) -> Value {
    json!({ "sub": "alice", "exp": gate.clock.now().wall / 1000 + 3600 })
}

fn ask(token: &str) -> Ask {
    Ask::to("/ws").bearer(token)
}

fn refreshes(gate: &Gate, result: &str) -> f64 {
    gate.count(&format!("wsgate_jwks_refreshes_total{{jwt=\"remote\",result=\"{result}\"}}"))
}

/// Waits until so many fetches went well.
async fn fetched(gate: &Gate, times: usize) {
    until("a key set to be fetched", || refreshes(gate, "ok") >= times as f64).await;
    assert_eq!(refreshes(gate, "ok"), times as f64);
}

/// Waits until so many fetches failed.
async fn failed(gate: &Gate, times: usize) {
    until("a fetch to fail", || refreshes(gate, "failed") >= times as f64).await;
    assert_eq!(refreshes(gate, "failed"), times as f64);
}

/// A token of this key opens a session.
async fn opens(gate: &mut Gate, backend: &Backend, token: &str) {
    let (client, _upstream) = gate.session_of(backend, &ask(token)).await;
    client.reset();
    gate.ended("client", "client_lost").await;
}

/// A token is refused for this reason.
async fn refused(gate: &mut Gate, token: &str, reason: &str) -> Value {
    let refusal = gate.refusal(&ask(token)).await;
    assert!(refusal.body.starts_with(&format!("{reason}: ")), "{refusal:?}");
    assert_eq!(refusal.status(), if reason == "keys_unavailable" { 503 } else { 403 });
    assert_eq!(refusal.one("retry-after").is_some(), reason == "keys_unavailable", "{refusal:?}");
    gate.refused(reason).await
}

#[tokio::test]
async fn a_published_key_opens_sessions_and_one_that_was_taken_away_does_not() {
    let (backend, old, new) = (Backend::new().await, Key::new("old"), Key::new("new"));
    let server = KeyServer::new(Says::Bytes(set(&[&old]))).await;
    let mut gate = running(&backend, &server).await;
    let (of_old, of_new) = (old.sign(&claims(&gate)), new.sign(&claims(&gate)));
    opens(&mut gate, &backend, &of_old).await;
    assert_eq!(gate.count("wsgate_jwks_keys{jwt=\"remote\"}"), 1.0);

    server.publishes(&[&old, &new]);
    // Its kid is not known: it has the set fetched, and waits for that.
    opens(&mut gate, &backend, &of_new).await;
    assert_eq!((refreshes(&gate, "ok"), gate.count("wsgate_jwks_unknown_kids_total{jwt=\"remote\"}")), (2.0, 1.0));

    server.publishes(&[&new]);
    opens(&mut gate, &backend, &of_old).await;
    gate.advance(REFRESH);
    fetched(&gate, 3).await;
    let (of_old, of_new) = (old.sign(&claims(&gate)), new.sign(&claims(&gate)));
    assert_eq!(refused(&mut gate, &of_old, "token_invalid").await["why"], json!("no key has its kid"));
    opens(&mut gate, &backend, &of_new).await;
    for head in server.heads() {
        assert!(!head.to_ascii_lowercase().contains("authorization") && !head.contains(&of_new), "{head}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn two_issuers_may_have_keys_of_one_kid() {
    let backend = Backend::new().await;
    let (ours, theirs) = (Key::new("1"), Key::new("1"));
    let one = KeyServer::new(Says::Bytes(set(&[&ours]))).await;
    let other = KeyServer::new(Says::Bytes(set(&[&theirs]))).await;
    let blocks = format!("{}\n[jwt.other]\nalgorithms = [\"ES256\"]\n{}", jwks(&one), jwks(&other));
    let mut gate = setup(&backend, &blocks).route("/other", &backend.url(), "jwt = \"other\"").start();
    until("both", || gate.shared().edition().keysets.missing(&gate.clock).is_empty()).await;
    let (of_ours, of_theirs) = (ours.sign(&claims(&gate)), theirs.sign(&claims(&gate)));
    opens(&mut gate, &backend, &of_ours).await;
    let why = json!("its signature does not hold");
    assert_eq!(refused(&mut gate, &of_theirs, "token_invalid").await["why"], why);
    let refusal = gate.refusal(&Ask::to("/other").bearer(&of_ours)).await;
    assert_eq!((refusal.status(), &gate.refused("token_invalid").await["why"]), (403, &why));
    // A known kid is never worth a fetch.
    assert_eq!((one.asked("/jwks.json"), other.asked("/jwks.json")), (1, 1));
    gate.finish().await;
}

/// What a stranger makes up, who has no key at all.
fn forged(kid: &str) -> String {
    let part = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{}", part(json!({ "alg": "ES256", "kid": kid })), part(json!({ "sub": "mallory" })), "A".repeat(86))
}

#[tokio::test]
async fn ten_thousand_random_kids_cause_one_fetch_a_cooldown() {
    let (backend, known) = (Backend::new().await, Key::new("known"));
    let server = KeyServer::new(Says::Bytes(set(&[&known]))).await;
    let mut gate = running(&backend, &server).await;
    for cooldown in 1..=2 {
        for batch in 0..50 {
            let tokens = (0..100).map(|one| forged(&format!("{cooldown}-{batch}-{one}")));
            let asked = tokens.map(|token| {
                let (gate, ask) = (&gate, ask(&token));
                async move { assert_eq!(gate.refusal(&ask).await.status(), 403) }
            });
            futures_util::future::join_all(asked).await;
        }
        for _ in 0..5000 {
            assert_eq!(gate.refused("token_invalid").await["why"], json!("no key has its kid"));
        }
        assert_eq!(server.asked("/jwks.json"), 1 + cooldown);
        gate.advance(COOLDOWN);
    }
    assert_eq!(gate.count("wsgate_jwks_unknown_kids_total{jwt=\"remote\"}"), 10_000.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_token_without_kid_or_with_a_foreign_algorithm_causes_no_fetch() {
    let (backend, known, stranger) = (Backend::new().await, Key::new("known"), Key::new("stranger"));
    let server = KeyServer::new(Says::Bytes(set(&[&known]))).await;
    let mut gate = running(&backend, &server).await;
    let nameless = stranger.sign_as(None, &claims(&gate));
    refused(&mut gate, &nameless, "token_invalid").await;
    // Of [jwt.main], by HS256.
    let foreign = gate.token("alice", 60);
    refused(&mut gate, &foreign, "token_invalid").await;
    let nameless = known.sign_as(None, &claims(&gate));
    opens(&mut gate, &backend, &nameless).await;
    assert_eq!((server.asked("/jwks.json"), gate.count("wsgate_jwks_unknown_kids_total{jwt=\"remote\"}")), (1, 0.0));
    gate.finish().await;
}

#[tokio::test]
async fn the_last_good_set_outlives_its_server_by_max_stale_and_no_longer() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let server = KeyServer::new(Says::Bytes(set(&[&key]))).await;
    let mut gate = running(&backend, &server).await;
    let address = server.dies().await;
    gate.advance(Duration::from_secs(23 * 3600));
    failed(&gate, 1).await;
    let token = key.sign(&claims(&gate));
    opens(&mut gate, &backend, &token).await;
    assert_eq!(gate.page("/readyz").await.status(), 200);
    assert!(gate.count("wsgate_jwks_age_seconds{jwt=\"remote\"}") >= 23.0 * 3600.0);

    gate.advance(Duration::from_secs(2 * 3600));
    failed(&gate, 2).await;
    let token = key.sign(&claims(&gate));
    // Its first handshake has the set fetched once more, in vain.
    refused(&mut gate, &token, "keys_unavailable").await;
    failed(&gate, 3).await;
    let ready = gate.page("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.body.contains("jwt.remote") && ready.body.contains("older than jwks_max_stale"), "{ready:?}");

    let _back = KeyServer::at(address, Says::Bytes(set(&[&key])), None).await;
    // The longest pause between two tries.
    gate.advance(Duration::from_secs(60));
    fetched(&gate, 2).await;
    opens(&mut gate, &backend, &token).await;
    assert_eq!(gate.page("/readyz").await.status(), 200);
    assert!(gate.count("wsgate_jwks_age_seconds{jwt=\"remote\"}") < 60.0);
    gate.finish().await;
}

#[tokio::test]
async fn the_server_says_by_max_age_when_it_is_asked_again() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let server = KeyServer::new(Says::Bytes(ok("Cache-Control: public, max-age=60\r\n", &body(&[&key])))).await;
    let gate = running(&backend, &server).await;
    gate.advance(Duration::from_secs(61));
    fetched(&gate, 2).await;
    gate.finish().await;
}

#[tokio::test]
async fn keys_come_over_tls_from_a_server_that_jwks_ca_vouches_for_and_from_no_other() {
    let (backend, key, authority) = (Backend::new().await, Key::new("1"), Authority::new());
    let says = Says::Bytes(set(&[&key]));
    let server = KeyServer::with_tls(says.clone(), authority.sign("localhost").acceptor()).await;
    let foreign = KeyServer::with_tls(says, Authority::new().sign("localhost").acceptor()).await;
    let at = |server: &KeyServer| format!("https://localhost:{}/jwks.json", server.address.port());
    let setup = setup(
        &backend,
        &format!(
            "jwks = \"{}\"\njwks_ca = \"ca.pem\"\n[jwt.foreign]\nalgorithms = [\"ES256\"]\njwks = \"{}\"\njwks_ca = \"ca.pem\"",
            at(&server),
            at(&foreign)
        ),
    );
    std::fs::write(setup.folder.path().join("ca.pem"), authority.pem()).unwrap();
    let mut gate = setup.start();
    fetched(&gate, 1).await;
    let token = key.sign(&claims(&gate));
    opens(&mut gate, &backend, &token).await;
    until("the other to fail", || gate.count("wsgate_jwks_refreshes_total{jwt=\"foreign\",result=\"failed\"}") > 0.0)
        .await;
    assert_eq!(foreign.heads(), Vec::<String>::new(), "nothing is asked before the certificate is good");
    assert_eq!(gate.count("wsgate_jwks_keys{jwt=\"foreign\"}"), 0.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_renewal_by_a_key_that_is_new_has_the_set_fetched_too() {
    let (backend, old, new) = (Backend::new().await, Key::new("old"), Key::new("new"));
    let server = KeyServer::new(Says::Bytes(set(&[&old]))).await;
    let block = format!("[jwt.remote]\nalgorithms = [\"ES256\"]\n{}", jwks(&server));
    let keys = "jwt = \"remote\"\nrenew = \"/renew\"\norigins = \"any\"";
    let mut gate = Setup::new().jwt(&block).route("/ws", &backend.url(), keys).start();
    fetched(&gate, 1).await;
    let (session, _upstream) = gate.session_of(&backend, &ask(&old.sign(&claims(&gate)))).await;
    server.publishes(&[&new]);
    let mut later = claims(&gate);
    later["exp"] = json!(gate.clock.now().wall / 1000 + 7200);
    let mut client = gate.client().await;
    let token = new.sign(&later);
    client
        .send(format!("POST /renew HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"))
        .await;
    let answer = client.head().await;
    assert_eq!((answer.status(), server.asked("/jwks.json")), (200, 2), "{answer:?}");
    assert_eq!(gate.lines.next().await["event"], json!("renewal"));
    session.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}
