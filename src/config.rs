//! What the operator typed, as values. Nothing is looked up, opened or judged across keys here.
//!
//! A value that parsed is valid on its own; whether the values fit together is for `policy::compile` to say. The doc
//! comments below are what `wsgate schema` shows in an editor.

mod access_log;
mod admin;
mod assertion;
mod certificate;
pub mod file;
mod http;
mod jwt;
pub mod limits;
mod parse;
mod place;
pub mod problem;
mod proxy_protocol;
mod redis;
mod report;
mod require;
mod revocation;
mod route;
mod schema;
mod traces;
mod upstream;
pub mod value;
mod wording;
mod zone;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

pub use access_log::{AccessLog, LogField, LogFormat, Refusals};
pub use admin::Admin;
pub use assertion::Assertion;
pub use certificate::{CertificateSubject, ClientCertificate, VerifyClient};
pub use http::{Cors, Http, HttpConnections};
pub use jwt::Jwt;
pub use limits::{Connections, OnExcess, OnFull};
pub use parse::parse;
pub use problem::Problem;
pub use proxy_protocol::{ForwardedHeader, ProxyProtocol, ProxyVersion};
pub use redis::{OnError, Redis};
pub use report::Report;
pub use require::{Require, Requirement, Wanted};
pub use revocation::Revocation;
pub use route::{DenyBy, ExpiryNotice, OnExpiry, OnReload, Route};
pub use schema::schema;
pub use traces::{Parents, Tracing};
pub use upstream::{Balance, Health, HealthKind, Server as UpstreamServer, ServerTable, Upstream};
use value::Size;
pub use zone::{Store, Zone, ZoneKey};

/// The whole file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The gateway as a whole.
    #[serde(default)]
    pub server: Server,
    /// Where clients connect. At least one.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// How tokens are checked, by a name that routes use.
    #[serde(default)]
    pub jwt: BTreeMap<String, Jwt>,
    /// What the gateway signs for upstreams, by a name that routes use.
    #[serde(default)]
    pub assertion: BTreeMap<String, Assertion>,
    /// Rate limits that several routes share, by a name that routes use.
    #[serde(default)]
    pub zone: BTreeMap<String, Zone>,
    /// Several servers behind one name, by which routes lead to them.
    #[serde(default)]
    pub upstream: BTreeMap<String, Upstream>,
    /// What is let through, and on which terms. At least one.
    #[serde(default)]
    pub route: Vec<Route>,
    /// What several gateways count together. Absent: each counts for itself.
    pub redis: Option<Redis>,
    /// What is written down of refusals and of sessions that ended.
    #[serde(default)]
    pub access_log: AccessLog,
    /// Tokens that the operator ends before their time, through the admin listener.
    #[serde(default)]
    pub revocation: Revocation,
    /// Spans of handshakes, for OpenTelemetry. Absent: none are made.
    pub tracing: Option<Tracing>,
    /// The operator's own listener: its page, metrics, health, live connections, revocations.
    pub admin: Option<Admin>,
}

