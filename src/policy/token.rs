//! Whether a token holds: which key signed it, for whom, until when.
//!
//! The operator's list of algorithms and the key's own kind decide how a signature is checked; the token's header only picks
//! among what they allow. The library checks the signature and nothing else, since it reads the system's clock for the
//! rest. No part of a token is ever put into an error.

mod claims;
mod jwks;
mod keys;
pub mod mint;
mod pem;
mod public;
pub mod source;
pub mod strip;
pub(super) mod subprotocol;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::config::value::OneOrMany;
use crate::deny::Deny;
use crate::material::KeyMaterial;
use crate::now::{Now, millis};
use crate::policy::claims::Claims;
use crate::policy::identity::Identity;
use crate::policy::revocation::mark::Marks;
use claims::{Parts, Registered};
use keys::Keys;

/// One thing wrong with a `[jwt.NAME]`: the key under it, what is wrong, what to do.
pub type Flaw = (&'static str, String, Option<String>);

/// The last two of a [`Flaw`], from those who do not know which key named the material.
type Trouble = (String, Option<String>);

/// Beyond an hour a leeway is a second lifetime for every token.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// A `[jwt.NAME]` that fits its keys.
#[derive(Debug)]
pub struct Verifier {
    name: Arc<str>,
    keys: Keys,
    issuers: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    /// Milliseconds.
    leeway: u64,
    require_exp: bool,
    /// Bytes.
    max_token_size: u64,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason for the client and the counters: [`Deny::TokenExpired`] or [`Deny::TokenInvalid`].
    pub deny: Deny,
    /// The cause for the operator's log. Names claims and fields, never what stood in them.
    pub why: &'static str,
}

impl Refusal {
    fn invalid(why: &'static str) -> Self {
        Self { deny: Deny::TokenInvalid, why }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.deny, self.why)
    }
}

impl Verifier {
    /// Fits the `[jwt.NAME]` called `name` and its key material together.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn compile(name: &str, config: &config::Jwt, material: &KeyMaterial) -> Result<Self, Vec<Flaw>> {
        let mut flaws = setting_flaws(config);
        let keys = match Keys::compile(&config.algorithms, material) {
            Ok(keys) if flaws.is_empty() => keys,
            Ok(_) => return Err(flaws),
            Err(more) => {
                flaws.extend(more);
                return Err(flaws);
            }
        };
        Ok(Self {
            name: name.into(),
            keys,
            issuers: config.issuer.as_ref().map(|list| list.0.clone()),
            audiences: config.audience.as_ref().map(|list| list.0.clone()),
            leeway: millis(config.leeway),
            require_exp: config.require_exp,
            max_token_size: config.max_token_size.0,
        })
    }

    /// Whether this issuer's tokens are the ones it checks. Without a configured `issuer` they are nobody's.
    #[must_use]
    pub fn is_of(&self, issuer: &str) -> bool {
        self.issuers.iter().flatten().any(|known| known == issuer)
    }

    /// Whose tokens it checks; none where the config names nobody.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().flatten().map(String::as_str)
    }

    /// Bytes beyond which a token is refused unread.
    #[must_use]
    pub fn max_token_size(&self) -> u64 {
        self.max_token_size
    }

    /// How many keys may check a token.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// The keys of the JWKS that are left aside, each with its reason, for `wsgate check`.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        self.keys.skipped()
    }

    /// Whether `token` holds at `now.wall`.
    ///
    /// With leeway L it holds while `nbf - L <= now < exp + L`, to the millisecond, and the session that it opened ends at
    /// `exp + L`: at that very moment a new handshake is refused too.
    ///
    /// # Errors
    /// [`Deny::TokenExpired`] if all else holds and only its time is over; [`Deny::TokenInvalid`] otherwise.
    pub fn verify(&self, token: &str, now: Now) -> Result<Identity, Refusal> {
        // Before anything is parsed: what a stranger sends costs no more than its length.
        if token.len() as u64 > self.max_token_size {
            return Err(Refusal::invalid("longer than max_token_size"));
        }
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        self.keys.check(&header, &parts)?;
        let (registered, all) = parts.claims()?;
        self.judge(registered, all, now)
    }

    fn judge(&self, claims: Registered, all: Claims, now: Now) -> Result<Identity, Refusal> {
        if let Some(allowed) = &self.issuers {
            let issuer = claims.iss.as_ref().ok_or(Refusal::invalid("no iss, and an issuer is configured"))?;
            if !allowed.contains(issuer) {
                return Err(Refusal::invalid("its iss is another issuer"));
            }
        }
        if let Some(allowed) = &self.audiences {
            let audiences = claims.aud.as_ref().ok_or(Refusal::invalid("no aud, and an audience is configured"))?;
            if !audiences.any(|audience| allowed.iter().any(|one| one == audience)) {
                return Err(Refusal::invalid("its aud is for others"));
            }
        }
        if claims.nbf.is_some_and(|from| now.wall.saturating_add(self.leeway) < from.millis()) {
            return Err(Refusal::invalid("its nbf is yet to come"));
        }
        let subject = claims.sub.map(claims::subject).transpose()?;
        let expires = claims.exp.map(|end| end.millis().saturating_add(self.leeway));
        // Last, so that `token_expired` tells a client that a fresh token of the same kind would do.
        match expires {
            None if self.require_exp => Err(Refusal::invalid("no exp, and require_exp is on")),
            Some(end) if now.wall >= end => {
                Err(Refusal { deny: Deny::TokenExpired, why: "its exp and the leeway are over" })
            }
            _ => Ok(Identity {
                subject,
                expires,
                certificate_ends: None,
                issued: claims.iat.map(claims::NumericDate::millis),
                jwt: Some(self.name.clone()),
                claims: all,
                marks: Marks::default(),
            }),
        }
    }
}

/// What a token names as its issuer, unverified: to choose by which rules it is judged, and for nothing else.
#[must_use]
pub fn unverified_issuer(token: &str) -> Option<String> {
    Parts::split(token).ok()?.unverified_issuer()
}

/// What is wrong without a look at the keys.
fn setting_flaws(config: &config::Jwt) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut flaw = |key, message: &str, help: &str| flaws.push((key, message.to_owned(), Some(help.to_owned())));
    if config.algorithms.is_empty() {
        flaw(
            "algorithms",
            "no algorithm is accepted, so no token is",
            "list what the issuer signs with, as [\"RS256\"]",
        );
    }
    if config.leeway > MAX_LEEWAY {
        flaw("leeway", "more than an hour", "at most \"1h\"; a few seconds make up for clocks that differ");
    }
    if !matches!(config.status, 401 | 403) {
        flaw("status", &format!("{} is no status for a refused token", config.status), "401 or 403");
    }
    if config.max_token_size.0 == 0 {
        flaw("max_token_size", "no token is that small", "\"8k\" is the default");
    }
    let vain =
        |list: &Option<OneOrMany>| list.as_ref().is_some_and(|l| l.0.is_empty() || l.0.iter().any(String::is_empty));
    if vain(&config.issuer) {
        flaw("issuer", "names nobody", "the exact `iss` of the tokens, or leave the key out");
    }
    if vain(&config.audience) {
        flaw("audience", "names nobody", "the exact `aud` of the tokens, or leave the key out");
    }
    flaws
}
