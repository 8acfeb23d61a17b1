//! Signing a token, for `wsgate token` and the demo. The gateway itself never signs one.

use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value};

use super::{keys, pem};
use crate::config::value::Algorithm;

/// The key that signs with `algorithm`: a secret's bytes for HS256, HS384 and HS512, a private key in PEM for the others.
///
/// # Errors
/// What is wrong with the material, and what to do.
pub fn encoding_key(algorithm: Algorithm, material: &[u8]) -> Result<EncodingKey, String> {
    let key = match keys::least_secret(algorithm) {
        Some(least) if material.len() < least => {
            return Err(format!("the secret has {} bytes, and {algorithm:?} wants at least {least}", material.len()));
        }
        Some(_) => EncodingKey::from_secret(material),
        None => private_key(algorithm, material)?,
    };
    // Some kinds of unfit key only show when something is signed.
    match (DEFAULT_PROVIDER.signer_factory)(&keys::library(algorithm), &key) {
        Ok(signer) if signer.try_sign(b"").is_ok() => Ok(key),
        _ => Err(format!("the key is not for {algorithm:?}: of another kind, curve or size")),
    }
}

/// A token of these claims, as they are: nothing is added, nothing is judged. `kid` names the key in its header.
///
/// # Errors
/// When `key` is not for `algorithm`.
pub fn mint(
    algorithm: Algorithm,
    key: &EncodingKey,
    kid: Option<&str>,
    claims: &Map<String, Value>,
) -> Result<String, String> {
    let mut header = Header::new(keys::library(algorithm));
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key)
        .map_err(|error| format!("no token could be signed with {algorithm:?}: {error}"))
}

fn private_key(algorithm: Algorithm, material: &[u8]) -> Result<EncodingKey, String> {
    // Before all else, since `openssl ecparam -genkey` puts a block of parameters before it.
    if pem::labels(material).any(|label| label == "EC PRIVATE KEY") {
        return Err(
            "the key is in the older form of EC: `openssl pkcs8 -topk8 -nocrypt -in KEY` rewrites it".to_owned()
        );
    }
    let (label, _) = pem::only_block(material).map_err(|(message, _)| message)?;
    match label {
        "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
        "ENCRYPTED PRIVATE KEY" => {
            return Err("the key has a passphrase: `openssl pkey -in KEY` takes it off".to_owned());
        }
        other => return Err(format!("`{other}` is given, and signing wants a private key")),
    }
    let read = match keys::library(algorithm).family() {
        jsonwebtoken::AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(material),
        jsonwebtoken::AlgorithmFamily::Ec => EncodingKey::from_ec_pem(material),
        // HMAC has no PEM: `encoding_key` takes its bytes as they are.
        jsonwebtoken::AlgorithmFamily::Ed | jsonwebtoken::AlgorithmFamily::Hmac => EncodingKey::from_ed_pem(material),
    };
    read.map_err(|_| format!("the key is not for {algorithm:?}: of another kind or curve"))
}
