//! The words of the PROXY protocol, on the side of the clients and on that of the upstreams; and whose words about a client
//! are believed where proxies speak HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a listener's connections begin with a header of the PROXY protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not: what looks like one is bad HTTP, or no TLS.
    #[default]
    Off,
    /// Each one does, and comes from one of `trusted_proxies`; any other is closed.
    Required,
}

/// The form of the header that an upstream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The header in which trusted proxies say whose request they pass on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, with `X-Forwarded-Proto` and `X-Forwarded-Host` beside it.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}
