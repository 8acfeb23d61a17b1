//! A new token for live sessions, without reconnecting.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::gate::sign_with;
use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup};

const ORIGIN: &str = "https://app.example.com";
const TERMS: &str = "jwt = \"main\"\nrenew = \"/ws/renew\"";

/// A `POST` of a token in the body.
fn post(token: &str) -> Ask {
    request("POST").with("Content-Type", "text/plain").with("Content-Length", &token.len().to_string()).body(token)
}

fn request(method: &str) -> Ask {
    let ask = Ask::to("/ws/renew").line(&format!("{method} /ws/renew HTTP/1.1"));
    ["Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"].into_iter().fold(ask, Ask::without)
}

/// The claims of a token that is good for so many seconds.
fn claims(gate: &Gate, more: Value, seconds: u64) -> Value {
    let mut claims = json!({ "sub": "alice", "exp": gate.clock.now().wall / 1000 + seconds });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn token(gate: &Gate, more: Value, seconds: u64) -> String {
    gate.sign(&claims(gate, more, seconds))
}

async fn answer(gate: &Gate, ask: &Ask) -> Head {
    let mut client = gate.asking(ask).await;
    let head = client.head().await;
    assert_eq!(head.one("connection"), Some("close"));
    assert_eq!(head.one("cache-control"), Some("no-store"));
    client.ended().await;
    head
}

/// The next line is a renewal of so many sessions.
async fn renewed(gate: &mut Gate, sessions: u64) -> Value {
    let line = gate.lines.next().await;
    assert_eq!((&line["event"], &line["sessions"]), (&json!("renewal"), &json!(sessions)), "{line}");
    assert_eq!((&line["reason"], &line["status"]), (&Value::Null, &json!(200)), "{line}");
    line
}

async fn renews(gate: &mut Gate, token: &str, sessions: u64) -> Value {
    let head = answer(gate, &post(token)).await;
    assert_eq!((head.status(), head.one("content-type")), (200, Some("application/json")), "{head:?}");
    let said: Value = serde_json::from_str(&head.body).unwrap();
    assert_eq!(said["renewed"], json!(sessions));
    renewed(gate, sessions).await;
    said
}

async fn refuses(gate: &mut Gate, ask: &Ask, status: u16, reason: &str) -> Head {
    let head = answer(gate, ask).await;
    assert_eq!(head.status(), status, "{head:?}");
    assert!(head.body.starts_with(&format!("{reason}: ")), "{head:?}");
    let line = gate.lines.next().await;
    let said = (&line["event"], &line["reason"], &line["status"], &line["sessions"]);
    assert_eq!(said, (&json!("renewal"), &json!(reason), &json!(status), &json!(0)), "{line}");
    head
}

async fn lives(client: &mut Peer, upstream: &mut Peer) {
    upstream.say(&Frame::text("alive")).await;
    assert_eq!(client.frame().await, Frame::text("alive"));
}

/// Both sides answer the 4001 that they got.
async fn expires(gate: &mut Gate, client: &mut Peer, upstream: &mut Peer) {
    assert_eq!(client.frame().await.as_close(), (4001, "token_expired"));
    assert_eq!(upstream.frame().await.as_close(), (4001, "token_expired"));
    client.say(&Frame::close(4001, "")).await;
    upstream.say(&Frame::close(4001, "")).await;
    client.ended().await;
    gate.ended("gateway", "token_expired").await;
}

#[tokio::test]
async fn a_renewed_session_lives_until_its_new_token_ends() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let (mut client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&gate.token("alice", 60))).await;
    gate.advance(Duration::from_secs(50));
    let exp = gate.clock.now().wall / 1000 + 60;
    let fresh = gate.sign(&json!({ "sub": "alice", "exp": exp }));
    let said = renews(&mut gate, &fresh, 1).await;
    // With the leeway, which the session has too.
    let expected = wsgate::now::Timestamp((exp + 5) * 1000).to_string();
    assert_eq!(said["expires"], json!(expected));
    gate.advance(Duration::from_secs(50));
    lives(&mut client, &mut upstream).await;
    gate.advance(Duration::from_secs(20));
    expires(&mut gate, &mut client, &mut upstream).await;
    assert_eq!(gate.count("wsgate_renewals_total{route=\"ws\",result=\"renewed\"}"), 1.0);
    // The upstream saw one request, the handshake.
    backend.saw_nobody();
    gate.finish().await;
}

