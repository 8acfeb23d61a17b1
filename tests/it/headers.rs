//! What goes up with a handshake: nothing of this connection alone, nothing that a client says of itself, and no token.

use std::collections::BTreeSet;

use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Gate, Setup, until};

fn names(head: &Head) -> BTreeSet<&str> {
    head.headers.keys().map(http::HeaderName::as_str).collect()
}

#[tokio::test]
async fn what_concerns_one_connection_stays_there_and_the_rest_passes() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let ask = Ask::to("/ws")
        .but("Connection", "keep-alive, Upgrade, X-Hop")
        .with("X-Hop", "1")
        .with("Keep-Alive", "timeout=5")
        .with("TE", "trailers")
        .with("Proxy-Authorization", "Basic eDp5")
        .with("Proxy-Connection", "keep-alive")
        .with("Cookie", "a=b")
        .with("Origin", "https://app.example.com")
        .with("X-App", "1")
        .with("X-App", "2");
    let request = gate.seen_upward(&backend, &ask).await;
    let kept = [
        "connection",
        "cookie",
        "forwarded",
        "host",
        "origin",
        "sec-websocket-key",
        "sec-websocket-version",
        "upgrade",
        "x-app",
        "x-connection-id",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
    ];
    assert_eq!(names(&request), kept.into());
    assert_eq!(request.one("connection"), Some("Upgrade"));
    assert_eq!(request.one("host"), Some("chat.example.com"));
    assert_eq!(request.headers.get_all("x-app").iter().count(), 2);
    gate.finish().await;
}

/// `Connection` may name a header that the gateway relies on: it must not be taken from what goes up.
#[tokio::test]
async fn connection_can_t_name_away_what_the_gateway_sets() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"");
    let token = gate.token("alice", 60);
    let told = gate.refusal(&Ask::to("/ws").but("Connection", "Upgrade, X-Forwarded-For").bearer(&token)).await;
    assert_eq!(told.status(), 400);
    gate.refused("bad_handshake").await;
    let named = "Upgrade, X-Auth-Subject";
    let request = gate.seen_upward(&backend, &Ask::to("/ws").but("Connection", named).bearer(&token)).await;
    assert_eq!(request.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.one("x-auth-subject"), Some("alice"));
    assert_eq!(request.one("x-forwarded-proto"), Some("http"));
    assert!(request.one("forwarded").is_some());
    gate.finish().await;
}

#[tokio::test]
async fn who_asks_is_said_by_the_gateway_and_not_by_the_client() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let ask = Ask::to("/ws")
        .with("X-Forwarded-For", "6.6.6.6")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "evil.example")
        .with("X-Forwarded-User", "root")
        .with("X_Forwarded_For", "6.6.6.6")
        .with("X-Real-IP", "6.6.6.6")
        .with("Forwarded", "for=6.6.6.6");
    let request = gate.seen_upward(&backend, &ask).await;
    assert_eq!(request.one("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.one("x-forwarded-proto"), Some("http"));
    assert_eq!(request.one("x-forwarded-host"), Some("chat.example.com"));
    assert_eq!(request.one("forwarded"), Some("for=127.0.0.1;proto=http;host=\"chat.example.com\""));
    for spoofed in ["x-forwarded-user", "x_forwarded_for", "x-real-ip"] {
        assert_eq!(request.one(spoofed), None, "{spoofed}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_trusted_proxy_s_words_are_kept_and_it_is_named_behind_them() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server("trusted_proxies = [\"127.0.0.1\"]").route("/ws", &backend.url(), "").start();
    let ask = Ask::to("/ws")
        .with("X-Forwarded-For", "6.6.6.6, 198.51.100.7")
        .with("X-Forwarded-Proto", "https")
        .with("X-Forwarded-Host", "www.example.com")
        .with("Forwarded", "for=198.51.100.7");
    let mut client = gate.asking(&ask).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    assert_eq!(request.one("x-forwarded-for"), Some("6.6.6.6, 198.51.100.7, 127.0.0.1"));
    assert_eq!(request.one("x-forwarded-proto"), Some("https"));
    assert_eq!(request.one("x-forwarded-host"), Some("www.example.com"));
    let forwarded = "for=198.51.100.7, for=127.0.0.1;proto=http;host=\"chat.example.com\"";
    assert_eq!(request.one("forwarded"), Some(forwarded));
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 404);
    assert_eq!(gate.refused("upstream_refused").await["client"], "198.51.100.7");
    gate.finish().await;
}

#[tokio::test]
async fn the_subject_goes_up_and_nobody_can_pretend_to_be_one() {
    let backend = Backend::new().await;
    let setup = Setup::new().route("/ws", &backend.url(), "jwt = \"main\"");
    let mut gate = setup.route("/named", &backend.url(), "jwt = \"main\"\nsubject_header = \"X-User\"").start();
    let token = gate.token("alice smith", 60);
    let spoofed = |path: &str| {
        Ask::to(path)
            .bearer(&token)
            .with("X-Auth-Subject", "admin")
            .with("x_auth_subject", "admin")
            .with("X-AUTH_SUBJECT", "admin")
            .with("X-User", "admin")
            .with("X_User", "admin")
    };
    let request = gate.seen_upward(&backend, &spoofed("/ws")).await;
    assert_eq!(request.one("x-auth-subject"), Some("alice%20smith"));
    assert!(names(&request).iter().all(|name| !name.contains("auth_subject")), "{request:?}");
    let request = gate.seen_upward(&backend, &spoofed("/named")).await;
    assert_eq!((request.one("x-user"), request.one("x_user")), (Some("alice%20smith"), None));
    gate.finish().await;
}

/// Without a subject in the token there is none to be told, and still none to be claimed.
#[tokio::test]
async fn a_token_without_a_subject_leaves_no_room_for_a_claimed_one() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"");
    let token = gate.sign(&serde_json::json!({ "exp": 4_000_000_000_u64 }));
    let ask = Ask::to("/ws").bearer(&token).with("X-Auth-Subject", "admin");
    assert_eq!(gate.seen_upward(&backend, &ask).await.one("x-auth-subject"), None);
    gate.finish().await;
}

