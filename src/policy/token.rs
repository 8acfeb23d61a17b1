//! Whether a token holds: which key signed it, for whom, until when.
//!
//! The operator's list of algorithms and the key's own kind decide how a signature is checked; the token's header only picks
//! among what they allow. The library checks the signature and nothing else, since it reads the system's clock for the
//! rest. No part of a token is ever put into an error.

mod claims;
pub mod discovery;
mod jwks;
mod keys;
pub mod mint;
mod pem;
mod public;
pub mod published;
pub mod refresh;
mod settings;
pub mod source;
pub mod strip;
pub(super) mod subprotocol;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use crate::config;
use crate::deny::Deny;
use crate::material::KeyMaterial;
use crate::now::{Now, millis};
use crate::policy::claims::Claims;
use crate::policy::identity::Identity;
use crate::policy::revocation::mark::Marks;
use claims::{Parts, Registered};
use keys::Keys;
use published::{Behind, Published};

/// One thing wrong with a `[jwt.NAME]`: the key under it, what is wrong, what to do.
pub type Flaw = (&'static str, String, Option<String>);

/// The last two of a [`Flaw`], from those who do not know which key named the material.
type Trouble = (String, Option<String>);

/// A `[jwt.NAME]` that fits its keys.
#[derive(Debug)]
pub struct Verifier {
    name: Arc<str>,
    keys: Held,
    issuers: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    /// Milliseconds.
    leeway: u64,
    require_exp: bool,
    /// Bytes.
    max_token_size: u64,
}

/// Where a verifier has its keys from.
#[derive(Debug)]
enum Held {
    /// From the config: as they were when the gateway started.
    Fixed(Keys),
    /// From their issuer: as they were fetched last.
    Published(Arc<Published>),
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason for the client and the counters: [`Deny::TokenExpired`], [`Deny::TokenInvalid`] or, where there is no key
    /// set to check it with, [`Deny::KeysUnavailable`].
    pub deny: Deny,
    /// The cause for the operator's log. Names claims and fields, never what stood in them.
    pub why: &'static str,
    /// Present: a newer key set might say otherwise.
    pub behind: Option<Behind>,
    /// Seconds after which it is worth trying again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    fn invalid(why: &'static str) -> Self {
        Self { deny: Deny::TokenInvalid, why, behind: None, retry_after: None }
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
        let location = settings::location(config);
        let mut flaws = settings::flaws(config, location.as_ref());
        let keys = match Keys::compile(&config.algorithms, material) {
            Ok(keys) if flaws.is_empty() => keys,
            Ok(_) => return Err(flaws),
            Err(more) => {
                flaws.extend(more);
                return Err(flaws);
            }
        };
        let keys = match location {
            Some(location) => {
                let timing = settings::timing(config);
                Held::Published(Arc::new(Published::new(name, location, timing, &config.algorithms)))
            }
            None => Held::Fixed(keys),
        };
        // OpenID Connect Discovery 1.0 s4.3: the issuer's URL is also the `iss` of its tokens.
        let by_url = || config.issuer_url.as_ref().map(|url| vec![url.as_str().to_owned()]);
        Ok(Self {
            name: name.into(),
            keys,
            issuers: config.issuer.as_ref().map(|list| list.0.clone()).or_else(by_url),
            audiences: config.audience.as_ref().map(|list| list.0.clone()),
            leeway: millis(config.leeway),
            require_exp: config.require_exp,
            max_token_size: config.max_token_size.0,
        })
    }

    /// With the keys that were fetched for the one before of the same name, for a reload.
    #[must_use]
    pub fn following(mut self, previous: Option<&Self>) -> Self {
        if let (Held::Published(new), Some(known)) = (&self.keys, previous.and_then(Self::published)) {
            self.keys = Held::Published(new.following(known));
        }
        self
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

    /// The name of its `[jwt.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Milliseconds that clocks may differ.
    #[must_use]
    pub fn leeway(&self) -> u64 {
        self.leeway
    }

    /// Bytes beyond which a token is refused unread.
    #[must_use]
    pub fn max_token_size(&self) -> u64 {
        self.max_token_size
    }

    /// How many keys may check a token.
    #[must_use]
    pub fn key_count(&self) -> usize {
        match &self.keys {
            Held::Fixed(keys) => keys.len(),
            Held::Published(published) => published.key_count(),
        }
    }

    /// The key set that its issuer publishes, where the keys come from there.
    #[must_use]
    pub fn published(&self) -> Option<&Arc<Published>> {
        match &self.keys {
            Held::Fixed(_) => None,
            Held::Published(published) => Some(published),
        }
    }

    /// The keys of the JWKS in a file that are left aside, each with its reason, for `wsgate check`.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        match &self.keys {
            Held::Fixed(keys) => keys.skipped(),
            Held::Published(_) => &[],
        }
    }

    /// Whether `token` holds at `now.wall`.
    ///
    /// With leeway L it holds while `nbf - L <= now < exp + L`, to the millisecond, and the session that it opened ends at
    /// `exp + L`: at that very moment a new handshake is refused too.
    ///
    /// # Errors
    /// [`Deny::TokenExpired`] if all else holds and only its time is over; [`Deny::KeysUnavailable`] if its issuer's key
    /// set was never fetched, or too long ago; [`Deny::TokenInvalid`] otherwise.
    pub fn verify(&self, token: &str, now: Now) -> Result<Identity, Refusal> {
        // Before anything is parsed: what a stranger sends costs no more than its length.
        if token.len() as u64 > self.max_token_size {
            return Err(Refusal::invalid("longer than max_token_size"));
        }
        let parts = Parts::split(token)?;
        let header = parts.header()?;
        match &self.keys {
            Held::Fixed(keys) => keys.check(&header, &parts)?,
            Held::Published(published) => published.check(&header, &parts, now)?,
        }
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
                Err(Refusal { deny: Deny::TokenExpired, ..Refusal::invalid("its exp and the leeway are over") })
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

/// What a token says of its signature, unverified, for people: its `alg`, and its `kid` if it has one.
#[must_use]
pub fn unverified_header(token: &str) -> Option<(String, Option<String>)> {
    let header = Parts::split(token).ok()?.header().ok()?;
    Some((header.alg, header.kid))
}

/// When a token says that it ends, unverified, in milliseconds of the wall clock.
#[must_use]
pub fn unverified_end(token: &str) -> Option<u64> {
    let (registered, _) = Parts::split(token).ok()?.claims().ok()?;
    registered.exp.map(claims::NumericDate::millis)
}

/// What a token names as its issuer, unverified: to choose by which rules it is judged, and for nothing else.
#[must_use]
pub fn unverified_issuer(token: &str) -> Option<String> {
    Parts::split(token).ok()?.unverified_issuer()
}
