//! What the operator typed, as values. Nothing is looked up, opened or judged across keys here.
//!
//! A value that parsed is valid on its own; whether the values fit together is for `policy::compile` to say. The doc
//! comments below are what `wsgate schema` shows in an editor.

pub mod file;
mod parse;
mod place;
pub mod problem;
mod report;
mod schema;
pub mod value;
mod wording;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use parse::parse;
pub use problem::Problem;
pub use report::Report;
pub use schema::schema;
use value::{Algorithm, OneOrMany, Origins, Rate, Secret, Size, Source, TokenFrom};

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
    /// Rate limits that several routes share, by a name that routes use.
    #[serde(default)]
    pub zone: BTreeMap<String, Zone>,
    /// What is let through, and on which terms. At least one.
    #[serde(default)]
    pub route: Vec<Route>,
    /// The operator's own listener: metrics, health, live connections.
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
    /// Handshakes under way at once, over all listeners. Reached: further clients wait in the listen queue.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub handshakes_in_flight: usize,
    /// Handshakes under way at once from one address (IPv6: one /64). Reached: further sockets are closed at once.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub handshakes_in_flight_per_ip: usize,
    /// The largest request head, and the largest answer head of an upstream. From 8k to 1m.
    #[serde(deserialize_with = "value::header_size")]
    pub max_header_size: Size,
    /// Proxies in front, whose `X-Forwarded-For` is believed, as addresses or networks.
    #[serde(deserialize_with = "value::networks")]
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// How long a stop may take: the Close frames are spread over this time.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub drain_timeout: Duration,
    /// The form of the access log on standard output.
    pub access_log: LogFormat,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: None,
            connections: ServerConnections::default(),
            handshakes_in_flight: 1024,
            handshakes_in_flight_per_ip: 128,
            max_header_size: Size(16 * 1024),
            trusted_proxies: Vec::new(),
            drain_timeout: Duration::from_secs(30),
            access_log: LogFormat::Auto,
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

/// The form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// One line for a person.
    Text,
    /// No access log.
    Off,
}

/// `[[listen]]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port, as `0.0.0.0:8443` or `[::]:8443`. Port 0 takes a free one.
    #[serde(deserialize_with = "value::address")]
    #[schemars(with = "String")]
    pub address: std::net::SocketAddr,
    /// Present: TLS. Absent: plain.
    pub tls: Option<Tls>,
    /// How long TLS and the request head together may take.
    #[serde(default = "ten_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub handshake_timeout: Duration,
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
}

/// One more certificate of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificatePair {
    /// PEM file with the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file with the certificate's private key.
    pub key: PathBuf,
}

/// `[jwt.NAME]`: exactly one of `secret`, `public_key` and `jwks`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The algorithms that are accepted; the token has no say in it.
    pub algorithms: Vec<Algorithm>,
    /// The shared secret of HS256, HS384, HS512: `env:NAME` or `file:PATH`.
    pub secret: Option<Secret>,
    /// One public key as PEM: `file:PATH`, `env:NAME` or a path.
    pub public_key: Option<Source>,
    /// A JSON Web Key Set: `file:PATH` or a path.
    pub jwks: Option<Source>,
    /// The `iss` that a token must have: one, or any of a list.
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

/// `[zone.NAME]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// What is counted apart from each other.
    #[serde(default)]
    pub key: ZoneKey,
    /// The rate, as `10r/s`, `30r/m` (nginx's) or `20/s`, `10/minute`, `100/hour`.
    pub rate: Rate,
    /// How many keys are remembered at once. Default: 65536.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub entries: Option<usize>,
    /// The same as a size, of which one key takes 64 bytes, as nginx counts: `"10m"`.
    pub size: Option<Size>,
}

/// What a zone counts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ZoneKey {
    /// The client's address; an IPv6 client's /64.
    #[default]
    Ip,
}

