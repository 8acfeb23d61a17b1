//! The key with which an assertion is signed.

use std::fmt;

use super::Loader;
use crate::config::Assertion;
use crate::config::problem::Problem;

/// A key that signs, as it was read. Never empty.
#[derive(Clone)]
pub enum SigningKey {
    /// The bytes of a shared secret.
    Secret(Vec<u8>),
    /// A private key as PEM.
    Private(Vec<u8>),
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([secret])")
    }
}

/// Exactly one of the two that it may have.
pub(super) fn key(loader: &mut Loader, path: &str, assertion: &Assertion) -> Option<SigningKey> {
    match (&assertion.secret, &assertion.private_key) {
        (Some(secret), None) => loader.secret(&format!("{path}.secret"), secret).map(SigningKey::Secret),
        (None, Some(key)) => loader.secret(&format!("{path}.private_key"), key).map(SigningKey::Private),
        (None, None) => {
            loader.problem(Problem::new(path, "no key to sign with").help("one of secret and private_key is needed"));
            None
        }
        (Some(_), Some(_)) => {
            let problem = Problem::new(format!("{path}.private_key"), "private_key stands beside secret");
            loader.problem(problem.help("exactly one of them, as the algorithm wants it"));
            None
        }
    }
}
