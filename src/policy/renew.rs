//! Renewing live sessions with a new token: which requests mean it, which token they bring, and whose sessions it moves.
//!
//! The new token is judged by what judges a handshake's. It moves the sessions of its own lineage alone, each only if the
//! route's demands hold for that session too, and none to an earlier end.

use http::header::{CONTENT_TYPE, HOST, HeaderMap, ORIGIN};
use http::{Method, StatusCode, Version};
use std::sync::Arc;

use super::identity::{self, Identity};
use super::key::Key;
use super::request::Opening;
use super::route::{Captures, Route};
use super::stages::check_origin;
use super::{Ask, Denial, Policy, token};
use crate::config::OnReload;
use crate::config::value::TokenFrom;
use crate::deny::Deny;
use crate::now::Now;

/// How sessions of a route are renewed.
#[derive(Debug)]
pub struct Renew {
    /// Where the new token is looked for, besides the body: the route's places without the subprotocol, which a `POST` has not.
    pub from: Vec<TokenFrom>,
    /// Bytes of a body that are read.
    pub max_body: u64,
}

/// Whose a token is: the `[jwt.NAME]`, `iss`, `sub` and `sid`, hashed. Tokens of one lineage may take each other's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage(Key);

/// A token that may renew sessions.
#[derive(Debug)]
pub struct Renewal {
    /// What it says.
    pub identity: Identity,
    /// Whose sessions it may renew.
    pub lineage: Lineage,
    /// Until when, in [`Now::mono`].
    pub expires: Option<u64>,
    /// The token itself, for sessions that have to remember theirs; none where none has.
    pub token: Option<Box<str>>,
}

impl Renew {
    /// The names of the headers that may carry the token or say what it is, as a preflight lists them.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        let named = self.from.iter().filter_map(|from| match from {
            TokenFrom::NamedHeader(name) => Some(name.as_str()),
            TokenFrom::Header | TokenFrom::Cookie(_) | TokenFrom::Query(_) => None,
            TokenFrom::Subprotocol | TokenFrom::PrefixedSubprotocol(_) => None,
        });
        ["authorization", "content-type"].into_iter().chain(named)
    }
}

impl Policy {
    /// Whether any route's sessions can be renewed.
    #[must_use]
    pub fn renews(&self) -> bool {
        !self.renewals.is_empty()
    }

    /// The route whose sessions are renewed at this host and path; none if the request is no renewal.
    #[must_use]
    pub fn renewal(&self, opening: &Opening) -> Option<&Arc<Route>> {
        let Opening { host, path } = opening;
        let (place, route) = self.renewals.iter().find(|(matcher, _)| matcher.matches(host, path).is_some())?;
        // A route at a more particular place keeps its paths.
        let route_there = self.ranked.iter().find(|(matcher, _)| matcher.matches(host, path).is_some());
        let is_first = route_there.is_none_or(|(matcher, _)| place.place.compare(&matcher.place).is_le());
        is_first.then_some(route)
    }

    /// Whether a page may ask what it may send.
    ///
    /// # Errors
    /// `bad_renewal`, `origin_missing` or `origin_forbidden`.
    pub fn check_preflight(&self, route: &Route, version: Version, headers: &HeaderMap) -> Result<(), Denial> {
        check_form(&Method::OPTIONS, version, headers)?;
        check_origin(route, headers)
    }

