//! `[assertion.NAME]`: what the gateway signs for an upstream, and with which key.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{self, Algorithm, OneOrMany, Secret};

/// `[assertion.NAME]`: exactly one of `secret` and `private_key`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// What the gateway signs with.
    pub algorithm: Algorithm,
    /// The shared secret of HS256, HS384, HS512: `env:NAME` or `file:PATH`.
    pub secret: Option<Secret>,
    /// The private key of the others as PEM: `env:NAME` or `file:PATH`. Backends get its public half.
    pub private_key: Option<Secret>,
    /// The key's name in the header of each token, for backends that know several.
    pub kid: Option<String>,
    /// Its `iss`.
    #[serde(default = "wsgate")]
    pub issuer: String,
    /// Its `aud`: one, or a list. Default: none.
    pub audience: Option<OneOrMany>,
    /// From `iat` to `exp`. From 1s to 1h.
    #[serde(default = "one_minute", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub lifetime: Duration,
    /// The header in which the upstream gets it. What a client sent under that name is removed.
    #[serde(default = "header")]
    pub header: String,
    /// Claims of the client's token that are copied into it, by name or path.
    #[serde(default)]
    pub claims: Vec<String>,
}

fn wsgate() -> String {
    "wsgate".to_owned()
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn header() -> String {
    "X-Auth-Assertion".to_owned()
}
