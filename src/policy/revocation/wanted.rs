//! What an operator asks to have revoked, and until when. Nothing here repeats a value: it may be a token by mistake.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::entry::{self, LAST_DATE, What};
use super::record::pair;
use crate::config::value::TimeText;
use crate::now::{Timestamp, millis};

/// On which terms a request is read.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Milliseconds for which a revocation counts whose request names no end.
    pub(super) ttl: u64,
    /// The claims by which a token may be revoked.
    pub(super) claims: Vec<String>,
    /// The names of all `[jwt.NAME]`.
    pub(super) issuers: Vec<String>,
}

/// A revocation to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What to revoke.
    pub what: What,
    /// Only tokens that this `[jwt.NAME]` verified.
    pub jwt: Option<Arc<str>>,
    /// When it ends, in the wall clock's milliseconds.
    pub expires: u64,
    /// To be remembered of it.
    pub note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    jti: Option<String>,
    subject: Option<String>,
    issued_before: Option<Moment>,
    claim: Option<String>,
    value: Option<Value>,
    jwt: Option<String>,
    expires: Option<Moment>,
    #[serde(default, deserialize_with = "span")]
    expires_in: Option<TimeText>,
    note: Option<String>,
}

impl Wanted {
    pub(super) fn parse(body: &[u8], terms: &Terms, wall: u64) -> Result<Self, String> {
        // serde would also fill a struct from an array, by position.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err("the body is no JSON object, as {\"subject\": \"alice\"}".to_owned());
        }
        let body: Body = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let claim = pair(body.claim, body.value)?;
        let what = What::of(body.jti, body.subject, body.issued_before.map(|Moment(at)| at), claim)?;
        if let What::Claim(name, _) = &what
            && !terms.claims.contains(name)
        {
            return Err(format!("no token is revoked by this claim: there is {}", listed(&terms.claims)));
        }
        if body.jwt.as_ref().is_some_and(|name| !terms.issuers.contains(name)) {
            return Err(format!("jwt names no [jwt.NAME]: there is {}", listed(&terms.issuers)));
        }
        let expires = match (body.expires, body.expires_in) {
            (Some(_), Some(_)) => return Err("expires and expires_in say the same: keep one".to_owned()),
            (Some(Moment(at)), None) => at,
            (None, Some(TimeText(time))) => wall.saturating_add(millis(time)),
            (None, None) => wall.saturating_add(terms.ttl),
        };
        if expires <= wall {
            return Err("the revocation would be over already: its end has to be in the future".to_owned());
        }
        let note = body.note.map(entry::note).transpose()?;
        Ok(Self { what, jwt: body.jwt.map(Into::into), expires: expires.min(LAST_DATE), note })
    }
}

/// A time as everywhere in the config, whose own error would repeat what was typed.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TimeText>, D::Error> {
    let span = TimeText::deserialize(deserializer);
    span.map(Some).map_err(|_| D::Error::custom("no time: as \"2h\" or \"30m\", or a whole number of seconds"))
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A moment in the wall clock's milliseconds: seconds since 1970 as a number (RFC 7519 s2, NumericDate), or a text (RFC 3339).
struct Moment(u64);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MomentVisitor).map(Self)
    }
}

struct MomentVisitor;

impl MomentVisitor {
    fn seconds<E: Error>(seconds: f64) -> Result<u64, E> {
        let millis = seconds * 1000.0;
        if !(0.0..=LAST_DATE as f64).contains(&millis) {
            return Err(E::custom(
                "a date before 1970 or after 9999: a number is seconds since 1970, not milliseconds",
            ));
        }
        // A float's cast drops what is below a millisecond.
        Ok(millis as u64)
    }
}

impl Visitor<'_> for MomentVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a date: seconds since 1970, or a text as \"2026-11-23T12:00:00Z\"")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<u64, E> {
        Self::seconds(seconds as f64)
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<u64, E> {
        Self::seconds(seconds as f64)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<u64, E> {
        Self::seconds(seconds)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
        let wrong = "no date: as \"2026-11-23T12:00:00Z\" or \"2026-11-23T13:00:00+01:00\", from 1970 on";
        text.parse().map(|Timestamp(at)| at).map_err(|()| E::custom(wrong))
    }
}
