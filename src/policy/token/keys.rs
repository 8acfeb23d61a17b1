//! The keys of one `[jwt.NAME]`, each with the algorithms that it, and the operator, allow.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use super::claims::{Header, Parts};
use super::jwks::Twins;
use super::public::PublicKey;
use super::{Flaw, Refusal, jwks, pem};
use crate::config::value::Algorithm;
use crate::material::KeyMaterial;

/// Signatures that one token may cost when it names no key: a set's size must not be a stranger's lever.
const MAX_TRIED: usize = 4;

/// Said of a token whose `kid` no key has.
pub(super) const UNKNOWN_KID: &str = "no key has its kid";

/// Every key that may check a token.
#[derive(Debug)]
pub(super) struct Keys {
    list: Vec<Key>,
    /// Whether a `kid` picks among them. A lone secret or PEM has no name in the config, so it takes any.
    named: bool,
    skipped: Vec<String>,
}

/// One key and what it may check.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    /// What the operator listed, as far as this key's kind and its own `alg` go along. The token has no say in it.
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

impl Keys {
    /// Fits keys and algorithms together. What is wrong with the material is told of the config's key that named it.
    pub(super) fn compile(algorithms: &[Algorithm], material: &KeyMaterial) -> Result<Self, Vec<Flaw>> {
        let lone = |key, flaws: Vec<Flaw>| match key {
            Some(key) if flaws.is_empty() => Ok(Self { list: vec![key], named: false, skipped: Vec::new() }),
            _ => Err(flaws),
        };
        match material {
            KeyMaterial::Secret(secret) => {
                let flaws = secret_flaws(algorithms, secret);
                let key = DecodingKey::from_secret(secret);
                lone(Some(Key { kid: None, algorithms: algorithms.to_vec(), key }), flaws)
            }
            KeyMaterial::Pem(pem) => {
                let mut flaws = hmac_flaws(algorithms, "public_key");
                let public = pem::public_key(pem).map_err(|(message, help)| ("public_key", message, help));
                let public = public.map_err(|flaw| flaws.push(flaw)).ok();
                let key = public.map(|public| {
                    flaws.extend(unfit_flaws(algorithms, &public));
                    Key { kid: None, algorithms: algorithms.to_vec(), key: public.key }
                });
                lone(key, flaws)
            }
            KeyMaterial::Jwks(text) => {
                let mut flaws = hmac_flaws(algorithms, "jwks");
                match jwks::keys(algorithms, text, Twins::Refused) {
                    Ok((list, skipped)) if flaws.is_empty() => Ok(Self { list, named: true, skipped }),
                    Ok(_) => Err(flaws),
                    Err((message, help)) => {
                        flaws.push(("jwks", message, help));
                        Err(flaws)
                    }
                }
            }
            // They come later.
            KeyMaterial::Remote(_) => Ok(Self { list: Vec::new(), named: true, skipped: Vec::new() }),
        }
    }

    /// The keys of a set that was fetched.
    pub(super) fn published(algorithms: &[Algorithm], text: &str) -> Result<Self, String> {
        let (list, skipped) = jwks::keys(algorithms, text, Twins::Skipped).map_err(|(message, _)| message)?;
        Ok(Self { list, named: true, skipped })
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Whether there is a key that the header may pick.
    pub(super) fn knows(&self, header: &Header) -> bool {
        self.list.iter().any(|key| self.may_pick(header, key))
    }

    fn may_pick(&self, header: &Header, key: &Key) -> bool {
        !self.named || header.kid.is_none() || key.kid == header.kid
    }

    /// Whether a key that the header may pick made the signature.
    pub(super) fn check(&self, header: &Header, token: &Parts<'_>) -> Result<(), Refusal> {
        let algorithm = algorithm(&header.alg).ok_or(Refusal::invalid("its alg is not known"))?;
        if !self.knows(header) {
            return Err(Refusal::invalid(UNKNOWN_KID));
        }
        let mut fit = self
            .list
            .iter()
            .filter(|key| self.may_pick(header, key))
            .filter(|key| key.algorithms.contains(&algorithm))
            .take(MAX_TRIED)
            .peekable();
        if fit.peek().is_none() {
            return Err(Refusal::invalid("its alg is not accepted for this key"));
        }
        if fit.any(|key| holds(key, algorithm, token)) {
            Ok(())
        } else {
            Err(Refusal::invalid("its signature does not hold"))
        }
    }
}

/// The provider is named, since the library's own choice by Cargo feature panics where a dependency turns on a second one.
fn holds(key: &Key, algorithm: Algorithm, token: &Parts<'_>) -> bool {
    let verifier = (DEFAULT_PROVIDER.verifier_factory)(&library(algorithm), &key.key);
    verifier.is_ok_and(|verifier| verifier.verify(token.message, &token.signature).is_ok())
}

/// RFC 7518's name, exactly as written there; anything else, `none` too, is no algorithm.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    use serde::Deserialize;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let name: StrDeserializer<'_, Error> = name.into_deserializer();
    Algorithm::deserialize(name).ok()
}

