//! What the claims of a rightly signed token may be.

use super::*;
use http::HeaderValue;
use proptest::prelude::*;

fn verify(claims: Value) -> Result<Identity, Refusal> {
    hs256().verify(&token(&claims), NOW)
}

fn verify_raw(claims: &str) -> Result<Identity, Refusal> {
    hs256().verify(&hs256_signed(r#"{"alg":"HS256"}"#, claims), NOW)
}

fn at(wall: u64) -> Now {
    Now { mono: 0, wall }
}

#[test]
fn a_good_token_gives_its_subject_and_the_end_of_its_session() {
    let identity = verify(good()).unwrap();
    assert_eq!(identity.subject.as_deref(), Some("alice"));
    assert_eq!(identity.expires, Some((NOW_S + 3600 + 5) * 1000));
}

#[test]
fn a_token_holds_until_exp_and_leeway_to_the_millisecond() {
    let (verifier, token) = (hs256(), token(&json!({ "exp": NOW_S })));
    let end = (NOW_S + 5) * 1000;
    assert_eq!(verifier.verify(&token, at(end - 1)).unwrap().expires, Some(end));
    assert_eq!(verifier.verify(&token, at(end)).unwrap_err().deny, Deny::TokenExpired);
}

#[test]
fn a_token_that_expired_thirty_seconds_ago_is_expired() {
    assert_eq!(verify(json!({ "exp": NOW_S - 30 })).unwrap_err().deny, Deny::TokenExpired);
}

#[test]
fn an_expired_token_with_a_wrong_signature_is_invalid_not_expired() {
    let expired = token(&json!({ "exp": NOW_S - 30 }));
    let (message, _) = expired.rsplit_once('.').unwrap();
    let (_, signature) = token(&good()).rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).unwrap();
    refused(hs256().verify(&format!("{message}.{signature}"), NOW), "signature");
}

#[test]
fn an_expired_token_of_another_issuer_is_invalid_not_expired() {
    let verifier = with(&Jwt { issuer: one("A"), ..jwt(&[Algorithm::HS256]) });
    refused(verifier.verify(&token(&json!({ "iss": "B", "exp": NOW_S - 30 })), NOW), "iss");
}

#[test]
fn exp_may_be_a_float() {
    assert_eq!(verify_raw(r#"{"exp":1700000000.5}"#).unwrap().expires, Some(1_700_000_005_500));
    assert_eq!(verify_raw(r#"{"exp":17e8}"#).unwrap().expires, Some(1_700_000_005_000));
}

#[test]
fn a_huge_exp_saturates() {
    for huge in ["1e300", "18446744073709551615", "99999999999999999999999"] {
        assert_eq!(verify_raw(&format!(r#"{{"exp":{huge}}}"#)).unwrap().expires, Some(u64::MAX), "{huge}");
    }
}

#[test]
fn a_negative_exp_is_long_past() {
    for past in ["-1", "-1e300", "0", "-0.0"] {
        let refusal = verify_raw(&format!(r#"{{"exp":{past}}}"#)).unwrap_err();
        assert_eq!(refusal.deny, Deny::TokenExpired, "{past}");
    }
}

#[test]
fn exp_that_is_no_number_is_refused() {
    for exp in [r#""1800000000""#, "null", "true", "[1800000000]", "{}", "1e999", "NaN"] {
        refused(verify_raw(&format!(r#"{{"exp":{exp}}}"#)), "claims");
    }
}

#[test]
fn exp_is_required_unless_the_operator_says_otherwise() {
    refused(verify(json!({ "sub": "alice" })), "require_exp");
    let lax = with(&Jwt { require_exp: false, ..jwt(&[Algorithm::HS256]) });
    assert_eq!(lax.verify(&token(&json!({ "sub": "alice" })), NOW).unwrap().expires, None);
    let expired = lax.verify(&token(&json!({ "exp": NOW_S - 30 })), NOW);
    assert_eq!(expired.unwrap_err().deny, Deny::TokenExpired);
}

#[test]
fn nbf_in_the_future_is_refused_beyond_the_leeway() {
    assert!(verify(good_with(json!({ "nbf": NOW_S + 5 }))).is_ok());
    refused(verify(good_with(json!({ "nbf": NOW_S as f64 + 5.001 }))), "nbf");
    refused(verify(good_with(json!({ "nbf": 1e300 }))), "nbf");
    refused(verify(good_with(json!({ "nbf": "0" }))), "claims");
}

#[test]
fn a_configured_issuer_is_required_as_a_text_that_equals_it() {
    let verifier = with(&Jwt { issuer: one("A"), ..jwt(&[Algorithm::HS256]) });
    let verify = |iss: Value| verifier.verify(&token(&good_with(json!({ "iss": iss }))), NOW);
    assert!(verify(json!("A")).is_ok());
    refused(verifier.verify(&token(&good()), NOW), "no iss");
    refused(verify(json!(5)), "claims");
    refused(verify(json!(["A"])), "claims");
    refused(verify(json!(null)), "claims");
    for other in ["B", "a", "A ", "", "A/"] {
        refused(verify(json!(other)), "another issuer");
    }
}

#[test]
fn any_of_several_issuers_will_do() {
    let issuer = Some(OneOrMany(vec!["A".to_owned(), "B".to_owned()]));
    let verifier = with(&Jwt { issuer, ..jwt(&[Algorithm::HS256]) });
    assert!(verifier.verify(&token(&good_with(json!({ "iss": "B" }))), NOW).is_ok());
    refused(verifier.verify(&token(&good_with(json!({ "iss": "C" }))), NOW), "another issuer");
}

#[test]
fn a_configured_audience_is_required_as_a_text_or_among_texts() {
    let verifier = with(&Jwt { audience: one("chat"), ..jwt(&[Algorithm::HS256]) });
    let verify = |aud: Value| verifier.verify(&token(&good_with(json!({ "aud": aud }))), NOW);
    assert!(verify(json!("chat")).is_ok());
    assert!(verify(json!(["mail", "chat"])).is_ok());
    refused(verifier.verify(&token(&good()), NOW), "no aud");
    refused(verify(json!("mail")), "for others");
    refused(verify(json!([])), "for others");
    for wrong in [json!(5), json!(null), json!(["chat", 5]), json!({ "chat": true }), json!([["chat"]])] {
        refused(verify(wrong), "claims");
    }
}

#[test]
fn an_audience_does_not_matter_where_none_is_configured() {
    assert!(verify(good_with(json!({ "aud": "elsewhere" }))).is_ok());
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    for twice in [
        r#"{"exp":1,"exp":1800000000}"#,
        r#"{"exp":1800000000,"sub":"a","sub":"b"}"#,
        r#"{"exp":1800000000,"sub":"a","\u0073ub":"a"}"#,
        r#"{"exp":1800000000,"aud":"a","aud":"a"}"#,
    ] {
        refused(verify_raw(twice), "claims");
    }
}

#[test]
fn claims_that_are_no_object_are_refused() {
    // serde would fill a struct from an array by position: iss, sub, aud, exp, nbf.
    for claims in [r#"["A","alice","chat",1800000000,0]"#, "5", "null", "\"\"", "", "{", r#"{"exp":1800000000}x"#] {
        refused(verify_raw(claims), "claims");
    }
    assert!(verify_raw(" \r\n\t{\"exp\":1800000000} ").is_ok());
}

#[test]
fn claims_that_are_not_utf8_are_refused_even_where_nobody_reads_them() {
    let key = EncodingKey::from_secret(SECRET);
    let token = signed(Algorithm::HS256, &key, r#"{"alg":"HS256"}"#, b"{\"exp\":1800000000,\"x\":\"\xff\"}");
    refused(hs256().verify(&token, NOW), "claims");
}

#[test]
fn claims_may_nest_deeply_without_harm() {
    let deep = format!(r#"{{"exp":1800000000,"x":{}{}}}"#, "[".repeat(2500), "]".repeat(2500));
    // Skipped or refused, both are fine: the stack holds.
    let _ = verify_raw(&deep);
}

#[test]
fn a_subject_that_could_not_stand_in_a_header_is_refused() {
    let verify = |sub: Value| verify(good_with(json!({ "sub": sub })));
    for wrong in [json!(5), json!(null), json!(["alice"]), json!({})] {
        refused(verify(wrong), "claims");
    }
    refused(verify(json!("")), "empty");
    refused(verify(json!("x".repeat(257))), "longer");
    for control in ["a\nb", "a\r\nX-Admin: 1", "a\0", "\tb", "a\u{7f}", "a\u{85}b"] {
        refused(verify(json!(control)), "control");
    }
    for blank in [" alice", "alice ", "\u{a0}alice"] {
        refused(verify(json!(blank)), "blank");
    }
    assert!(verify(json!("x".repeat(256))).is_ok());
    assert_eq!(verify(json!("auth0|zoë 7")).unwrap().subject.as_deref(), Some("auth0|zoë 7"));
}

#[test]
fn a_token_without_a_subject_has_none() {
    assert_eq!(verify(json!({ "exp": NOW_S + 1 })).unwrap().subject, None);
}

proptest! {
    #[test]
    fn any_claims_at_all_give_an_answer(claims in "\\PC{0,200}") {
        let _ = verify_raw(&claims);
    }

    #[test]
    fn a_subject_that_is_accepted_stands_in_a_header_as_it_is(sub in "(?s).{0,300}") {
        if let Ok(identity) = verify(good_with(json!({ "sub": sub.clone() }))) {
            prop_assert_eq!(identity.subject.as_deref(), Some(sub.as_str()));
            let value = HeaderValue::from_bytes(sub.as_bytes()).unwrap();
            prop_assert_eq!(value.as_bytes().trim_ascii(), sub.as_bytes());
        }
    }

    #[test]
    fn a_token_that_holds_ends_later_than_now(exp in any::<f64>().prop_filter("JSON", |f| f.is_finite()), wall in any::<u64>()) {
        let token = token(&json!({ "exp": exp }));
        if let Ok(identity) = hs256().verify(&token, at(wall)) {
            prop_assert!(identity.expires.unwrap() > wall);
        }
    }
}
