//! `[redis]`: the store that several gateways share.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::value::{self, RedisUrls, Secret};

/// `[redis]`
#[derive(Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// Redis or Valkey: `redis://`, `rediss://` (TLS) or `unix:/path`. A list of several are Sentinels, and need
    /// `sentinel_master`.
    pub url: RedisUrls,
    /// The name under which the Sentinels of `url` know the master.
    pub sentinel_master: Option<String>,
    /// The ACL user, if it does not stand in the URL. Needs `password`. Default: Redis' default user.
    pub username: Option<String>,
    /// The user's password: `env:NAME` or `file:PATH`.
    pub password: Option<Secret>,
    /// PEM file of the authorities that may have signed the server's certificate, for `rediss://`. Default: the system's.
    pub ca: Option<PathBuf>,
    /// What every key begins with, inside of braces. Gateways that share limits share it; 1 to 64 letters, digits, `-`,
    /// `_`, `.` and `:`.
    #[serde(default = "wsgate")]
    pub prefix: String,
    /// How long one call may take; then `on_error` holds. 1ms to 1s.
    #[serde(default = "fifty_milliseconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub timeout: Duration,
    /// What limits do while Redis does not answer: `local`, each gateway counts for itself; `open`, they let everything
    /// through; `closed`, they refuse.
    #[serde(default)]
    pub on_error: OnError,
}

impl Redis {
    /// What is wrong where `path`, as `zone.logins.store`, counts in Redis and there is no `[redis]`.
    #[must_use]
    pub fn missing(path: impl Into<String>) -> Problem {
        Problem::new(path, "there is no [redis] to count in").help("add [redis] with `url`, or leave `store` out")
    }
}

/// What a limit does whose store does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Each gateway counts for itself.
    #[default]
    Local,
    /// It lets everything through.
    Open,
    /// It refuses.
    Closed,
}

fn wsgate() -> String {
    "wsgate".to_owned()
}

fn fifty_milliseconds() -> Duration {
    Duration::from_millis(50)
}
