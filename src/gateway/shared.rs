//! What all threads of a gateway share for as long as it runs, and how it is made of what was loaded. What a config makes is
//! in the [`Edition`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::edition::Edition;
use super::lag::Lag;
use super::sources;
use crate::access_log::AccessLog;
use crate::books::Books;
use crate::books::recent::Recent;
use crate::deny::Deny;
use crate::id::Ids;
use crate::load::Loaded;
use crate::metrics::{Metrics, Sources};
use crate::now::Clock;
use crate::policy::cap::{KeyedCap, KeyedPermit};
use crate::policy::key::Key;
use crate::revocation_file::RevocationFile;
use crate::revoking::Revoking;
use crate::session::buffered::Buffered;
use crate::session::live::{Live, Registry};
use crate::spans::Spans;
use crate::store::Redis;

/// How far the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Clients are let in.
    Running,
    /// No new ones; sessions are being closed.
    Draining,
    /// Whatever is left is cut.
    Stopped,
}

/// What all threads share.
pub struct Shared {
    edition: Arc<ArcSwap<Edition>>,
    /// Clock, counters, log, live sessions.
    pub books: Arc<Books>,
    /// Who is thrown out, and who else has to hear of it.
    pub revoking: Arc<Revoking>,
    /// What several gateways count together; none where each counts for itself.
    pub redis: Option<Redis>,
    /// Places for handshakes under way.
    pub handshakes: Arc<Semaphore>,
    /// How many places there are.
    pub handshake_places: usize,
    /// Handshakes under way by address.
    pub handshakes_per_ip: Arc<KeyedCap>,
    /// How far each worker is behind.
    pub lags: Arc<[Lag]>,
    /// How far the gateway is.
    pub phase: watch::Sender<Phase>,
}

impl Shared {
    /// The config that is obeyed now. Whoever needs it for more than one question keeps what it was given here.
    #[must_use]
    pub fn edition(&self) -> Arc<Edition> {
        self.edition.load_full()
    }

    /// Whether no client is let in any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// To be called of a session once it is listed, or has another token: a revocation ends those who are listed with its
    /// token, and one that came since that token was judged did not see this session.
    pub fn end_if_revoked(&self, live: &Live) {
        let wall = self.books.clock.now().wall;
        if live.holder.bearing(|bearer| self.revoking.list().check(bearer, wall).is_some()) {
            live.order(Deny::TokenRevoked);
        }
    }

    /// Handshakes under way now.
    #[must_use]
    pub fn handshakes_under_way(&self) -> usize {
        self.handshake_places.saturating_sub(self.handshakes.available_permits())
    }

    /// One address's share of the handshakes under way; a trusted proxy speaks for many and has no bound of its own.
    #[must_use]
    pub fn handshake_share(&self, edition: &Edition, peer: IpAddr) -> Option<Option<KeyedPermit>> {
        if edition.policy.is_trusted_proxy(peer) {
            return Some(None);
        }
        let taken = self.handshakes_per_ip.take(Key::of_ip(peer), &edition.handshakes_of_ip, None)?;
        Some(Some(taken.permit))
    }

    /// A place for a handshake that gave its own away, if one is free.
    #[must_use]
    pub fn another_place(&self, edition: &Edition, peer: IpAddr) -> Option<Place> {
        let place = self.handshakes.clone().try_acquire_owned().ok()?;
        Some(Place::new(place, self.handshake_share(edition, peer)?))
    }
}

/// What a handshake holds while it is under way: one place among all, and a share of its address's.
pub struct Place {
    _place: OwnedSemaphorePermit,
    _share: Option<KeyedPermit>,
}

impl Place {
    /// Holds both until it drops.
    #[must_use]
    pub fn new(place: OwnedSemaphorePermit, share: Option<KeyedPermit>) -> Self {
        Self { _place: place, _share: share }
    }

    /// Holds another address's share, for it was a proxy that the place was taken for.
    pub fn hold(&mut self, share: Option<KeyedPermit>) {
        self._share = share;
    }
}

/// All of it, before the first thread.
pub(super) fn share(
    mut loaded: Loaded,
    clock: Clock,
    log: AccessLog,
    kept: Option<RevocationFile>,
    addresses: &[SocketAddr],
    workers: usize,
) -> Shared {
    let places = loaded.handshakes_in_flight;
    let handshakes = Arc::new(Semaphore::new(places));
    let redis = loaded.redis.take().map(|settings| Redis::new(settings, clock.clone()));
    let shared_revocations = redis.clone().filter(|_| loaded.revocations_shared).map(|redis| (redis, Arc::default()));
    let buffered = Buffered::new(loaded.max_buffered);
    let loaded_spans = loaded.spans.take();
    let lags: Arc<[Lag]> = (0..workers).map(|_| Lag::default()).collect();
    let (roll, revocations) = (loaded.policy.roll.clone(), loaded.policy.revocations.clone());
    let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let listeners: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
    let edition = Arc::new(ArcSwap::from_pointee(Edition::new(loaded, &listeners)));
    let sources = Sources {
        buffered: sources::buffered(&buffered),
        worker_lags: sources::worker_lags(&lags),
        shared_revocations: shared_revocations.as_ref().map(|(_, counts)| Arc::clone(counts)),
        redis: redis.as_ref().map(|redis| redis.counts().clone()),
        log_dropped: Box::new(log.dropped()),
        log_errors: Box::new(log.errors()),
        log_suppressed: Box::new(log.suppressed()),
        in_flight: sources::in_flight(&handshakes, places),
        ..sources::of(&edition, &clock)
    };
    let spans = loaded_spans.map(Spans::new);
    let sources = Sources { spans: spans.as_ref().map(|spans| spans.counts().clone()), ..sources };
    let metrics = Metrics::new(&roll, workers, &names, clock.now(), sources);
    let books = Arc::new(Books {
        metrics,
        clock,
        log,
        ids: Ids::default(),
        sessions: Registry::new(workers),
        spans,
        buffered,
        recent: Recent::default(),
    });
    Shared {
        edition,
        revoking: Arc::new(Revoking::new(books.clone(), revocations, kept, shared_revocations)),
        books,
        redis,
        handshakes,
        handshake_places: places,
        handshakes_per_ip: KeyedCap::new(&[]),
        lags,
        phase: watch::Sender::new(Phase::Running),
    }
}
