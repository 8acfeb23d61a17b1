//! What of a token can be revoked, as a live session keeps it: a few hashes in place of its claims.
//!
//! A mark has 128 bits whatever it stands for, so that an idle session stays small and a look-up compares no texts. The
//! hashes are keyed, and mean nothing outside this process.

use std::borrow::Cow;

use serde_json::Value;

use super::entry::What;
use crate::policy::claims::Claims;
use crate::policy::key::{Key, KeyHasher};

/// The session at the issuer (OpenID Connect Front-Channel Logout s3). Every list of claims has it.
const SESSION: &str = "sid";

/// Values that one claim of a token may have: each is a mark, and a session keeps 16 bytes for it.
const MAX_VALUES: usize = 32;

/// The marks of one token. Without a token, or anything to revoke it by, there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Box<[Key]>);

impl Marks {
    pub(super) fn keys(&self) -> &[Key] {
        &self.0
    }

    /// Whether there is nothing by which it could be revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a revocation asks for of a token: of a handshake's, or of the one that a session lives by.
#[derive(Clone, Copy, Debug)]
pub struct Bearer<'a> {
    /// By what it can be revoked.
    pub marks: &'a Marks,
    /// The wall clock's milliseconds of its `iat`.
    pub issued: Option<u64>,
    /// The `[jwt.NAME]` that verified it.
    pub jwt: Option<&'a str>,
}

/// A token whose revocable claim is a list of more than 32 values: it could not be revoked by each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Makes marks, of tokens and of what is revoked alike.
#[derive(Debug)]
pub(super) struct Marker {
    keys: KeyHasher,
    claims: Vec<String>,
}

impl Marker {
    /// For these claims and `sid`.
    pub(super) fn new(mut claims: Vec<String>) -> Self {
        if !claims.iter().any(|claim| claim == SESSION) {
            claims.insert(0, SESSION.to_owned());
        }
        Self { keys: KeyHasher::default(), claims }
    }

    /// The claims by which a token may be revoked.
    pub(super) fn claims(&self) -> &[String] {
        &self.claims
    }

    pub(super) fn marks(&self, claims: &Claims) -> Result<Marks, TooMany> {
        let mut keys = Vec::new();
        if let Some(jti) = claims.get("jti").and_then(Value::as_str) {
            keys.push(self.key(b'j', "", b't', jti));
        }
        if let Some(subject) = claims.get("sub").and_then(Value::as_str) {
            keys.push(self.key(b's', "", b't', subject));
        }
        for name in &self.claims {
            let values = match claims.get(name) {
                Some(Value::Array(values)) if values.len() > MAX_VALUES => return Err(TooMany),
                Some(Value::Array(values)) => values.as_slice(),
                Some(value) => std::slice::from_ref(value),
                None => continue,
            };
            keys.extend(values.iter().filter_map(|value| self.key_of_claim(name, value)));
        }
        Ok(Marks(keys.into()))
    }

    pub(super) fn of_subject(&self, subject: &str) -> Marks {
        Marks(Box::new([self.key(b's', "", b't', subject)]))
    }

    /// The mark that the tokens have which `what` revokes.
    pub(super) fn key_of(&self, what: &What) -> Key {
        match what {
            What::Jti(jti) => self.key(b'j', "", b't', jti),
            What::Subject(subject) | What::SubjectBefore(subject, _) => self.key(b's', "", b't', subject),
            What::Claim(name, value) => {
                let (kind, text) = value.canonical();
                self.key(b'c', name, kind, &text)
            }
        }
    }

    fn key_of_claim(&self, name: &str, value: &Value) -> Option<Key> {
        let (kind, text) = canonical(value)?;
        Some(self.key(b'c', name, kind, &text))
    }

    /// No two inputs make the same bytes: of the two texts the first has its length before it.
    fn key(&self, what: u8, name: &str, kind: u8, value: &str) -> Key {
        let mut bytes = Vec::with_capacity(10 + name.len() + value.len());
        bytes.extend([what, kind]);
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(value.as_bytes());
        self.keys.key(&bytes)
    }
}

/// One spelling for each text, number, true and false; nothing for the rest. `"7"` is not 7, and `7.0` is.
pub(super) fn canonical(value: &Value) -> Option<(u8, Cow<'_, str>)> {
    // Up to here a float holds every whole number, and its cast is exact.
    const WHOLE: f64 = 9_007_199_254_740_992.0;
    Some(match value {
        Value::String(text) => (b't', text.into()),
        Value::Bool(flag) => (b'b', if *flag { "true" } else { "false" }.into()),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) if float.fract() == 0.0 && float.abs() < WHOLE => (b'n', (float as i64).to_string().into()),
            _ => (b'n', number.to_string().into()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}
