//! The words for clients' certificates: what a listener asks for, what a route wants, and who the bearer is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a client without a certificate, on a listener that asks for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyClient {
    /// TLS fails.
    #[default]
    Required,
    /// It is let through, and the route decides.
    Optional,
}

/// What a route makes of a client's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It is not looked at, unless a token is bound to it.
    #[default]
    Off,
    /// It is the client's identity, if there is one.
    Optional,
    /// Without one a handshake is refused.
    Required,
}

/// The part of a certificate that is the session's subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateSubject {
    /// The common name, of which there must be one only.
    #[default]
    Cn,
    /// The whole subject, as RFC 4514 writes it.
    Dn,
    /// The first DNS name, in lower case.
    Dns,
    /// The first URI, as SPIFFE has one.
    Uri,
    /// The first email address.
    Email,
}
