//! What is known of a listener's own certificates beside what TLS does with them: until when they hold, and whether they are the
//! same as before.

use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

use crate::config::VerifyClient;
use crate::material::{CertificateMaterial, ClientMaterial};

/// When the first certificate of a chain ends, in seconds since 1970; none if none of them can be read.
#[must_use]
pub fn not_after(chain: &[CertificateDer<'_>]) -> Option<u64> {
    let ends = |der: &CertificateDer<'_>| {
        let (_, certificate) = parse_x509_certificate(der).ok()?;
        // A time before 1970 is over.
        Some(u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0))
    };
    chain.iter().filter_map(ends).min()
}

/// A hash of all that a listener's TLS is made of. While it stays the same so does the TLS, with the key of its tickets: a ticket
/// holds a client's certificate, which must not outlive the authorities that checked it.
#[must_use]
pub fn fingerprint(certificates: &[CertificateMaterial], clients: Option<&ClientMaterial>) -> Box<[u8]> {
    let mut context = Context::new(&SHA256);
    let mut add = |bytes: &[u8]| {
        context.update(&bytes.len().to_le_bytes());
        context.update(bytes);
    };
    for material in certificates {
        add(b"certificate");
        material.chain.iter().for_each(|der| add(der));
        add(material.key.secret_der());
    }
    if let Some(clients) = clients {
        add(match clients.verify {
            VerifyClient::Required => b"required",
            VerifyClient::Optional => b"optional",
        });
        clients.authorities.iter().for_each(|der| add(der));
        add(b"revoked");
        clients.revoked.iter().flatten().for_each(|der| add(der));
    }
    context.finish().as_ref().into()
}
