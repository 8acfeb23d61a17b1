//! The three parts of a token, and what stands in the first two: typed, whole, nothing guessed.
//!
//! Only the members that are read here have a type; a member that stands twice, or is `null`, is refused for each of them.
//! `jwk`, `jku` and `x5*` of the header are not even named: a token does not bring its own key.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{self, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Refusal;
use crate::policy::claims::{self, Strict};

/// Bytes. It goes into a header of every handshake, into log lines and into `/connections`.
const MAX_SUBJECT: usize = 256;

/// The parts of a token in the compact form (RFC 7515 s3.1), still encoded.
pub(super) struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    /// What was signed: header, dot and claims as they stand.
    pub(super) message: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// What the header says of how it was signed (RFC 7515 s4.1).
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    #[serde(default, deserialize_with = "present")]
    pub(super) kid: Option<String>,
    /// Whether there is a `crit`, of whatever content.
    #[serde(default, deserialize_with = "noticed")]
    crit: bool,
}

/// The claims that a gateway judges by itself (RFC 7519 s4.1).
#[derive(Deserialize)]
pub(super) struct Registered {
    #[serde(default, deserialize_with = "present")]
    pub(super) iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    pub(super) aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    pub(super) exp: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(default, deserialize_with = "present")]
    pub(super) iat: Option<NumericDate>,
}

impl<'a> Parts<'a> {
    /// Exactly three parts: a token of five is encrypted (RFC 7516 s3.1), one of two is none at all.
    pub(super) fn split(token: &'a str) -> Result<Self, Refusal> {
        let shape = Refusal::invalid("not three parts with a dot between them");
        let (message, signature) = token.rsplit_once('.').ok_or(shape)?;
        let (header, claims) = message.split_once('.').ok_or(shape)?;
        if claims.contains('.') {
            return Err(shape);
        }
        if signature.is_empty() {
            return Err(Refusal::invalid("not signed"));
        }
        let signature = decode(signature).ok_or(Refusal::invalid("its signature is not base64url"))?;
        Ok(Self { header, claims, message: message.as_bytes(), signature })
    }

    /// The header, once it asks for nothing that is not understood.
    pub(super) fn header(&self) -> Result<Header, Refusal> {
        let header: Header = object(self.header).ok_or(Refusal::invalid("its header is no JOSE header"))?;
        // RFC 7515 s4.1.11: an extension that is not understood makes the token invalid, and none is understood here.
        if header.crit {
            return Err(Refusal::invalid("its header has crit"));
        }
        Ok(header)
    }

    /// The claims: those that are judged here, and all of them. To be asked for once the signature holds: until then they
    /// are a stranger's words.
    pub(super) fn claims(&self) -> Result<(Registered, claims::Claims), Refusal> {
        let shape = Refusal::invalid("its claims are no claims set, or one stands twice or is of the wrong type");
        let Some(Strict(Value::Object(all))) = object(self.claims) else { return Err(shape) };
        let registered = Registered::deserialize(&Value::Object(all.clone())).map_err(|_| shape)?;
        Ok((registered, all.into()))
    }

    /// What the token names as its issuer. Nothing may be believed of it before the signature holds.
    pub(super) fn unverified_issuer(&self) -> Option<String> {
        match object(self.claims)? {
            Strict(Value::Object(mut all)) => match all.remove("iss") {
                Some(Value::String(issuer)) => Some(issuer),
                _ => None,
            },
            Strict(_) => None,
        }
    }
}

/// `sub` as it may stand in a header and a log line.
pub(super) fn subject(sub: String) -> Result<Arc<str>, Refusal> {
    if sub.is_empty() || sub.len() > MAX_SUBJECT {
        return Err(Refusal::invalid("its sub is empty or longer than 256 bytes"));
    }
    if sub.chars().any(char::is_control) {
        return Err(Refusal::invalid("its sub has control characters"));
    }
    // RFC 9110 s5.5: the upstream takes blanks off a header's ends, and would see another subject than was signed.
    if sub.trim().len() != sub.len() {
        return Err(Refusal::invalid("its sub begins or ends with a blank"));
    }
    Ok(sub.into())
}

/// Seconds since 1970-01-01 UTC, whole or not (RFC 7519 s2, NumericDate).
#[derive(Clone, Copy, Deserialize)]
pub(super) struct NumericDate(f64);

impl NumericDate {
    /// Milliseconds, saturating: a float's cast gives 0 for what is negative and `u64::MAX` for what is too large.
    pub(super) fn millis(self) -> u64 {
        (self.0 * 1000.0) as u64
    }
}

/// `aud`: a text, or an array of texts (RFC 7519 s4.1.3).
pub(super) struct Audience(Vec<String>);

impl Audience {
    pub(super) fn any(&self, wanted: impl Fn(&str) -> bool) -> bool {
        self.0.iter().any(|one| wanted(one))
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Audience;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or an array of texts")
            }

            fn visit_str<E: de::Error>(self, one: &str) -> Result<Audience, E> {
                Ok(Audience(vec![one.to_owned()]))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut texts: A) -> Result<Audience, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = texts.next_element()? {
                    many.push(one);
                }
                Ok(Audience(many))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// base64url without padding (RFC 7515 s2); bits beyond the last byte must be 0, so each part has one spelling only.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// A JSON object. serde would also fill a struct from an array by position, and skips what it ignores without a look at
/// its UTF-8.
fn object<T: de::DeserializeOwned>(part: &str) -> Option<T> {
    let json = String::from_utf8(decode(part)?).ok()?;
    let is_object = json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
    if is_object { serde_json::from_str(&json).ok() } else { None }
}

/// A member that, if it is there, has its type: serde alone would take `null` for absence.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// That a member is there at all, `null` included.
fn noticed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
