use proptest::prelude::*;
use serde_json::{Value, json};

use super::mark::{Marks, TooMany};
use super::*;
use crate::policy::claims::Claims;

mod model;
mod shared;
mod texts;

const HOUR: u64 = 3_600_000;
const NOW: u64 = 1_800_000_000_000;

fn list(entries: usize) -> Revocations {
    let claims = vec!["device".to_owned(), "tenant.id".to_owned()];
    Revocations::new(Settings { entries, ttl: 24 * HOUR, claims, issuers: vec!["main".into(), "other".into()] })
}

fn claims(claims: Value) -> Claims {
    let Value::Object(claims) = claims else { panic!("no object") };
    claims.into()
}

/// What is known of a token of `[jwt.main]`.
struct Known {
    marks: Marks,
    issued: Option<u64>,
}

impl Known {
    fn of(list: &Revocations, token: Value) -> Self {
        let issued = token["iat"].as_u64().map(|seconds| seconds * 1000);
        Self { marks: list.marks(&claims(token)).unwrap(), issued }
    }

    fn bearer(&self) -> Bearer<'_> {
        Bearer { marks: &self.marks, issued: self.issued, jwt: Some("main") }
    }
}

fn is_revoked_at(list: &Revocations, token: Value, wall: u64) -> bool {
    list.check(&Known::of(list, token).bearer(), wall).is_some()
}

fn revoke(list: &Revocations, body: Value) -> Revoked {
    list.revoke(list.read(body.to_string().as_bytes(), NOW).unwrap(), NOW).unwrap()
}

fn is_revoked(list: &Revocations, claims: Value) -> bool {
    is_revoked_at(list, claims, NOW)
}

#[test]
fn each_kind_revokes_the_tokens_it_names_and_no_others() {
    let token =
        json!({ "jti": "t1", "sub": "alice", "sid": "s1", "device": 7, "tenant": { "id": "acme" }, "iat": 1000 });
    for (body, hit) in [
        (json!({ "jti": "t1" }), true),
        (json!({ "jti": "alice" }), false),
        (json!({ "subject": "alice" }), true),
        (json!({ "subject": "t1" }), false),
        (json!({ "subject": "alice", "issued_before": 1001 }), true),
        (json!({ "subject": "alice", "issued_before": 1000 }), false),
        (json!({ "subject": "alice", "issued_before": "1970-01-01T00:16:40.001Z" }), true),
        (json!({ "claim": "sid", "value": "s1" }), true),
        (json!({ "claim": "sid", "value": "s2" }), false),
        (json!({ "claim": "device", "value": 7 }), true),
        (json!({ "claim": "device", "value": 7.0 }), true),
        (json!({ "claim": "device", "value": "7" }), false),
        (json!({ "claim": "tenant.id", "value": "acme" }), true),
        (json!({ "claim": "device", "value": "acme" }), false),
        (json!({ "subject": "alice", "jwt": "main" }), true),
        (json!({ "subject": "alice", "jwt": "other" }), false),
    ] {
        let list = list(10);
        let revoked = revoke(&list, body.clone());
        assert_eq!(is_revoked(&list, token.clone()), hit, "{body}");
        assert_eq!(revoked.covers(&Known::of(&list, token.clone()).bearer()), hit, "{body}");
        assert!(!is_revoked(&list, json!({ "jti": "t2", "sub": "bob", "iat": 1000 })), "{body}");
        assert!(!revoked.covers(&Known::of(&list, json!({})).bearer()), "{body}");
    }
}

#[test]
fn a_token_without_iat_counts_as_issued_before_any_date() {
    let list = list(10);
    revoke(&list, json!({ "subject": "alice", "issued_before": 0 }));
    assert!(is_revoked(&list, json!({ "sub": "alice" })));
    assert!(!is_revoked(&list, json!({ "sub": "alice", "iat": 0 })));
}

#[test]
fn each_value_of_a_list_is_a_mark_and_of_too_many_the_token_is_refused() {
    let list = list(10);
    revoke(&list, json!({ "claim": "device", "value": "b" }));
    assert!(is_revoked(&list, json!({ "device": ["a", "b", null, { "b": "b" }] })));
    assert!(!is_revoked(&list, json!({ "device": ["a", ["b"]] })));
    let values: Vec<u32> = (0..33).collect();
    assert!(list.marks(&claims(json!({ "device": values[..32] }))).is_ok());
    assert_eq!(list.marks(&claims(json!({ "device": values }))), Err(TooMany));
    assert!(list.marks(&claims(json!({ "groups": values }))).is_ok());
}

