//! Tokens that are ended before their time: in live sessions, at handshakes, and over a restart.

mod everywhere;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use wsgate::load;

use crate::harness::gate::SECRET;
use crate::harness::{Ask, Backend, Echo, Frame, Gate, Peer, Setup, until};

const HOUR: u64 = 3600;

fn setup(upstream: &str, section: &str) -> Setup {
    let terms = "jwt = \"main\"\norigins = \"any\"\nrenew = \"/ws/renew\"";
    Setup::new().route("/ws", upstream, terms).admin(&format!("[revocation]\n{section}"))
}

/// A token of these claims that is good for ten hours.
fn token(gate: &Gate, mut claims: Value) -> String {
    claims["exp"] = json!(gate.clock.now().wall / 1000 + 10 * HOUR);
    gate.sign(&claims)
}

async fn session(gate: &Gate, backend: &Backend, claims: Value) -> (Peer, Peer) {
    gate.session_of(backend, &Ask::to("/ws").bearer(&token(gate, claims))).await
}

/// The status of a handshake that does not get past the gateway, or 101 after a session that was closed again.
async fn handshake(gate: &mut Gate, claims: Value) -> u16 {
    let mut client = gate.asking(&Ask::to("/ws").bearer(&token(gate, claims))).await;
    let head = client.head().await;
    if head.status() == 101 {
        client.say(&Frame::close(1000, "")).await;
        assert_eq!(client.frame().await.as_close().0, 1000);
        gate.ended("client", "closed").await;
        return 101;
    }
    assert!(head.body.starts_with("token_revoked: "), "{head:?}");
    gate.refused("token_revoked").await;
    head.status()
}

/// Both sides get the Close, and answer it.
async fn is_ended(gate: &mut Gate, peers: (Peer, Peer)) -> Value {
    for mut peer in [peers.0, peers.1] {
        assert_eq!(peer.frame().await.as_close(), (4001, "token_revoked"));
        peer.say(&Frame::close(4001, "")).await;
        peer.ended().await;
    }
    gate.ended("gateway", "token_revoked").await
}

/// What one side says the other hears.
async fn is_open((client, upstream): &mut (Peer, Peer)) {
    client.say(&Frame::text("still here?")).await;
    assert_eq!(upstream.frame().await, Frame::text("still here?"));
    upstream.say(&Frame::text("yes")).await;
    assert_eq!(client.frame().await, Frame::text("yes"));
}

