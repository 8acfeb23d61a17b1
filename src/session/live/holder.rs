//! Whose a session is: what is kept of its identity while it lives. Not the claims, so that an idle session stays small.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::policy::identity::Identity;

/// The holder of a session. Who it is never changes; the token that says so does, with each renewal.
#[derive(Debug, Default)]
pub struct Holder {
    /// The token's subject.
    pub subject: Option<Arc<str>>,
    /// The `[jwt.NAME]` that verified it.
    pub jwt: Option<Arc<str>>,
    token: Mutex<Token>,
}

/// What is kept of the token itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The wall clock's milliseconds at which it was issued, if it says so.
    pub issued: Option<u64>,
}

impl Holder {
    /// The token that the session now lives by.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token.lock().clone()
    }

    /// Another token of the same holder, from now on.
    pub fn renew(&self, token: Token) {
        *self.token.lock() = token;
    }
}

impl From<&Identity> for Token {
    fn from(identity: &Identity) -> Self {
        Self { issued: identity.issued }
    }
}

impl From<&Identity> for Holder {
    fn from(identity: &Identity) -> Self {
        Self { subject: identity.subject.clone(), jwt: identity.jwt.clone(), token: Mutex::new(Token::from(identity)) }
    }
}
