//! One revocation: what it revokes, from when, until when.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mark::canonical;
use super::record::Record;
use super::wanted::Wanted;

/// The last moment that RFC 3339 can date, 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
pub(super) const LAST_DATE: u64 = 253_402_300_799_999;

/// Bytes. No token's subject is longer.
const MAX_SUBJECT: usize = 256;

/// Bytes of a `jti`, of a claim's value, and of its name.
const MAX_VALUE: usize = 1024;

/// Bytes.
const MAX_NOTE: usize = 256;

/// The name by which a revocation is lifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(u64);

impl Id {
    /// A name that nobody guesses and that most likely nothing else has.
    pub(super) fn random() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let id = u64::from_str_radix(text, 16).ok().filter(|_| is_one);
        id.map(Self).ok_or("no id: 16 digits from 0 to f in lower case")
    }
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// One token, by its `jti`.
    Jti(String),
    /// Every token of a subject.
    Subject(String),
    /// The tokens of a subject whose `iat` is before these milliseconds of the wall clock, and those without.
    SubjectBefore(String, u64),
    /// Every token with this claim, or with this value among the claim's values.
    Claim(String, Scalar),
}

/// A text, a number, true or false.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(Value);

impl Scalar {
    /// None for anything else.
    #[must_use]
    pub fn new(value: Value) -> Option<Self> {
        canonical(&value).is_some().then_some(Self(value))
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }

    pub(super) fn canonical(&self) -> (u8, Cow<'_, str>) {
        // It was made of what has one.
        canonical(&self.0).unwrap_or_default()
    }
}

impl What {
    /// The kind, for a log line.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Jti(_) => "jti",
            Self::Subject(_) => "subject",
            Self::SubjectBefore(..) => "issued_before",
            Self::Claim(..) => "claim",
        }
    }

    pub(super) const fn why(&self) -> &'static str {
        match self {
            Self::Jti(_) => "its jti is revoked",
            Self::Subject(_) => "its subject is revoked",
            Self::SubjectBefore(..) => "it is older than its subject's tokens may be",
            Self::Claim(..) => "one of its claims is revoked",
        }
    }

    /// The date before which tokens are revoked, if there is one.
    #[must_use]
    pub const fn issued_before(&self) -> Option<u64> {
        match self {
            Self::SubjectBefore(_, before) => Some(*before),
            Self::Jti(_) | Self::Subject(_) | Self::Claim(..) => None,
        }
    }

    /// Exactly one of a `jti`, a subject with a date or without, and a claim with its value.
    pub(super) fn of(
        jti: Option<String>,
        subject: Option<String>,
        issued_before: Option<u64>,
        claim: Option<(String, Value)>,
    ) -> Result<Self, String> {
        const ONE: &str = "exactly one of jti, subject, and claim with value";
        match (jti, subject, claim) {
            (None, None, None) => Err(format!("nothing to revoke is named: {ONE}")),
            (Some(jti), None, None) if issued_before.is_none() => text("jti", jti, MAX_VALUE).map(Self::Jti),
            (None, Some(subject), None) => {
                let subject = text("subject", subject, MAX_SUBJECT)?;
                Ok(issued_before
                    .map_or_else(|| Self::Subject(subject.clone()), |at| Self::SubjectBefore(subject.clone(), at)))
            }
            (None, None, Some((name, value))) if issued_before.is_none() => {
                let name = text("claim", name, MAX_VALUE)?;
                let value = match value {
                    Value::String(value) => Value::String(text("value", value, MAX_VALUE)?),
                    other => other,
                };
                let value = Scalar::new(value).ok_or("value is a text, a number, true or false")?;
                Ok(Self::Claim(name, value))
            }
            (Some(_), None, None) | (None, None, Some(_)) => Err("issued_before stands beside subject only".to_owned()),
            _ => Err(format!("several things to revoke are named: {ONE}")),
        }
    }
}

/// One revocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Record", try_from = "Record")]
pub struct Entry {
    /// Its name.
    pub id: Id,
    /// What it revokes.
    pub what: What,
    /// Only tokens that this `[jwt.NAME]` verified; else all.
    pub jwt: Option<Arc<str>>,
    /// When it was taken in, in the wall clock's milliseconds.
    pub created: u64,
    /// When it ends, likewise: from then on it counts no more.
    pub expires: u64,
    /// What the operator wanted to remember of it.
    pub note: Option<String>,
}

impl Entry {
    /// The same said once more: of two dates the later counts, of two notes the newer.
    pub(super) fn widened(self, wanted: Wanted) -> Self {
        let what = match (self.what, wanted.what.issued_before()) {
            (What::SubjectBefore(subject, before), Some(later)) => What::SubjectBefore(subject, before.max(later)),
            (what, _) => what,
        };
        Self { what, expires: self.expires.max(wanted.expires), note: wanted.note.or(self.note), ..self }
    }
}

/// A note as it may be kept.
pub(super) fn note(note: String) -> Result<String, String> {
    text("note", note, MAX_NOTE)
}

/// A text as it may stand in the list. What is wrong with it is said without repeating it.
fn text(member: &str, text: String, most: usize) -> Result<String, String> {
    if text.is_empty() {
        return Err(format!("{member} is empty"));
    }
    if text.len() > most {
        return Err(format!("{member} is longer than {most} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("{member} has control characters"));
    }
    // `{"` in base64url, as every token begins (RFC 7515 s3.1).
    if text.starts_with("eyJ") && text.matches('.').count() >= 2 {
        return Err(format!(
            "{member} is a whole token, which is kept nowhere: give its jti, its sub or another claim"
        ));
    }
    Ok(text)
}
