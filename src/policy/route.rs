//! What a route demands and grants. Which requests are its own is for [`matcher`] to say.

pub mod captures;
pub mod matcher;

use std::sync::Arc;

use http::HeaderValue;

use super::certificate;
use super::expiry::Expiry;
use super::flow::Flow;
use super::key::rule::KeyRule;
use super::limit::LimitId;
use super::origin::Origins;
use super::relay::Relay;
use super::renew::Renew;
use super::require::Require;
use super::slots::Caps;
use super::target::Target;
use super::token::Verifier;
use super::upward::Upward;
use super::zone::Zone;
use crate::config::value::TokenFrom;
use crate::config::{DenyBy, OnReload, ProxyVersion, Store};

pub use captures::Captures;
pub use matcher::{Host, Matcher};

/// One `[[route]]`, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Its place in [`super::Policy::routes`].
    pub index: usize,
    /// Its place among the metrics, see [`super::roll::Roll`].
    pub slot: usize,
    /// Segments of its path, which an upstream's path takes the place of.
    pub segments: usize,
    /// The names that its host and path capture, whichever of its hosts it is.
    pub captures: Arc<[Box<str>]>,
    /// Whether one of those names is of its host.
    pub captures_host: bool,
    /// Where it leads.
    pub target: Target,
    /// Whether a 4xx of the upstream reaches the client as such.
    pub pass_upstream_errors: bool,
    /// What it makes of a client's certificate.
    pub certificate: certificate::Rule,
    /// The token it wants.
    pub token: Option<TokenRule>,
    /// How its sessions are renewed; a route that has one has a `token` too.
    pub renew: Option<Renew>,
    /// What the token has to claim.
    pub require: Require,
    /// What the upstream is told of who asks.
    pub upward: Upward,
    /// The pages that may connect; without it no Origin is looked at.
    pub origins: Option<Origins>,
    /// How the client is named at the head of the connection to the upstream, if it is.
    pub proxy_protocol: Option<ProxyVersion>,
    /// How a refusal is told.
    pub deny: DenyBy,
    /// What a new config does to its sessions.
    pub on_reload: OnReload,
    /// The rates of handshakes, in the order of the file.
    pub handshakes: Vec<HandshakeLimit>,
    /// Present: it passes on ordinary requests, on these terms.
    pub relay: Option<Relay>,
    /// What may flow on its sessions.
    pub flow: Flow,
    /// How many sessions there may be at once.
    pub caps: Caps,
    /// What a session keeps to.
    pub terms: Terms,
}

impl Route {
    /// Whether its own list has this Origin, so that its page may read an answer. A route without a list names nobody.
    #[must_use]
    pub fn names_origin(&self, origin: &HeaderValue) -> bool {
        self.origins.as_ref().is_some_and(|origins| origins.check(Some(origin.as_bytes())).is_ok())
    }
}

/// Which token a route wants, and what becomes of it.
#[derive(Debug)]
pub struct TokenRule {
    /// The `[jwt.NAME]`s, never none. Of several each has issuers of its own.
    pub verifiers: Vec<Arc<Verifier>>,
    /// Where it is looked for.
    pub from: Vec<TokenFrom>,
    /// Whether the upstream sees it.
    pub forward: bool,
    /// Whether it has to be bound to the client's certificate.
    pub require_bound: bool,
    /// The status of a refusal: 403, or 401.
    pub status: u16,
}

/// A rate of handshakes.
#[derive(Debug)]
pub struct HandshakeLimit {
    /// Its name in metrics and logs.
    pub id: LimitId,
    /// Where the buckets are.
    pub zone: Arc<Zone>,
    /// Whose bucket it is.
    pub key: Arc<KeyRule>,
    /// Whether other gateways draw on it too.
    pub store: Store,
    /// When it is looked at.
    pub stage: Stage,
    /// Whom it is for; whoever it is not for is not counted.
    pub when: Require,
    /// Units beyond the rate that are let in.
    pub burst: u64,
    /// Units of the burst that do not wait; `u64::MAX`: all (`nodelay`).
    pub delay: u64,
    /// Counted, never refused.
    pub dry_run: bool,
    /// The status of a refusal.
    pub status: u16,
}

/// When a limit of handshakes is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the token: a flood of forged ones must not buy signature checks.
    Address,
    /// After it: by what only a good token says.
    Identity,
}

/// What a session keeps to. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Bytes of a message from the client, as on the wire.
    pub max_message_size: u64,
    /// Silence of both sides that ends it.
    pub idle_timeout: u64,
    /// Silence of the client after which it is pinged.
    pub ping_interval: Option<u64>,
    /// Silence after a ping that ends it.
    pub ping_timeout: u64,
    /// How long a receiver may take nothing of what waits for it.
    pub send_timeout: u64,
    /// How long a Close waits for its answer.
    pub close_timeout: u64,
    /// How long it may last.
    pub expiry: Expiry,
}
