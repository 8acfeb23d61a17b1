//! The key with which an assertion is signed.

use super::{KeyMaterial, Loader};
use crate::config::Assertion;
use crate::config::problem::Problem;

/// Exactly one of the two that it may have.
pub(super) fn key(loader: &mut Loader, path: &str, assertion: &Assertion) -> Option<KeyMaterial> {
    match (&assertion.secret, &assertion.private_key) {
        (Some(secret), None) => loader.secret(&format!("{path}.secret"), secret).map(KeyMaterial::Secret),
        (None, Some(key)) => loader.secret(&format!("{path}.private_key"), key).map(KeyMaterial::Pem),
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
