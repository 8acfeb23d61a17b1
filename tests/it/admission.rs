//! Who may open a session: Origins and tokens.

use serde_json::{Value, json};

use crate::harness::{Ask, Backend, Gate, Setup};

const ORIGINS: &str = "origins = [\"https://app.example.com\", \"https://*.preview.example.com\"]";

/// Opens a session and ends it.
async fn opens(gate: &mut Gate, backend: &Backend, ask: &Ask) {
    let (client, mut upstream) = gate.session_of(backend, ask).await;
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
}

#[tokio::test]
async fn a_listed_origin_gets_in_and_no_other_does() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), ORIGINS);
    for origin in ["https://app.example.com", "https://a.preview.example.com", "https://a.b.preview.example.com"] {
        opens(&mut gate, &backend, &Ask::to("/ws").with("Origin", origin)).await;
    }
    for (origin, label) in [
        (Some("https://evil.example"), "origin_forbidden"),
        (Some("http://app.example.com"), "origin_forbidden"),
        (Some("https://app.example.com:444"), "origin_forbidden"),
        (Some("https://app.example.com.evil.example"), "origin_forbidden"),
        (Some("https://preview.example.com"), "origin_forbidden"),
        (Some("null"), "origin_forbidden"),
        (Some(""), "origin_forbidden"),
        (None, "origin_missing"),
    ] {
        let ask = origin.map_or(Ask::to("/ws"), |origin| Ask::to("/ws").with("Origin", origin));
        let told = gate.refusal(&ask).await;
        assert_eq!(told.status(), 403, "{origin:?}");
        assert!(told.body.starts_with(&format!("{label}: ")), "{origin:?}: {told:?}");
        assert_eq!(told.one("access-control-allow-origin"), None, "{origin:?}");
        let line = gate.refused(label).await;
        assert_eq!(line.get("origin").and_then(Value::as_str), origin);
    }
    assert_eq!((gate.refusals("ws", "origin_forbidden"), gate.refusals("ws", "origin_missing")), (7.0, 1.0));
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn null_and_a_missing_origin_get_in_where_the_route_says_so() {
    let backend = Backend::new().await;
    let terms = "origins = [\"null\"]\nallow_missing_origin = true";
    let mut gate = Gate::new(&backend.url(), terms);
    opens(&mut gate, &backend, &Ask::to("/ws").with("Origin", "null")).await;
    opens(&mut gate, &backend, &Ask::to("/ws")).await;
    gate.finish().await;
}

#[tokio::test]
async fn an_allowed_origin_may_read_the_101_and_a_refusal() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{ORIGINS}\njwt = \"main\""));
    let from_app = Ask::to("/ws").with("Origin", "https://app.example.com");
    let told = gate.refusal(&from_app).await;
    assert_eq!(told.one("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(told.one("vary"), Some("Origin"));
    gate.refused("token_missing").await;

    let mut client = gate.asking(&from_app.bearer(&gate.token("alice", 60))).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    let told = client.head().await;
    assert_eq!(told.status(), 101);
    assert_eq!(told.one("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(told.one("vary"), Some("Origin"));
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn each_wrong_token_gets_its_label() {
    let backend = Backend::new().await;
    let jwt = "issuer = \"https://id.example.com/\"\naudience = [\"chat\"]";
    let mut gate = Setup::new().jwt(jwt).route("/ws", &backend.url(), "jwt = \"main\"").start();
    let now = gate.clock.now().wall / 1000;
    let good = json!({ "sub": "a", "exp": now + 60, "iss": "https://id.example.com/", "aud": "chat" });
    let token = gate.sign(&good);
    opens(&mut gate, &backend, &Ask::to("/ws").bearer(&token)).await;
    let but = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        if claims[key].is_null() {
            claims.as_object_mut().unwrap().remove(key);
        }
        gate.sign(&claims)
    };
    let forged = format!("{}x", gate.sign(&good));
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwiZXhwIjo0MDAwMDAwMDAwfQ.";
    let wrong = [
        ("long over", but("exp", json!(now - 60)), "token_expired"),
        ("no exp", but("exp", json!(null)), "token_invalid"),
        ("not yet", but("nbf", json!(now + 60)), "token_invalid"),
        ("another issuer", but("iss", json!("https://evil.example/")), "token_invalid"),
        ("no issuer", but("iss", json!(null)), "token_invalid"),
        ("another audience", but("aud", json!(["admin"])), "token_invalid"),
        ("no audience", but("aud", json!(null)), "token_invalid"),
        ("a forged signature", forged, "token_invalid"),
        ("alg none", unsigned.to_owned(), "token_invalid"),
        ("no token at all", "x".to_owned(), "token_invalid"),
        ("far too long", "x".repeat(9000), "token_invalid"),
    ];
    for (what, token, label) in &wrong {
        let told = gate.refusal(&Ask::to("/ws").bearer(token)).await;
        assert_eq!(told.status(), 403, "{what}");
        assert!(told.body.starts_with(&format!("{label}: ")), "{what}: {told:?}");
        assert_eq!(told.one("www-authenticate"), None);
        gate.refused(label).await;
    }
    let told = gate.refusal(&Ask::to("/ws")).await;
    assert!(told.body.starts_with("token_missing: "), "{told:?}");
    gate.refused("token_missing").await;
    assert_eq!(gate.refusals("ws", "token_invalid"), 10.0);
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn with_401_the_challenge_comes_along() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().jwt("status = 401").route("/ws", &backend.url(), "jwt = \"main\"").start();
    let told = gate.refusal(&Ask::to("/ws")).await;
    assert_eq!((told.status(), told.one("www-authenticate")), (401, Some("Bearer")));
    gate.refused("token_missing").await;
    let told = gate.refusal(&Ask::to("/ws").bearer("x")).await;
    assert_eq!((told.status(), told.one("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    let line = gate.refused("token_invalid").await;
    assert_eq!(line["status"], json!(401));
    gate.finish().await;
}

#[tokio::test]
async fn two_tokens_that_differ_are_refused() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\ntoken_from = [\"header\", \"query:t\"]";
    let mut gate = Gate::new(&backend.url(), terms);
    let (alice, bob) = (gate.token("alice", 60), gate.token("bob", 60));
    gate.refusal(&Ask::to(&format!("/ws?t={alice}")).bearer(&bob)).await;
    gate.refused("token_invalid").await;
    opens(&mut gate, &backend, &Ask::to(&format!("/ws?t={alice}")).bearer(&alice)).await;
    gate.finish().await;
}

#[tokio::test]
async fn the_subject_stands_in_the_lines_and_among_the_connections() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"");
    let token = gate.token("alice", 60);
    let (client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&token)).await;
    let page: Value = serde_json::from_str(&gate.page("/connections").await.body).unwrap();
    assert_eq!((&page["total"], &page["connections"][0]["subject"]), (&json!(1), &json!("alice")));
    client.reset();
    upstream.ended().await;
    assert_eq!(gate.ended("client", "client_lost").await["subject"], json!("alice"));
    gate.finish().await;
}
