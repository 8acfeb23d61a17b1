//! The counts behind the metrics, in arrays: what happens at a handshake or an end is an index, never a look-up by text.
//!
//! A config that is read again brings new names. Their places are given by a [`Roll`], and the arrays are published anew with
//! the same counts in them, so that whoever holds one goes on counting in it.

use std::array;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde::Serialize;

use super::example::Histogram;
use super::redis::RedisCounts;
use super::reloads::ReloadCounts;
use super::requests::RequestCounts;
use super::revocations::RevocationCounts;
use super::spans::SpanCounts;
use super::traffic::Traffic;
use super::upstreams::UpstreamFill;
use crate::deny::{Deny, Direction, Side};
use crate::policy::limit::{Action, LimitInfo, Pace};
use crate::policy::roll::Roll;

/// The label of a handshake that ended before its route was known.
pub(super) const NO_ROUTE: &str = "none";

/// Seconds. An admission takes well under a millisecond, a slow upstream up to its timeouts.
const HANDSHAKE_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Seconds, from one to a week: sockets live long.
const SESSION_SECONDS: [f64; 12] =
    [1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0, 345_600.0, 604_800.0];

const SESSION_MESSAGES: [f64; 8] = [0.0, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// A count that every thread may add to: for what happens once a connection, not once a message.
#[derive(Debug, Default)]
pub(super) struct Shared(pub(super) AtomicU64);

impl Shared {
    pub(super) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One count for the good end and one for each reason.
#[derive(Debug)]
pub(super) struct Tally([Shared; 1 + Deny::ALL.len()]);

impl Tally {
    pub(super) fn new() -> Self {
        Self(array::from_fn(|_| Shared::default()))
    }

    pub(super) fn up(&self, reason: Option<Deny>) {
        self.0[reason.map_or(0, |deny| 1 + deny.index())].up();
    }

    /// The count of one; none is the good end.
    pub(super) fn of(&self, reason: Option<Deny>) -> u64 {
        self.0[reason.map_or(0, |deny| 1 + deny.index())].get()
    }

    /// Every reason with its count; none is the good end.
    pub(super) fn results(&self) -> impl Iterator<Item = (Option<Deny>, u64)> {
        let reasons = std::iter::once(None).chain(Deny::ALL.iter().copied().map(Some));
        reasons.zip(self.0.iter().map(Shared::get))
    }
}

/// What is counted once a handshake or once a session, by route.
pub(super) struct RouteCounts {
    pub(super) name: Arc<str>,
    pub(super) handshakes: Tally,
    pub(super) handshake_seconds: Histogram,
    pub(super) ended: [Tally; Side::ALL.len()],
    pub(super) session_seconds: Histogram,
    pub(super) session_messages: [Histogram; Direction::ALL.len()],
    pub(super) expired: Shared,
    pub(super) renewals: Tally,
    pub(super) requests: RequestCounts,
}

impl RouteCounts {
    fn new(name: &Arc<str>) -> Self {
        Self {
            name: name.clone(),
            handshakes: Tally::new(),
            handshake_seconds: Histogram::new(HANDSHAKE_SECONDS.into_iter()),
            ended: array::from_fn(|_| Tally::new()),
            session_seconds: Histogram::new(SESSION_SECONDS.into_iter()),
            session_messages: array::from_fn(|_| Histogram::new(SESSION_MESSAGES.into_iter())),
            expired: Shared::default(),
            renewals: Tally::new(),
            requests: RequestCounts::new(),
        }
    }
}

/// What is counted at a listener.
#[derive(Debug, Default)]
pub(super) struct ListenerCounts {
    pub(super) name: String,
    pub(super) accepted: Shared,
    pub(super) errors: Shared,
    pub(super) shed: Shared,
}

/// What exceeded one limit of one route.
#[derive(Debug)]
pub struct LimitCounts {
    /// Which.
    pub info: LimitInfo,
    by_action: [Shared; Action::ALL.len()],
    /// How often the log may name it.
    pub pace: Pace,
}

impl LimitCounts {
    fn new(info: &LimitInfo) -> Self {
        Self { info: info.clone(), by_action: Default::default(), pace: Pace::default() }
    }

    pub(super) fn add(&self, action: Action, count: u64) {
        self.by_action[action.index()].add(count);
    }

    pub(super) fn of(&self, action: Action) -> u64 {
        self.by_action[action.index()].get()
    }
}

/// How full a zone is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZoneFill {
    /// The zone's name.
    pub zone: Box<str>,
    /// Keys it remembers now.
    pub entries: u64,
    /// Keys it can remember.
    pub capacity: u64,
    /// How often it was full of live keys, ever.
    pub full: u64,
}

/// How full a cap is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CapFill {
    /// `total`, `route`, `ip`, `subject` or `zone`.
    pub scope: &'static str,
    /// The route; none for the cap over all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Box<str>>,
    /// The zone whose keys it counts by; none for a cap of the route's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<Box<str>>,
    /// Places taken, by all keys.
    pub used: u64,
    /// Places, of a cap by key for each key; none where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether it is near its limit, or one of its keys is.
    pub warned: bool,
    /// None of a cap that counts all together.
    #[serde(flatten)]
    pub keys: Option<KeysFill>,
}