#[tokio::test]
async fn the_token_stays_here_unless_the_route_hands_it_on() {
    let backend = Backend::new().await;
    let from =
        "jwt = \"main\"\ntoken_from = [\"header\", \"cookie:t\", \"query:t\", \"subprotocol\"]\norigins = \"any\"\n";
    let setup = Setup::new().route("/ws", &backend.url(), from);
    let mut gate = setup.route("/on", &backend.url(), &format!("{from}forward_token = true")).start();
    let token = gate.token("alice", 60);
    for path in ["/ws", "/on"] {
        let carriers = [
            Ask::to(path).bearer(&token),
            Ask::to(path).with("Cookie", &format!("a=b; t={token}; c=d")),
            Ask::to(&format!("{path}?x=1&t={token}&y=2")),
            Ask::to(path).with("Sec-WebSocket-Protocol", &format!("chat, bearer.{token}")),
        ];
        for (at, ask) in carriers.iter().enumerate() {
            let request = gate.seen_upward(&backend, ask).await;
            let whole = format!("{request:?}");
            assert_eq!(whole.contains(&token), path == "/on", "{at}: {whole}");
            if path == "/ws" {
                let rest = ["", "a=b; c=d", "?x=1&y=2", "\"chat\""][at];
                assert!(whole.contains(rest), "{at}: what stood beside the token passes: {whole}");
            }
        }
    }
    gate.finish().await;
}

/// One name for all that is said of a connection, and nobody else's.
#[tokio::test]
async fn the_upstream_the_log_and_the_admin_page_have_one_name_for_a_connection_and_a_client_can_t_choose_it() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let spoofed = Ask::to("/ws").with("X-Connection-Id", "mine").with("x_connection_id", "mine");
    let mut client = gate.asking(&spoofed).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    let id = request.one("x-connection-id").unwrap().to_owned();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    assert_eq!(request.one("x_connection_id"), None);
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    until("the session to begin", || gate.sessions() == 1).await;
    let page: serde_json::Value = serde_json::from_str(&gate.page("/connections").await.body).unwrap();
    assert_eq!(page["connections"][0]["id"], *id);
    drop((client, upstream));
    let line = gate.lines.next().await;
    assert_eq!((&line["event"], &line["connection_id"]), (&"session_ended".into(), &id.clone().into()));
    let metrics = gate.shared().books.metrics.render(Some("application/openmetrics-text")).body;
    for histogram in ["wsgate_handshake_duration_seconds", "wsgate_session_duration_seconds", "wsgate_session_messages"]
    {
        let example = format!(" # {{connection_id=\"{id}\"}} ");
        let named = |line: &str| line.starts_with(histogram) && line.contains(&example);
        assert!(metrics.lines().any(named), "{histogram} without {id}\n{metrics}");
    }
    gate.finish().await;
}

/// The one that never became a request, the one that had no route, and the one that the upstream refused: each has its own.
#[tokio::test]
async fn every_refusal_has_the_name_of_its_connection() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "");
    let mut nobody = gate.client().await;
    nobody.send("hello\r\n\r\n").await;
    assert_eq!(nobody.head().await.status(), 400);
    let first = gate.refused("bad_handshake").await["connection_id"].clone();
    gate.refusal(&Ask::to("/nowhere")).await;
    let second = gate.refused("no_route").await["connection_id"].clone();
    let mut client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let told = upstream.head().await.one("x-connection-id").unwrap().to_owned();
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 404);
    let third = gate.refused("upstream_refused").await["connection_id"].clone();
    assert_eq!(third, told);
    let all: BTreeSet<&str> = [&first, &second, &third].iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    gate.finish().await;
}

#[tokio::test]
async fn the_header_of_the_name_may_be_another_or_none() {
    let backend = Backend::new().await;
    let named = Setup::new().server("connection_id_header = \"X-Request-Id\"").route("/ws", &backend.url(), "");
    let mut gate = named.start();
    let request = gate.seen_upward(&backend, &Ask::to("/ws").with("X-Request-Id", "mine")).await;
    assert_eq!(request.one("x-request-id").unwrap().len(), 16);
    assert_eq!(request.one("x-connection-id"), None);
    gate.finish().await;
    let none = Setup::new().server("connection_id_header = \"off\"").route("/ws", &backend.url(), "");
    let mut gate = none.start();
    let request = gate.seen_upward(&backend, &Ask::to("/ws").with("X-Connection-Id", "mine")).await;
    assert_eq!((request.one("x-connection-id"), request.one("off")), (Some("mine"), None));
    gate.finish().await;
}