#[tokio::test]
async fn a_session_that_outlived_its_token_is_renewed_too_and_expires_once_more() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{TERMS}\non_expiry = \"log\""));
    let (mut client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&gate.token("alice", 60))).await;
    for _ in 0..2 {
        gate.advance(Duration::from_secs(70));
        assert_eq!(gate.lines.next().await["event"], "identity_expired");
        let fresh = gate.token("alice", 60);
        renews(&mut gate, &fresh, 1).await;
    }
    assert_eq!(gate.count("wsgate_sessions_expired_total{route=\"ws\"}"), 2.0);
    lives(&mut client, &mut upstream).await;
    client.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn no_renewal_moves_an_end_back() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let long = gate.token("alice", 600);
    let (mut client, mut upstream) = gate.session_of(&backend, &Ask::to("/ws").bearer(&long)).await;
    let short = post(&gate.token("alice", 60));
    refuses(&mut gate, &short, 404, "no_session").await;
    gate.advance(Duration::from_secs(300));
    lives(&mut client, &mut upstream).await;
    // The same token once more is no mistake: the answer to the first may have been lost.
    renews(&mut gate, &long, 1).await;
    gate.advance(Duration::from_secs(306));
    expires(&mut gate, &mut client, &mut upstream).await;
    let late = post(&gate.token("alice", 60));
    refuses(&mut gate, &late, 404, "no_session").await;
    gate.finish().await;
}

