//! What a listener checks clients' certificates with: the authorities, and what they have revoked.

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::loader::Loader;
use crate::config::problem::Problem;
use crate::config::{Tls, VerifyClient};

/// What a listener checks clients' certificates with.
#[derive(Debug)]
pub struct ClientMaterial {
    /// Whose signatures count. Never empty.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What they have revoked; `None` where nobody is to look.
    pub revoked: Option<Vec<CertificateRevocationListDer<'static>>>,
    /// What becomes of a client without a certificate.
    pub verify: VerifyClient,
    /// Where it stands in the config, for a problem with it: `listen[0].tls`.
    pub path: String,
}

/// What `tls` names of it; none where no client is asked.
pub(super) fn read(loader: &mut Loader, path: &str, tls: &Tls) -> Option<ClientMaterial> {
    let Some(ca) = &tls.client_ca else {
        for (key, is_there) in
            [("verify_client", tls.verify_client.is_some()), ("client_crl", tls.client_crl.is_some())]
        {
            if is_there {
                loader.problem(
                    Problem::new(
                        format!("{path}.{key}"),
                        "there is no `client_ca`, so no client is asked for a certificate",
                    )
                    .help("name the file of the authorities that sign your clients' certificates as `client_ca`"),
                );
            }
        }
        return None;
    };
    let authorities = loader.certificates(&format!("{path}.client_ca"), ca);
    let revoked = tls.client_crl.as_ref().map(|crl| loader.revocation_lists(&format!("{path}.client_crl"), crl));
    Some(ClientMaterial {
        authorities: authorities?,
        revoked: revoked.map_or(Some(None), |lists| lists.map(Some))?,
        verify: tls.verify_client.unwrap_or_default(),
        path: path.to_owned(),
    })
}
