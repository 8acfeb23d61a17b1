//! A route of several issuers: each token is judged by the rules of the one it names, and by no other.

use super::*;
use crate::policy::Denial;
use crate::policy::identity::verify;
use crate::policy::route::TokenRule;

const OTHER_SECRET: &[u8] = b"another secret of at least 32 bytes, for the other";

fn rule() -> TokenRule {
    let settings = |issuer: &str| Jwt { issuer: one(issuer), ..jwt(&[Algorithm::HS256]) };
    let compile = |name: &str, issuer: &str, secret: &[u8]| {
        Verifier::compile(name, &settings(issuer), &KeyMaterial::Secret(secret.to_vec())).unwrap().into()
    };
    let verifiers = vec![compile("main", "A", SECRET), compile("partner", "B", OTHER_SECRET)];
    TokenRule { verifiers, from: Vec::new(), forward: false, require_bound: false, status: 401 }
}

fn by(secret: &[u8], issuer: Value) -> Result<Identity, Denial> {
    let mut claims = good();
    if !issuer.is_null() {
        claims["iss"] = issuer;
    }
    let key = EncodingKey::from_secret(secret);
    let token = signed(Algorithm::HS256, &key, r#"{"alg":"HS256"}"#, claims.to_string().as_bytes());
    verify(&rule(), &token, None, NOW)
}

#[test]
fn a_token_is_verified_by_the_issuer_it_names() {
    assert_eq!(by(SECRET, json!("A")).unwrap().jwt.as_deref(), Some("main"));
    assert_eq!(by(OTHER_SECRET, json!("B")).unwrap().jwt.as_deref(), Some("partner"));
}

#[test]
fn one_issuers_key_does_not_sign_for_another() {
    for (secret, issuer) in [(SECRET, "B"), (OTHER_SECRET, "A")] {
        let denial = by(secret, json!(issuer)).unwrap_err();
        assert_eq!((denial.deny, denial.why, denial.status), (Deny::TokenInvalid, "its signature does not hold", 401));
    }
}

#[test]
fn a_token_of_nobody_the_route_knows_is_refused() {
    for issuer in [json!("C"), json!(["A"]), json!(1), Value::Null] {
        let denial = by(SECRET, issuer).unwrap_err();
        assert_eq!((denial.deny, denial.why), (Deny::TokenInvalid, "its iss is none of the route's issuers"));
    }
    // It would be one of the route's, but what is that long is not even read.
    let long = by(SECRET, json!("A".repeat(9000))).unwrap_err();
    assert_eq!((long.deny, long.why), (Deny::TokenInvalid, "longer than max_token_size"));
    let garbage = verify(&rule(), "garbage", None, NOW).unwrap_err();
    assert_eq!(garbage.deny, Deny::TokenInvalid);
}