#[tokio::test]
async fn only_sessions_of_the_same_subject_issuer_and_sid_on_the_same_route_are_moved() {
    let backend = Backend::new().await;
    let setup = Setup::new();
    let other = "another secret of at least 32 bytes, for the other";
    std::fs::write(setup.folder.path().join("other"), other).unwrap();
    let blocks =
        "issuer = [\"A\", \"B\"]\n[jwt.partner]\nalgorithms = [\"HS256\"]\nsecret = \"file:other\"\nissuer = \"C\"";
    let terms = "jwt = [\"main\", \"partner\"]";
    let setup = setup.jwt(blocks).route("/ws", &backend.url(), &format!("{terms}\nrenew = \"/ws/renew\""));
    let mut gate = setup.route("/else", &backend.url(), &format!("{terms}\nrenew = \"/else/renew\"")).start();
    let mut sessions = Vec::new();
    let open = [
        ("/ws", json!({ "iss": "A", "sid": "1" })),
        ("/ws", json!({ "iss": "A", "sid": "1" })),
        ("/else", json!({ "iss": "A", "sid": "1" })),
        ("/ws", json!({ "iss": "A", "sid": "2" })),
        ("/ws", json!({ "iss": "A" })),
        ("/ws", json!({ "iss": "B", "sid": "1" })),
        ("/ws", json!({ "iss": "A", "sid": "1", "sub": "bob" })),
    ];
    for (path, more) in open {
        let ask = Ask::to(path).bearer(&token(&gate, more, 60));
        sessions.push(gate.session_of(&backend, &ask).await);
    }
    let foreign = sign_with(other, &claims(&gate, json!({ "iss": "C", "sid": "1" }), 60));
    sessions.push(gate.session_of(&backend, &Ask::to("/ws").bearer(&foreign)).await);
    let [fresh, of_nobody] = ["1", "3"].map(|sid| token(&gate, json!({ "iss": "A", "sid": sid }), 600));
    renews(&mut gate, &fresh, 2).await;
    refuses(&mut gate, &post(&of_nobody), 404, "no_session").await;
    gate.advance(Duration::from_secs(66));
    for (at, (client, upstream)) in sessions.iter_mut().enumerate() {
        match at {
            0 | 1 => lives(client, upstream).await,
            _ => expires(&mut gate, client, upstream).await,
        }
    }
    gate.advance(Duration::from_secs(540));
    for (client, upstream) in &mut sessions[..2] {
        expires(&mut gate, client, upstream).await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn the_routes_demands_are_checked_anew_for_each_session() {
    let backend = Backend::new().await;
    let keys = "jwt = \"main\"\nrenew = \"/rooms/renew\"\nrequire = { rooms = \"{room}\" }";
    let setup = Setup::new();
    let mut gate = setup.route("/rooms/{room}", &backend.url(), keys).start();
    let both = token(&gate, json!({ "rooms": ["7", "8"] }), 60);
    let mut seven = gate.session_of(&backend, &Ask::to("/rooms/7").bearer(&both)).await;
    let mut eight = gate.session_of(&backend, &Ask::to("/rooms/8").bearer(&both)).await;
    let at = |token: &str| post(token).line("POST /rooms/renew HTTP/1.1");
    let forbidden = at(&token(&gate, json!({ "rooms": ["9"] }), 600));
    refuses(&mut gate, &forbidden, 403, "token_forbidden").await;
    let head = answer(&gate, &at(&token(&gate, json!({ "rooms": ["7"] }), 600))).await;
    assert_eq!(head.status(), 200, "{head:?}");
    renewed(&mut gate, 1).await;
    gate.advance(Duration::from_secs(66));
    expires(&mut gate, &mut eight.0, &mut eight.1).await;
    lives(&mut seven.0, &mut seven.1).await;
    seven.0.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn the_token_comes_from_the_routes_places_or_the_body_and_two_must_agree() {
    let backend = Backend::new().await;
    let places = "token_from = [\"header\", \"cookie:session\", \"query:access_token\", \"subprotocol\"]";
    let mut gate = Gate::new(&backend.url(), &format!("{TERMS}\n{places}\norigins = [\"{ORIGIN}\"]"));
    let token = gate.token("alice", 60);
    let (client, _upstream) = gate.session_of(&backend, &Ask::to("/ws").with("Origin", ORIGIN).bearer(&token)).await;
    let empty = || request("POST").with("Content-Length", "0").with("Origin", ORIGIN);
    let jwt = |body: &str, kind: &str| {
        let length = body.len().to_string();
        request("POST").with("Origin", ORIGIN).with("Content-Type", kind).with("Content-Length", &length).body(body)
    };
    let good = [
        empty().bearer(&token),
        empty().with("Cookie", &format!("a=b; session={token}")),
        empty().line(&format!("POST /ws/renew?access_token={token} HTTP/1.1")),
        jwt(&token, "application/jwt"),
        jwt(&format!("{token}\n"), "Text/Plain;charset=utf-8"),
        jwt(&token, "text/plain").bearer(&token),
    ];
    for ask in good {
        assert_eq!(answer(&gate, &ask).await.status(), 200, "{ask:?}");
        renewed(&mut gate, 1).await;
    }
    let other = gate.token("alice", 600);
    refuses(&mut gate, &jwt(&other, "text/plain").bearer(&token), 403, "token_invalid").await;
    refuses(&mut gate, &empty().bearer(&token).with("Cookie", "session=x"), 403, "token_invalid").await;
    refuses(&mut gate, &empty(), 403, "token_missing").await;
    refuses(&mut gate, &empty().with("Sec-WebSocket-Protocol", &format!("bearer.{token}")), 403, "token_missing").await;
    refuses(&mut gate, &jwt("a token of nothing", "text/plain"), 403, "token_invalid").await;
    refuses(&mut gate, &jwt(&token, "application/json"), 415, "bad_renewal").await;
    refuses(&mut gate, &jwt(&token, "text/plainer"), 415, "bad_renewal").await;
    let nobody = gate.sign(&json!({ "exp": gate.clock.now().wall / 1000 + 60 }));
    refuses(&mut gate, &jwt(&nobody, "text/plain"), 400, "bad_renewal").await;
    client.reset();
    gate.ended("client", "client_lost").await;
    refuses(&mut gate, &jwt(&token, "text/plain"), 404, "no_session").await;
    gate.advance(Duration::from_secs(66));
    refuses(&mut gate, &jwt(&token, "text/plain"), 403, "token_expired").await;
    assert!(!gate.lines.all().contains(&token[..20]), "a token is in the log");
    gate.finish().await;
}

#[tokio::test]
async fn what_a_stranger_sends_is_bounded_in_size() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().jwt("max_token_size = \"1k\"").route("/ws", &backend.url(), TERMS).start();
    refuses(&mut gate, &post(&"x".repeat(1024)), 403, "token_invalid").await;
    refuses(&mut gate, &post(&"x".repeat(1027)), 413, "bad_renewal").await;
    let chunked = request("POST").with("Content-Type", "text/plain").with("Transfer-Encoding", "chunked");
    let chunk = format!("401\r\n{}\r\n", "x".repeat(1025)).repeat(2);
    refuses(&mut gate, &chunked.body(&chunk), 413, "bad_renewal").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_to_its_end_is_waited_for_until_handshake_timeout() {
    let backend = Backend::new().await;
    let setup = Setup::new().listener("handshake_timeout = \"500ms\"");
    let mut gate = setup.route("/ws", &backend.url(), TERMS).start();
    let slow = request("POST").with("Content-Type", "text/plain").with("Content-Length", "100");
    refuses(&mut gate, &slow.body("half"), 408, "handshake_timeout").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_midst_of_the_body_is_lost() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let mut leaver = gate.asking(&request("POST").with("Content-Type", "text/plain").with("Content-Length", "9")).await;
    leaver.send("x").await;
    leaver.reset();
    let line = gate.lines.next().await;
    assert_eq!((&line["event"], &line["reason"]), (&json!("renewal"), &json!("client_lost")), "{line}");
    gate.finish().await;
}

#[tokio::test]
async fn the_path_is_no_place_for_a_handshake_or_any_other_method() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    let token = gate.token("alice", 60);
    for ask in [Ask::to("/ws/renew").bearer(&token), request("GET"), request("PUT"), request("DELETE")] {
        let head = refuses(&mut gate, &ask, 405, "bad_renewal").await;
        assert_eq!(head.one("allow"), Some("POST, OPTIONS"));
    }
    refuses(&mut gate, &post(&token).with("Origin", "a").with("Origin", "b"), 400, "bad_renewal").await;
    let head = answer_of_handshake(&gate, &post(&token).with("Host", "elsewhere")).await;
    assert_eq!(head.status(), 400, "a head that nobody reads: {head:?}");
    gate.refused("bad_handshake").await;
    let head = answer_of_handshake(&gate, &post(&token).line("POST /ws/renew/ HTTP/1.1")).await;
    assert_eq!(head.status(), 400, "an exact path has nothing below it: {head:?}");
    gate.refused("bad_handshake").await;
    backend.saw_nobody();
    gate.finish().await;
}

async fn answer_of_handshake(gate: &Gate, ask: &Ask) -> Head {
    let mut client = gate.asking(ask).await;
    let head = client.head().await;
    client.ended().await;
    head
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_ask_send_and_read_and_no_other_may() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{TERMS}\norigins = [\"{ORIGIN}\"]"));
    let ask = Ask::to("/ws").with("Origin", ORIGIN).bearer(&gate.token("alice", 60));
    let (client, _upstream) = gate.session_of(&backend, &ask).await;
    let preflight = request("OPTIONS")
        .with("Access-Control-Request-Method", "POST")
        .with("Access-Control-Request-Headers", "authorization,content-type");
    let head = answer(&gate, &preflight.clone().with("Origin", ORIGIN)).await;
    assert_eq!(head.status(), 204, "{head:?}");
    for (name, value) in [
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization, content-type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(head.one(name), Some(value));
    }
    let token = gate.token("alice", 600);
    let head = answer(&gate, &post(&token).with("Origin", ORIGIN)).await;
    assert_eq!((head.status(), head.one("access-control-allow-origin")), (200, Some(ORIGIN)));
    assert_eq!(head.one("access-control-allow-credentials"), Some("true"));
    assert_eq!(renewed(&mut gate, 1).await["origin"], json!(ORIGIN));
    let head = refuses(&mut gate, &post("x").with("Origin", ORIGIN), 403, "token_invalid").await;
    assert_eq!(head.one("access-control-allow-origin"), Some(ORIGIN), "a page may read why not");

    let evil = "https://evil.example";
    for ask in [preflight.clone().with("Origin", evil), post(&token).with("Origin", evil)] {
        let head = refuses(&mut gate, &ask, 403, "origin_forbidden").await;
        assert_eq!(head.one("access-control-allow-origin"), None);
        assert_eq!(head.one("access-control-allow-credentials"), None);
    }
    for ask in [preflight, post(&token)] {
        refuses(&mut gate, &ask, 403, "origin_missing").await;
    }
    client.reset();
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_renewal_is_charged_to_the_rate_of_handshakes() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{TERMS}\nhandshakes = {{ rate = \"1r/m\" }}"));
    refuses(&mut gate, &post("x"), 403, "token_invalid").await;
    let head = refuses(&mut gate, &post("x"), 429, "handshake_rate").await;
    assert!(head.one("retry-after").is_some());
    let told = gate.refusal(&Ask::to("/ws").bearer(&gate.token("alice", 60))).await;
    assert_eq!(told.status(), 429);
    gate.refused("handshake_rate").await;
    gate.finish().await;
}

/// Who waits holds a socket, and a renewal has no slot that would bound how many do.
#[tokio::test]
async fn a_renewal_waits_for_its_turn_only_with_a_token_that_moves_something() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), &format!("{TERMS}\nhandshakes = {{ rate = \"1r/m\", burst = 9 }}"));
    refuses(&mut gate, &post("x"), 403, "token_invalid").await;
    refuses(&mut gate, &post("x"), 403, "token_invalid").await;
    let nobodys = token(&gate, json!({}), 60);
    refuses(&mut gate, &post(&nobodys), 404, "no_session").await;
    gate.finish().await;
}

