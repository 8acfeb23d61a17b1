//! What an operator may ask for, and what stands in the file.

use super::super::record;
use super::*;

fn refused(body: &str) -> String {
    list(10).read(body.as_bytes(), NOW).unwrap_err()
}

#[test]
fn a_request_that_is_not_clear_is_refused_in_words() {
    for (body, said) in [
        ("", "no JSON object"),
        ("[\"t1\"]", "no JSON object"),
        ("{}", "nothing to revoke"),
        (r#"{"note":"x"}"#, "nothing to revoke"),
        (r#"{"issued_before":5}"#, "nothing to revoke"),
        (r#"{"jti":"a","subject":"b"}"#, "several things"),
        (r#"{"subject":"b","claim":"sid","value":"x"}"#, "several things"),
        (r#"{"jti":"a","issued_before":5}"#, "beside subject only"),
        (r#"{"claim":"sid","value":"x","issued_before":5}"#, "beside subject only"),
        (r#"{"jti":"a","jti":"b"}"#, "duplicate field"),
        (r#"{"sub":"a"}"#, "unknown field"),
        (r#"{"jti":5}"#, "expected a string"),
        (r#"{"jti":""}"#, "jti is empty"),
        (r#"{"jti":"a\nb"}"#, "control characters"),
        (r#"{"claim":"sid"}"#, "no value"),
        (r#"{"value":"x"}"#, "no claim"),
        (r#"{"claim":"sid","value":["x"]}"#, "a text, a number, true or false"),
        (r#"{"claim":"email","value":"x"}"#, "there is sid, device, tenant.id"),
        (r#"{"claim":"sub","value":"x"}"#, "there is sid, device, tenant.id"),
        (r#"{"jti":"a","jwt":"third"}"#, "there is main, other"),
        (r#"{"jti":"a","expires":1,"expires_in":"1h"}"#, "keep one"),
        (r#"{"jti":"a","expires":1}"#, "over already"),
        (r#"{"jti":"a","expires":1800000000}"#, "over already"),
        (r#"{"jti":"a","expires":-1}"#, "before 1970"),
        (r#"{"jti":"a","expires":1800000000000}"#, "not milliseconds"),
        (r#"{"jti":"a","expires":"tomorrow"}"#, "no date"),
        (r#"{"jti":"a","expires":true}"#, "expected a date"),
        (r#"{"jti":"a","expires_in":"soon"}"#, "no time"),
        (r#"{"jti":"a","expires_in":0}"#, "over already"),
        (r#"{"jti":"a"} x"#, "trailing"),
    ] {
        let message = refused(body);
        assert!(message.contains(said), "{body}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    assert!(refused(&json!({ "subject": "x".repeat(257) }).to_string()).contains("256 bytes"));
    assert!(refused(&json!({ "jti": "x".repeat(1025) }).to_string()).contains("1024 bytes"));
    assert!(refused(&json!({ "jti": "x", "note": "x".repeat(257) }).to_string()).contains("256 bytes"));
}

#[test]
fn a_whole_token_given_by_mistake_is_refused_and_not_repeated() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl";
    for body in [
        json!({ "jti": token }),
        json!({ "subject": token }),
        json!({ "claim": "sid", "value": token }),
        json!({ "claim": token, "value": 1 }),
        json!({ "jti": "a", "note": token }),
        json!({ "jti": "a", "jwt": token }),
        json!({ "jti": "a", "expires": token }),
        json!({ "jti": "a", "expires_in": token }),
    ] {
        let message = refused(&body.to_string());
        assert!(!message.contains("eyJ"), "{message}");
    }
}

#[test]
fn an_end_is_a_date_a_number_a_time_or_the_default() {
    let list = list(10);
    let end = |member: Value| {
        let mut body = json!({ "jti": "a" });
        body.as_object_mut().unwrap().extend(member.as_object().unwrap().clone());
        list.read(body.to_string().as_bytes(), NOW).unwrap().expires - NOW
    };
    assert_eq!(end(json!({})), 24 * HOUR);
    assert_eq!(end(json!({ "expires_in": "90m" })), 90 * 60_000);
    assert_eq!(end(json!({ "expires_in": 5 })), 5000);
    assert_eq!(end(json!({ "expires": NOW / 1000 + 7 })), 7000);
    assert_eq!(end(json!({ "expires": (NOW as f64 + 7500.0) / 1000.0 })), 7500);
    assert_eq!(end(json!({ "expires": "2027-01-15T08:00:01+00:00" })), 1000);
}

fn one_of_each() -> Vec<Entry> {
    let list = list(10);
    for body in [
        json!({ "jti": "t\"1\\", "note": "lost phone" }),
        json!({ "subject": "Zoë", "jwt": "main" }),
        json!({ "subject": "alice", "issued_before": 1_799_999_999.25 }),
        json!({ "claim": "sid", "value": "s1" }),
        json!({ "claim": "device", "value": 7 }),
        json!({ "claim": "tenant.id", "value": true, "expires": "9999-12-31T23:59:59.999Z" }),
    ] {
        revoke(&list, body);
    }
    list.state(NOW).1
}

#[test]
fn what_was_written_is_read_back_the_same() {
    let entries = one_of_each();
    assert_eq!(entries.len(), 6);
    assert_eq!(record::read(&record::write(entries.clone())), Ok(entries.clone()));
    assert_eq!(record::read(&record::write(vec![])), Ok(vec![]));
    let restored = list(2);
    restored.restore(entries.clone());
    assert_eq!(restored.entries(9, NOW).0, entries, "more than there is room for, in their order");
    assert!(is_revoked(&restored, json!({ "sub": "Zoë" })));
    assert_eq!(restored.revoke(restored.read(br#"{"jti":"t9"}"#, NOW).unwrap(), NOW).unwrap_err(), Full);
}

#[test]
fn an_entry_is_listed_by_the_words_it_was_asked_in() {
    let text = serde_json::to_value(&one_of_each()[2]).unwrap();
    assert_eq!(text["subject"], "alice");
    assert_eq!(text["issued_before"], "2027-01-15T07:59:59.250Z");
    assert_eq!(text["created"], "2027-01-15T08:00:00.000Z");
    assert_eq!(text["expires"], "2027-01-16T08:00:00.000Z");
    assert_eq!(text.as_object().unwrap().len(), 5, "{text}");
}

#[test]
fn a_file_cut_anywhere_is_refused_with_its_place() {
    let whole = record::write(one_of_each());
    let whole = whole.trim_end();
    for at in (0..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let message = record::read(&whole[..at]).unwrap_err();
        assert!(message.contains("line ") && message.contains(" column "), "{message}");
    }
}

#[test]
fn a_file_with_anything_unknown_in_it_is_refused() {
    let whole = record::write(one_of_each());
    for (from, to, said) in [
        ("\"version\": 1", "\"version\": 2", "version 2 is not known"),
        ("\"jti\"", "\"jit\"", "unknown field `jit`"),
        ("\"subject\": \"alice\"", "\"subject\": \"alice\", \"jti\": \"x\"", "several things"),
        ("\"claim\": \"sid\"", "\"note\": \"x\"", "value has no claim"),
        ("9999-12-31T23:59:59.999Z", "soon", "no date"),
        ("\"revocations\"", "\"revoked\"", "unknown field `revoked`"),
    ] {
        assert!(whole.contains(from), "{from}");
        let message = record::read(&whole.replacen(from, to, 1)).unwrap_err();
        assert!(message.contains(said) && message.contains("line "), "{message}");
    }
    assert!(record::read("[1, []]").unwrap_err().contains("no JSON object"));
}

#[test]
fn the_longest_entry_fits_its_bound() {
    let list = list(10);
    let (value, note) = ("\"".repeat(1024), "\\".repeat(256));
    let wanted = Wanted {
        what: entry::What::of(None, None, None, Some((value.clone(), value.into()))).unwrap(),
        jwt: Some("main".into()),
        expires: NOW + HOUR,
        note: Some(note),
    };
    list.revoke(wanted, NOW).unwrap();
    let (of_one, of_none) = (record::write(list.state(NOW).1).len(), record::write(vec![]).len());
    assert!((of_one - of_none) as u64 <= record::MAX_ENTRY, "{of_one}");
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in r#"\{?["a-z:,{}\[\]0-9 _.-]{0,60}"#, body in any::<Vec<u8>>()) {
        let list = list(10);
        let _ = list.read(text.as_bytes(), NOW);
        let _ = list.read(&body, NOW);
        let _ = record::read(&text);
    }
}