    /// What the new token allows; `body` is the request's.
    ///
    /// # Errors
    /// Those of a handshake's token, and `bad_renewal` for one that names nobody.
    pub fn renew(&self, route: &Route, ask: &Ask<'_>, body: &[u8], now: Now) -> Result<Renewal, Denial> {
        let (Some(rule), Some(renew)) = (&route.token, &route.renew) else {
            return Err(Denial::new(Deny::Internal, "a renewal on a route that has none"));
        };
        // The route's demands count for who renews as for who comes; the sessions keep the certificates that opened them.
        route.certificate.judge(ask.certificate, now)?;
        let refuse = |deny, why| identity::refuse(rule.status, deny, why);
        let disagree = || refuse(Deny::TokenInvalid, "tokens that disagree, or can't be read");
        let found = token::source::find(&renew.from, ask.headers, ask.query).map_err(|_| disagree())?;
        let body = str::from_utf8(body.trim_ascii()).map_err(|_| disagree())?;
        let token = match &found {
            Some(found) if body.is_empty() || found.token == body => &found.token,
            Some(_) => return Err(disagree()),
            None if body.is_empty() => {
                return Err(refuse(Deny::TokenMissing, "no token in the body, nor where the route looks for one"));
            }
            None => body,
        };
        let mut identity = identity::verify(rule, token, ask.certificate, now)?;
        identity::check_revoked(route, &mut identity, &self.revocations, now)?;
        let lineage = self.lineage(&identity).ok_or(bad(StatusCode::BAD_REQUEST, "its token has no sub"))?;
        // A token that is bound to a certificate is good for no longer than that.
        let ends = [identity.expires, identity.certificate_ends].into_iter().flatten().min();
        let expires = ends.map(|wall| now.mono.saturating_add(wall.saturating_sub(now.wall)));
        let token = (route.on_reload == OnReload::Enforce).then(|| (*token).into());
        Ok(Renewal { identity, lineage, expires, token })
    }

    /// Whose a token is; nobody's without a `sub`.
    pub(super) fn lineage(&self, identity: &Identity) -> Option<Lineage> {
        let (jwt, subject) = (identity.jwt.as_deref()?, identity.subject.as_deref()?);
        let claim = |name| identity.claims.get(name).map(ToString::to_string);
        // As JSON: no two lists of four look alike.
        let text = serde_json::json!([jwt, subject, claim("iss"), claim("sid")]).to_string();
        Some(Lineage(self.carried.hasher.key(text.as_bytes())))
    }
}

impl Renewal {
    /// Whether the route's demands hold for a session with these values of its `{name}`s.
    #[must_use]
    pub fn is_allowed(&self, route: &Route, captures: &Captures) -> bool {
        identity::allow(route, &self.identity, captures).is_ok()
    }
}

/// Whether a request to a renewal's path has the form of one. A preflight (`OPTIONS`) has no body to look at.
///
/// # Errors
/// `bad_renewal`.
pub fn check_form(method: &Method, version: Version, headers: &HeaderMap) -> Result<(), Denial> {
    if !matches!(*method, Method::POST | Method::OPTIONS) {
        return Err(bad(StatusCode::METHOD_NOT_ALLOWED, "neither POST nor OPTIONS"));
    }
    if version != Version::HTTP_11 {
        return Err(bad(StatusCode::BAD_REQUEST, "not HTTP/1.1"));
    }
    let twice = [HOST, ORIGIN, CONTENT_TYPE].iter().any(|name| headers.get_all(name).iter().nth(1).is_some());
    if twice { Err(bad(StatusCode::BAD_REQUEST, "two Host, Origin or Content-Type headers")) } else { Ok(()) }
}

/// Whether a body of this type is a token.
///
/// # Errors
/// `bad_renewal`.
pub fn check_type(headers: &HeaderMap) -> Result<(), Denial> {
    let typed = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    // RFC 9110 s8.3.1: parameters stand behind a semicolon, and the type is the same in upper and lower case.
    let essence = typed.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let is_token = [&b"text/plain"[..], b"application/jwt"].iter().any(|known| essence.eq_ignore_ascii_case(known));
    if is_token {
        return Ok(());
    }
    Err(bad(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body that is neither text/plain nor application/jwt"))
}

/// A renewal that is none, with its own status.
#[must_use]
pub fn bad(status: StatusCode, why: &'static str) -> Denial {
    Denial { status: status.as_u16(), ..Denial::new(Deny::BadRenewal, why) }
}

#[cfg(test)]
mod tests;
