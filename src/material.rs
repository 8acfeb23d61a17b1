//! What the config names and the machine holds: keys, certificates, secrets. The only place that reads them.
//!
//! Everything is read once, before anything is published, and all that can't be read is said at once. Whether a key is
//! strong enough, or fits its certificate, is for those who use it.

mod assertion;
mod clients;
mod loader;
pub mod option;
mod redis;
mod seen;
mod traces;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::problem::Problem;
use crate::config::value::KeySet;
use crate::config::{Config, Jwt, Tls};
use loader::Loader;

pub use assertion::SigningKey;
pub use clients::ClientMaterial;
pub use redis::RedisMaterial;
pub use seen::Seen;
pub use traces::TracingMaterial;

/// All that the config names, read.
#[derive(Debug)]
pub struct Material {
    /// The keys of each `[jwt.NAME]`. One that could not be read is missing, and a problem.
    pub jwt: BTreeMap<String, KeyMaterial>,
    /// The key of each `[assertion.NAME]`: a secret, or a private key as PEM. One that could not be read is missing, and a
    /// problem.
    pub assertion: BTreeMap<String, SigningKey>,
    /// The certificates of each listener, in the order of the file; empty for a plain one. The first is the default.
    pub tls: Vec<Vec<CertificateMaterial>>,
    /// What each listener checks clients' certificates with, in the order of the file; `None` where none is asked for.
    pub clients: Vec<Option<ClientMaterial>>,
    /// The authorities of each route's upstream, in the order of the file; `None` for the system's.
    pub upstream_ca: Vec<Option<Vec<CertificateDer<'static>>>>,
    /// The authorities of each `[upstream.NAME]` that names some. Those that could not be read are missing, and a problem.
    pub pool_ca: BTreeMap<String, Vec<CertificateDer<'static>>>,
    /// `[admin] token`.
    pub admin_token: Option<SecretBytes>,
    /// `[admin] tls`.
    pub admin_tls: Option<CertificateMaterial>,
    /// What `[redis]` names.
    pub redis: RedisMaterial,
    /// What `[tracing]` names.
    pub tracing: TracingMaterial,
    /// What works and is unwise: a secret that everybody on the machine may read.
    pub warnings: Vec<Problem>,
    /// The files that were looked at.
    pub seen: Seen,
}

impl Material {
    /// Reads what `config` names. Paths are relative to `base`, the folder of the config file; `env` looks a variable up.
    ///
    /// The problems are all that could not be read; with any, the material has holes and must not be used.
    pub fn load(config: &Config, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> (Self, Vec<Problem>) {
        let mut loader = Loader::new(base, env);
        let jwt = config
            .jwt
            .iter()
            .filter_map(|(name, jwt)| Some((name.clone(), key_of_jwt(&mut loader, &format!("jwt.{name}"), jwt)?)))
            .collect();
        let assertions = config.assertion.iter();
        let assertion = assertions
            .filter_map(|(name, typed)| {
                Some((name.clone(), assertion::key(&mut loader, &format!("assertion.{name}"), typed)?))
            })
            .collect();
        let tls = config
            .listen
            .iter()
            .enumerate()
            .map(|(index, listen)| match &listen.tls {
                Some(tls) => certificates_of(&mut loader, &format!("listen[{index}].tls"), tls),
                None => Vec::new(),
            })
            .collect();
        let clients = config
            .listen
            .iter()
            .enumerate()
            .map(|(index, listen)| clients::read(&mut loader, &format!("listen[{index}].tls"), listen.tls.as_ref()?))
            .collect();
        let upstream_ca = config
            .route
            .iter()
            .enumerate()
            .map(|(index, route)| {
                let path = route.upstream_ca.as_ref()?;
                loader.certificates(&format!("route[{index}].upstream_ca"), path)
            })
            .collect();
        let pool_ca = config.upstream.iter().filter_map(|(name, upstream)| {
            let path = upstream.ca.as_ref()?;
            Some((name.clone(), loader.certificates(&format!("upstream.{name}.ca"), path)?))
        });
        let pool_ca = pool_ca.collect();
        let admin_token = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
        let admin_token = admin_token.and_then(|token| loader.secret("admin.token", token)).map(SecretBytes);
        let admin_tls = config.admin.as_ref().and_then(|admin| admin.tls.as_ref());
        let admin_tls = admin_tls.and_then(|pair| pair_of(&mut loader, "admin.tls", &pair.certificate, &pair.key));
        let redis = config.redis.as_ref().map(|typed| redis::read(&mut loader, typed)).unwrap_or_default();
        let tracing = config.tracing.as_ref().map(|typed| traces::read(&mut loader, typed)).unwrap_or_default();
        let (problems, warnings, seen) = loader.finish();
        let material = Self {
            jwt,
            assertion,
            tls,
            clients,
            upstream_ca,
            pool_ca,
            admin_token,
            admin_tls,
            redis,
            tracing,
            warnings,
            seen,
        };
        (material, problems)
    }
}

/// The bytes of a secret. Never empty.
pub struct SecretBytes(pub Vec<u8>);

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The keys of one `[jwt.NAME]`, as they were read.
#[derive(Clone)]
pub enum KeyMaterial {
    /// The bytes of a shared secret. Never empty.
    Secret(Vec<u8>),
    /// One key as PEM: a public one to check with, a private one to sign with.
    Pem(Vec<u8>),
    /// The text of a JSON Web Key Set.
    Jwks(String),
    /// None yet: the key set is fetched while the gateway runs, from a server whose certificate one of these authorities
    /// has signed, or one of the system's.
    Remote(Option<Vec<CertificateDer<'static>>>),
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Public material too: a private key may stand in its file by mistake, and a key set may hold shared secrets.
        f.write_str(match self {
            Self::Secret(_) => "Secret([secret])",
            Self::Pem(_) => "Pem([secret])",
            Self::Jwks(_) => "Jwks([secret])",
            Self::Remote(_) => "Remote",
        })
    }
}

/// One certificate of a listener. Whether the key is the certificate's own has not been looked at.
pub struct CertificateMaterial {
    /// The certificate, and those that lead from it to an authority. Never empty.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
    /// Where the key stands in the config, for a problem with it: `listen[0].tls.key`.
    pub path_of_key: String,
}

impl fmt::Debug for CertificateMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateMaterial")
            .field("chain", &format_args!("{} certificates", self.chain.len()))
            .field("key", &format_args!("[secret]"))
            .field("path_of_key", &self.path_of_key)
            .finish()
    }
}

