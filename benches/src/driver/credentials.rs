//! An authority, a certificate for 127.0.0.1 and a token, made for one run.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use serde::Serialize;

use crate::Result;

/// The page from which the clients seem to come; `config/wsgate.toml` lists it.
pub(crate) const ORIGIN: &str = "https://app.example.com";

/// Paths of PEM files, and what the gateway checks.
pub(crate) struct Credentials {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them.
    pub(crate) combined: PathBuf,
    pub(crate) secret: String,
    pub(crate) token: String,
}

#[derive(Serialize)]
struct Claims {
    iss: &'static str,
    aud: &'static str,
    sub: &'static str,
    exp: u64,
}

impl Credentials {
    /// Writes the files into `dir`. Keys are ECDSA P-256, rcgen's default.
    pub(crate) fn make(dir: &Path) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let mut leaf = CertificateParams::new(Vec::new())?;
        leaf.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let key = KeyPair::generate()?;
        let leaf = leaf.signed_by(&key, &authority)?;

        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        // 256 bits from the system's seed of hash maps: a key for minutes, on loopback.
        let secret: String = (0..4).map(|i| format!("{:016x}", RandomState::new().hash_one(i))).collect();
        Ok(Self {
            authority: write("authority.pem", &authority.pem())?,
            certificate: write("certificate.pem", &leaf.pem())?,
            key: write("key.pem", &key.serialize_pem())?,
            combined: write("combined.pem", &(leaf.pem() + &key.serialize_pem()))?,
            token: token(&secret)?,
            secret,
        })
    }
}

/// Good for an hour, with everything that `config/wsgate.toml` checks.
fn token(secret: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = Claims { iss: "https://id.example.com/", aud: "bench", sub: "bench", exp: now + 3600 };
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}
