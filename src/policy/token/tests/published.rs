//! Keys that come while the gateway runs.

use super::*;
use crate::config::value::KeySet;
use crate::policy::token::published::{Behind, Standing};
use Algorithm::*;

const URL: &str = "https://id.example.com/jwks.json";

fn config() -> Jwt {
    Jwt { jwks: Some(KeySet::Remote(URL.parse().unwrap())), ..jwt(&[ES256, EdDSA]) }
}

fn verifier() -> Verifier {
    Verifier::compile("main", &config(), &KeyMaterial::Remote(None)).unwrap()
}

fn set(members: &[Value]) -> String {
    json!({ "keys": members }).to_string()
}

fn ec(kid: &str) -> Value {
    jwk(pem!("es256.pem"), ES256, json!({ "kid": kid }))
}

fn ed(kid: &str) -> Value {
    jwk(pem!("ed25519.pem"), EdDSA, json!({ "kid": kid }))
}

fn token_of(algorithm: Algorithm, kid: Option<&str>) -> String {
    let pem = if algorithm == ES256 { pem!("es256.pem") } else { pem!("ed25519.pem") };
    mint(algorithm, &encoding_key(algorithm, pem).unwrap(), kid, good().as_object().unwrap()).unwrap()
}

fn at(mono: u64) -> Now {
    Now { mono, ..NOW }
}

#[test]
fn until_a_set_was_fetched_every_token_is_told_to_come_again() {
    let verifier = verifier();
    let published = verifier.published().unwrap();
    assert_eq!((published.standing(NOW), published.age(NOW), published.key_count()), (Standing::Never, None, 0));
    published.set_due(12_345);
    let refusal = verifier.verify(&token_of(ES256, Some("a")), at(45)).unwrap_err();
    assert_eq!((refusal.deny, refusal.retry_after), (Deny::KeysUnavailable, Some(13)));
    assert_eq!(refusal.behind, Some(Behind { set: published.id, serial: 0, unknown_kid: false }));
    let nameless = verifier.verify(&token_of(ES256, None), at(0)).unwrap_err();
    assert_eq!((nameless.deny, nameless.behind), (Deny::KeysUnavailable, None), "no kid, no fetch");
}

#[test]
fn what_no_key_could_check_is_not_worth_a_fetch() {
    let verifier = verifier();
    for token in ["", "a.b.c", "a.b", &token(&good()), &hs256_signed(r#"{"alg":"HS256","kid":"new"}"#, "{}")] {
        let refusal = verifier.verify(token, NOW).unwrap_err();
        assert_eq!((refusal.deny, refusal.behind), (Deny::TokenInvalid, None), "{token}");
    }
}

#[test]
fn a_set_takes_the_place_of_the_last_one_whole() {
    let verifier = verifier();
    let published = verifier.published().unwrap();
    published.take(&set(&[ec("a")]), at(10)).unwrap();
    assert!(verifier.verify(&token_of(ES256, Some("a")), at(20)).is_ok());
    let unknown = verifier.verify(&token_of(EdDSA, Some("b")), at(20)).unwrap_err();
    assert_eq!(unknown.deny, Deny::TokenInvalid);
    assert_eq!(unknown.behind, Some(Behind { set: published.id, serial: 1, unknown_kid: true }));
    published.take(&set(&[ed("b")]), at(30)).unwrap();
    assert!(verifier.verify(&token_of(EdDSA, Some("b")), at(40)).is_ok());
    refused(verifier.verify(&token_of(ES256, Some("a")), at(40)), "no key has its kid");
    assert_eq!((published.serial(), published.age(at(40)), published.key_count()), (2, Some(10), 1));
}

#[test]
fn a_known_kid_with_a_bad_signature_is_not_worth_a_fetch() {
    let verifier = verifier();
    verifier.published().unwrap().take(&set(&[ec("a"), ed("b")]), NOW).unwrap();
    let token = token_of(ES256, Some("b"));
    let refusal = verifier.verify(&token, NOW).unwrap_err();
    assert_eq!((refusal.why, refusal.behind), ("its alg is not accepted for this key", None));
    let (head, _) =
        token_of(ES256, Some("a")).rsplit_once('.').map(|(head, tail)| (head.to_owned(), tail.len())).unwrap();
    let forged = format!("{head}.{}", b64(&[7; 64]));
    let refusal = verifier.verify(&forged, NOW).unwrap_err();
    assert_eq!((refusal.why, refusal.behind), ("its signature does not hold", None));
}

#[test]
fn what_is_no_set_leaves_the_last_good_one() {
    let verifier = verifier();
    let published = verifier.published().unwrap();
    published.take(&set(&[ec("a")]), at(10)).unwrap();
    let private = jwk(pem!("es256.pem"), ES256, json!({ "kid": "p", "d": "AA" }));
    let secret = json!({ "kty": "oct", "k": "AAAA", "kid": "s", "alg": "HS256" });
    for text in ["<html>", "[]", "{}", r#"{"keys":{}}"#, &set(&[]), &set(&[private, secret]), &set(&[ec("x"), ec("x")])]
    {
        assert!(published.take(text, at(20)).is_err(), "{text}");
    }
    assert_eq!((published.serial(), published.age(at(20))), (1, Some(10)));
    assert!(verifier.verify(&token_of(ES256, Some("a")), at(20)).is_ok());
}

#[test]
fn one_bad_key_does_not_lose_the_rest_nor_do_two_of_one_name() {
    let verifier = verifier();
    let bad = json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "bad" });
    let members = [bad, json!(7), ec("twin"), ed("good"), jwk(pem!("es256.pem"), ES256, json!({ "kid": "twin" }))];
    let taken = verifier.published().unwrap().take(&set(&members), NOW).unwrap();
    assert_eq!((taken.keys, taken.skipped.len()), (1, 3), "{taken:?}");
    assert!(verifier.verify(&token_of(EdDSA, Some("good")), NOW).is_ok());
    refused(verifier.verify(&token_of(ES256, Some("twin")), NOW), "no key has its kid");
}

