//! `[tracing]`: where the spans of handshakes go, and which of them are recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{self, Endpoint, Secret};

/// `[tracing]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// An OpenTelemetry collector that takes OTLP over HTTP: `http://127.0.0.1:4318`. `/v1/traces` is put behind it.
    pub endpoint: Endpoint,
    /// Headers of each request to it, as what it wants for a login: the name, and `env:NAME` or `file:PATH` for the value.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// PEM file of the authorities that may have signed its certificate, for `https://`. Default: the system's.
    pub ca: Option<PathBuf>,
    /// The share of handshakes and requests that is recorded, from 0 to 1, of those that belong to no trace which is taken over.
    #[serde(default = "a_tenth", deserialize_with = "value::ratio")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample: f64,
    /// Whose `traceparent` is taken over, with its word on whether to record: `trusted_proxies`, `all` or `none`.
    #[serde(default)]
    pub parents: Parents,
    /// Whether a span names the token's subject, as `user.id`.
    #[serde(default)]
    pub subject: bool,
    /// `service.name`
    #[serde(default = "wsgate")]
    pub service_name: String,
    /// How long one request to the collector may take. 100ms to 1m.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub timeout: Duration,
}

/// Whose trace a handshake may belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Parents {
    /// That of a proxy in `trusted_proxies`.
    #[default]
    TrustedProxies,
    /// Anybody's: who calls decides what is recorded.
    All,
    /// Nobody's.
    None,
}

fn a_tenth() -> f64 {
    0.1
}

fn wsgate() -> String {
    "wsgate".to_owned()
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}
