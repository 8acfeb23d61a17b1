//! A key server, or a discovery document, that says what it should not.

use super::*;

const DOCUMENT: &str = "/.well-known/openid-configuration";

/// Another status, with a set that would do.
fn status(line: &str, headers: &str, key: &Key) -> Says {
    let set = String::from_utf8(ok(headers, &body(&[key]))).unwrap();
    Says::Bytes(set.replace("200 OK", line).into_bytes())
}

#[tokio::test]
async fn whatever_a_server_answers_instead_the_last_good_set_stays() {
    let (backend, key, other) = (Backend::new().await, Key::new("1"), Key::new("2"));
    let server = KeyServer::new(Says::Bytes(set(&[&key]))).await;
    let mut gate = running(&backend, &server).await;
    server.says("/elsewhere", Says::Bytes(set(&[&other])));
    let answer = |text: &str| Says::Bytes(ok("", text));
    let elsewhere = format!("Location: {}/elsewhere\r\n", server.origin());
    let two = format!("{}{}", body(&[&key]), body(&[&other]));
    let twice = format!("{{\"keys\":[{}],\"keys\":[{}]}}", key.public(), other.public());
    let big = format!("{{\"keys\":[{}],\"x\":\"{}\"}}", other.public(), "x".repeat(1024 * 1024));
    let unsized_big = [b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(), big.as_bytes()].concat();
    let short = Says::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{\"keys\":[".to_vec());
    let lies = [
        answer("<!doctype html><title>Maintenance</title>"),
        answer(""),
        answer(&two),
        answer(&twice),
        answer("{\"keys\":[]}"),
        answer("{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\",\"kid\":\"2\"}]}"),
        answer(&format!("{{\"keys\":[{},{}]}}", other.public(), other.public())),
        answer(&big),
        Says::Bytes(unsized_big),
        short,
        status("302 Found", &elsewhere, &other),
        status("307 Temporary Redirect", &elsewhere, &other),
        status("500 Internal Server Error", "", &other),
        status("203 Non-Authoritative Information", "", &other),
        status("404 Not Found", "", &other),
        status("101 Switching Protocols", "Upgrade: websocket\r\nConnection: Upgrade\r\n", &other),
        Says::Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Says::Bytes([b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 64 * 1024], b"\r\n\r\n".to_vec()].concat()),
    ];
    for (lied, lie) in lies.into_iter().enumerate() {
        server.says("/jwks.json", lie);
        gate.advance(REFRESH);
        failed(&gate, lied + 1).await;
        let token = key.sign(&claims(&gate));
        opens(&mut gate, &backend, &token).await;
    }
    assert_eq!((refreshes(&gate, "ok"), server.asked("/elsewhere")), (1.0, 0));
    server.publishes(&[&other]);
    gate.advance(REFRESH);
    fetched(&gate, 2).await;
    let token = other.sign(&claims(&gate));
    opens(&mut gate, &backend, &token).await;
    gate.finish().await;
}

#[tokio::test]
async fn one_bad_key_of_a_set_does_not_lose_the_others() {
    let (backend, key, twin) = (Backend::new().await, Key::new("1"), Key::new("twin"));
    let keys = json!([{ "kty": "oct", "k": "c2VjcmV0", "kid": "secret" }, 7, twin.public(), Key::new("twin").public(),
        { "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "short" }, key.public()]);
    let server = KeyServer::new(Says::Bytes(ok("", &json!({ "keys": keys }).to_string()))).await;
    let mut gate = running(&backend, &server).await;
    assert_eq!(gate.count("wsgate_jwks_keys{jwt=\"remote\"}"), 1.0);
    let (good, of_twin) = (key.sign(&claims(&gate)), twin.sign(&claims(&gate)));
    opens(&mut gate, &backend, &good).await;
    refused(&mut gate, &of_twin, "token_invalid").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_is_given_up_after_five_seconds() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let hanging = KeyServer::new(Says::Later(set(&[&key]))).await;
    let dripping = KeyServer::new(Says::Drip(set(&[&key]))).await;
    let blocks = format!("{}\n[jwt.drip]\nalgorithms = [\"ES256\"]\n{}", jwks(&hanging), jwks(&dripping));
    let mut gate = setup(&backend, &blocks).start();
    let of_drip = "wsgate_jwks_refreshes_total{jwt=\"drip\",result=\"failed\"}";
    until("both to be given up", || refreshes(&gate, "failed") > 0.0 && gate.count(of_drip) > 0.0).await;
    assert_eq!(gate.shared().edition().keysets.missing(&gate.clock).len(), 2);
    hanging.release();
    gate.advance(Duration::from_secs(60));
    fetched(&gate, 1).await;
    let token = key.sign(&claims(&gate));
    opens(&mut gate, &backend, &token).await;
    gate.finish().await;
}

#[tokio::test]
async fn an_issuers_document_leads_to_its_keys() {
    let (backend, key) = (Backend::new().await, Key::new("1"));
    let keys = KeyServer::new(Says::Bytes(set(&[&key]))).await;
    let issuer = KeyServer::new(Says::Bytes(Vec::new())).await;
    let name = format!("{}/realms/main", issuer.origin());
    let document = |issuer: &str| Says::Bytes(ok("", &json!({ "issuer": issuer, "jwks_uri": keys.url() }).to_string()));
    // A slash more, and it is another issuer.
    issuer.says(&format!("/realms/main{DOCUMENT}"), document(&format!("{name}/")));
    let mut gate = setup(&backend, &format!("issuer_url = \"{name}\"")).start();
    failed(&gate, 1).await;
    assert_eq!(keys.asked("/jwks.json"), 0, "a stranger's keys are not even looked at");

    issuer.says(&format!("/realms/main{DOCUMENT}"), document(&name));
    gate.advance(Duration::from_secs(1));
    fetched(&gate, 1).await;
    let mut claimed = claims(&gate);
    refused(&mut gate, &key.sign(&claimed), "token_invalid").await;
    claimed["iss"] = json!(format!("{name}/"));
    assert_eq!(
        refused(&mut gate, &key.sign(&claimed), "token_invalid").await["why"],
        json!("its iss is another issuer")
    );
    claimed["iss"] = json!(name);
    opens(&mut gate, &backend, &key.sign(&claimed)).await;
    gate.finish().await;
}
