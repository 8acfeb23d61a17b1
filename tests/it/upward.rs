//! What the upstream is told of who asks: the parts of path and host, claims in headers, and the gateway's own signature.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value, json};

use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Gate, Setup, until};

/// A token of these claims that is good for a minute.
fn token(gate: &Gate, mut claims: Value) -> String {
    claims["exp"] = (gate.clock.now().wall / 1000 + 60).into();
    gate.sign(&claims)
}

#[tokio::test]
async fn a_token_for_one_room_opens_one_room() {
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nrequire = { room = \"{room}\" }";
    let mut gate = Setup::new().route("/rooms/{room}", &format!("{}/r", backend.url()), keys).start();
    let bearer = token(&gate, json!({ "sub": "ann", "room": "7 a" }));
    for (path, up) in [("/rooms/7%20a", "/r"), ("/rooms/%37%20a/x%2Dy?q=1", "/r/x%2Dy?q=1")] {
        let request = gate.seen_upward(&backend, &Ask::to(path).bearer(&bearer)).await;
        assert_eq!(request.line, format!("GET {up} HTTP/1.1"));
    }
    for path in ["/rooms/8", "/rooms/7", "/rooms/7%20a%20", "/rooms/%7Broom%7D"] {
        assert_eq!(gate.refusal(&Ask::to(path).bearer(&bearer)).await.status(), 403, "{path}");
        gate.refused("token_forbidden").await;
    }
    let long = format!("/rooms/{}", "x".repeat(257));
    for path in ["/rooms", "/rooms/", &long] {
        assert_eq!(gate.refusal(&Ask::to(path).bearer(&bearer)).await.status(), 404, "{path}");
        gate.refused("no_route").await;
    }
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn a_tenant_s_token_opens_its_own_host() {
    let backend = Backend::new().await;
    let keys = "host = \"{tenant}.example.com\"\njwt = \"main\"\nrequire = { \"tenant.id\" = \"{tenant}\" }";
    let mut gate = Gate::new(&backend.url(), keys);
    let bearer = token(&gate, json!({ "tenant": { "id": "acme" } }));
    let at = |host: &str| Ask::to("/ws").but("Host", host).bearer(&bearer);
    gate.seen_upward(&backend, &at("ACME.example.com:8443")).await;
    for (host, reason) in [("other.example.com", "token_forbidden"), ("a.acme.example.com", "no_route")] {
        gate.refusal(&at(host)).await;
        gate.refused(reason).await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn claims_go_up_as_headers_and_nobody_can_pretend_to_have_them() {
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nclaim_headers = { email = \"X-Auth-Email\", \"org.roles\" = \"X-Roles\" }";
    let setup = Setup::new().route("/ws", &backend.url(), keys).route("/open", &backend.url(), "");
    let mut gate = setup.start();
    let spoofed = |path: &str| {
        Ask::to(path)
            .with("X-Auth-Email", "root")
            .with("x_auth_email", "root")
            .with("X.Auth-EMAIL", "root")
            .with("X_Roles", "root")
            .with("X-Auth-Assertion", "the file has none")
    };
    let rich = json!({ "email": "a\r\nX-Admin: 1", "org": { "roles": ["a,b", "c"] } });
    for (path, claims, email, roles) in [
        ("/ws", rich, Some("a%0D%0AX-Admin:%201"), Some("a%2Cb,c")),
        ("/ws", json!({ "org": { "roles": null } }), None, None),
        ("/open", json!({}), None, None),
    ] {
        let bearer = token(&gate, claims);
        let request = gate.seen_upward(&backend, &spoofed(path).bearer(&bearer)).await;
        assert_eq!((request.one("x-auth-email"), request.one("x-roles")), (email, roles), "{path}");
        assert!(!request.headers.values().any(|value| value == "root"), "{path}: {request:?}");
        assert_eq!(request.one("x-auth-assertion"), Some("the file has none"));
        assert_eq!(request.one("x-admin"), None);
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_claim_too_long_for_a_header_is_refused_before_the_upstream_is_asked() {
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nclaim_headers = { email = \"X-Auth-Email\" }";
    let mut gate = Setup::new().jwt("status = 401").route("/ws", &backend.url(), keys).start();
    let bearer = token(&gate, json!({ "email": "x".repeat(4097) }));
    assert_eq!(gate.refusal(&Ask::to("/ws").bearer(&bearer)).await.status(), 401);
    assert_eq!(gate.refused("token_invalid").await["why"], "a claim is longer than 4 KiB as a header");
    backend.saw_nobody();
    gate.finish().await;
}

fn key_file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The claims of what the gateway signed, by the public key.
fn verified(request: &Head) -> Map<String, Value> {
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["chat"]);
    validation.set_issuer(&["wsgate"]);
    // The gateway's clock is ahead of this machine's in some tests.
    validation.validate_exp = false;
    let key = DecodingKey::from_ec_pem(&key_file("es256.pub.pem")).unwrap();
    let assertion = request.one("x-auth-assertion").expect("an assertion");
    jsonwebtoken::decode(assertion, &key, &validation).unwrap().claims
}

const ASSERTION: &str = "[assertion.up]\nalgorithm = \"ES256\"\nprivate_key = \"file:key.pem\"\naudience = \"chat\"\n\
                         lifetime = \"5s\"\nclaims = [\"email\"]\n";

/// A gateway that signs for `/ws`, on these terms.
fn signing(backend: &Backend, terms: &str) -> Gate {
    let setup = Setup::new().jwt(ASSERTION);
    std::fs::write(setup.folder.path().join("key.pem"), key_file("es256.pem")).unwrap();
    let keys = format!("jwt = \"main\"\nassertion = \"up\"\n{terms}");
    setup.route("/ws", &backend.url(), &keys).route("/open", &backend.url(), "").start()
}

#[tokio::test]
async fn the_gateway_vouches_with_a_key_of_its_own() {
    let backend = Backend::new().await;
    let mut gate = signing(&backend, "");
    let bearer = token(&gate, json!({ "sub": "ann", "iss": "https://id.example.com/", "email": "ann@example.com" }));
    let forged = Ask::to("/ws").bearer(&bearer).with("X-Auth-Assertion", "forged").with("x_auth_assertion", "forged");
    let before = gate.clock.now().wall / 1000;
    let request = gate.seen_upward(&backend, &forged).await;
    let claims = verified(&request);
    assert_eq!((&claims["sub"], &claims["email"]), (&json!("ann"), &json!("ann@example.com")));
    assert_eq!(claims["origin_iss"], "https://id.example.com/");
    let issued = claims["iat"].as_u64().unwrap();
    assert!((before..=gate.clock.now().wall / 1000).contains(&issued));
    assert_eq!(claims["exp"], issued + 5);
    assert!(!format!("{request:?}").contains("forged") && !format!("{request:?}").contains(&bearer));
    let other = verified(&gate.seen_upward(&backend, &Ask::to("/ws").bearer(&bearer)).await);
    assert_ne!(claims["jti"], other["jti"]);
    let open = gate.seen_upward(&backend, &Ask::to("/open").with("X-Auth-Assertion", "forged")).await;
    assert_eq!(open.one("x-auth-assertion"), None, "nor on a route that signs nothing");
    assert!(!gate.lines.all().contains(request.one("x-auth-assertion").unwrap()));
    gate.finish().await;
}

/// One that was signed before the wait for a turn could be over before the upstream sees it.
#[tokio::test]
async fn what_waited_for_its_turn_is_signed_when_the_upstream_is_asked() {
    let backend = Backend::new().await;
    let mut gate = signing(&backend, "handshakes = { rate = \"1/s\", burst = 1 }");
    let bearer = token(&gate, json!({ "sub": "ann" }));
    gate.seen_upward(&backend, &Ask::to("/ws").bearer(&bearer)).await;
    gate.rests().await;
    let mut waiting = gate.asking(&Ask::to("/ws").bearer(&bearer)).await;
    until("the second to wait", || gate.shared().edition().policy.total.used() == 1).await;
    gate.advance(Duration::from_secs(30));
    let mut upstream = backend.accept().await;
    let claims = verified(&upstream.head().await);
    assert!(claims["iat"].as_u64().unwrap() * 1000 > gate.clock.now().wall - 10_000);
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    waiting.head().await;
    gate.refused("upstream_refused").await;
    gate.finish().await;
}