#[test]
fn a_set_is_used_for_max_stale_and_not_a_millisecond_more() {
    let verifier = verifier();
    let published = verifier.published().unwrap();
    published.take(&set(&[ec("a")]), at(1000)).unwrap();
    let last = 1000 + 86_400_000;
    let token = token_of(ES256, Some("a"));
    assert!(verifier.verify(&token, at(last)).is_ok());
    assert_eq!(published.standing(at(last)), Standing::Good);
    assert_eq!(verifier.verify(&token, at(last + 1)).unwrap_err().deny, Deny::KeysUnavailable);
    assert_eq!(published.standing(at(last + 1)), Standing::TooOld);
    published.take(&set(&[ec("a")]), at(last + 2)).unwrap();
    assert!(verifier.verify(&token, at(last + 3)).is_ok());
}

#[test]
fn each_verifier_has_a_set_of_its_own() {
    let (one, other) = (verifier(), verifier());
    one.published().unwrap().take(&set(&[ec("a")]), NOW).unwrap();
    other.published().unwrap().take(&set(&[jwk(pem!("ed25519.pem"), EdDSA, json!({ "kid": "a" }))]), NOW).unwrap();
    assert!(one.verify(&token_of(ES256, Some("a")), NOW).is_ok());
    assert!(other.verify(&token_of(EdDSA, Some("a")), NOW).is_ok());
    assert!(other.verify(&token_of(ES256, Some("a")), NOW).is_err());
}

#[test]
fn an_issuers_url_is_the_iss_of_its_tokens_unless_issuer_says_otherwise() {
    let issuer = |config: Jwt| {
        let verifier = Verifier::compile("main", &config, &KeyMaterial::Remote(None)).unwrap();
        verifier.issuers().map(str::to_owned).collect::<Vec<_>>()
    };
    let by_url = || Jwt { issuer_url: Some("https://id.example.com/".parse().unwrap()), ..jwt(&[ES256]) };
    assert_eq!(issuer(by_url()), ["https://id.example.com/"]);
    assert_eq!(issuer(Jwt { issuer: one("else"), ..by_url() }), ["else"]);
    assert!(issuer(config()).is_empty());
}

#[test]
fn what_does_not_fit_keys_by_url_is_told() {
    let told = |config: Jwt, key: &str| {
        let flaws = Verifier::compile("main", &config, &KeyMaterial::Remote(None)).unwrap_err();
        assert_eq!(flaws.iter().map(|flaw| flaw.0).collect::<Vec<_>>(), [key], "{flaws:?}");
    };
    let seconds = std::time::Duration::from_secs;
    told(Jwt { algorithms: vec![HS256], ..config() }, "algorithms");
    told(Jwt { jwks_refresh: seconds(29), ..config() }, "jwks_refresh");
    told(Jwt { jwks_refresh: seconds(86_401), jwks_max_stale: seconds(90_000), ..config() }, "jwks_refresh");
    told(Jwt { jwks_max_stale: seconds(299), ..config() }, "jwks_max_stale");
    told(Jwt { jwks_refresh: seconds(30), jwks_max_stale: seconds(59), ..config() }, "jwks_max_stale");
    told(Jwt { jwks_cooldown: std::time::Duration::from_millis(999), ..config() }, "jwks_cooldown");
    told(Jwt { jwks_cooldown: seconds(3601), ..config() }, "jwks_cooldown");
    let plain = Some(KeySet::Remote("http://127.0.0.1/".parse().unwrap()));
    told(Jwt { jwks: plain, jwks_ca: Some("ca.pem".into()), ..config() }, "jwks_ca");
    let query = Some("https://id.example.com/?a".parse().unwrap());
    told(Jwt { jwks: None, issuer_url: query, ..config() }, "issuer_url");
}
