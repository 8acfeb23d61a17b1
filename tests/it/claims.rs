//! What a token must claim, on a gateway that runs: `require`, and several issuers on one route.

use serde_json::json;

use crate::harness::gate::{SECRET, sign_with};
use crate::harness::{Ask, Backend, Setup};

#[tokio::test]
async fn a_token_without_the_scope_is_forbidden_and_one_with_it_is_let_in() {
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nrequire = { scope = [\"chat:read\"] }";
    let mut gate = Setup::new().jwt("status = 401").route("/ws", &backend.url(), keys).start();
    let exp = gate.clock.now().wall / 1000 + 60;

    let poor = gate.sign(&json!({ "sub": "alice", "exp": exp, "scope": "chat:write" }));
    let refusal = gate.refusal(&Ask::to("/ws").bearer(&poor)).await;
    // Not 401: another login would not help.
    assert_eq!(refusal.status(), 403);
    assert!(!refusal.headers.contains_key("www-authenticate"));
    let line = gate.refused("token_forbidden").await;
    assert_eq!(line["subject"], json!("alice"), "who it was is known: {line}");
    backend.saw_nobody();
    assert_eq!(gate.refusals("ws", "token_forbidden"), 1.0);

    let rich = gate.sign(&json!({ "sub": "alice", "exp": exp, "scope": "chat:write chat:read" }));
    let (client, _upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&rich)).await;
    client.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_route_takes_tokens_of_each_of_its_issuers_by_that_issuers_key() {
    let backend = Backend::new().await;
    let setup = Setup::new();
    let other = "another secret of at least 32 bytes, for the other";
    std::fs::write(setup.folder.path().join("other"), other).unwrap();
    let blocks = "issuer = \"A\"\n[jwt.partner]\nalgorithms = [\"HS256\"]\nsecret = \"file:other\"\nissuer = \"B\"";
    let mut gate = setup
        .jwt(blocks)
        .route("/ws", &backend.url(), "jwt = [\"main\", \"partner\"]\nconnections = { per_subject = 1 }")
        .start();
    let exp = gate.clock.now().wall / 1000 + 60;
    let claims = |issuer: &str| json!({ "iss": issuer, "sub": "alice", "exp": exp });

    for (issuer, secret) in [("A", SECRET), ("B", other)] {
        let token = sign_with(secret, &claims(issuer));
        let (client, _upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&token)).await;
        client.reset();
        gate.ended("client", "client_lost").await;
    }
    let tokens = [("A", SECRET), ("B", other)].map(|(issuer, secret)| sign_with(secret, &claims(issuer)));
    let both = [
        gate.session_of(&backend, &Ask::to("/ws").bearer(&tokens[0])).await,
        gate.session_of(&backend, &Ask::to("/ws").bearer(&tokens[1])).await,
    ];
    for token in &tokens {
        assert_eq!(gate.refusal(&Ask::to("/ws").bearer(token)).await.status(), 429);
        let line = gate.refused("subject_cap").await;
        assert_eq!(line["subject"], json!("alice"), "of each issuer one: {line}");
    }
    for (client, _upstream) in both {
        client.reset();
        gate.ended("client", "client_lost").await;
    }
    for (issuer, secret) in [("A", other), ("B", SECRET), ("C", SECRET)] {
        let token = sign_with(secret, &claims(issuer));
        assert_eq!(gate.refusal(&Ask::to("/ws").bearer(&token)).await.status(), 403);
        gate.refused("token_invalid").await;
    }
    gate.finish().await;
}