#[tokio::test]
async fn renewals_and_ends_that_race_leave_every_session_either_alive_or_expired() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), TERMS);
    for round in 0..20 {
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(gate.session_of(&backend, &Ask::to("/ws").bearer(&gate.token("alice", 60))).await);
        }
        let fresh = gate.token("alice", 600);
        let mut poster = gate.asking(&post(&fresh)).await;
        gate.advance(Duration::from_secs(66));
        let head = poster.head().await;
        poster.ended().await;
        drop(poster);
        let said =
            if head.status() == 200 { serde_json::from_str(&head.body).unwrap() } else { json!({ "renewed": 0 }) };
        // An end is written down once its Closes are said, so the renewal is the first line.
        assert_eq!(gate.lines.next().await["sessions"], said["renewed"], "round {round}: {head:?}");
        let mut alive = 0;
        for (client, upstream) in &mut sessions {
            upstream.say(&Frame::text("alive")).await;
            match client.frame().await {
                frame if frame == Frame::text("alive") => alive += 1,
                frame => assert_eq!(frame.as_close(), (4001, "token_expired")),
            }
        }
        assert_eq!(json!(alive), said["renewed"], "round {round}");
        for (client, upstream) in sessions {
            client.reset();
            upstream.reset();
        }
        gate.rests().await;
        for _ in 0..3 {
            assert_eq!(gate.lines.next().await["event"], "session_ended");
        }
    }
    gate.finish().await;
}
