//! Signing a token: an assertion for an upstream, and one to try out with `wsgate token` and the demo.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
use serde_json::{Map, Value};

use super::{keys, pem};
use crate::config::value::Algorithm;

/// Whether `algorithm` signs with a shared secret, and not with a private key.
#[must_use]
pub fn is_shared(algorithm: Algorithm) -> bool {
    keys::least_secret(algorithm).is_some()
}

/// The key that signs with `algorithm`: a secret's bytes for HS256, HS384 and HS512, a private key in PEM for the others.
///
/// # Errors
/// What is wrong with the material, and what to do.
pub fn encoding_key(algorithm: Algorithm, material: &[u8]) -> Result<EncodingKey, String> {
    let key = match keys::least_secret(algorithm) {
        Some(least) if material.len() < least => {
            return Err(format!("the secret has {} bytes, and {algorithm:?} wants at least {least}", material.len()));
        }
        // Its public half would be all that it takes to sign.
        Some(_) if pem::labels(material).next().is_some() => {
            return Err("the secret is a PEM file, not a secret".to_owned());
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
    let failed = |error: String| format!("no token could be signed with {algorithm:?}: {error}");
    let mut header = Map::from_iter([("typ".into(), "JWT".into()), ("alg".into(), format!("{algorithm:?}").into())]);
    header.extend(kid.map(|kid| ("kid".to_owned(), kid.into())));
    let part = |object: &Map<String, Value>| serde_json::to_string(object).map(|json| URL_SAFE_NO_PAD.encode(json));
    let (header, claims) = (part(&header), part(claims));
    let message =
        format!("{}.{}", header.map_err(|e| failed(e.to_string()))?, claims.map_err(|e| failed(e.to_string()))?);
    // The provider is named, since the library's own choice by Cargo feature panics where a dependency turns on a second one.
    let signer = (DEFAULT_PROVIDER.signer_factory)(&keys::library(algorithm), key);
    let signature = signer.map_err(|error| failed(error.to_string()))?.try_sign(message.as_bytes());
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.map_err(|error| failed(error.to_string()))?)))
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
