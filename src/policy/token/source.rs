//! Where a request carries its token.
//!
//! Every place that the route names is looked at, also after a token was found: two that differ are refused, so that the
//! gateway never judges one token while a backend reads the other.

use std::fmt;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName};

use super::{strip, subprotocol};
use crate::config::value::TokenFrom;
use crate::deny::Deny;

/// A token and the first place it stood in. Prints the place only.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The token as the client sent it, nothing of it checked.
    pub token: String,
    /// Where.
    pub from: TokenFrom,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("token", &"[secret]").field("from", &self.from).finish()
    }
}

/// The request's token, from the places of `from` in their order. An empty token is none, so that a cleared cookie does
/// not shut out a token elsewhere.
///
/// # Errors
/// [`Deny::TokenInvalid`] where two tokens differ, a place is ambiguous (two headers of one name), or a token is not
/// text.
pub fn find(from: &[TokenFrom], headers: &HeaderMap, query: Option<&str>) -> Result<Option<Found>, Deny> {
    let mut found: Option<Found> = None;
    for place in from {
        let tokens = match place {
            TokenFrom::Header => from_authorization(headers)?,
            TokenFrom::NamedHeader(name) => from_named(name, headers)?,
            TokenFrom::Cookie(name) => from_cookies(name, headers),
            TokenFrom::Query(name) => from_query(name, query.unwrap_or_default()),
            TokenFrom::Subprotocol | TokenFrom::PrefixedSubprotocol(_) => subprotocol::tokens(place, headers)?,
        };
        // Repeats within a place are compared just like those of two places.
        for token in tokens.into_iter().filter(|token| !token.is_empty()) {
            let token = String::from_utf8(token).map_err(|_| Deny::TokenInvalid)?;
            match &found {
                None => found = Some(Found { token, from: place.clone() }),
                Some(first) if first.token == token => {}
                Some(_) => return Err(Deny::TokenInvalid),
            }
        }
    }
    Ok(found)
}

fn from_authorization(headers: &HeaderMap) -> Result<Vec<Vec<u8>>, Deny> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next();
    // RFC 9110 s11.6.2 knows one only; which of two a backend reads is its own affair.
    if values.next().is_some() {
        return Err(Deny::TokenInvalid);
    }
    Ok(first.and_then(|value| bearer(value.as_bytes())).map(<[u8]>::to_vec).into_iter().collect())
}

fn from_cookies(name: &str, headers: &HeaderMap) -> Vec<Vec<u8>> {
    cookies(name, headers).map(<[u8]>::to_vec).collect()
}

/// The values of every cookie of this name, over all `Cookie` headers, since HTTP/2 clients and proxies may split the one
/// (RFC 9113 s8.2.3).
pub fn cookies<'a>(name: &'a str, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
    let cookies = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    cookies.filter_map(move |cookie| cookie_of(name, cookie))
}

fn from_query(name: &str, query: &str) -> Vec<Vec<u8>> {
    query.split('&').filter_map(|parameter| parameter_of(name, parameter)).collect()
}

/// The value is the token, or `Bearer` and the token. A name that a backend could take for this one counts as a second.
fn from_named(name: &HeaderName, headers: &HeaderMap) -> Result<Vec<Vec<u8>>, Deny> {
    let mut alike = headers.iter().filter(|(key, _)| strip::is_alike(key, name));
    let first = alike.next();
    if alike.next().is_some() {
        return Err(Deny::TokenInvalid);
    }
    let value = first.filter(|(key, _)| *key == name).map(|(_, value)| value.as_bytes());
    Ok(value.map(|value| bearer(value).unwrap_or(value.trim_ascii()).to_vec()).into_iter().collect())
}

/// What stands behind the scheme `Bearer`, in any case (RFC 9110 s11.1). None for every other scheme.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    // A tab is no separator by the RFC, but a lenient backend would take it for one.
    let end = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| rest.trim_ascii())
}

/// The value, if `cookie`, one piece between semicolons, has this name (RFC 6265 s5.4; names differ by case).
pub(super) fn cookie_of<'a>(name: &str, cookie: &'a [u8]) -> Option<&'a [u8]> {
    let equals = cookie.iter().position(|b| *b == b'=')?;
    let (key, value) = (cookie[..equals].trim_ascii(), cookie[equals + 1..].trim_ascii());
    if key != name.as_bytes() {
        return None;
    }
    // RFC 6265 s4.1.1: a value may stand in quotes.
    Some(value.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\"")).unwrap_or(value))
}

/// The decoded value, if `parameter`, one piece between ampersands, has this name however it is escaped.
pub(super) fn parameter_of(name: &str, parameter: &str) -> Option<Vec<u8>> {
    let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    (unescape(key) == name.as_bytes()).then(|| unescape(value))
}

/// Percent-escapes and `+` undone as a form's parameters are (WHATWG URL s5.1); what is no escape stays.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.first_chunk::<2>().filter(|_| *first == b'%').and_then(|[high, low]| {
            let digit = |b: u8| char::from(b).to_digit(16);
            u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
        });
        out.push(escaped.unwrap_or(if *first == b'+' { b' ' } else { *first }));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}
