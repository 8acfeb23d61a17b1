//! Which pages may send a request, and read its answer.

use super::{HELLO, denial, exchange, forwarded, forwarding, refused, request};
use crate::harness::Backend;

const ORIGIN: &str = "https://app.example.com";
const LIST: &str = "origins = [\"https://app.example.com\"]";

#[tokio::test]
async fn the_page_itself_loads_and_a_hostile_one_can_neither_read_nor_change_anything() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), LIST);
    let good: [(&str, &[&str]); 8] = [
        ("GET", &[]),
        ("GET", &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"]),
        ("GET", &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: no-cors"]),
        ("GET", &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"]),
        ("GET", &["Origin: https://app.example.com", "Sec-Fetch-Site: cross-site"]),
        ("POST", &["Origin: https://app.example.com", "Content-Length: 0"]),
        ("POST", &["Sec-Fetch-Site: same-origin", "Content-Length: 0"]),
        ("HEAD", &[]),
    ];
    for (method, more) in good {
        let mut client = gate.client().await;
        client.send(request(method, "/app", more)).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(HELLO.replace("\r\nContent-Length", "\r\nConnection: close\r\nContent-Length")).await;
        assert_eq!(client.head_alone().await.status(), 200, "{method} {more:?}");
        forwarded(&mut gate, 200).await;
    }
    let bad: [(&str, &[&str], &str); 8] = [
        ("POST", &["Content-Length: 0"], "origin_missing"),
        ("POST", &["Content-Length: 0", "Sec-Fetch-Site: none"], "origin_missing"),
        ("POST", &["Content-Length: 0", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"], "origin_forbidden"),
        (
            "GET",
            &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"],
            "origin_forbidden",
        ),
        (
            "GET",
            &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"],
            "origin_forbidden",
        ),
        ("GET", &["Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"], "origin_forbidden"),
        ("GET", &["Origin: https://evil.example"], "origin_forbidden"),
        ("GET", &["Origin: null"], "origin_forbidden"),
    ];
    for (method, more, reason) in bad {
        let mut client = gate.client().await;
        client.send(request(method, "/app", more)).await;
        denial(&mut client, 403, reason).await;
        refused(&mut gate, 403, reason).await;
    }
    backend.saw_nobody();
    gate.finish().await;
    let mut gate = forwarding(&backend.url(), &format!("{LIST}\nallow_missing_origin = true"));
    let mut client = gate.client().await;
    exchange(&mut client, &backend, &request("POST", "/app", &["Content-Length: 0"]), HELLO).await;
    forwarded(&mut gate, 200).await;
    drop(client);
    gate.finish().await;
}

const CORS: &str = "cors = { allow_methods = [\"GET\", \"PUT\"], allow_headers = [\"X-Mine\"], expose_headers = [\"X-Yours\"], credentials = true }";

#[tokio::test]
async fn a_preflight_is_answered_here_without_a_token_and_leaves_the_connection_open() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), &format!("{LIST}\njwt = \"main\"\n{CORS}"));
    let preflight = |origin: &str, method: &str, headers: &str| {
        let (origin, method) = (format!("Origin: {origin}"), format!("Access-Control-Request-Method: {method}"));
        let headers = format!("Access-Control-Request-Headers: {headers}");
        request("OPTIONS", "/app", &[&origin, &method, &headers])
    };
    let mut client = gate.client().await;
    for _ in 0..2 {
        client.send(preflight(ORIGIN, "PUT", "x-mine")).await;
        let head = client.head().await;
        assert_eq!(head.status(), 204, "{head:?}");
        for (name, value) in [
            ("access-control-allow-origin", Some(ORIGIN)),
            ("access-control-allow-credentials", Some("true")),
            ("access-control-allow-methods", Some("GET, PUT")),
            ("access-control-allow-headers", Some("x-mine")),
            ("access-control-max-age", Some("600")),
            ("vary", Some("Origin")),
            ("connection", None),
        ] {
            assert_eq!(head.one(name), value, "{name}");
        }
    }
    for (asked, reason) in [
        (preflight("https://evil.example", "PUT", "x-mine"), "origin_forbidden"),
        (preflight(ORIGIN, "DELETE", "x-mine"), "preflight_refused"),
        (preflight(ORIGIN, "PUT", "x-mine, x-other"), "preflight_refused"),
        (preflight(ORIGIN, "put", ""), "preflight_refused"),
    ] {
        let mut client = gate.client().await;
        client.send(asked).await;
        let head = denial(&mut client, 403, reason).await;
        let said = head.headers.keys().any(|name| name.as_str().starts_with("access-control-"));
        assert!(!said, "{head:?}");
        refused(&mut gate, 403, reason).await;
    }
    backend.saw_nobody();
    drop(client);
    gate.finish().await;
}

#[tokio::test]
async fn on_an_answer_the_gateways_words_stand_in_place_of_the_upstreams() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), &format!("{LIST}\n{CORS}"));
    let answer = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: TRACE\r\n\
                  Access-Control-Expose-Headers: X-Secret\r\nVary: Accept\r\nX-Yours: 1\r\nContent-Length: 0\r\n\r\n";
    let mut client = gate.client().await;
    let origin = format!("Origin: {ORIGIN}");
    let (_, head) = exchange(&mut client, &backend, &request("GET", "/app", &[&origin]), answer).await;
    assert_eq!(head.one("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(head.one("access-control-allow-credentials"), Some("true"));
    assert_eq!(head.one("access-control-expose-headers"), Some("x-yours"));
    assert_eq!(head.one("access-control-allow-methods"), None);
    let vary: Vec<_> = head.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Accept", "Origin"]);
    forwarded(&mut gate, 200).await;
    // To a page that asks for nothing of another origin nothing is said, but a cache is told.
    let (_, head) = exchange(&mut client, &backend, &request("GET", "/app", &[]), answer).await;
    assert_eq!((head.one("access-control-allow-origin"), head.one("access-control-expose-headers")), (None, None));
    assert_eq!(head.headers.get_all("vary").iter().count(), 2);
    forwarded(&mut gate, 200).await;
    // A page may read why it was refused.
    client.send(request("TRACE", "/app", &[&origin])).await;
    let head = denial(&mut client, 501, "bad_handshake").await;
    assert_eq!(head.one("access-control-allow-origin"), Some(ORIGIN));
    refused(&mut gate, 501, "bad_handshake").await;
    gate.finish().await;
}
