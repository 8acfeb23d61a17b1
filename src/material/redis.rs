//! What `[redis]` names: the password, and whom the server's certificate has to be from.

use rustls::pki_types::CertificateDer;

use super::SecretBytes;
use super::loader::Loader;
use crate::config::Redis;
use crate::config::problem::Problem;

/// As it was read; what could not be read is missing, and a problem.
#[derive(Debug, Default)]
pub struct RedisMaterial {
    /// The user's password, as text: that is what the protocol's client takes.
    pub password: Option<SecretBytes>,
    /// The authorities of its certificate; `None` for the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

pub(super) fn read(loader: &mut Loader, redis: &Redis) -> RedisMaterial {
    let password = redis.password.as_ref().and_then(|secret| loader.secret("redis.password", secret));
    if password.as_ref().is_some_and(|bytes| std::str::from_utf8(bytes).is_err()) {
        loader.problem(Problem::new("redis.password", "what stands there is no text in UTF-8"));
    }
    let authorities = redis.ca.as_ref().and_then(|file| loader.certificates("redis.ca", file));
    RedisMaterial { password: password.map(SecretBytes), authorities }
}
