//! What `[tracing]` names: the headers that a collector wants, and whom its certificate has to be from.

use http::{HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;

use super::loader::Loader;
use crate::config::Tracing;
use crate::config::problem::Problem;

/// As it was read; what could not be read is missing, and a problem.
#[derive(Debug, Default)]
pub struct TracingMaterial {
    /// Each is marked as sensitive, so that it prints as such.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The authorities of its certificate; `None` for the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

pub(super) fn read(loader: &mut Loader, tracing: &Tracing) -> TracingMaterial {
    let mut headers = Vec::new();
    for (name, secret) in &tracing.headers {
        let path = format!("tracing.headers.{name}");
        let Some(bytes) = loader.secret(&path, secret) else { continue };
        match (HeaderName::try_from(name), HeaderValue::from_bytes(&bytes)) {
            (Ok(name), Ok(mut value)) => {
                value.set_sensitive(true);
                headers.push((name, value));
            }
            (Err(_), _) => loader.problem(Problem::new(path, format!("`{}` is no header's name", name.escape_debug()))),
            (_, Err(_)) => loader.problem(Problem::new(path, "what stands there can't be a header's value")),
        }
    }
    let authorities = tracing.ca.as_ref().and_then(|file| loader.certificates("tracing.ca", file));
    TracingMaterial { headers, authorities }
}