/// `[server]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Threads that carry traffic. Default: one a core.
    #[serde(deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub workers: Option<usize>,
    /// The cap over all routes together.
    pub connections: ServerConnections,
    /// The caps of connections that carry ordinary requests, on routes with `http = "forward"`.
    pub http_connections: HttpConnections,
    /// Handshakes under way at once, over all listeners. Reached: further clients wait in the listen queue.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub handshakes_in_flight: usize,
    /// Handshakes under way at once from one address (IPv6: one /64). Reached: further sockets are closed at once.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub handshakes_in_flight_per_ip: usize,
    /// The largest request head, and the largest answer head of an upstream. From 8k to 64k.
    #[serde(deserialize_with = "value::header_size")]
    pub max_header_size: Size,
    /// Bytes that all sessions together may keep for receivers that do not take them. At least 128k. Reached: a session that
    /// would keep more ends.
    #[serde(deserialize_with = "value::buffer_size")]
    pub max_buffered: Size,
    /// A worker that is behind with its work by more than this lets nobody new in. At least 10ms.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub max_lag: Duration,
    /// Proxies in front, as addresses or networks, whose word is believed on whose connection or request they pass on.
    #[serde(deserialize_with = "value::networks")]
    #[schemars(with = "Vec<value::NetworkText>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say so, which is the only one that is believed: `x-forwarded-for`, or `forwarded` (RFC 7239).
    pub forwarded_header: ForwardedHeader,
    /// The header in which upstreams get the `connection_id` of the log; what a client sent under that name is removed.
    /// `"off"`: none.
    pub connection_id_header: String,
    /// How long a stop may take: the Close frames are spread over this time.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub drain_timeout: Duration,
    /// How long clients are still let in while `/readyz` says already that no more shall come.
    #[serde(with = "value::delay")]
    #[schemars(with = "value::TimeText")]
    pub drain_delay: Duration,
    /// How long a new binary may take to take over (SIGUSR2), from its start until it accepts.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub upgrade_timeout: Duration,
    /// How often it is looked whether this file, or one that it names, has changed: then all of it is taken anew. `0` or `off`:
    /// only when it is told to.
    #[serde(with = "value::interval")]
    #[schemars(with = "value::IntervalText")]
    pub auto_reload_interval: Option<Duration>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: None,
            connections: ServerConnections::default(),
            http_connections: HttpConnections::default(),
            handshakes_in_flight: 1024,
            handshakes_in_flight_per_ip: 128,
            max_header_size: Size(16 * 1024),
            max_buffered: Size(64 << 20),
            max_lag: Duration::from_millis(500),
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            connection_id_header: "X-Connection-Id".to_owned(),
            drain_timeout: Duration::from_secs(20),
            drain_delay: Duration::ZERO,
            upgrade_timeout: Duration::from_secs(30),
            auto_reload_interval: Some(Duration::from_secs(5)),
        }
    }
}

/// `[server] connections`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConnections {
    /// Sessions at once over all routes.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub total: usize,
    /// The share of `total` at which one warning is logged; above 0, at most 1.
    #[serde(deserialize_with = "value::share")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub warn_at: f64,
}

impl Default for ServerConnections {
    fn default() -> Self {
        Self { total: 10_000, warn_at: 0.9 }
    }
}

/// `[[listen]]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, as `0.0.0.0:8443` or `[::]:8443`. Port 0 takes a free one.
    #[serde(deserialize_with = "value::address")]
    #[schemars(with = "value::AddressText")]
    pub address: std::net::SocketAddr,
    /// The name of a socket that a service manager opened (`FileDescriptorName=`), wherever that listens. Without one the
    /// socket is found by its address. Where no socket was inherited at all, `address` is bound.
    pub socket: Option<String>,
    /// Present: TLS. Absent: plain.
    pub tls: Option<Tls>,
    /// Whether each connection begins with a header of the PROXY protocol, version 1 or 2, from one of `trusted_proxies`:
    /// `off` or `required`.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// How long the PROXY header, TLS and the request head together may take.
    #[serde(default = "ten_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub handshake_timeout: Duration,
    /// How long a connection may wait for its next request, after one that was passed on.
    #[serde(default = "seventy_five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub keepalive_timeout: Duration,
    /// How many requests one connection may carry.
    #[serde(default = "one_thousand", deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub keepalive_requests: usize,
}

/// `tls = { .. }` of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain. Also what a client gets that names no host, or an unknown one.
    pub certificate: PathBuf,
    /// PEM file with the certificate's private key.
    pub key: PathBuf,
    /// Further certificates, chosen by the host that the client names (SNI).
    #[serde(default)]
    pub additional: Vec<CertificatePair>,
    /// PEM file of the authorities that may have signed clients' certificates. Present: clients are asked for one, and a
    /// bad one is never let through.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must have a certificate: `required`, or `optional`. Needs `client_ca`. Default: required.
    pub verify_client: Option<VerifyClient>,
    /// PEM file of the authorities' revocation lists (CRL), one of each authority in a client's chain. Needs `client_ca`.
    pub client_crl: Option<PathBuf>,
}

/// One certificate, where there is nothing else to say of TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificatePair {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the certificate's private key.
    pub key: PathBuf,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn seventy_five_seconds() -> Duration {
    Duration::from_secs(75)
}

fn one_thousand() -> usize {
    1000
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn yes() -> bool {
    true
}