#[tokio::test]
async fn a_revoked_subject_is_out_on_both_sides_and_everybody_else_stays() {
    let backend = Backend::new().await;
    let mut gate = setup(&backend.url(), "").start();
    let (first, second) = (
        session(&gate, &backend, json!({ "sub": "alice", "jti": "a1" })).await,
        session(&gate, &backend, json!({ "sub": "alice", "jti": "a2" })).await,
    );
    let mut other = session(&gate, &backend, json!({ "sub": "bob" })).await;
    let answer = gate.revoke(&json!({ "subject": "alice" })).await;
    assert_eq!((&answer["sessions"], answer.get("saved")), (&json!(2), None), "{answer}");
    for peers in [first, second] {
        let line = is_ended(&mut gate, peers).await;
        assert_eq!((&line["subject"], &line["close_code"]), (&json!("alice"), &json!(4001)));
    }
    is_open(&mut other).await;
    assert_eq!(gate.count("wsgate_revocations"), 1.0);
    drop(other);
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn each_kind_ends_the_live_sessions_it_names_alone() {
    let backend = Backend::new().await;
    let mut gate = setup(&backend.url(), "claims = [\"device\", \"tenant.id\"]").start();
    let of = |n: u64| {
        json!({ "sub": "alice", "jti": format!("t{n}"), "sid": format!("s{n}"), "iat": 1000 + n,
                              "device": [n, "any"], "tenant": { "id": format!("o{n}") } })
    };
    for words in [
        json!({ "jti": "t1" }),
        json!({ "claim": "sid", "value": "s1" }),
        json!({ "claim": "device", "value": 1 }),
        json!({ "claim": "tenant.id", "value": "o1", "jwt": "main" }),
        json!({ "subject": "alice", "issued_before": 1002 }),
    ] {
        let named = session(&gate, &backend, of(1)).await;
        let mut other = session(&gate, &backend, of(2)).await;
        let answer = gate.revoke(&words).await;
        assert_eq!(answer["sessions"], 1, "{answer}");
        is_ended(&mut gate, named).await;
        is_open(&mut other).await;
        drop(other);
        gate.ended("client", "client_lost").await;
        let lifted = gate.operate("DELETE", &format!("/revocations/{}", answer["id"].as_str().unwrap()), "").await;
        assert_eq!(lifted.status(), 204);
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_handshake_is_refused_until_the_revocation_is_over_or_lifted() {
    let echo = Echo::new().await;
    let mut gate = setup(&echo.url(), "").start();
    let alice = || json!({ "sub": "alice" });
    assert_eq!(handshake(&mut gate, alice()).await, 101);
    gate.revoke(&json!({ "subject": "alice", "expires_in": "1h" })).await;
    assert_eq!(handshake(&mut gate, alice()).await, 403);
    assert_eq!(handshake(&mut gate, json!({ "sub": "bob" })).await, 101);
    gate.advance(Duration::from_secs(HOUR - 1));
    assert_eq!(handshake(&mut gate, alice()).await, 403);
    gate.advance(Duration::from_secs(1));
    assert_eq!(handshake(&mut gate, alice()).await, 101);
    assert_eq!(gate.count("wsgate_revocations"), 0.0);

    let answer = gate.revoke(&json!({ "subject": "alice" })).await;
    assert_eq!(handshake(&mut gate, alice()).await, 403);
    let path = format!("/revocations/{}", answer["id"].as_str().unwrap());
    assert_eq!(gate.operate("DELETE", &path, "").await.status(), 204);
    assert_eq!(handshake(&mut gate, alice()).await, 101);
    gate.finish().await;
}

#[tokio::test]
async fn a_refusal_says_why_to_the_operator_and_asks_for_another_token_where_the_route_does() {
    let echo = Echo::new().await;
    let route = "jwt = \"main\"\norigins = \"any\"";
    let mut gate = Setup::new().jwt("status = 401").route("/ws", &echo.url(), route).start();
    gate.revoke(&json!({ "jti": "t1" })).await;
    let refused = gate.refusal(&Ask::to("/ws").bearer(&token(&gate, json!({ "sub": "a", "jti": "t1" })))).await;
    assert_eq!((refused.status(), refused.one("www-authenticate")), (401, Some("Bearer error=\"invalid_token\"")));
    let line = gate.refused("token_revoked").await;
    assert_eq!((&line["why"], &line["subject"]), (&json!("its jti is revoked"), &json!("a")));
    gate.finish().await;
}

#[tokio::test]
async fn a_handshake_that_was_judged_before_the_revocation_and_listed_after_it_is_ended_too() {
    let backend = Backend::new().await;
    let mut gate = setup(&backend.url(), "").start();
    let mut client = gate.asking(&Ask::to("/ws").bearer(&token(&gate, json!({ "sub": "alice" })))).await;
    // It was admitted, or the gateway would not be here.
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    assert_eq!(gate.revoke(&json!({ "subject": "alice" })).await["sessions"], 0);
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    is_ended(&mut gate, (client, upstream)).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_is_revoked_while_he_waits_for_his_turn_never_reaches_the_upstream() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nhandshakes = { rate = \"1r/s\", burst = 1 }";
    let mut gate = Setup::new().route("/ws", &backend.url(), terms).start();
    let alice = Ask::to("/ws").bearer(&token(&gate, json!({ "sub": "alice" })));
    let (first, _upstream) = gate.session_of(&backend, &alice).await;
    first.reset();
    gate.ended("client", "client_lost").await;
    let mut waiting = gate.asking(&alice).await;
    until("the second to wait", || gate.shared().edition().policy.total.used() == 1).await;
    gate.revoke(&json!({ "subject": "alice" })).await;
    assert_eq!(waiting.head().await.status(), 403);
    gate.refused("token_revoked").await;
    backend.saw_nobody();
    gate.finish().await;
}

/// The answer to a renewal with this token.
async fn renew(gate: &Gate, token: &str) -> u16 {
    let mut client = gate.client().await;
    let head = "POST /ws/renew HTTP/1.1\r\nHost: chat.example.com\r\nContent-Length: 0\r\n";
    client.send(format!("{head}Authorization: Bearer {token}\r\n\r\n")).await;
    client.head().await.status()
}

#[tokio::test]
async fn a_renewed_session_is_revoked_by_its_new_token_and_no_longer_by_the_old_one() {
    let backend = Backend::new().await;
    let mut gate = setup(&backend.url(), "").start();
    let mut peers = session(&gate, &backend, json!({ "sub": "alice", "jti": "old" })).await;
    let newer = |jti: &str| {
        let exp = gate.clock.now().wall / 1000 + 11 * HOUR;
        gate.sign(&json!({ "sub": "alice", "jti": jti, "exp": exp }))
    };
    let (good, bad) = (newer("new"), newer("stolen"));
    gate.revoke(&json!({ "jti": "stolen" })).await;
    assert_eq!(renew(&gate, &bad).await, 403);
    assert!((200..300).contains(&renew(&gate, &good).await));
    for sessions in [0, 1] {
        let line = gate.lines.next().await;
        assert_eq!((&line["event"], &line["sessions"]), (&json!("renewal"), &json!(sessions)), "{line}");
    }
    assert_eq!(gate.revoke(&json!({ "jti": "old" })).await["sessions"], 0);
    is_open(&mut peers).await;
    assert_eq!(gate.revoke(&json!({ "jti": "new" })).await["sessions"], 1);
    is_ended(&mut gate, peers).await;
    gate.finish().await;
}

#[tokio::test]
async fn revocations_survive_a_restart() {
    let (echo, folder) = (Echo::new().await, TempDir::new().unwrap());
    let path = folder.path().join("revocations.json");
    let section = format!("file = \"{}\"", path.display());
    let gate = setup(&echo.url(), &section).start();
    let answer = gate.revoke(&json!({ "subject": "alice", "note": "left" })).await;
    assert_eq!(answer["saved"], true, "{answer}");
    let lifted = gate.revoke(&json!({ "subject": "bob" })).await;
    assert_eq!(
        gate.operate("DELETE", &format!("/revocations/{}", lifted["id"].as_str().unwrap()), "").await.status(),
        204
    );
    gate.finish().await;
    // As a crash in the midst of a write would leave it.
    std::fs::write(folder.path().join("revocations.json.new"), "{\"version\": 1, \"revo").unwrap();

    let mut gate = setup(&echo.url(), &section).start();
    assert_eq!(handshake(&mut gate, json!({ "sub": "alice" })).await, 403);
    assert_eq!(handshake(&mut gate, json!({ "sub": "bob" })).await, 101);
    let list: Value = serde_json::from_str(&gate.page("/revocations").await.body).unwrap();
    assert_eq!((&list["total"], &list["revocations"][0]["id"]), (&json!(1), &answer["id"]), "{list}");
    assert_eq!(list["revocations"][0]["note"], "left");
    gate.finish().await;
}

#[tokio::test]
async fn a_revocation_that_can_not_be_written_down_holds_and_says_so() {
    let (echo, folder) = (Echo::new().await, TempDir::new().unwrap());
    let path = folder.path().join("r.json");
    let mut gate = setup(&echo.url(), &format!("file = \"{}\"", path.display())).start();
    // Where the new list would be written there is a folder.
    let beside = folder.path().join("r.json.new");
    std::fs::create_dir(&beside).unwrap();
    let answer = gate.revoke(&json!({ "subject": "alice" })).await;
    assert_eq!(answer["saved"], false, "{answer}");
    assert_eq!(gate.count("wsgate_revocation_file_errors_total"), 1.0);
    assert_eq!(handshake(&mut gate, json!({ "sub": "alice" })).await, 403);
    let lifted = gate.operate("DELETE", &format!("/revocations/{}", answer["id"].as_str().unwrap()), "").await;
    assert_eq!(lifted.status(), 500, "{lifted:?}");
    std::fs::remove_dir(&beside).unwrap();
    assert_eq!(gate.revoke(&json!({ "subject": "bob" })).await["saved"], true);
    let kept = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
    assert!(kept.contains("bob") && !kept.contains("alice"), "{kept}");
    gate.finish().await;
}

#[tokio::test]
async fn a_full_list_takes_no_more_and_the_others_still_count() {
    let echo = Echo::new().await;
    let mut gate = setup(&echo.url(), "entries = 1").start();
    gate.revoke(&json!({ "subject": "alice" })).await;
    let refused = gate.operate("POST", "/revocations", "{\"subject\":\"bob\"}").await;
    assert_eq!(refused.status(), 507, "{refused:?}");
    assert_eq!(handshake(&mut gate, json!({ "sub": "alice" })).await, 403);
    assert_eq!(handshake(&mut gate, json!({ "sub": "bob" })).await, 101);
    assert_eq!([gate.count("wsgate_revocations"), gate.count("wsgate_revocations_capacity")], [1.0, 1.0]);
    gate.finish().await;
}

#[tokio::test]
async fn a_token_that_could_not_be_revoked_by_all_its_values_opens_nothing() {
    let echo = Echo::new().await;
    let mut gate = setup(&echo.url(), "claims = [\"groups\"]").start();
    let many: Vec<u32> = (0..33).collect();
    let refused = gate.refusal(&Ask::to("/ws").bearer(&token(&gate, json!({ "sub": "a", "groups": many })))).await;
    assert_eq!(refused.status(), 403);
    gate.refused("token_invalid").await;
    gate.finish().await;
}

/// What a start says of a folder with this file in it.
fn start(text: &[u8]) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("r.json"), text).unwrap();
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n\
                  [revocation]\nfile = \"r.json\"\n";
    let env = |_: &str| Some(SECRET.to_owned());
    let loaded = load::text(config, "test.toml", Path::new(folder.path()), &env);
    loaded.map(|_| ()).map_err(|report| report.to_string())
}

#[test]
fn a_file_that_was_cut_or_altered_stops_the_start_with_its_place() {
    let whole = r#"{"version":1,"revocations":[{"id":"0123456789abcdef","subject":"a","created":"2026-11-23T12:00:00.000Z","expires":"2026-11-24T12:00:00.000Z"}]}"#;
    assert_eq!(start(whole.as_bytes()), Ok(()));
    for (text, place) in [(&whole[..80], "line 1 column 80"), ("", "line 1 column 1"), ("{}", "line 1 column 2")] {
        let said = start(text.as_bytes()).unwrap_err();
        assert!(said.contains("revocation.file") && said.contains("r.json") && said.contains(place), "{said}");
    }
    assert!(start(b"\xff").unwrap_err().contains("UTF-8"));
}

#[test]
fn revocations_that_end_nobody_any_more_are_told_of_at_the_start() {
    let folder = TempDir::new().unwrap();
    let entry = |id: u8, what: &str| {
        format!(
            "{{\"id\": \"000000000000000{id}\", {what}, \"created\": \"2026-01-01T00:00:00Z\", \"expires\": \"2126-01-01T00:00:00Z\"}}"
        )
    };
    let entries = [
        entry(1, "\"subject\": \"alice\""),
        entry(2, "\"claim\": \"sid\", \"value\": \"s\""),
        entry(3, "\"claim\": \"device\", \"value\": \"d\""),
        entry(4, "\"subject\": \"alice\", \"jwt\": \"gone\""),
    ];
    let text = format!("{{\"version\": 1, \"revocations\": [{}]}}", entries.join(","));
    std::fs::write(folder.path().join("r.json"), text).unwrap();
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n\
        [revocation]\nfile = \"r.json\"\n";
    let loaded = load::text(config, "test.toml", folder.path(), &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let [warning] = loaded.warnings.problems() else { panic!("{}", loaded.warnings) };
    assert_eq!(warning.path, "revocation.file");
    assert!(warning.message.starts_with("2 revocations"), "{warning:?}");
}

#[test]
fn a_folder_that_is_not_there_yet_is_a_warning() {
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n\
                  [revocation]\nfile = \"state/r.json\"\n";
    let folder = TempDir::new().unwrap();
    let warnings = || match load::text(config, "test.toml", folder.path(), &|_| None) {
        Ok(loaded) => loaded.warnings.problems().iter().map(|problem| problem.message.clone()).collect::<Vec<_>>(),
        Err(report) => panic!("{report}"),
    };
    assert!(warnings()[0].starts_with("there is no folder"), "{:?}", warnings());
    std::fs::create_dir(folder.path().join("state")).unwrap();
    assert_eq!(warnings(), Vec::<String>::new());
}
