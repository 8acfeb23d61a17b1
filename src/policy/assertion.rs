//! `[assertion.NAME]`: a short-lived token of the gateway's own, by which an upstream knows who asks without having to
//! trust the network between them.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use jsonwebtoken::EncodingKey;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::identity::Identity;
use super::token::{Flaw, mint};
use crate::config;
use crate::config::value::Algorithm;
use crate::material::SigningKey;
use crate::now::Now;

/// Seconds. Beyond an hour it is a session's credential, and would have to be revoked.
const LIFETIME: std::ops::RangeInclusive<u64> = 1..=3600;

/// What the gateway says itself, and no claim of a client's token may.
const OWN: [&str; 8] = ["iss", "aud", "sub", "iat", "nbf", "exp", "jti", ORIGIN];

/// The `iss` of the client's token: with several issuers on a route, two of them may have an `alice`.
const ORIGIN: &str = "origin_iss";

/// An `[assertion.NAME]` that fits its key.
pub struct Assertion {
    /// The header in which the upstream gets it.
    pub header: HeaderName,
    algorithm: Algorithm,
    key: EncodingKey,
    kid: Option<String>,
    issuer: String,
    audience: Option<Value>,
    /// Seconds.
    lifetime: u64,
    claims: Vec<String>,
}

impl Assertion {
    /// Fits an `[assertion.NAME]` and its key together. `header` was parsed and found to be free.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn compile(config: &config::Assertion, header: HeaderName, material: &SigningKey) -> Result<Self, Vec<Flaw>> {
        let mut flaws = setting_flaws(config);
        let key = key(config.algorithm, material).map_err(|flaw| flaws.push(flaw)).ok();
        let Some(key) = key.filter(|_| flaws.is_empty()) else { return Err(flaws) };
        let audience = config.audience.as_ref().map(|list| match list.0.as_slice() {
            [one] => Value::from(one.clone()),
            several => Value::from(several.to_vec()),
        });
        Ok(Self {
            header,
            algorithm: config.algorithm,
            key,
            kid: config.kid.clone(),
            issuer: config.issuer.clone(),
            audience,
            lifetime: config.lifetime.as_secs(),
            claims: config.claims.clone(),
        })
    }

    /// What is taken over from a client's token: each claim whole, under the name that the config has for it.
    #[must_use]
    pub fn copied(&self, claims: &Claims) -> Map<String, Value> {
        self.claims.iter().filter_map(|path| Some((path.clone(), claims.get(path)?.clone()))).collect()
    }

    /// Signs one for this bearer. `copied` is what [`Assertion::copied`] found.
    ///
    /// # Errors
    /// When nothing could be signed: the key was tried when it was read, so that would be a bug.
    pub fn mint(&self, identity: &Identity, copied: Map<String, Value>, now: Now) -> Result<HeaderValue, String> {
        let mut claims = copied;
        let issued = now.wall / 1000;
        claims.insert("iss".into(), self.issuer.clone().into());
        claims.insert("iat".into(), issued.into());
        claims.insert("exp".into(), issued.saturating_add(self.lifetime).into());
        claims.insert("jti".into(), unpredictable()?.into());
        let origin = identity.claims.get("iss").and_then(Value::as_str);
        for (name, value) in [("sub", identity.subject.as_deref()), (ORIGIN, origin)] {
            claims.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        claims.extend(self.audience.clone().map(|audience| ("aud".to_owned(), audience)));
        let token = mint::mint(self.algorithm, &self.key, self.kid.as_deref(), &claims)?;
        HeaderValue::try_from(token).map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion")
            .field("header", &self.header)
            .field("algorithm", &self.algorithm)
            .field("key", &format_args!("[secret]"))
            .finish_non_exhaustive()
    }
}

/// 128 random bits: no two assertions share a `jti`, and nobody can tell the next one.
fn unpredictable() -> Result<String, String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| "no random bytes are to be had".to_owned())?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn key(algorithm: Algorithm, material: &SigningKey) -> Result<EncodingKey, Flaw> {
    let (name, bytes, shared) = match material {
        SigningKey::Secret(bytes) => ("secret", bytes.as_slice(), true),
        SigningKey::Private(bytes) => ("private_key", bytes.as_slice(), false),
    };
    let flaw = |key, message, help: &str| (key, message, Some(help.to_owned()));
    match (mint::is_shared(algorithm), shared) {
        (true, false) => {
            let message = format!("`{algorithm:?}` signs with a shared secret, and a `private_key` is given");
            return Err(flaw("algorithm", message, "RS256, PS256, ES256, ES384, EdDSA, as the key is; or `secret`"));
        }
        (false, true) => {
            let message = format!("`{algorithm:?}` signs with a private key, and a `secret` is given");
            return Err(flaw("algorithm", message, "HS256, HS384 or HS512; or `private_key` instead of `secret`"));
        }
        (true, true) | (false, false) => {}
    }
    mint::encoding_key(algorithm, bytes).map_err(|message| (name, message, None))
}

/// What is wrong without a look at the key.
fn setting_flaws(config: &config::Assertion) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut flaw = |key, message: &str, help: &str| flaws.push((key, message.to_owned(), Some(help.to_owned())));
    if !LIFETIME.contains(&config.lifetime.as_secs()) || config.lifetime.subsec_millis() != 0 {
        flaw(
            "lifetime",
            "not a whole number of seconds from 1s to 1h",
            "a handshake needs a few: \"60s\" is the default",
        );
    }
    if config.issuer.is_empty() {
        flaw("issuer", "names nobody", "what backends are to expect as `iss`; \"wsgate\" is the default");
    }
    if config.audience.as_ref().is_some_and(|list| list.0.iter().any(String::is_empty)) {
        flaw("audience", "names nobody", "what backends are to expect as `aud`, or leave the key out");
    }
    for (at, claim) in config.claims.iter().enumerate() {
        if claim.is_empty() {
            flaw("claims", "a claim without a name", "names or paths of claims, as [\"email\", \"tenant.id\"]");
        } else if OWN.contains(&claim.as_str()) {
            let message = format!("`{claim}` is said by the gateway itself");
            flaw(
                "claims",
                &message,
                "take it off the list; the client's `sub` and `iss` are there as `sub` and `origin_iss`",
            );
        } else if config.claims[..at].contains(claim) {
            flaw("claims", &format!("`{claim}` stands twice"), "once is enough");
        }
    }
    flaws
}

#[cfg(test)]
mod tests;
