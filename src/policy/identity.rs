//! Whose handshake it is: from the certificate and the token that it brings to what a session knows of its bearer.
//!
//! In this order: the certificate, which TLS has checked already; a token, whose issuer it names, whether that issuer's
//! keys and rules hold it, and whether it is bound to the certificate; and then, once it is known who asks, whether the
//! claims allow the route.

use std::sync::Arc;

use super::certificate::{Certificate, bound};
use super::claims::Claims;
use super::revocation::Revocations;
use super::revocation::mark::{Bearer, Marks, TooMany};
use super::route::{Captures, Route, TokenRule};
use super::token::{self, Verifier};
use super::upward::Vouched;
use super::{Admission, Ask, Denial};
use crate::deny::Deny;
use crate::now::Now;

/// What is known of the bearer of a token or a certificate that holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// The token's `sub`, or without a token a part of the certificate: 1 to 256 bytes, no control characters, no blanks
    /// at its ends, so that it may stand in a header.
    pub subject: Option<Arc<str>>,
    /// The wall clock's milliseconds at which it ends: `exp` and the leeway. None where there is no `exp`.
    pub expires: Option<u64>,
    /// The wall clock's milliseconds at which the certificate ends that it rests on, alone or beside a token.
    pub certificate_ends: Option<u64>,
    /// The wall clock's milliseconds at which the token was issued: `iat`, or a certificate's `notBefore`.
    pub issued: Option<u64>,
    /// The `[jwt.NAME]` by which it was verified: two issuers may both have an `alice`.
    pub jwt: Option<Arc<str>>,
    /// All that the token claims. For the handshake alone: a session does not keep it.
    pub claims: Claims,
    /// By what it can be revoked; for a session to keep. None before [`check_revoked`].
    pub marks: Marks,
}

impl Identity {
    /// What a revocation asks for.
    #[must_use]
    pub fn bearer(&self) -> Bearer<'_> {
        Bearer { marks: &self.marks, issued: self.issued, jwt: self.jwt.as_deref() }
    }
}

/// Who asks for a route. Without a rule for tokens or certificates nobody is known.
///
/// # Errors
/// `certificate_missing` or `certificate_expired`; `token_missing`, `token_invalid`, `token_expired` or `keys_unavailable`.
pub fn identify(route: &Route, ask: &Ask<'_>, now: Now) -> Result<Identity, Denial> {
    let certificate = route.certificate.judge(ask.certificate, now)?;
    let certificate_ends = certificate.map(|certificate| certificate.ends);
    let Some(rule) = &route.token else {
        let subject = certificate.map(|certificate| route.certificate.subject(certificate)).transpose()?;
        let issued = certificate.map(|certificate| certificate.begins);
        return Ok(Identity { subject, certificate_ends, issued, ..Identity::default() });
    };
    let found = token::source::find(&rule.from, ask.headers, ask.query)
        .map_err(|deny| refuse(rule.status, deny, "tokens that disagree, or can't be read"))?;
    let found = found.ok_or(refuse(rule.status, Deny::TokenMissing, "no token where the route looks for one"))?;
    let identity = verify(rule, &found.token, ask.certificate, now)?;
    Ok(Identity { certificate_ends: certificate_ends.or(identity.certificate_ends), ..identity })
}

/// The identity of a token by one of the route's issuers, whatever the token says it may do. One that is bound to a
/// certificate holds only beside it (RFC 8705 s3), also on a route that looks at no certificate.
///
/// # Errors
/// `token_invalid`, `token_expired` or `keys_unavailable`; `certificate_expired` of the certificate that it is bound to.
pub fn verify(rule: &TokenRule, token: &str, certificate: Option<&Certificate>, now: Now) -> Result<Identity, Denial> {
    let invalid = |why| refuse(rule.status, Deny::TokenInvalid, why);
    // Before a part of it is parsed to choose by: no issuer of the route takes one that is longer.
    let most = rule.verifiers.iter().map(|verifier| verifier.max_token_size()).max().unwrap_or_default();
    if token.len() as u64 > most {
        return Err(invalid("longer than max_token_size"));
    }
    let verifier = choose(&rule.verifiers, token).ok_or(invalid("its iss is none of the route's issuers"))?;
    let identity = verifier.verify(token, now).map_err(|refusal| {
        let token::Refusal { deny, why, behind, retry_after } = refusal;
        Denial { behind, retry_after, ..refuse(rule.status, deny, why) }
    })?;
    match bound::check(identity.claims.get("cnf"), certificate).map_err(invalid)? {
        Some(certificate) => {
            certificate.check_time(now)?;
            Ok(Identity { certificate_ends: Some(certificate.ends), ..identity })
        }
        None if rule.require_bound => Err(invalid("it is bound to no certificate, and require_bound_token is on")),
        None => Ok(identity),
    }
}

