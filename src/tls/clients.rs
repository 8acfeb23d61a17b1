//! Clients' certificates: what a listener asks for, and what is said of a TLS handshake that failed for one.

use std::io;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, Error, OtherError, RootCertStore};

use crate::config::VerifyClient;
use crate::config::problem::Problem;
use crate::deny::Deny;
use crate::material::ClientMaterial;

/// Bytes. Every handshake tells the names of the authorities, so that a client with several certificates knows which fits;
/// TLS has room for 64 KiB of them.
const MAX_NAMES: usize = 16 * 1024;

/// What checks the certificates of a listener's clients.
///
/// # Errors
/// Authorities or revocation lists that can't be used, all of them.
pub(super) fn verifier(
    clients: &ClientMaterial,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Vec<Problem>> {
    let at = format!("{}.client_ca", clients.path);
    let mut problems = Vec::new();
    let mut roots = RootCertStore::empty();
    for (index, authority) in clients.authorities.iter().enumerate() {
        if let Err(error) = roots.add(authority.clone()) {
            let message = format!("certificate {} in it can't be used: {error}", index + 1);
            problems.push(Problem::new(&at, message).help("the certificates of the authorities, in PEM"));
        }
    }
    if roots.subjects().iter().map(|name| name.as_ref().len()).sum::<usize>() > MAX_NAMES {
        let message = format!("{} authorities are too many: their names are told in every handshake", roots.len());
        let problem = Problem::new(&at, message);
        problems.push(problem.help("only those that sign your own clients' certificates; not the system's bundle"));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if clients.verify == VerifyClient::Optional {
        builder = builder.allow_unauthenticated();
    }
    if let Some(revoked) = &clients.revoked {
        // The whole chain is looked up, and a certificate of whose authority there is no list is refused: who asks for
        // revocation does not want to be told of it by chance.
        builder = builder.with_crls(revoked.iter().cloned());
    }
    builder.build().map_err(|error| {
        vec![match error {
            VerifierBuilderError::InvalidCrl(error) => {
                Problem::new(format!("{}.client_crl", clients.path), format!("a list in it can't be used: {error:?}"))
                    .help("complete lists of version 2, signed by the authority itself; no delta and no indirect ones")
            }
            other => Problem::new(at, other.to_string()),
        }]
    })
}

/// Why a TLS handshake failed, for the log. There is nobody to tell in HTTP; the client gets TLS' own alert.
#[must_use]
pub fn failure(error: &io::Error) -> (Deny, &'static str) {
    if error.kind() != io::ErrorKind::InvalidData {
        return (Deny::ClientLost, "the connection ended in the TLS handshake");
    }
    let error = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match error {
        Some(Error::NoCertificatesPresented) => {
            (Deny::CertificateMissing, "no certificate, and the listener requires one")
        }
        Some(Error::InvalidCertificate(error)) => (Deny::BadHandshake, refused(error)),
        Some(Error::InvalidCertRevocationList(_)) => {
            (Deny::BadHandshake, "the list in client_crl that is about the client's certificate can't be used")
        }
        _ => (Deny::BadHandshake, "the TLS handshake failed"),
    }
}

/// A gateway as TLS server gets no other certificates than its clients'.
fn refused(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "the client's certificate is expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the client's certificate is not valid yet"
        }
        CertificateError::UnknownIssuer => "the client's certificate is not signed by an authority of client_ca",
        CertificateError::Revoked => "the client's certificate is revoked by client_crl",
        CertificateError::UnknownRevocationStatus => {
            "client_crl has no list of an authority of the client's certificate"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the client's certificate is not for TLS clients"
        }
        CertificateError::BadSignature => "the client's certificate, or its use, has a bad signature",
        CertificateError::BadEncoding => "the client's certificate is malformed",
        CertificateError::Other(OtherError(error)) => unfit(error.downcast_ref()),
        _ => UNFIT,
    }
}

const UNFIT: &str = "the client's certificate does not hold";

/// For these rustls has no word of its own. They are what openssl's shortest command lines make.
fn unfit(error: Option<&webpki::Error>) -> &'static str {
    match error {
        Some(webpki::Error::UnsupportedCertVersion) => {
            "the client's certificate is of X.509 version 1, as one without any extension is"
        }
        Some(webpki::Error::CaUsedAsEndEntity) => "the client's certificate is one for an authority, CA:TRUE",
        _ => UNFIT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn authorities(count: usize) -> ClientMaterial {
        let key = KeyPair::generate().unwrap();
        let one = |number: usize| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, format!("{number:0>64}"));
            params.self_signed(&key).unwrap().der().clone()
        };
        let authorities = (0..count).map(one).collect();
        ClientMaterial { authorities, revoked: None, verify: VerifyClient::Required, path: "listen[0].tls".into() }
    }

    #[test]
    fn authorities_whose_names_do_not_fit_into_a_handshake_are_told_of() {
        assert!(verifier(&authorities(100), super::super::provider()).is_ok());
        let problems = verifier(&authorities(250), super::super::provider()).unwrap_err();
        assert_eq!(problems[0].path, "listen[0].tls.client_ca");
        assert!(problems[0].message.starts_with("250 authorities are too many"), "{problems:?}");
    }

    #[test]
    fn a_certificate_without_any_extension_is_told_of_as_what_it_is() {
        let error = CertificateError::Other(OtherError(Arc::new(webpki::Error::UnsupportedCertVersion)));
        let error = io::Error::new(io::ErrorKind::InvalidData, Error::InvalidCertificate(error));
        let (deny, why) = failure(&error);
        assert_eq!(deny, Deny::BadHandshake);
        assert!(why.contains("version 1"), "{why}");
    }

    #[test]
    fn a_list_that_is_none_is_told_of() {
        let clients = ClientMaterial { revoked: Some(vec![b"0\x00".to_vec().into()]), ..authorities(1) };
        let problems = verifier(&clients, super::super::provider()).unwrap_err();
        assert_eq!(problems[0].path, "listen[0].tls.client_crl");
    }
}
