//! What a route tells its upstream of who asks: the subject, claims by name, and an assertion of it all.
//!
//! What a client says of itself under those headers is removed, so that a backend may believe what it finds there.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::assertion::Assertion;
use super::claims::Claims;
use super::identity::Identity;
use super::token::strip;
use crate::id::Id;
use crate::now::Now;

/// Bytes of one claim's header, and of all that an assertion copies. Servers take 8 KiB for a header or for all of them,
/// and a token may be larger than that.
const MAX_VOUCHED: usize = 4096;

/// The largest whole number that a double tells from its neighbours (2^53).
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Under which headers a route tells who asks.
#[derive(Debug)]
pub struct Upward {
    /// The header of the subject.
    pub subject: HeaderName,
    /// Claims, by name or path, and their headers.
    pub claims: Vec<(String, HeaderName)>,
    /// What is signed.
    pub assertion: Option<Arc<Assertion>>,
    /// The header of the connection's name; none if upstreams do not get it.
    pub connection_id: Option<HeaderName>,
    /// Every header in which any route of the file tells who asks. They are removed from every request, on routes without
    /// a token too: one backend may stand behind several routes.
    pub ours: Arc<[HeaderName]>,
}

/// What the gateway vouches for of one bearer. Prints names alone: a claim is the bearer's own affair, and an assertion is a
/// credential.
#[derive(Default)]
pub struct Vouched {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What an assertion will copy, once it is time to sign it.
    copied: Map<String, Value>,
}

impl fmt::Debug for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.headers.iter().map(|(name, _)| name.as_str());
        f.debug_set().entries(names.chain(self.copied.keys().map(String::as_str))).finish()
    }
}

impl Upward {
    /// What goes up of this bearer, but for the signature. A claim that is not there, and one that is no text, number,
    /// boolean or list of these, has no header.
    ///
    /// # Errors
    /// Why a claim can't go up, for the log: names nothing that stands in it.
    pub fn vouch(&self, identity: &Identity) -> Result<Vouched, &'static str> {
        let mut headers = Vec::new();
        let subject = identity.subject.as_deref().map(|subject| escape(subject, b""));
        headers.extend(subject.and_then(|subject| Some((self.subject.clone(), HeaderValue::try_from(subject).ok()?))));
        for (path, name) in &self.claims {
            let Some(text) = claim(&identity.claims, path)? else { continue };
            if text.len() > MAX_VOUCHED {
                return Err("a claim is longer than 4 KiB as a header");
            }
            headers.extend(HeaderValue::try_from(text).ok().map(|value| (name.clone(), value)));
        }
        let copied = self.assertion.as_ref().map(|assertion| assertion.copied(&identity.claims)).unwrap_or_default();
        // Without claims, as on most routes, nothing is written only to be measured.
        if !copied.is_empty() && serde_json::to_string(&copied).map_or(0, |json| json.len()) > MAX_VOUCHED {
            return Err("the claims for the assertion are longer than 4 KiB");
        }
        Ok(Vouched { headers, copied })
    }

    /// Removes what only the gateway may say, in every spelling that a backend could take for it, and says it.
    pub fn set(&self, headers: &mut HeaderMap, vouched: &Vouched, id: Id) {
        for name in &*self.ours {
            strip::remove_lookalikes(headers, name);
        }
        for (name, value) in &vouched.headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(name) = &self.connection_id
            && let Ok(value) = HeaderValue::try_from(id.to_string())
        {
            headers.insert(name.clone(), value);
        }
    }
}

impl Vouched {
    /// Adds the route's assertion, if it has one: to be called when the upstream is about to be asked, since it lasts for
    /// a short while only.
    ///
    /// # Errors
    /// When nothing could be signed.
    pub fn sign(&mut self, upward: &Upward, identity: &Identity, now: Now) -> Result<(), String> {
        let Some(assertion) = &upward.assertion else { return Ok(()) };
        let signed = assertion.mint(identity, std::mem::take(&mut self.copied), now)?;
        self.headers.push((assertion.header.clone(), signed));
        Ok(())
    }
}

/// A claim as it may stand in a header: a list with commas between its elements. None if it is not to be told.
fn claim(claims: &Claims, path: &str) -> Result<Option<String>, &'static str> {
    match claims.get(path) {
        None => Ok(None),
        // An empty list would look like a list of one empty text.
        Some(Value::Array(list)) if list.is_empty() => Ok(None),
        Some(Value::Array(list)) => {
            let elements: Option<Vec<String>> = list.iter().map(element).collect::<Result<_, _>>()?;
            Ok(elements.map(|elements| elements.join(",")))
        }
        Some(one) => element(one),
    }
}

fn element(value: &Value) -> Result<Option<String>, &'static str> {
    Ok(match value {
        Value::String(text) => Some(escape(text, b",")),
        Value::Bool(value) => Some(value.to_string()),
        // Such a number was rounded when it was read: two accounts may have become one.
        Value::Number(number) if number.is_f64() && number.as_f64().is_none_or(|n| n.abs() >= MAX_EXACT) => {
            return Err("a claim for a header is a number beyond what JSON readers agree on");
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Object(_) | Value::Array(_) => None,
    })
}

/// A text as it may stand in a header: whatever is not visible ASCII, `%` itself, and what is `also` named, percent-encoded
/// (RFC 3986 s2.1), so that no two texts look alike to the upstream.
fn escape(text: &str, also: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x21..0x7f).contains(&byte) && byte != b'%' && !also.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
