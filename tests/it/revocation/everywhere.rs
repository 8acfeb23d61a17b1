//! One list of revocations for several gateways, in a real Redis that is killed, stopped, flushed and written to by others.

use wsgate::policy::revocation::entry::{Entry, What};
use wsgate::policy::revocation::shared::{Record, words};

use super::*;
use crate::harness::redis::Server;
use crate::harness::within;

const HASH: &str = "{wsgate}:revocations";

fn shared(upstream: &str, server: &Server, section: &str, redis: &str) -> Setup {
    let redis = format!("[redis]\nurl = \"{}\"\ntimeout = \"1s\"\n{redis}", server.url());
    setup(upstream, &format!("store = \"redis\"\nclaims = [\"device\"]\n{section}\n{redis}"))
}

/// One that has seen the list.
async fn start(upstream: &str, server: &Server, section: &str) -> Gate {
    let gate = shared(upstream, server, section, "").start();
    until("the list to be loaded", || gate.count("wsgate_revocations_loaded_timestamp_seconds") > 0.0).await;
    gate
}

async fn listed(gate: &Gate) -> Vec<Value> {
    let page: Value = serde_json::from_str(&gate.page("/revocations").await.body).unwrap();
    let mut all = page["revocations"].as_array().unwrap().clone();
    all.sort_by_key(|entry| entry["id"].to_string());
    all
}

async fn count_is(gate: &Gate, count: usize) {
    until(&format!("{count} revocations"), || gate.count("wsgate_revocations") == count as f64).await;
}

async fn lift(gate: &Gate, id: &Value) -> u16 {
    gate.operate("DELETE", &format!("/revocations/{}", id.as_str().unwrap()), "").await.status()
}

fn entry(id: &str, subject: &str, wall: u64) -> Entry {
    let what = What::Subject(subject.to_owned());
    Entry { id: id.parse().unwrap(), what, jwt: None, created: wall, expires: wall + HOUR * 1000, note: None }
}

fn write(server: &Server, entry: Entry) {
    let field = words(&entry).to_hex();
    let revoked = entry.created;
    let record = Record::live(entry, revoked).to_json();
    server.ask::<()>(&["HSET", HASH, &field, &record]);
}

/// Long enough for the next look, by the gateway's clock.
fn look(gate: &Gate) {
    gate.clock.advance(Duration::from_secs(31));
    gate.shared().revoking.wake();
}

