//! What the gateway counts, and how Prometheus reads it.
//!
//! Each gateway has its own [`Metrics`]; nothing is global. Every label value is a name from the config or a word from
//! an enum, never what a client sent, and what can happen stands there at zero from the start, so that the first time
//! it happens is an increase that a query sees. Nothing here decides anything.

mod counts;
mod example;
pub mod family;
mod process;
mod redis;
mod reloads;
mod requests;
mod revocations;
mod scrape;
mod spans;
mod text;
pub mod totals;
mod traffic;
mod upstreams;

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use crate::deny::{Deny, Side};
use crate::now::Now;
use crate::policy::limit::Exceeded;
use crate::policy::roll::Roll;
use counts::{Counts, ListenerCounts, RouteCounts};
use scrape::Scrape;

pub use counts::{CapFill, CertificateEnd, KeySetFill, KeysFill, LimitCounts, Sources, ZoneFill};
pub use example::Example;
pub use redis::{Fallback, Operation, RedisCounts, RedisFailure};
pub use reloads::ReloadCounts;
pub use requests::RequestEnd;
pub use revocations::RevocationCounts;
pub use spans::{SpanCounts, SpanResult};
pub use traffic::{Active, Counter, Traffic};
pub use upstreams::{ServerCounts, ServerFill, UpstreamFill};

/// Everything that one gateway counts.
///
/// Routes and limits are named by their place in a [`Roll`], workers and listeners by their index.
#[derive(Debug)]
pub struct Metrics {
    counts: Arc<Counts>,
    registry: Registry,
}

/// One scrape.
#[derive(Debug)]
pub struct Rendered {
    /// The `Content-Type` to send it with.
    pub content_type: &'static str,
    /// The text.
    pub body: String,
}

impl Metrics {
    /// All counts at zero. `started` is what `wsgate_start_time_seconds` says.
    #[must_use]
    pub fn new(roll: &Roll, workers: usize, listeners: &[String], started: Now, sources: Sources) -> Self {
        let counts = Arc::new(Counts::new(roll, workers, listeners, sources, started.wall));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(counts.clone())));
        Self { counts, registry }
    }

    /// Makes room for the names that are new in a roll which follows the one before; all counts go on. To be called before
    /// anybody counts for such a name.
    pub fn grow(&self, roll: &Roll) {
        self.counts.grow(roll);
    }

    /// When the gateway started, in milliseconds of the wall clock.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.counts.started_wall_ms
    }

    /// The counts of one route on one worker: to be taken once for each session.
    #[must_use]
    pub fn traffic(&self, worker: usize, route: usize) -> Arc<Traffic> {
        self.counts.named.load().traffic[worker][route].clone()
    }

    /// Counts the end of a handshake. `duration_ms` counts where there is a route.
    pub fn handshake(&self, route: Option<usize>, result: Result<(), Deny>, duration_ms: u64, example: Example) {
        let Some(route) = route else {
            self.counts.unrouted.up(result.err());
            return;
        };
        let route = self.route(route);
        route.handshakes.up(result.err());
        example::observe(&route.handshake_seconds, duration_ms as f64 / 1e3, example);
    }

    /// Counts the end of a session; `reason` is none where the side closed. `messages` by [`Direction::index`].
    ///
    /// [`Direction::index`]: crate::deny::Direction::index
    pub fn session_ended(
        &self,
        route: usize,
        (side, reason): (Side, Option<Deny>),
        duration_ms: u64,
        messages: [u64; 2],
        example: Example,
    ) {
        let route = self.route(route);
        route.ended[side.index()].up(reason);
        example::observe(&route.session_seconds, duration_ms as f64 / 1e3, example);
        for (histogram, messages) in route.session_messages.iter().zip(messages) {
            example::observe(histogram, messages as f64, example);
        }
    }

    /// Counts a renewal: whether it moved any session.
    pub fn renewal(&self, route: usize, result: Result<(), Deny>) {
        self.route(route).renewals.up(result.err());
    }

    /// Counts an ordinary request as under way.
    pub fn request_began(&self, route: usize) {
        self.route(route).requests.began();
    }

    /// Counts its end; none of one that only asked whether it may come.
    pub fn request_ended(&self, route: usize, end: Option<RequestEnd>) {
        self.route(route).requests.ended(end);
    }

    /// Counts a session that outlives its identity.
    pub fn identity_expired(&self, route: usize) {
        self.route(route).expired.up();
    }

    /// Counts what exceeded a limit, and says which that is; none of a limit that is not known here.
    pub fn exceeded(&self, exceeded: Exceeded, count: u64) -> Option<Arc<LimitCounts>> {
        let counts = self.counts.named.load().limits.get(exceeded.limit.0)?.clone();
        counts.add(exceeded.action, count);
        Some(counts)
    }

    /// Counts a warning that a cap is nearly full.
    pub fn cap_warned(&self) {
        self.counts.cap_warnings.up();
    }

    /// Counts a new binary that did not take over.
    pub fn upgrade_failed(&self) {
        self.counts.upgrade_failures.up();
    }

    /// Counts a change of the revocations that could not be written to their file.
    pub fn revocation_file_failed(&self) {
        self.counts.revocation_file_errors.up();
    }

    /// Counts a connection that was accepted.
    pub fn accepted(&self, listener: usize) {
        self.listener(listener).accepted.up();
    }

    /// Counts an accept that failed.
    pub fn accept_failed(&self, listener: usize) {
        self.listener(listener).errors.up();
    }

    /// Counts a connection that was closed at once, since its address had too many handshakes under way.
    pub fn shed(&self, listener: usize) {
        self.listener(listener).shed.up();
    }

    /// Everything, in the format that the scraper's `Accept` asks for: OpenMetrics 1.0 or Prometheus' text format 0.0.4.
    #[must_use]
    pub fn render(&self, accept: Option<&str>) -> Rendered {
        let mut body = String::new();
        // Writing to a `String` does not fail, nor does any value here; if it did, a scrape cut short has no end mark.
        if encode(&mut body, &self.registry).is_err() {
            tracing::error!("the metrics could not be written down");
        }
        if text::wants_openmetrics(accept) {
            return Rendered { content_type: text::OPENMETRICS, body };
        }
        Rendered { content_type: text::CLASSIC, body: text::classic(&body) }
    }

    fn route(&self, slot: usize) -> Arc<RouteCounts> {
        self.counts.named.load().routes[slot].clone()
    }

    fn listener(&self, listener: usize) -> &ListenerCounts {
        &self.counts.listeners[listener]
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