/// Whether the claims allow the route, and of it what the path and host ask for.
///
/// # Errors
/// `token_forbidden`.
pub fn allow(route: &Route, identity: &Identity, captures: &Captures) -> Result<(), Denial> {
    let allowed = route.require.check(&identity.claims, |name| captures.get(name));
    allowed.map_err(|why| Denial::new(Deny::TokenForbidden, why))
}

/// Whether the token, or the subject of a certificate, was revoked; and notes in `identity` by what it still can be.
///
/// # Errors
/// `token_revoked`, and `token_invalid` for a token that could not be revoked by all that stands in it.
pub fn check_revoked(
    route: &Route,
    identity: &mut Identity,
    revocations: &Revocations,
    now: Now,
) -> Result<(), Denial> {
    let status = route.token.as_ref().map_or(403, |rule| rule.status);
    identity.marks = match (&route.token, &identity.subject) {
        (Some(_), _) => revocations.marks(&identity.claims).map_err(|TooMany| {
            refuse(status, Deny::TokenInvalid, "a claim by which it may be revoked is a list of more than 32 values")
        })?,
        // A certificate's: who is banned is banned, whatever says who it is.
        (None, Some(subject)) => revocations.marks_of_subject(subject),
        (None, None) => return Ok(()),
    };
    let revoked = revocations.check(&identity.bearer(), now.wall);
    revoked.map_or(Ok(()), |why| Err(refuse(status, Deny::TokenRevoked, why)))
}

/// Whether a handshake that was admitted before it had to wait would still be: while it waits, a token or certificate may
/// end, or be revoked.
///
/// # Errors
/// `token_expired`, `certificate_expired` or `token_revoked`.
pub fn check_still(route: &Route, admitted: &Admission, revocations: &Revocations, now: Now) -> Result<(), Denial> {
    let status = route.token.as_ref().map_or(403, |rule| rule.status);
    let is_over = |end: Option<u64>| end.is_some_and(|end| now.mono >= end);
    if is_over(admitted.expires) {
        let why = "its exp and the leeway passed while it waited for its turn";
        return Err(refuse(status, Deny::TokenExpired, why));
    }
    if is_over(admitted.certificate_ends) {
        return Err(Denial::new(Deny::CertificateExpired, "its notAfter passed while it waited for its turn"));
    }
    let revoked = revocations.check(&admitted.identity.bearer(), now.wall);
    revoked.map_or(Ok(()), |why| Err(refuse(status, Deny::TokenRevoked, why)))
}

/// The same of an ordinary request, which has no session's ends.
///
/// # Errors
/// `token_expired`, `certificate_expired` or `token_revoked`.
pub fn check_known(route: &Route, identity: &Identity, revocations: &Revocations, now: Now) -> Result<(), Denial> {
    let status = route.token.as_ref().map_or(403, |rule| rule.status);
    let is_over = |end: Option<u64>| end.is_some_and(|end| now.wall >= end);
    if is_over(identity.expires) {
        let why = "its exp and the leeway passed while it waited for its turn";
        return Err(refuse(status, Deny::TokenExpired, why));
    }
    if is_over(identity.certificate_ends) {
        return Err(Denial::new(Deny::CertificateExpired, "its notAfter passed while it waited for its turn"));
    }
    let revoked = revocations.check(&identity.bearer(), now.wall);
    revoked.map_or(Ok(()), |why| Err(refuse(status, Deny::TokenRevoked, why)))
}

/// What the upstream is told of who asks.
///
/// # Errors
/// `token_invalid`, when a claim can't go up.
pub fn vouch(route: &Route, identity: &Identity) -> Result<Vouched, Denial> {
    let status = route.token.as_ref().map_or(403, |rule| rule.status);
    route.upward.vouch(identity).map_err(|why| refuse(status, Deny::TokenInvalid, why))
}

/// The one verifier there is; of several, the one whose issuer the token names. What an unverified token says is good
/// for this alone: which of the operator's own rules it has to hold by.
#[must_use]
pub fn choose<'a>(verifiers: &'a [Arc<Verifier>], token: &str) -> Option<&'a Verifier> {
    if let [only] = verifiers {
        return Some(only);
    }
    let issuer = token::unverified_issuer(token)?;
    verifiers.iter().find(|verifier| verifier.is_of(&issuer)).map(|verifier| &**verifier)
}

/// A refusal with the status that the operator chose for those that are about tokens.
pub(super) fn refuse(status: u16, deny: Deny, why: &'static str) -> Denial {
    let denial = Denial::new(deny, why);
    if deny.about_token() { Denial { status, ..denial } } else { denial }
}
