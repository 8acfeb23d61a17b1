//! `[jwt.NAME]`: how tokens are checked, and where their keys come from.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::value::{self, Algorithm, KeySet, OneOrMany, Secret, Size, Source, Url};
use super::{five_seconds, yes};

/// `[jwt.NAME]`: exactly one of `secret`, `public_key`, `jwks` and `issuer_url`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The algorithms that are accepted; the token has no say in it.
    pub algorithms: Vec<Algorithm>,
    /// The shared secret of HS256, HS384, HS512: `env:NAME` or `file:PATH`.
    pub secret: Option<Secret>,
    /// One public key as PEM: `file:PATH`, `env:NAME` or a path.
    pub public_key: Option<Source>,
    /// A JSON Web Key Set: an `https://` URL, `file:PATH` or a path.
    pub jwks: Option<KeySet>,
    /// An OpenID Connect issuer, whose key set is found by its discovery document. Its tokens' `iss` must be exactly this.
    pub issuer_url: Option<Url>,
    /// How often a key set is fetched from its URL where its `Cache-Control` and `Expires` do not say. 30s to 24h.
    #[serde(default = "five_minutes", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub jwks_refresh: Duration,
    /// How long the last good key set is used while no new one can be fetched. At least `jwks_refresh`, and 1m.
    #[serde(default = "one_day", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub jwks_max_stale: Duration,
    /// How long after a token of an unknown `kid` had the key set fetched the next one may. 1s to 1h.
    #[serde(default = "thirty_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub jwks_cooldown: Duration,
    /// PEM file of the authorities that may sign the key server's certificate. Default: the system's.
    pub jwks_ca: Option<PathBuf>,
    /// The `iss` that a token must have: one, or any of a list. Default: `issuer_url`.
    pub issuer: Option<OneOrMany>,
    /// The `aud` of which a token must have one.
    pub audience: Option<OneOrMany>,
    /// How far the clocks of issuer and gateway may be apart. At most 1h.
    #[serde(default = "five_seconds", with = "value::leeway")]
    #[schemars(with = "value::TimeText")]
    pub leeway: Duration,
    /// Whether a token without `exp` is refused. Without it a session has no end of its own.
    #[serde(default = "yes")]
    pub require_exp: bool,
    /// The largest token.
    #[serde(default = "eight_kib")]
    pub max_token_size: Size,
    /// The status of a refusal for the token's sake: 403, or 401 with `WWW-Authenticate`.
    #[serde(default = "forbidden", deserialize_with = "value::token_status")]
    #[schemars(extend("enum" = [401, 403]))]
    pub status: u16,
}

fn five_minutes() -> Duration {
    Duration::from_secs(300)
}

fn one_day() -> Duration {
    Duration::from_secs(86_400)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn eight_kib() -> Size {
    Size(8 * 1024)
}

fn forbidden() -> u16 {
    403
}