#[test]
fn a_token_without_anything_to_revoke_it_by_keeps_nothing() {
    assert!(Known::of(&list(10), json!({ "exp": 1, "jti": 5, "device": {} })).marks.is_empty());
}

#[test]
fn a_revocation_ends_by_itself_to_the_millisecond() {
    let list = list(1);
    let revoked = revoke(&list, json!({ "jti": "t1", "expires_in": "2h" }));
    assert_eq!(revoked.entry.expires, NOW + 2 * HOUR);
    assert!(is_revoked_at(&list, json!({ "jti": "t1" }), NOW + 2 * HOUR - 1));
    assert!(!is_revoked_at(&list, json!({ "jti": "t1" }), NOW + 2 * HOUR));
    assert_eq!(list.entries(9, NOW + 2 * HOUR), (vec![], 0));
    assert!(!list.lift(revoked.entry.id, NOW + 2 * HOUR));
    assert!(list.is_empty());
}

#[test]
fn a_full_list_takes_no_more_and_forgets_none_until_one_is_over() {
    let list = list(2);
    revoke(&list, json!({ "jti": "t1", "expires_in": "1h" }));
    revoke(&list, json!({ "jti": "t2" }));
    let third = || list.read(br#"{"jti":"t3"}"#, NOW).unwrap();
    assert_eq!(list.revoke(third(), NOW).unwrap_err(), Full);
    assert!(is_revoked(&list, json!({ "jti": "t1" })) && !is_revoked(&list, json!({ "jti": "t3" })));
    // The same once more needs no room.
    assert!(!revoke(&list, json!({ "jti": "t1", "expires_in": "1h" })).is_new);
    assert!(list.revoke(third(), NOW + HOUR).is_ok());
    assert_eq!(list.len(), 2);
}

#[test]
fn the_same_said_twice_is_one_entry_with_the_later_dates() {
    let list = list(10);
    let first = revoke(&list, json!({ "subject": "a", "issued_before": 50, "expires_in": "3h", "note": "one" }));
    let again = revoke(&list, json!({ "subject": "a", "issued_before": 90, "expires_in": "1h" }));
    assert_eq!((first.is_new, again.is_new), (true, false));
    assert_eq!(again.entry.what.issued_before(), Some(90_000));
    assert_eq!((again.entry.id, again.entry.expires), (first.entry.id, NOW + 3 * HOUR));
    assert_eq!(again.entry.note.as_deref(), Some("one"));
    // With another `jwt`, or without a date, it is another revocation.
    revoke(&list, json!({ "subject": "a", "issued_before": 90, "jwt": "main" }));
    revoke(&list, json!({ "subject": "a" }));
    assert_eq!(list.len(), 3);
    let (entries, total) = list.entries(2, NOW);
    assert_eq!((entries.len(), total, entries[0].id), (2, 3, first.entry.id));
}

#[test]
fn what_was_lifted_holds_again() {
    let list = list(10);
    let revoked = revoke(&list, json!({ "subject": "alice" }));
    let other = revoke(&list, json!({ "subject": "alice", "jwt": "main" }));
    assert!(list.lift(revoked.entry.id, NOW) && !list.lift(revoked.entry.id, NOW));
    assert!(is_revoked(&list, json!({ "sub": "alice" })), "the other one still counts");
    assert!(list.lift(other.entry.id, NOW));
    assert!(!is_revoked(&list, json!({ "sub": "alice" })));
    assert!(list.is_empty());
}

#[test]
fn each_change_has_a_number_and_nothing_else_has() {
    let list = list(1);
    let id = revoke(&list, json!({ "jti": "a", "expires_in": 1 })).entry.id;
    assert_eq!(list.generation(), 1);
    assert!(list.revoke(list.read(br#"{"jti":"b"}"#, NOW).unwrap(), NOW).is_err());
    assert_eq!(list.state(NOW + HOUR), (1, vec![]));
    assert!(list.lift(id, NOW) && !list.lift(id, NOW));
    assert_eq!(list.generation(), 2);
}

#[test]
fn a_name_that_a_file_has_twice_lifts_one_at_a_time() {
    let first = list(10);
    let one = revoke(&first, json!({ "jti": "a" })).entry;
    let two = Entry { id: one.id, ..revoke(&first, json!({ "jti": "b" })).entry };
    let restored = list(10);
    restored.restore(vec![one, two]);
    let (entries, count) = restored.entries(10, NOW);
    assert_eq!(count, 2);
    for (left, entry) in [(1, &entries[0]), (0, &entries[1])] {
        assert!(restored.lift(entry.id, NOW), "each by its own name");
        assert_eq!(restored.entries(10, NOW).1, left);
    }
}
