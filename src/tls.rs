//! TLS on both legs. The only place that knows rustls' builders; the provider is named, never the process's default.

pub mod certificates;
pub mod clients;

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::problem::Problem;
use crate::material::{CertificateMaterial, ClientMaterial};

/// Bytes that rustls may hold for a peer that does not take them.
pub const WRITE_BUFFER: usize = 16 * 1024;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A listener's TLS: 1.2 and 1.3, X25519MLKEM768 first, tickets, certificates by SNI; and clients' certificates, if
/// `clients` says what to check them with.
///
/// # Errors
/// Certificates that can't be read or used and keys that are not theirs, all of them.
pub fn server_config(
    certificates: &[CertificateMaterial],
    clients: Option<&ClientMaterial>,
) -> Result<Arc<ServerConfig>, Vec<Problem>> {
    let provider = provider();
    let mut problems = Vec::new();
    let mut keys = Vec::new();
    for material in certificates {
        match CertifiedKey::from_der(material.chain.clone(), material.key.clone_key(), &provider) {
            Ok(key) => keys.push((names(&material.chain), Arc::new(key))),
            Err(error) => problems.push(key_problem(material, &error)),
        }
    }
    let verifier = match clients.map(|clients| clients::verifier(clients, provider.clone())) {
        Some(Ok(verifier)) => verifier,
        Some(Err(more)) => {
            problems.extend(more);
            WebPkiClientVerifier::no_client_auth()
        }
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let Some((_, default)) = keys.first().cloned() else { return Err(problems) };
    if !problems.is_empty() {
        return Err(problems);
    }
    let built = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let ticketer = aws_lc_rs::Ticketer::new();
    let (Ok(built), Ok(ticketer)) = (built, ticketer) else {
        return Err(vec![Problem::new("listen", "the TLS library has no random numbers")]);
    };
    let mut config = built.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(BySni::new(keys, default)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets keep a resumption in the client's hands: no memory here, and one key for all workers. A ticket holds the
    // client's certificate, which is not checked anew; so the key is this listener's own, or a ticket of one that asks for
    // none would open one that requires it.
    config.ticketer = ticketer;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

fn key_problem(material: &CertificateMaterial, error: &rustls::Error) -> Problem {
    let problem = match error {
        rustls::Error::InconsistentKeys(_) => Problem::new(&material.path_of_key, "the key is not this certificate's"),
        other => Problem::new(&material.path_of_key, format!("certificate and key can't be used: {other}")),
    };
    problem.help("the pair that belongs together; the certificate itself comes first in its file, its chain behind it")
}

/// The DNS names that a certificate is for.
fn names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let Some(leaf) = chain.first().and_then(|leaf| webpki::EndEntityCert::try_from(leaf).ok()) else {
        return Vec::new();
    };
    leaf.valid_dns_names().map(str::to_ascii_lowercase).collect()
}

/// Certificates by the host that a client names.
#[derive(Debug)]
struct BySni {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind `*`: `.example.com`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl BySni {
    /// The first that has a name, keeps it.
    fn new(keys: Vec<(Vec<String>, Arc<CertifiedKey>)>, default: Arc<CertifiedKey>) -> Self {
        let mut by_sni = Self { exact: HashMap::new(), wildcard: HashMap::new(), default };
        for (names, key) in keys {
            for name in names {
                let (map, name) = match name.strip_prefix('*') {
                    Some(suffix) => (&mut by_sni.wildcard, suffix.to_owned()),
                    None => (&mut by_sni.exact, name),
                };
                map.entry(name).or_insert_with(|| key.clone());
            }
        }
        by_sni
    }

    /// RFC 6125 s6.4.3: a star stands for one label.
    fn find(&self, name: &str) -> &Arc<CertifiedKey> {
        let name = name.to_ascii_lowercase();
        let below = || name.find('.').and_then(|at| self.wildcard.get(&name[at..]));
        self.exact.get(&name).or_else(below).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(hello.server_name().map_or(&self.default, |name| self.find(name)).clone())
    }
}

/// TLS as a client, of a server whose certificate has to be signed by one of `authorities`, or of the system's; with a
/// certificate of our own, if the server asks for one.
///
/// # Errors
/// Without any authority to trust; with a key that is not the certificate's.
pub fn client_config(
    authorities: Option<&[CertificateDer<'static>]>,
    own: Option<CertificateMaterial>,
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(authorities) => {
            for authority in authorities {
                roots
                    .add(authority.clone())
                    .map_err(|error| format!("an authority's certificate can't be used: {error}"))?;
            }
        }
        None => {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
        }
    }
    if roots.is_empty() {
        return Err(
            "there are no authorities to trust: install the system's (ca-certificates), or name a file".to_owned()
        );
    }
    let built = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("the TLS library fails: {error}"))?;
    let built = built.with_root_certificates(roots);
    let mut config = match own {
        Some(own) => {
            let at = own.path_of_key;
            built.with_client_auth_cert(own.chain, own.key).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => format!("{at}: the key is not the certificate's"),
                other => format!("{at}: certificate and key can't be used: {other}"),
            })?
        }
        None => built.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A host as TLS names it.
#[must_use]
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(host.to_owned()).ok()
}
