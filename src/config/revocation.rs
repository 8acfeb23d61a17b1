//! `[revocation]`: tokens that the operator ends before their time.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Store, value};

/// `[revocation]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Revocation {
    /// The file that keeps the revocations over a restart; each gateway needs one of its own. Absent: a restart forgets
    /// them.
    pub file: Option<PathBuf>,
    /// `redis`: the list is shared by all gateways with the same `[redis]`, and what is revoked at one is at all. A `file`
    /// may keep it besides.
    pub store: Store,
    /// Revocations at once. Reached: a further one is refused, and none is forgotten.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1, max = 100_000))]
    pub entries: usize,
    /// How long a revocation counts that names no end. At least as long as a token lives, or it holds again afterwards.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub ttl: Duration,
    /// Claims by which tokens may be revoked besides `jti`, `sub` and `sid`; a path of nested names has dots.
    pub claims: Vec<String>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self {
            file: None,
            store: Store::Local,
            entries: 10_000,
            ttl: Duration::from_secs(24 * 3600),
            claims: Vec::new(),
        }
    }
}