#[tokio::test]
async fn what_is_revoked_at_one_gateway_is_out_at_the_other_and_what_is_lifted_at_that_one_holds_again() {
    let (backend, server) = (Backend::new().await, Server::start());
    let mut one = start(&backend.url(), &server, "").await;
    let mut two = start(&backend.url(), &server, "").await;
    let of = |n: u64| json!({ "sub": "alice", "jti": format!("t{n}"), "sid": format!("s{n}"), "iat": 1000 + n, "device": [n, "any"] });
    for body in [
        json!({ "jti": "t1" }),
        json!({ "claim": "sid", "value": "s1" }),
        json!({ "claim": "device", "value": 1, "jwt": "main", "note": "lost" }),
        json!({ "subject": "alice", "issued_before": 1002 }),
    ] {
        let named = session(&two, &backend, of(1)).await;
        let mut other = session(&two, &backend, of(2)).await;
        let answer = one.revoke(&body).await;
        assert_eq!((&answer["published"], &answer["sessions"]), (&json!(true), &json!(0)), "{answer}");
        is_ended(&mut two, named).await;
        is_open(&mut other).await;
        assert_eq!(handshake(&mut two, of(1)).await, 403);
        assert_eq!(listed(&one).await, listed(&two).await);
        assert_eq!(listed(&one).await[0]["id"], answer["id"]);
        // The same once more at the other is the same.
        let again = two.revoke(&body).await;
        assert_eq!(again["id"], answer["id"]);
        assert_eq!(lift(&two, &answer["id"]).await, 204);
        count_is(&one, 0).await;
        let peers = session(&one, &backend, of(1)).await;
        drop((other, peers));
        two.ended("client", "client_lost").await;
        one.ended("client", "client_lost").await;
    }
    assert_eq!(lift(&one, &json!("0123456789abcdef")).await, 404);
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn what_is_said_while_redis_is_dead_counts_here_at_once_and_everywhere_once_it_is_back_empty() {
    let (echo, mut server) = (Echo::new().await, Server::start());
    let mut one = start(&echo.url(), &server, "").await;
    let mut two = start(&echo.url(), &server, "").await;
    let old = one.revoke(&json!({ "subject": "old" })).await;
    count_is(&two, 1).await;
    server.kill();
    let answer = one.revoke(&json!({ "subject": "alice" })).await;
    assert_eq!(answer["published"], false, "{answer}");
    assert_eq!(one.count("wsgate_revocations_unpublished"), 1.0);
    assert_eq!(handshake(&mut one, json!({ "sub": "alice" })).await, 403);
    assert_eq!(handshake(&mut two, json!({ "sub": "alice" })).await, 101);
    // All or none.
    assert_eq!(lift(&one, &old["id"]).await, 503);
    assert_eq!(handshake(&mut one, json!({ "sub": "old" })).await, 403);
    // Told twice, since one could not tell the other: the same is one in the end.
    two.revoke(&json!({ "subject": "bob" })).await;
    one.revoke(&json!({ "subject": "bob" })).await;
    server.restart();
    count_is(&one, 3).await;
    count_is(&two, 3).await;
    until("everything to be published", || one.count("wsgate_revocations_unpublished") == 0.0).await;
    until("both to say the same", || {
        let of = |gate: &Gate| gate.shared().edition().policy.revocations.entries(9, gate.clock.now().wall).0;
        let ids = |gate: &Gate| of(gate).iter().map(|entry| entry.id).collect::<std::collections::BTreeSet<_>>();
        ids(&one) == ids(&two)
    })
    .await;
    assert_eq!(handshake(&mut two, json!({ "sub": "alice" })).await, 403);
    assert_eq!(lift(&two, &old["id"]).await, 204);
    count_is(&one, 2).await;
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_redis_that_hangs_delays_a_revocation_by_its_timeout_and_others_hear_of_it_when_it_goes_on() {
    let (echo, server) = (Echo::new().await, Server::start());
    let mut one = start(&echo.url(), &server, "").await;
    let two = start(&echo.url(), &server, "").await;
    server.hang();
    let answer = within("an answer", one.revoke(&json!({ "subject": "alice" }))).await;
    assert_eq!(answer["published"], false, "{answer}");
    assert_eq!(handshake(&mut one, json!({ "sub": "alice" })).await, 403);
    assert_eq!(lift(&one, &answer["id"]).await, 503);
    server.go_on();
    count_is(&two, 1).await;
    assert_eq!(listed(&one).await, listed(&two).await);
    one.finish().await;
    two.finish().await;
}

#[tokio::test]
async fn a_redis_that_forgets_gets_everything_back_and_what_was_lifted_stays_lifted() {
    let (echo, server, folder) = (Echo::new().await, Server::start(), TempDir::new().unwrap());
    let file = format!("file = \"{}\"", folder.path().join("r.json").display());
    let one = start(&echo.url(), &server, "").await;
    let two = start(&echo.url(), &server, &file).await;
    let lifted = one.revoke(&json!({ "subject": "lifted" })).await;
    one.revoke(&json!({ "subject": "kept" })).await;
    count_is(&two, 2).await;
    // What came from the other is on the disk too.
    let kept = || String::from_utf8(std::fs::read(folder.path().join("r.json")).unwrap()).unwrap().contains("\"kept\"");
    until("the file", kept).await;
    two.finish().await;
    assert_eq!(lift(&one, &lifted["id"]).await, 204);
    server.flush();
    // Away when it was lifted, with its file; and Redis knows nothing of it.
    let mut two = start(&echo.url(), &server, &file).await;
    look(&one);
    count_is(&one, 1).await;
    look(&two);
    count_is(&two, 1).await;
    assert_eq!(handshake(&mut two, json!({ "sub": "lifted" })).await, 101);
    assert_eq!(handshake(&mut two, json!({ "sub": "kept" })).await, 403);
    let stored: usize = server.ask(&["HLEN", HASH]);
    assert_eq!(stored, 3, "one that counts, that one was lifted, and the name of the change");
    // Redis has what one knows: a newcomer gets it.
    let three = start(&echo.url(), &server, "").await;
    assert_eq!(listed(&three).await, listed(&one).await);
    for gate in [one, two, three] {
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_gateway_that_starts_without_redis_has_its_file_and_is_ready_unless_it_must_be_closed() {
    let (echo, mut server, folder) = (Echo::new().await, Server::start(), TempDir::new().unwrap());
    let file = format!("file = \"{}\"", folder.path().join("r.json").display());
    let gate = start(&echo.url(), &server, &file).await;
    gate.revoke(&json!({ "subject": "alice" })).await;
    gate.finish().await;
    server.kill();
    let mut open = shared(&echo.url(), &server, &file, "on_error = \"local\"").start();
    assert_eq!(handshake(&mut open, json!({ "sub": "alice" })).await, 403);
    assert_eq!(open.page("/readyz").await.status(), 200);
    let closed = shared(&echo.url(), &server, "", "on_error = \"closed\"").start();
    let page = closed.page("/readyz").await;
    assert_eq!(page.status(), 503);
    assert!(page.body.contains("revocations"), "{}", page.body);
    server.restart();
    count_is(&closed, 1).await;
    until("the list to be loaded", || closed.count("wsgate_revocations_loaded_timestamp_seconds") > 0.0).await;
    assert_eq!(closed.page("/readyz").await.status(), 200);
    open.finish().await;
    closed.finish().await;
}

#[tokio::test]
async fn a_change_that_nobody_was_told_of_is_found_at_the_next_look() {
    let (echo, server) = (Echo::new().await, Server::start());
    let mut gate = start(&echo.url(), &server, "").await;
    write(&server, entry("0123456789abcdef", "alice", gate.clock.now().wall));
    server.ask::<()>(&["HSET", HASH, "change", "nobody-heard"]);
    look(&gate);
    count_is(&gate, 1).await;
    assert_eq!(handshake(&mut gate, json!({ "sub": "alice" })).await, 403);
    gate.finish().await;
}

#[tokio::test]
async fn what_is_no_revocation_is_skipped_and_counted_and_the_rest_counts() {
    let (echo, server) = (Echo::new().await, Server::start());
    let wall = wsgate::now::Clock::system().now().wall;
    let alice = entry("0123456789abcdef", "alice", wall);
    let theirs = Record::live(entry("00000000000000ff", "eve", wall), wall).to_json();
    let far = format!("{{\"lifted\":{},\"until\":{}}}", u64::MAX, u64::MAX);
    // No JSON, one that is long, and longer than a gateway takes, one under another's name, one of a time that never comes.
    let field = |n: u8| format!("{:032x}", u128::from(n));
    let long = "x".repeat(1024 * 1024);
    for (n, value) in ["{", &"x".repeat(5000), &long, &theirs, &far, "{}", "?"].into_iter().enumerate() {
        server.ask::<()>(&["HSET", HASH, &field(n as u8), value]);
    }
    server.ask::<()>(&["HSET", HASH, &long, "x"]);
    // And one in a place that is needed.
    let needed = words(&entry("0123456789abcdef", "bob", wall)).to_hex();
    server.ask::<()>(&["HSET", HASH, &needed, &long]);
    write(&server, alice);
    let mut gate = start(&echo.url(), &server, "").await;
    assert!(gate.count("wsgate_revocations_broken_total") >= 9.0);
    count_is(&gate, 1).await;
    assert_eq!(handshake(&mut gate, json!({ "sub": "alice" })).await, 403);
    assert_eq!(handshake(&mut gate, json!({ "sub": "eve" })).await, 101);
    assert_eq!(gate.revoke(&json!({ "subject": "bob" })).await["published"], true);
    // The same said in the channel.
    let heard = gate.count("wsgate_revocations_broken_total");
    for message in ["", "a b c d", &long, "\u{0}"] {
        server.ask::<()>(&["PUBLISH", "{wsgate}:channel:revocations", message]);
    }
    until("three to be counted", || gate.count("wsgate_revocations_broken_total") >= heard + 3.0).await;
    // A key of another type: nothing can be read, and it is said.
    server.ask::<()>(&["DEL", HASH]);
    server.ask::<()>(&["SET", HASH, "no hash"]);
    assert_eq!(gate.revoke(&json!({ "subject": "carol" })).await["published"], false);
    assert_eq!(handshake(&mut gate, json!({ "sub": "carol" })).await, 403);
    server.ask::<()>(&["DEL", HASH]);
    look(&gate);
    until("carol to be published", || gate.count("wsgate_revocations_unpublished") == 0.0).await;
    until("all to be back", || server.ask::<usize>(&["HLEN", HASH]) == 4).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_list_that_is_full_takes_no_more_at_any_gateway_and_what_two_said_apart_is_kept() {
    let (echo, mut server) = (Echo::new().await, Server::start());
    let mut one = start(&echo.url(), &server, "entries = 2").await;
    let two = start(&echo.url(), &server, "entries = 2").await;
    one.revoke(&json!({ "subject": "a" })).await;
    count_is(&two, 1).await;
    server.kill();
    one.revoke(&json!({ "subject": "b" })).await;
    two.revoke(&json!({ "subject": "c" })).await;
    server.restart();
    count_is(&one, 3).await;
    count_is(&two, 3).await;
    for gate in [&one, &two] {
        assert_eq!(gate.operate("POST", "/revocations", "{\"subject\":\"d\"}").await.status(), 507);
    }
    // More than twice as many are not taken from anybody.
    let wall = one.clock.now().wall;
    for n in 0..20 {
        write(&server, entry(&format!("{n:016x}"), &format!("s{n}"), wall));
    }
    server.ask::<()>(&["HSET", HASH, "change", "another"]);
    look(&one);
    count_is(&one, 4).await;
    assert_eq!(handshake(&mut one, json!({ "sub": "b" })).await, 403);
    one.finish().await;
    two.finish().await;
}
