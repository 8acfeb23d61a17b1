//! A certificate for this machine's own names, and the authority that signed it, made on the spot.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::now::Now;

/// As a browser or curl reaches the demo.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Browsers refuse certificates that hold for much more than a year.
const VALID: Duration = Duration::days(30);

/// All in PEM. The authority's own key is gone: it signs nothing else, so trusting it for a while risks nothing.
pub(super) struct Pair {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes both; they hold from the day before `now`, since clocks differ.
pub(super) fn make(now: Now) -> Result<Pair, Error> {
    let authority_key = KeyPair::generate()?;
    let mut params = params("wsgate demo, authority", &[], now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&authority_key)?;
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate()?;
    let mut params = self::params("wsgate demo", &NAMES, now)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Pair { authority: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, hosts: &[&str], now: Now) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, name);
    let seconds = i64::try_from(now.wall / 1000).unwrap_or(i64::MAX);
    let today = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| Error::Time)?;
    params.not_before = today - Duration::DAY;
    params.not_after = today + VALID;
    Ok(params)
}