/// `[[route]]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name in logs and metrics. Default: host and path.
    pub name: Option<String>,
    /// Hosts: exact, or `*.example.com` for one or more labels. Default: any.
    pub host: Option<OneOrMany>,
    /// The path: a prefix of whole segments, so `/ws` is also `/ws/1` but not `/wsx`. The longest wins.
    #[serde(default = "slash")]
    pub path: String,
    /// Whether `path` is the whole path instead of a prefix.
    #[serde(default)]
    pub exact: bool,
    /// The backend: `http://`, `https://`, `ws://`, `wss://` or `unix:/path`. A path behind the host takes the place of
    /// the route's path, as in nginx's `proxy_pass`.
    pub upstream: String,
    /// PEM file of the authorities that may sign the upstream's certificate. Default: the system's.
    pub upstream_ca: Option<PathBuf>,
    /// The `Host` that the upstream sees. Default: the client's.
    pub upstream_host: Option<String>,
    /// How long connecting to the upstream may take, TLS included.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub connect_timeout: Duration,
    /// How long the upstream's answer to the handshake may take.
    #[serde(default = "ten_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub response_timeout: Duration,
    /// Whether a 4xx of the upstream reaches the client as that status; everything else is 502.
    #[serde(default = "yes")]
    pub pass_upstream_errors: bool,
    /// The `[jwt.NAME]` that a token must satisfy. Absent: no token is asked for.
    pub jwt: Option<String>,
    /// Where the token is looked for, in order: `header`, `cookie:NAME`, `query:NAME`, `subprotocol`.
    #[serde(default = "from_header")]
    pub token_from: Vec<TokenFrom>,
    /// Whether the token goes to the upstream too.
    #[serde(default)]
    pub forward_token: bool,
    /// The header in which the upstream gets the token's `sub`. What a client sent under that name is removed.
    #[serde(default = "subject_header")]
    pub subject_header: String,
    /// The pages that may connect, as `https://app.example.com`, `https://*.example.com` or `null`; or `"any"`.
    pub origins: Option<Origins>,
    /// Whether clients without an Origin, which are no browsers, may connect although there is a list.
    #[serde(default)]
    pub allow_missing_origin: bool,
    /// The rate of handshakes by client address, as nginx's `limit_req`.
    pub handshakes: Option<Handshakes>,
    /// The rate of messages from a client, on each connection.
    pub messages: Option<Messages>,
    /// How many sessions there may be at once.
    pub connections: Option<Connections>,
    /// The largest message from a client, over all its frames, as it stands on the wire.
    #[serde(default = "one_mib")]
    pub max_message_size: Size,
    /// A session ends after this long without a byte from either side.
    #[serde(default = "ten_minutes", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub idle_timeout: Duration,
    /// Present: the gateway pings a client that was silent for this long.
    #[serde(default, with = "value::optional_duration")]
    #[schemars(with = "Option<value::TimeText>")]
    pub ping_interval: Option<Duration>,
    /// How long a pinged client may stay silent before its session ends.
    #[serde(default = "twenty_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub ping_timeout: Duration,
    /// How long a Close may wait for its answer.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub close_timeout: Duration,
}

/// `handshakes = { .. }` of a route: a rate of its own, or a shared zone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handshakes {
    /// A rate for this route alone.
    pub rate: Option<Rate>,
    /// A `[zone.NAME]`, shared with other routes.
    pub zone: Option<String>,
    /// How many handshakes beyond the rate are let in.
    #[serde(default)]
    pub burst: u32,
    /// How many of the burst are let in at once; those beyond wait for their turn.
    #[serde(default)]
    pub delay: u32,
    /// The whole burst is let in at once; nobody waits.
    #[serde(default)]
    pub nodelay: bool,
    /// Counted and logged, never refused.
    #[serde(default)]
    pub dry_run: bool,
    /// The status of a refusal.
    #[serde(default = "too_many_requests", deserialize_with = "value::refusal_status")]
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
}

/// `messages = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// The rate on one connection.
    pub rate: Rate,
    /// How many messages beyond the rate are let through at once.
    #[serde(default)]
    pub burst: u32,
    /// What happens to a message beyond the burst.
    #[serde(default)]
    pub on_excess: OnExcess,
}

/// What happens to a message beyond the burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExcess {
    /// The session ends with 4029.
    #[default]
    Close,
    /// The socket is not read until the rate allows it.
    Delay,
    /// The message is dropped, whole.
    Drop,
}

/// `connections = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Sessions at once on this route.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub total: Option<usize>,
    /// Sessions at once from one address (IPv6: one /64).
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub per_ip: Option<usize>,
    /// Sessions at once of one subject.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub per_subject: Option<usize>,
    /// The share of `total` at which one warning is logged; above 0, at most 1.
    #[serde(default = "nine_tenths", deserialize_with = "value::share")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub warn_at: f64,
}

/// `[admin]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Anyone who reaches it reads subjects and addresses: loopback or a private network only.
    #[serde(deserialize_with = "value::address")]
    #[schemars(with = "String")]
    pub address: std::net::SocketAddr,
}

fn five_seconds() -> Duration {
    Duration::from_secs(5)
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn eight_kib() -> Size {
    Size(8 * 1024)
}

fn one_mib() -> Size {
    Size(1024 * 1024)
}

fn yes() -> bool {
    true
}

fn forbidden() -> u16 {
    403
}

fn too_many_requests() -> u16 {
    429
}

fn nine_tenths() -> f64 {
    0.9
}

fn slash() -> String {
    "/".to_owned()
}

fn subject_header() -> String {
    "X-Auth-Subject".to_owned()
}

fn from_header() -> Vec<TokenFrom> {
    vec![TokenFrom::Header]
}
