//! Tokens of every kind against verifiers of every kind. The time is always [`NOW`].

mod claims;
mod compile;
mod forged;
mod issuers;
mod published;
mod source;
mod strip;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::mint::{encoding_key, mint};
use super::{Flaw, Refusal, Verifier, keys};
use crate::config::Jwt;
use crate::config::value::{Algorithm, OneOrMany, Size};
use crate::deny::Deny;
use crate::material::KeyMaterial;
use crate::now::Now;
use crate::policy::identity::Identity;

/// Seconds and milliseconds of the same moment.
const NOW_S: u64 = 1_700_000_000;
const NOW: Now = Now { mono: 0, wall: NOW_S * 1000 };
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

macro_rules! pem {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/", $name)).as_slice()
    };
}
use pem;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwt(algorithms: &[Algorithm]) -> Jwt {
    Jwt {
        algorithms: algorithms.to_vec(),
        secret: None,
        public_key: None,
        jwks: None,
        issuer_url: None,
        jwks_refresh: std::time::Duration::from_secs(300),
        jwks_max_stale: std::time::Duration::from_secs(86_400),
        jwks_cooldown: std::time::Duration::from_secs(30),
        jwks_ca: None,
        issuer: None,
        audience: None,
        leeway: std::time::Duration::from_secs(5),
        require_exp: true,
        max_token_size: Size(8 * 1024),
        status: 403,
    }
}

fn one(text: &str) -> Option<OneOrMany> {
    Some(OneOrMany(vec![text.to_owned()]))
}

fn hs256() -> Verifier {
    with(&jwt(&[Algorithm::HS256]))
}

/// A verifier of these settings and [`SECRET`].
fn with(config: &Jwt) -> Verifier {
    Verifier::compile("main", config, &KeyMaterial::Secret(SECRET.to_vec())).unwrap()
}

fn with_pem(algorithms: &[Algorithm], pem: &[u8]) -> Result<Verifier, Vec<Flaw>> {
    Verifier::compile("main", &jwt(algorithms), &KeyMaterial::Pem(pem.to_vec()))
}

fn with_jwks(algorithms: &[Algorithm], members: &[Value]) -> Result<Verifier, Vec<Flaw>> {
    Verifier::compile("main", &jwt(algorithms), &KeyMaterial::Jwks(json!({ "keys": members }).to_string()))
}

/// Claims that hold for an hour.
fn good() -> Value {
    json!({ "sub": "alice", "exp": NOW_S + 3600 })
}

/// The good claims with other members added or put in their place.
fn good_with(more: Value) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// A token whose header and claims are these very bytes, rightly signed.
fn signed(algorithm: Algorithm, key: &EncodingKey, header: &str, claims: &[u8]) -> String {
    let message = format!("{}.{}", b64(header.as_bytes()), b64(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, keys::library(algorithm)).unwrap();
    format!("{message}.{signature}")
}

fn hs256_signed(header: &str, claims: &str) -> String {
    signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET), header, claims.as_bytes())
}

/// A token of HS256 and these claims.
fn token(claims: &Value) -> String {
    hs256_signed(r#"{"alg":"HS256"}"#, &claims.to_string())
}

/// The public half of a private key as a member of a JWKS, with further members.
fn jwk(pem: &[u8], algorithm: Algorithm, more: Value) -> Value {
    let key = encoding_key(algorithm, pem).unwrap();
    let mut jwk =
        serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&key, keys::library(algorithm)).unwrap())
            .unwrap();
    let members = jwk.as_object_mut().unwrap();
    members.remove("alg");
    members.extend(more.as_object().unwrap().clone());
    jwk
}

#[track_caller]
fn refused(result: Result<Identity, Refusal>, why: &str) {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.deny, Deny::TokenInvalid, "{refusal}");
    assert!(refusal.why.contains(why), "`{}` does not say `{why}`", refusal.why);
}