/// The library's word for it.
pub(super) fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Library;
    match algorithm {
        Algorithm::HS256 => Library::HS256,
        Algorithm::HS384 => Library::HS384,
        Algorithm::HS512 => Library::HS512,
        Algorithm::RS256 => Library::RS256,
        Algorithm::RS384 => Library::RS384,
        Algorithm::RS512 => Library::RS512,
        Algorithm::PS256 => Library::PS256,
        Algorithm::PS384 => Library::PS384,
        Algorithm::PS512 => Library::PS512,
        Algorithm::ES256 => Library::ES256,
        Algorithm::ES384 => Library::ES384,
        Algorithm::EdDSA => Library::EdDSA,
    }
}

/// The bytes that an HMAC's secret must at least have: those of its hash (RFC 7518 s3.2). None for the others.
pub(super) fn least_secret(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        Algorithm::RS256
        | Algorithm::RS384
        | Algorithm::RS512
        | Algorithm::PS256
        | Algorithm::PS384
        | Algorithm::PS512
        | Algorithm::ES256
        | Algorithm::ES384
        | Algorithm::EdDSA => None,
    }
}

fn secret_flaws(algorithms: &[Algorithm], secret: &[u8]) -> Vec<Flaw> {
    let mut flaws: Vec<Flaw> = algorithms
        .iter()
        .filter(|algorithm| least_secret(**algorithm).is_none())
        .map(|algorithm| {
            let message = format!("`{algorithm:?}` is checked with a public key, and a `secret` is given");
            (
                "algorithms",
                message,
                Some("HS256, HS384 or HS512; or `public_key` or `jwks` instead of `secret`".to_owned()),
            )
        })
        .collect();
    // Whoever has the public key, and that is everyone, could sign with it.
    if pem::labels(secret).next().is_some() {
        let help = "give it as `public_key`, with the algorithm that its issuer signs with";
        flaws.push(("secret", "the secret is a PEM file, not a secret".to_owned(), Some(help.to_owned())));
    }
    let least = algorithms
        .iter()
        .filter_map(|algorithm| Some((least_secret(*algorithm)?, algorithm)))
        .max_by_key(|(least, _)| *least);
    if let Some((least, algorithm)) = least.filter(|(least, _)| secret.len() < *least) {
        let message =
            format!("the secret has {} bytes, and {algorithm:?} wants at least {least} (RFC 7518 s3.2)", secret.len());
        flaws.push(("secret", message, Some(format!("`openssl rand -hex {least}` makes one"))));
    }
    flaws
}

/// Algorithms that public keys can't check; `given` is the config's key under which those are.
pub(super) fn hmac_flaws(algorithms: &[Algorithm], given: &str) -> Vec<Flaw> {
    algorithms
        .iter()
        .filter(|algorithm| least_secret(**algorithm).is_some())
        .map(|algorithm| {
            let message = format!("`{algorithm:?}` is checked with a shared secret, and a `{given}` is given");
            ("algorithms", message, Some(format!("take it off the list, or use `secret` instead of `{given}`")))
        })
        .collect()
}

fn unfit_flaws(algorithms: &[Algorithm], public: &PublicKey) -> Vec<Flaw> {
    algorithms
        .iter()
        .filter(|algorithm| least_secret(**algorithm).is_none() && !public.kind.fits(**algorithm))
        .map(|algorithm| {
            let message = format!("`{algorithm:?}` is not for the `public_key`, which is {}", public.kind);
            ("algorithms", message, Some(format!("with this key: {}", public.kind.algorithms())))
        })
        .collect()
}
