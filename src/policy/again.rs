//! A live session judged again by another policy, as if it came now: what it has to remember of its handshake for that, and
//! the same checks. For sessions of routes with `on_reload = "enforce"` alone.

use http::HeaderMap;
use http::header::ORIGIN;
use parking_lot::Mutex;

use super::certificate::Certificate;
use super::identity;
use super::request::Opening;
use super::route::{Captures, Route};
use super::stages::check_origin;
use super::token::source;
use super::{Ask, Denial, Policy};
use crate::config::OnReload;
use crate::deny::Deny;
use crate::now::Now;

/// What a session remembers: copies, since a header would hold on to the whole of its head. As large as they came, and so never
/// larger than the head and the certificate were.
#[derive(Debug)]
pub struct Asked {
    opening: Opening,
    origin: Option<Box<[u8]>>,
    certificate: Option<Certificate>,
    /// The one that it lives by now.
    token: Mutex<Option<Token>>,
}

/// Prints nothing of itself.
struct Token(Box<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[token]")
    }
}

/// What another policy says of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It would be let in.
    Stays,
    /// It would not.
    Goes(Denial),
    /// The keys that its token has to be checked with are not there yet.
    Unknown,
}

impl Asked {
    /// Of a handshake that was let in; none on a route that asks for nothing to be remembered.
    #[must_use]
    pub fn of(route: &Route, ask: &Ask<'_>) -> Option<Box<Self>> {
        if route.on_reload != OnReload::Enforce {
            return None;
        }
        let found = route.token.as_ref().and_then(|rule| source::find(&rule.from, ask.headers, ask.query).ok()?);
        Some(Box::new(Self {
            opening: ask.opening.clone(),
            origin: ask.headers.get(ORIGIN).map(|origin| origin.as_bytes().into()),
            certificate: ask.certificate.cloned(),
            token: Mutex::new(found.map(|found| Token((*found.token).into()))),
        }))
    }

    /// The session lives by another token.
    pub fn renewed(&self, token: &str) {
        *self.token.lock() = Some(Token(token.into()));
    }
}

impl Policy {
    /// Whether a session would be let in that began under another policy. That its token or certificate is over is for its own end to
    /// say, and who was thrown out is no matter of a policy.
    #[must_use]
    pub fn judge_again(&self, asked: &Asked, now: Now) -> Judged {
        match self.check_again(asked, now) {
            Ok(()) => Judged::Stays,
            Err(denial) if matches!(denial.deny, Deny::TokenExpired | Deny::CertificateExpired) => Judged::Stays,
            Err(denial) if denial.behind.is_some() || denial.deny == Deny::KeysUnavailable => Judged::Unknown,
            Err(denial) => Judged::Goes(denial),
        }
    }

    fn check_again(&self, asked: &Asked, now: Now) -> Result<(), Denial> {
        let (route, captures) = self.place_of(&asked.opening).ok_or(Denial::new(Deny::NoRoute, "no route"))?;
        let mut headers = HeaderMap::new();
        if let Some(origin) = asked.origin.as_deref().and_then(|origin| origin.try_into().ok()) {
            headers.insert(ORIGIN, origin);
        }
        check_origin(route, &headers)?;
        let certificate = asked.certificate.as_ref();
        let checked = route.certificate.judge(certificate, now)?;
        let Some(rule) = &route.token else {
            return checked.map_or(Ok(()), |certificate| route.certificate.subject(certificate).map(|_| ()));
        };
        let token = asked.token.lock();
        let token = token.as_ref().ok_or(identity::refuse(rule.status, Deny::TokenMissing, "it has no token"))?;
        let identity = identity::verify(rule, &token.0, certificate, now)?;
        identity::allow(route, &identity, &captures)
    }

    fn place_of(&self, opening: &Opening) -> Option<(&Route, Captures)> {
        let Opening { host, path } = opening;
        self.places().find_map(|(matcher, route)| Some((&**route, matcher.matches(host, path)?)))
    }
}
