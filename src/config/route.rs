//! `[[route]]`: what is let through, and on which terms.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::certificate::{CertificateSubject, ClientCertificate};
use super::http::{Cors, Http};
use super::limits::{Bytes, Connections, Fragments, Handshakes, Limits, Messages};
use super::value::{self, OneOrMany, Origins, Size, TokenFrom};
use super::{ProxyVersion, Require, five_seconds, ten_seconds, yes};

/// `[[route]]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The route's name in logs and metrics. Default: host and path.
    pub name: Option<String>,
    /// Hosts: exact, `*.example.com` for one or more labels, or `{name}.example.com` for one label that has a name. Default: any.
    pub host: Option<OneOrMany>,
    /// The path: a prefix of whole segments, so `/ws` is also `/ws/1` but not `/wsx`. `{name}` in place of a segment takes
    /// any one. The longest wins.
    #[serde(default = "slash")]
    pub path: String,
    /// Whether `path` is the whole path instead of a prefix.
    #[serde(default)]
    pub exact: bool,
    /// The backend: `http://`, `https://`, `ws://`, `wss://` or `unix:/path`, where a path behind the host takes the place
    /// of the route's path, as in nginx's `proxy_pass`; or the NAME of an `[upstream.NAME]`.
    pub upstream: String,
    /// PEM file of the authorities that may sign the upstream's certificate. Default: the system's.
    pub upstream_ca: Option<PathBuf>,
    /// The `Host` that the upstream sees. Default: the client's.
    pub upstream_host: Option<String>,
    /// Present: the connection to the upstream begins with a header of the PROXY protocol that names the client, before TLS:
    /// `v1` or `v2`.
    pub proxy_protocol: Option<ProxyVersion>,
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
    /// The `[jwt.NAME]` that a token must satisfy; of a list the one whose issuer the token names. Absent: no token is
    /// asked for.
    pub jwt: Option<OneOrMany>,
    /// What the token must claim: a value, a list of values (all of them), or `{ any = [..] }`. `"{name}"` is that part of
    /// the route's path or host.
    #[serde(default)]
    pub require: Require,
    /// Where the token is looked for, in order: `header`, `cookie:NAME`, `query:NAME`, `subprotocol`.
    #[serde(default = "from_header")]
    pub token_from: Vec<TokenFrom>,
    /// Whether the token goes to the upstream too.
    #[serde(default)]
    pub forward_token: bool,
    /// Whether a client's certificate is its identity: `off`, `optional` or `required`. A listener asks for it with
    /// `client_ca`.
    #[serde(default)]
    pub client_certificate: ClientCertificate,
    /// The part of the certificate that is the session's subject, on a route without `jwt`: `cn`, `dn`, `dns`, `uri` or
    /// `email`. Default: cn.
    pub certificate_subject: Option<CertificateSubject>,
    /// Whether a token must be bound to the client's certificate (`cnf` with `x5t#S256`, RFC 8705). One that is bound is
    /// checked in any case.
    #[serde(default)]
    pub require_bound_token: bool,
    /// The header in which the upstream gets the token's `sub`. What a client sent under that name is removed.
    #[serde(default = "subject_header")]
    pub subject_header: String,
    /// Claims of the token that the upstream gets as headers, each by its name or path: `{ email = "X-Auth-Email" }`. What a
    /// client sent under these names is removed, on every route of this file.
    #[serde(default)]
    pub claim_headers: BTreeMap<String, String>,
    /// The `[assertion.NAME]` that the upstream gets: a token of the gateway's own that says who asks.
    pub assertion: Option<String>,
    /// The pages that may connect, as `https://app.example.com`, `https://*.example.com` or `null`; or `"any"`.
    pub origins: Option<Origins>,
    /// Whether clients without an Origin, which are no browsers, may connect although there is a list.
    #[serde(default)]
    pub allow_missing_origin: bool,
    /// What becomes of live sessions that a new config would not let in: `keep`, they go on until they end; or `enforce`, they
    /// are closed.
    #[serde(default)]
    pub on_reload: OnReload,
    /// How a client is told that its handshake is refused: `http`, an HTTP status, which no browser shows to a script;
    /// or `close`, a 101 and a Close with the reason's code and label, which it does.
    #[serde(default)]
    pub deny: DenyBy,
    /// The rates of handshakes, as nginx's `limit_req`: a table, or a list of tables.
    #[serde(default)]
    pub handshakes: Limits<Handshakes>,
    /// Whether ordinary requests, which ask for no WebSocket, go to the upstream too: `refuse` or `forward`.
    #[serde(default)]
    pub http: Http,
    /// The rates of ordinary requests, as those of handshakes. Default: each is charged as a handshake is.
    pub requests: Option<Limits<Handshakes>>,
    /// The largest body of an ordinary request.
    #[serde(default = "one_mib")]
    pub max_body_size: Size,
    /// How long a body may be waited for, beyond one second for each 500 bytes of it that came.
    #[serde(default = "thirty_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub body_timeout: Duration,
    /// How long the upstream may say nothing while it owes an answer, or more of one, to an ordinary request.
    #[serde(default = "one_minute", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub read_timeout: Duration,
    /// What pages of other origins may do besides opening sockets. Absent: the upstream says so itself.
    pub cors: Option<Cors>,
    /// The rates of messages, likewise.
    #[serde(default)]
    pub messages: Limits<Messages>,
    /// The rates of bytes, likewise.
    #[serde(default)]
    pub bytes: Limits<Bytes>,
    /// The rates of pings and pongs, likewise.
    #[serde(default)]
    pub control: Limits<Messages>,
    /// How many frames a message may have.
    #[serde(default)]
    pub fragments: Fragments,
    /// How many sessions there may be at once.
    pub connections: Option<Connections>,
    /// The largest message from a client, over all its frames, as it stands on the wire.
    #[serde(default = "one_mib")]
    pub max_message_size: Size,
    /// A session ends after this long without a byte from either side.
    #[serde(default = "ten_minutes", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub idle_timeout: Duration,
    /// What the end of the token does to its session.
    #[serde(default)]
    pub on_expiry: OnExpiry,
    /// Present: a session ends when it is that old, whatever its token says.
    #[serde(default, with = "value::optional_duration")]
    #[schemars(with = "Option<value::TimeText>")]
    pub max_lifetime: Option<Duration>,
    /// Present: the client gets a message of the gateway's ahead of the session's end.
    pub expiry_notice: Option<ExpiryNotice>,
    /// The path at which a client renews its live sessions with a new token, as `/ws/renew`. Never forwarded. Absent: none.
    pub renew: Option<String>,
    /// Present: the gateway pings a client that was silent for this long.
    #[serde(default, with = "value::optional_duration")]
    #[schemars(with = "Option<value::TimeText>")]
    pub ping_interval: Option<Duration>,
    /// How long a pinged client may stay silent before its session ends.
    #[serde(default = "twenty_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub ping_timeout: Duration,
    /// How long a side may take no byte of what waits for it, before its session ends.
    #[serde(default = "one_minute", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub send_timeout: Duration,
    /// How long a Close may wait for its answer.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub close_timeout: Duration,
}

/// How a client is told that its handshake is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DenyBy {
    /// With an HTTP status.
    #[default]
    Http,
    /// With a Close behind a 101, within bounds of its own; beyond them with an HTTP status.
    Close,
}

/// What a new config does to live sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnReload {
    /// Nothing: they go on until they end.
    #[default]
    Keep,
    /// Those that it would not let in end with 1008.
    Enforce,
}

/// What the end of the token does to its session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExpiry {
    /// The session ends with 4001.
    #[default]
    Close,
    /// The session goes on; one line of the access log says so.
    Log,
}

/// `expiry_notice = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpiryNotice {
    /// How long before the end.
    #[serde(with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub before: Duration,
    /// The Text message, 1 to 4096 bytes. `{seconds}` in it is what is left.
    #[serde(deserialize_with = "value::notice_text")]
    #[schemars(length(min = 1, max = 4096))]
    pub text: String,
}

fn twenty_seconds() -> Duration {
    Duration::from_secs(20)
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}

fn one_minute() -> Duration {
    Duration::from_secs(60)
}

fn ten_minutes() -> Duration {
    Duration::from_secs(600)
}

fn one_mib() -> Size {
    Size(1024 * 1024)
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
