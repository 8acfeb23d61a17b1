//! Taking the token out of a request before it goes upstream, and whatever a client sent in the gateway's own name.
//!
//! All else passes byte for byte: other cookies, other parameters, other credentials are the application's.

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, SEC_WEBSOCKET_PROTOCOL};

use super::source::{bearer, cookie_of, parameter_of};
use super::subprotocol;
use crate::config::value::TokenFrom;

/// Removes the token from every place of `from`, wherever it was found, and from `Authorization` in any case; the
/// gateway's own markers with it. Returns the path and query to ask the upstream for.
pub fn strip(from: &[TokenFrom], headers: &mut HeaderMap, path_and_query: &str) -> String {
    keep(headers, &AUTHORIZATION, |value| if bearer(value).is_some() { None } else { Some(value.to_vec()) });
    let own = subprotocol::own(from, headers, false);
    keep(headers, &SEC_WEBSOCKET_PROTOCOL, |value| without(value, b',', &own));
    let mut target = path_and_query.to_owned();
    for place in from {
        match place {
            TokenFrom::Header | TokenFrom::Subprotocol | TokenFrom::PrefixedSubprotocol(_) => {}
            TokenFrom::NamedHeader(name) => remove_lookalikes(headers, name),
            TokenFrom::Cookie(name) => {
                keep(headers, &COOKIE, |value| without(value, b';', |cookie| cookie_of(name, cookie).is_some()));
            }
            TokenFrom::Query(name) => target = without_parameter(&target, name),
        }
    }
    target
}

/// Where the token is forwarded: removes the gateway's own markers, and what a backend could take for the header that was
/// read.
pub fn strip_but_token(from: &[TokenFrom], headers: &mut HeaderMap) {
    let own = subprotocol::own(from, headers, true);
    keep(headers, &SEC_WEBSOCKET_PROTOCOL, |value| without(value, b',', &own));
    for place in from {
        if let TokenFrom::NamedHeader(name) = place {
            let value = headers.get(name).cloned();
            remove_lookalikes(headers, name);
            headers.extend(value.map(|value| (name.clone(), value)));
        }
    }
}

/// Removes `name` and every header that a backend could take for it.
pub fn remove_lookalikes(headers: &mut HeaderMap, name: &HeaderName) {
    let alike: Vec<HeaderName> = headers.keys().filter(|key| is_alike(key, name)).cloned().collect();
    for key in alike {
        headers.remove(key);
    }
}

/// Whether a backend could take one name for the other: CGI and WSGI fold case, and `-` with `_` (RFC 3875 s4.1.18), and
/// some fold whatever is neither letter nor digit.
#[must_use]
pub fn is_alike(one: &HeaderName, other: &HeaderName) -> bool {
    folded(one).eq(folded(other))
}

/// A `HeaderName` is lower case already.
fn folded(name: &HeaderName) -> impl Iterator<Item = u8> {
    name.as_str().bytes().map(|b| if b.is_ascii_alphanumeric() { b } else { b'-' })
}

/// Puts each value of `name` through `change`, in order; one that becomes nothing goes.
fn keep(headers: &mut HeaderMap, name: &HeaderName, change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let values: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for value in values {
        let Some(bytes) = change(value.as_bytes()) else { continue };
        // A part of a valid value is valid; were it not, the header would better go than pass.
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            headers.append(name, value);
        }
    }
}

/// A list without the pieces that are `taken`, untouched if none is. None if nothing but blanks is left of it.
fn without(list: &[u8], separator: u8, taken: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    if !list.split(|b| *b == separator).any(&taken) {
        return Some(list.to_vec());
    }
    let kept: Vec<&[u8]> = list.split(|b| *b == separator).filter(|piece| !taken(piece)).collect();
    let rest = kept.join(&separator);
    // The blank before a second piece that became the first.
    let rest = rest.trim_ascii();
    if rest.is_empty() { None } else { Some(rest.to_vec()) }
}

fn without_parameter(path_and_query: &str, name: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else { return path_and_query.to_owned() };
    if !query.split('&').any(|parameter| parameter_of(name, parameter).is_some()) {
        return path_and_query.to_owned();
    }
    let kept: Vec<&str> = query.split('&').filter(|parameter| parameter_of(name, parameter).is_none()).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}
