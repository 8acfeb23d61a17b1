//! Whose a session is: what is kept of its identity while it lives. Not the claims, so that an idle session stays small.

use std::num::NonZeroU64;
use std::sync::Arc;

use parking_lot::Mutex;

use super::term::Term;
use crate::policy::Admission;
use crate::policy::again::Asked;
use crate::policy::identity::Identity;
use crate::policy::renew::Lineage;
use crate::policy::revocation::mark::{Bearer, Marks};
use crate::policy::route::Captures;

/// The holder of a session. Who it is never changes; the token that says so does, with each renewal.
#[derive(Debug, Default)]
pub struct Holder {
    /// The token's subject.
    pub subject: Option<Arc<str>>,
    /// The `[jwt.NAME]` that verified it.
    pub jwt: Option<Arc<str>>,
    /// Which tokens may renew it; none on a route that has no `renew`.
    pub lineage: Option<Lineage>,
    /// What stood where the route has `{name}`, for a renewal is judged by it too.
    pub captures: Captures,
    /// When the token ends.
    pub term: Term,
    /// When the certificate ends, in [`crate::now::Now::mono`]: no renewal moves that.
    pub certificate_ends: Option<NonZeroU64>,
    /// What is remembered of its handshake, on a route with `on_reload = "enforce"`.
    pub asked: Option<Box<Asked>>,
    token: Mutex<Token>,
}

/// What is kept of the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The wall clock's milliseconds at which it was issued, if it says so.
    pub issued: Option<u64>,
    /// By what it can be revoked.
    pub marks: Marks,
}

impl Holder {
    /// The token that the session now lives by.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token.lock().clone()
    }

    /// Asks what a revocation asks for of that token.
    pub fn bearing<T>(&self, ask: impl FnOnce(&Bearer<'_>) -> T) -> T {
        let token = self.token.lock();
        ask(&Bearer { marks: &token.marks, issued: token.issued, jwt: self.jwt.as_deref() })
    }

    /// Another token of the same holder from now on, and the term that comes with it ([`crate::now::Now::mono`]; none is
    /// without end). False, and nothing is changed: the token ends before the one that the session lives by, or the session
    /// has begun to end.
    pub fn renew(&self, token: Token, until: Option<u64>) -> bool {
        // Held over both, so that of two renewals at once the session has the term of the one and the token of the same.
        let mut held = self.token.lock();
        let renewed = self.term.extend(until);
        if renewed {
            *held = token;
        }
        renewed
    }

    /// The same until this moment of [`crate::now::Now::mono`].
    #[must_use]
    pub fn until(self, expires: Option<u64>) -> Self {
        Self { term: Term::new(expires), ..self }
    }
}

impl From<&Identity> for Token {
    fn from(identity: &Identity) -> Self {
        Self { issued: identity.issued, marks: identity.marks.clone() }
    }
}

impl From<&Identity> for Holder {
    fn from(identity: &Identity) -> Self {
        let token = Mutex::new(Token::from(identity));
        Self { subject: identity.subject.clone(), jwt: identity.jwt.clone(), token, ..Self::default() }
    }
}

impl From<&mut Admission> for Holder {
    fn from(admission: &mut Admission) -> Self {
        let holder = Self::from(&admission.identity).until(admission.expires);
        Self {
            lineage: admission.lineage,
            captures: admission.captures.clone(),
            asked: admission.asked.take(),
            // One that ends at the clock's first moment may as well end at its second.
            certificate_ends: admission.certificate_ends.and_then(|end| NonZeroU64::new(end.max(1))),
            ..holder
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_follows_its_term_and_no_other() {
        let holder = Holder::default().until(Some(10_000));
        let issued = |at| Token { issued: Some(at), ..Token::default() };
        assert!(holder.renew(issued(1), Some(20_000)));
        assert!(!holder.renew(issued(2), Some(15_000)), "it ends before the one that the session has");
        assert_eq!((holder.token(), holder.term.get()), (issued(1), 20_000));
        holder.term.end();
        assert!(!holder.renew(issued(3), Some(30_000)));
        assert_eq!(holder.token(), issued(1));
    }
}
