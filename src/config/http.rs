//! What of ordinary HTTP requests, beside WebSockets: whether a route passes them on, and which pages may read the answers.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value;

/// What becomes of an ordinary request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Http {
    /// It gets 426.
    #[default]
    Refuse,
    /// It goes to the route's upstream, if the route's terms allow it.
    Forward,
}

/// `[route.cors]`: what pages of the route's `origins` may do besides opening sockets (the Fetch standard's CORS protocol).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cors {
    /// The methods that a page may use.
    pub allow_methods: Vec<String>,
    /// The headers that a page may send.
    pub allow_headers: Vec<String>,
    /// The headers of an answer that a page may read besides those that it always may.
    pub expose_headers: Vec<String>,
    /// Whether a page may send its visitor's cookies along, and read the answer. Needs a list in `origins`.
    pub credentials: bool,
    /// How long a browser may remember what it is allowed.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            allow_methods: words(&["GET", "HEAD", "POST"]),
            allow_headers: words(&["authorization", "content-type"]),
            expose_headers: Vec::new(),
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    }
}

/// `[server] http_connections`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConnections {
    /// Connections at once that carry ordinary requests, those that wait for the next one too.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub total: usize,
    /// The same from one address (IPv6: one /64).
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub per_ip: usize,
}

impl Default for HttpConnections {
    fn default() -> Self {
        Self { total: 10_000, per_ip: 256 }
    }
}