fn key_of_jwt(loader: &mut Loader, path: &str, jwt: &Jwt) -> Option<KeyMaterial> {
    let given = [
        ("secret", jwt.secret.is_some()),
        ("public_key", jwt.public_key.is_some()),
        ("jwks", jwt.jwks.is_some()),
        ("issuer_url", jwt.issuer_url.is_some()),
    ];
    let given: Vec<&str> = given.into_iter().filter_map(|(key, is_there)| is_there.then_some(key)).collect();
    // Said of the last that is there, since somewhere the carets must stand.
    if let [first @ .., last] = given.as_slice()
        && !first.is_empty()
    {
        loader.problem(
            Problem::new(format!("{path}.{last}"), format!("{last} stands beside {}", first.join(" and "))).help(
                "exactly one of secret, public_key, jwks and issuer_url: name a second [jwt.NAME] for another key",
            ),
        );
        return None;
    }
    // A path that is wrong is told of, wherever the keys come from.
    let authorities = match &jwt.jwks_ca {
        Some(file) => Some(loader.certificates(&format!("{path}.jwks_ca"), file)?),
        None => None,
    };
    match (&jwt.secret, &jwt.public_key, &jwt.jwks, &jwt.issuer_url) {
        (Some(secret), ..) => loader.secret(&format!("{path}.secret"), secret).map(KeyMaterial::Secret),
        (_, Some(key), ..) => loader.source(&format!("{path}.public_key"), key).map(KeyMaterial::Pem),
        (_, _, Some(KeySet::Local(jwks)), _) => loader.text(&format!("{path}.jwks"), jwks).map(KeyMaterial::Jwks),
        (_, _, Some(KeySet::Remote(_)), _) | (.., Some(_)) => Some(KeyMaterial::Remote(authorities)),
        (None, None, None, None) => {
            loader.problem(
                Problem::new(path, "no key to check tokens with")
                    .help("one of secret, public_key, jwks and issuer_url is needed"),
            );
            None
        }
    }
}

fn certificates_of(loader: &mut Loader, path: &str, tls: &Tls) -> Vec<CertificateMaterial> {
    let default = (path.to_owned(), &tls.certificate, &tls.key);
    let additional = tls.additional.iter().enumerate();
    let additional = additional.map(|(i, pair)| (format!("{path}.additional[{i}]"), &pair.certificate, &pair.key));
    std::iter::once(default)
        .chain(additional)
        .filter_map(|(path, certificate, key)| pair_of(loader, &path, certificate, key))
        .collect()
}

fn pair_of(loader: &mut Loader, path: &str, certificate: &Path, key: &Path) -> Option<CertificateMaterial> {
    let path_of_key = format!("{path}.key");
    let chain = loader.certificates(&format!("{path}.certificate"), certificate);
    // Both are read before either is given up, so that both problems are told.
    let key = loader.private_key(&path_of_key, key);
    Some(CertificateMaterial { chain: chain?, key: key?, path_of_key })
}

#[cfg(test)]
mod tests;