/// The keys of a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KeysFill {
    /// Keys that hold a place.
    pub keys: u64,
    /// Keys that hold so many that a warning is due, or more.
    pub keys_near_limit: u64,
}

impl CapFill {
    /// Scope, route and zone.
    pub(super) fn labels(&self) -> [&str; 3] {
        [self.scope, self.route.as_deref().unwrap_or_default(), self.zone.as_deref().unwrap_or_default()]
    }
}

/// When a listener's certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateEnd {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The certificate's file.
    pub certificate: String,
    /// Seconds since 1970.
    pub not_after: u64,
}

/// How a published key set stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySetFill {
    /// The name of its `[jwt.NAME]`.
    pub jwt: Arc<str>,
    /// Milliseconds since it was fetched; none if it never was.
    pub age_ms: Option<u64>,
    /// Keys that can check a token.
    pub keys: u64,
    /// Fetches that gave one, ever.
    pub fetched: u64,
    /// Fetches that failed, ever.
    pub failed: u64,
    /// Tokens that named a key which was not in it, ever.
    pub unknown_kids: u64,
}

/// What is not counted here but asked for at each scrape. Called on the admin's thread; it may take a lock, not wait.
pub struct Sources {
    /// Every zone.
    pub zones: Box<dyn Fn() -> Vec<ZoneFill> + Send + Sync>,
    /// The cap over all routes, and each route's.
    pub caps: Box<dyn Fn() -> Vec<CapFill> + Send + Sync>,
    /// Every published key set.
    pub key_sets: Box<dyn Fn() -> Vec<KeySetFill> + Send + Sync>,
    /// Handshakes under way.
    pub in_flight: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Connections that carry ordinary requests.
    pub http_connections: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Revocations that count now, and how many there may be.
    pub revocations: Box<dyn Fn() -> (u64, u64) + Send + Sync>,
    /// Bytes that sessions keep for receivers, and how many they may.
    pub buffered: Box<dyn Fn() -> (u64, u64) + Send + Sync>,
    /// How late each worker came to its last tick, in milliseconds.
    pub worker_lags: Box<dyn Fn() -> Vec<u64> + Send + Sync>,
    /// What is counted of the list of revocations that several gateways share; none where each has its own.
    pub shared_revocations: Option<Arc<RevocationCounts>>,
    /// What is counted of the store that several gateways share; none where there is none.
    pub redis: Option<Arc<RedisCounts>>,
    /// Every certificate of a listener.
    pub certificates: Box<dyn Fn() -> Vec<CertificateEnd> + Send + Sync>,
    /// What is counted of new configs.
    pub reloads: Arc<ReloadCounts>,
    /// How the upstreams stand.
    pub upstreams: Box<dyn Fn() -> Vec<UpstreamFill> + Send + Sync>,
    /// What is counted of the spans that go to a collector.
    pub spans: Arc<SpanCounts>,
    /// Lines that the access log dropped, ever.
    pub log_dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Lines that a place of the access log did not take, ever.
    pub log_errors: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Refusals that the access log left out, ever, by reason.
    pub log_suppressed: Box<dyn Fn() -> Vec<(Deny, u64)> + Send + Sync>,
}

