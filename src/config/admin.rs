//! `[admin]`: where the operator looks, and who is let.

use schemars::JsonSchema;
use serde::Deserialize;

use super::CertificatePair;
use super::value::{self, Secret};

/// `[admin]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Whoever reads there sees subjects and addresses: one that is not loopback needs `token`, and `tls`
    /// or `insecure`.
    #[serde(deserialize_with = "value::address")]
    #[schemars(with = "value::AddressText")]
    pub address: std::net::SocketAddr,
    /// What `Authorization: Bearer` must hold for everything but the health pages and the empty page: `env:NAME` or
    /// `file:PATH`, at least 16 bytes.
    pub token: Option<Secret>,
    /// Present: TLS, with this certificate. Absent: plain.
    pub tls: Option<CertificatePair>,
    /// Lets an address that is not loopback do without `tls`: the token and all that is answered go over the wire in the
    /// clear. For a network that something else protects: a mesh, the containers of one machine.
    #[serde(default)]
    pub insecure: bool,
}
