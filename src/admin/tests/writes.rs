//! What an operator may change, and who may.

use serde_json::{Value, json};

use super::*;
use crate::policy::claims::Claims;
use crate::session::live::Entry;

pub(super) const TOKEN: &str = "0123456789abcdef";

/// An answer that may take its time, and change something.
fn ask<B>(state: &Arc<AdminState>, peer: IpAddr, request: Request<B>) -> Response<Full<Bytes>>
where
    B: hyper::body::Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, answer(state.clone(), (peer, 50_000).into(), request))
}

pub(super) fn revocation(text: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/revocations").header("content-type", "application/json; charset=utf-8");
    request.body(Full::new(text.to_owned().into())).unwrap()
}

fn post(state: &Arc<AdminState>, text: &str) -> (u16, Value) {
    let (status, text) = body(ask(state, HERE, revocation(text)));
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn delete(state: &Arc<AdminState>, target: &str) -> (u16, String) {
    body(ask(state, HERE, Request::delete(target).body(Empty::new()).unwrap()))
}

/// A live session of this subject.
pub(super) fn enter(state: &AdminState, route: &str, subject: &str) -> Entry {
    let Value::Object(claims) = json!({ "sub": subject }) else { unreachable!() };
    let marks = state.revoking.list().marks(&Claims::from(claims)).unwrap();
    let identity = Identity { subject: Some(subject.into()), jwt: Some("main".into()), marks, ..Identity::default() };
    let (id, now) = (state.books.ids.next(), state.books.clock.now());
    state.books.sessions.enter(
        0,
        Live::new(
            id,
            route.into(),
            crate::pool::Lease::of_nobody().server().clone(),
            Holder::from(&identity),
            ELSEWHERE,
            now,
        ),
    )
}

fn told(entry: &Entry) -> Option<(&'static str, u16, &str)> {
    entry.ordered().map(|order| (order.reason.label(), order.code().unwrap(), order.text()))
}

#[test]
fn a_revocation_is_taken_listed_and_lifted() {
    let state = state();
    let (alice, bob) = (enter(&state, "chat", "alice"), enter(&state, "chat", "bob"));
    let (status, entry) = post(&state, r#"{"subject":"alice","note":"lost phone"}"#);
    assert_eq!((status, &entry["sessions"], entry.get("saved")), (201, &json!(1), None), "{entry}");
    assert_eq!((told(&alice), told(&bob)), (Some(("token_revoked", 4001, "token_revoked")), None));
    let (status, again) = post(&state, r#"{"subject":"alice"}"#);
    assert_eq!((status, &again["sessions"], &again["id"]), (200, &json!(0), &entry["id"]), "{again}");

    let list: Value = serde_json::from_str(&page(&state, "/revocations?limit=1").1).unwrap();
    assert_eq!(list["revocations"][0]["note"], "lost phone", "{list}");
    assert_eq!((&list["total"], &list["truncated"], &list["capacity"]), (&json!(1), &json!(false), &json!(2)));
    let id = entry["id"].as_str().unwrap();
    assert_eq!(delete(&state, &format!("/revocations/{id}")), (204, String::new()));
    assert_eq!(delete(&state, &format!("/revocations/{id}")).0, 404);
    assert_eq!(delete(&state, "/revocations/x").0, 404);
    assert!(state.revoking.list().is_empty());
}

#[test]
fn a_full_list_says_so_and_changes_nothing() {
    let state = state();
    assert_eq!(post(&state, r#"{"jti":"a"}"#).0, 201);
    assert_eq!(post(&state, r#"{"jti":"b"}"#).0, 201);
    let (status, text) = post(&state, r#"{"jti":"c"}"#);
    assert!(status == 507 && text.as_str().unwrap().contains("2 revocations"), "{status} {text}");
    assert_eq!(state.revoking.list().len(), 2);
}

#[test]
fn a_body_that_is_no_good_is_refused_for_what_it_is() {
    let state = state();
    let asked = |content_type: &str, body: &str| {
        let request = Request::post("/revocations").header("content-type", content_type);
        ask(&state, HERE, request.body(Full::new(body.to_owned().into())).unwrap()).status().as_u16()
    };
    assert_eq!(asked("text/plain", r#"{"jti":"a"}"#), 415);
    assert_eq!(asked("application/jsonp", r#"{"jti":"a"}"#), 415);
    assert_eq!(asked("application/json", r#"{"jti":"a""#), 400);
    assert_eq!(asked("application/json", ""), 400);
    let long = format!(r#"{{"jti":"a"{}}}"#, " ".repeat(16 * 1024));
    assert_eq!(asked("application/json", &long), 413);
    assert!(state.revoking.list().is_empty());
    for query in ["limit=0", "user=x"] {
        assert_eq!(page(&state, &format!("/revocations?{query}")).0, 400);
    }
}

#[test]
fn sessions_are_closed_by_filter_and_by_id_with_the_operators_words() {
    let state = state();
    let entries =
        [("chat", "ann"), ("chat", "bob"), ("feed", "ann"), ("feed", "cid")].map(|(r, s)| enter(&state, r, s));
    assert_eq!(delete(&state, "/connections?subject=ann&route=feed"), (200, r#"{"closed":1}"#.into()));
    assert_eq!(told(&entries[2]), Some(("kicked", 1008, "kicked")));
    let target = format!("/connections/{}?code=4321&reason=see%20you", entries[1].id);
    assert_eq!(delete(&state, &target), (200, r#"{"closed":1}"#.into()));
    assert_eq!(told(&entries[1]), Some(("kicked", 4321, "see you")));
    assert_eq!((told(&entries[0]), told(&entries[3])), (None, None));
    // Who was told already is not counted again.
    assert_eq!(delete(&state, "/connections?all=true&reason="), (200, r#"{"closed":2}"#.into()));
    assert_eq!(told(&entries[0]), Some(("kicked", 1008, "")));
    assert_eq!(delete(&state, "/connections?subject=nobody"), (200, r#"{"closed":0}"#.into()));
}

#[test]
fn closing_needs_a_clear_word_on_whom_and_how() {
    let state = state();
    let entry = enter(&state, "chat", "ann");
    for query in [
        "",
        "code=1000",
        "all=yes",
        "all=true&subject=ann",
        "subject=ann&subject=bob",
        "client=192.0.2.1",
        "subject=ann&code=1005",
        "subject=ann&code=x",
        "subject=ann&code=70000",
    ] {
        assert_eq!(delete(&state, &format!("/connections?{query}")).0, 400, "{query}");
    }
    assert_eq!(delete(&state, &format!("/connections?all=true&reason={}", "x".repeat(124))).0, 400);
    assert_eq!(delete(&state, &format!("/connections/{}?subject=ann", entry.id)).0, 400);
    for id in ["0", "0000000000000001", "+000000000000001", ""] {
        assert_eq!(delete(&state, &format!("/connections/{id}")).0, 404, "{id}");
    }
    assert_eq!(told(&entry), None);
}

#[test]
fn pages_that_change_something_say_which_methods_they_have() {
    let state = state();
    for (method, target, allow) in [
        ("POST", "/connections", "GET, HEAD, DELETE"),
        ("DELETE", "/revocations", "GET, HEAD, POST"),
        ("PUT", "/revocations/x", "DELETE"),
        ("GET", "/connections/x", "DELETE"),
        ("DELETE", "/metrics", "GET, HEAD"),
    ] {
        let refused = ask(&state, HERE, Request::builder().method(method).uri(target).body(Empty::new()).unwrap());
        assert_eq!((refused.status().as_u16(), refused.headers()["allow"].to_str().unwrap()), (405, allow), "{target}");
    }
}

#[test]
fn with_a_token_everything_but_the_health_pages_and_the_empty_page_wants_it() {
    for address in [HERE, ELSEWHERE] {
        let state = state_with(Some(TOKEN), address);
        let asked = |target: &str, values: &[&str]| {
            let request =
                values.iter().fold(Request::get(target), |request, value| request.header("authorization", *value));
            read(&state, ELSEWHERE, request.body(Empty::new()).unwrap())
        };
        for target in ["/metrics", "/status", "/connections", "/revocations", "/nowhere"] {
            let refused = asked(target, &[]);
            assert_eq!(refused.status(), 401, "{target}");
            assert_eq!(refused.headers()["www-authenticate"], "Bearer realm=\"wsgate admin\"");
            for wrong in
                ["Bearer 0123456789abcdeg", "Bearer 0123456789abcde", "Bearer ", "Basic 0123456789abcdef", TOKEN]
            {
                assert_eq!(asked(target, &[wrong]).status(), 401, "{wrong}");
            }
            let good = "Bearer 0123456789abcdef";
            assert_eq!(asked(target, &[good, good]).status(), 401);
            if target == "/status" {
                continue; // The gateway's own, which is not here.
            }
            assert_ne!(asked(target, &[good]).status(), 401);
            assert_ne!(asked(target, &["bearer 0123456789abcdef"]).status(), 401);
        }
        assert_eq!(asked("/healthz", &[]).status(), 200);
        assert_eq!(asked("/readyz", &[]).status(), 200);
        for empty in ["/", "/page/main.js", "/page/style.css"] {
            assert_eq!(asked(empty, &[]).status(), 200, "{empty}");
        }
        assert_eq!(asked("/page/../metrics", &[]).status(), 404);
        let write = |token: Option<&str>| {
            let request = Request::delete("/connections?all=true");
            let request = token.into_iter().fold(request, |request, token| request.header("authorization", token));
            ask(&state, ELSEWHERE, request.body(Empty::new()).unwrap()).status().as_u16()
        };
        assert_eq!((write(None), write(Some("Bearer 0123456789abcdef"))), (401, 200));
    }
}

#[test]
fn without_a_token_nothing_is_told_or_changed_through_an_address_that_others_reach() {
    for (address, expected) in
        [("127.0.0.9", 200), ("::1", 200), ("::ffff:127.0.0.1", 200), ("0.0.0.0", 403), ("10.0.0.9", 403)]
    {
        let state = state_with(None, address.parse().unwrap());
        // Also from this machine: what the listener's address is decides, not who happens to ask.
        let request = Request::delete("/connections?all=true").body(Empty::new()).unwrap();
        assert_eq!(ask(&state, HERE, request).status(), expected, "{address}");
        assert_eq!(read(&state, HERE, get("/connections")).status(), expected, "{address}");
        assert_eq!(read(&state, HERE, get("/metrics")).status(), expected, "{address}");
        assert_eq!(read(&state, HERE, get("/healthz")).status(), 200);
    }
}

#[test]
fn a_web_page_changes_nothing_either() {
    let state = state();
    let request = Request::delete("/connections?all=true").header("origin", "https://evil.example");
    assert_eq!(ask(&state, HERE, request.body(Empty::new()).unwrap()).status(), 403);
    let request = Request::delete("/connections?all=true").header("host", "evil.example");
    assert_eq!(ask(&state, HERE, request.body(Empty::new()).unwrap()).status(), 403);
    let own = Request::delete("/connections?all=true").header("host", "localhost:9100");
    let own = own.header("origin", "http://localhost:9100");
    assert_eq!(ask(&state, HERE, own.body(Empty::new()).unwrap()).status(), 200);
}

#[test]
fn a_token_that_could_be_guessed_or_stands_in_no_header_is_none() {
    assert!(AdminToken::new(b"0123456789abcdef".to_vec()).is_ok());
    for bad in
        [&b"0123456789abcde"[..], b"0123456789 abcdef", b"0123456789abcdef\n", "0123456789abcdef\u{fc}".as_bytes()]
    {
        let (message, _) = AdminToken::new(bad.to_vec()).unwrap_err();
        assert!(!message.contains("01234"), "{message}");
    }
    assert_eq!(format!("{:?}", AdminToken::new(b"0123456789abcdef".to_vec()).unwrap()), "AdminToken([secret])");
}

#[test]
fn a_drain_is_begun_by_who_may_change_something_and_says_how_it_goes() {
    let post = |state: &Arc<AdminState>, peer, target: &str| {
        body(ask(state, peer, Request::post(target).body(Empty::<Bytes>::new()).unwrap()))
    };
    let state = state();
    let told = (202, r#"{"left":2,"deadline_seconds":30}"#.to_owned());
    assert_eq!(post(&state, HERE, "/drain?window=30s"), told);
    assert_eq!(post(&state, HERE, "/drain?window=30").0, 400, "of what?");
    let open = state_with(None, ELSEWHERE);
    assert_eq!(post(&open, ELSEWHERE, "/drain").0, 403);
    assert_eq!(post(&state_with(Some(TOKEN), HERE), HERE, "/drain").0, 401);
}

#[test]
fn while_another_process_takes_over_nothing_is_revoked_or_lifted_and_afterwards_it_is() {
    let state = state();
    let (_, entry) = post(&state, r#"{"jti":"a"}"#);
    let id = format!("/revocations/{}", entry["id"].as_str().unwrap());
    let frozen = state.revoking.freeze();
    assert!(frozen.text().contains("\"a\""), "{}", frozen.text());
    assert_eq!((post(&state, r#"{"jti":"b"}"#).0, delete(&state, &id).0), (503, 503));
    assert_eq!(state.revoking.list().len(), 1);
    // It did not take over.
    drop(frozen);
    assert_eq!((post(&state, r#"{"jti":"b"}"#).0, delete(&state, &id).0), (201, 204));
    // It did.
    state.revoking.freeze().give_away();
    assert_eq!(post(&state, r#"{"jti":"c"}"#).0, 503);
}