impl Default for Sources {
    /// No zones, no caps, no key sets, no workers, nothing under way, nothing kept, nothing dropped.
    fn default() -> Self {
        Self {
            zones: Box::new(Vec::new),
            caps: Box::new(Vec::new),
            key_sets: Box::new(Vec::new),
            in_flight: Box::new(|| 0),
            http_connections: Box::new(|| 0),
            revocations: Box::new(|| (0, 0)),
            buffered: Box::new(|| (0, 0)),
            worker_lags: Box::new(Vec::new),
            shared_revocations: None,
            redis: None,
            certificates: Box::new(Vec::new),
            reloads: Arc::default(),
            upstreams: Box::new(Vec::new),
            spans: Arc::default(),
            log_dropped: Box::new(|| 0),
            log_errors: Box::new(|| 0),
            log_suppressed: Box::new(Vec::new),
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// The counts of all names that had a place in a [`Roll`] so far. It only grows, by being published anew.
#[derive(Default)]
pub(super) struct Named {
    pub(super) routes: Vec<Arc<RouteCounts>>,
    /// By worker, then by route.
    pub(super) traffic: Vec<Vec<Arc<Traffic>>>,
    pub(super) limits: Vec<Arc<LimitCounts>>,
}

impl Named {
    /// The same counts, and some at zero for the names that are new in `roll`.
    fn grown(&self, roll: &Roll, workers: usize) -> Self {
        fn grow<T, N>(known: &[Arc<T>], names: &[N], new: impl Fn(&N) -> T) -> Vec<Arc<T>> {
            let fresh = names.iter().skip(known.len()).map(|name| Arc::new(new(name)));
            known.iter().cloned().chain(fresh).collect()
        }
        let traffic = |worker| {
            let known = self.traffic.get(worker).map_or(&[][..], Vec::as_slice);
            grow(known, &roll.routes, |_| Traffic::default())
        };
        Self {
            routes: grow(&self.routes, &roll.routes, RouteCounts::new),
            traffic: (0..workers).map(traffic).collect(),
            limits: grow(&self.limits, &roll.limits, LimitCounts::new),
        }
    }

    /// For each route, its traffic on all workers.
    pub(super) fn traffic_by_route(&self) -> impl Iterator<Item = impl Iterator<Item = &Arc<Traffic>> + Clone> {
        (0..self.routes.len()).map(move |route| self.traffic.iter().map(move |worker| &worker[route]))
    }
}

/// All of it.
pub(super) struct Counts {
    pub(super) named: ArcSwap<Named>,
    workers: usize,
    pub(super) unrouted: Tally,
    pub(super) listeners: Vec<ListenerCounts>,
    pub(super) cap_warnings: Shared,
    pub(super) revocation_file_errors: Shared,
    pub(super) upgrade_failures: Shared,
    pub(super) sources: Sources,
    pub(super) started_wall_ms: u64,
}

impl Counts {
    pub(super) fn new(
        roll: &Roll,
        workers: usize,
        listeners: &[String],
        sources: Sources,
        started_wall_ms: u64,
    ) -> Self {
        let listener = |name: &String| ListenerCounts { name: name.clone(), ..Default::default() };
        Self {
            named: ArcSwap::from_pointee(Named::default().grown(roll, workers)),
            workers,
            unrouted: Tally::new(),
            listeners: listeners.iter().map(listener).collect(),
            cap_warnings: Shared::default(),
            revocation_file_errors: Shared::default(),
            upgrade_failures: Shared::default(),
            sources,
            started_wall_ms,
        }
    }

    /// Makes room for names that are new.
    pub(super) fn grow(&self, roll: &Roll) {
        self.named.rcu(|known| known.grown(roll, self.workers));
    }
}
