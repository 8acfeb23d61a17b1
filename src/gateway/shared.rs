//! What all threads of a gateway share for as long as it runs, and how it is made of what was loaded. What a config makes is
//! in the [`Edition`].

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::carrying::Carrying;
use super::edition::Edition;
use super::lag::Lag;
use super::phase::Phase;
use super::sources;
use crate::access_log::AccessLog;
use crate::books::Books;
use crate::books::recent::Recent;
use crate::deny::Deny;
use crate::drain::Drain;
use crate::handover::Offer;
use crate::id::Ids;
use crate::load::Loaded;
use crate::metrics::{Metrics, ReloadCounts, Sources};
use crate::now::Clock;
use crate::policy::cap::{KeyedCap, KeyedPermit};
use crate::policy::key::Key;
use crate::pool::Pools;
use crate::reload::Reloads;
use crate::revocation_file::RevocationFile;
use crate::revoking::Revoking;
use crate::session::buffered::Buffered;
use crate::session::live::{Live, Registry};
use crate::spans::Spans;
use crate::store::Redis;

/// What all threads share.
pub struct Shared {
    edition: Arc<ArcSwap<Edition>>,
    /// Where a new config is asked for.
    pub reloads: Reloads,
    /// Clock, counters, log, live sessions.
    pub books: Arc<Books>,
    /// The upstreams, by name.
    pub pools: Arc<Pools>,
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
    /// Connections that carry ordinary requests.
    pub carrying: Arc<Carrying>,
    /// How far each worker is behind.
    pub lags: Arc<[Lag]>,
    /// How far the gateway is.
    pub phase: watch::Sender<Phase>,
    /// How it ends, once it does.
    pub drain: Drain,
    /// What it listens on, to be handed over; empty once nobody is accepted any more, or the sockets would stay open.
    listening: Mutex<Vec<Offer>>,
}

impl Shared {
    /// The config that is obeyed now. Whoever needs it for more than one question keeps what it was given here.
    #[must_use]
    pub fn edition(&self) -> Arc<Edition> {
        self.edition.load_full()
    }

    /// Has another one obeyed by all who come from now on.
    pub(crate) fn publish(&self, edition: Edition) {
        self.edition.store(Arc::new(edition));
    }

    /// Whether no client is let in any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        !self.phase.borrow().lets_in()
    }

    /// Has the gateway leave: its sessions are told to go, over `window` if that is given and it was not leaving yet.
    pub fn leave(&self, window: Option<Duration>) {
        let edition = self.edition();
        self.drain.plan_for(window, edition.drain_delay, &edition, self.books.clock.mono());
        self.advance(if edition.drain_delay.is_zero() { Phase::Draining } else { Phase::Leaving });
    }

    /// Leaves the listening sockets to another process, and drains.
    pub fn hand_over(&self) {
        self.drain.plan_for(None, Duration::ZERO, &self.edition(), self.books.clock.mono());
        self.advance(Phase::HandedOver);
    }

    /// Notes what is listened on.
    pub(super) fn listen_on(&self, offers: Vec<Offer>) {
        *self.listening.lock() = offers;
    }

    /// What is listened on, for another process.
    ///
    /// # Errors
    /// No descriptors.
    pub fn listening(&self) -> io::Result<Vec<Offer>> {
        self.listening.lock().iter().map(Offer::try_clone).collect()
    }

    /// Goes on to a later phase; an earlier one stays where it is.
    pub fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let forward = *phase < to;
            if forward {
                *phase = to;
            }
            forward
        });
        if !to.accepts() {
            self.listening.lock().clear();
        }
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
    let hash = if loaded.source.is_some() { loaded.seen.fingerprint() } else { String::new() };
    let reloads = Arc::new(ReloadCounts::new(hash, clock.now()));
    let handshakes = Arc::new(Semaphore::new(places));
    let redis = loaded.redis.take().map(|settings| Redis::new(settings, clock.clone()));
    let shared_revocations = redis.clone().filter(|_| loaded.revocations_shared).map(|redis| (redis, Arc::default()));
    let buffered = Buffered::new(loaded.max_buffered);
    let spans = Spans::new(loaded.spans.take());
    let lags: Arc<[Lag]> = (0..workers).map(|_| Lag::default()).collect();
    let (roll, revocations) = (loaded.policy.roll.clone(), loaded.policy.revocations.clone());
    let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let listeners: Vec<Arc<str>> = names.iter().map(|name| name.as_str().into()).collect();
    let pools = Arc::new(Pools::new(clock.clone(), loaded.resolver.clone()));
    let edition = Arc::new(ArcSwap::from_pointee(Edition::new(loaded, None, &listeners, &pools)));
    let carrying: Arc<Carrying> = Arc::default();
    let counted = carrying.clone();
    let sources = Sources {
        http_connections: Box::new(move || counted.used() as u64),
        buffered: sources::buffered(&buffered),
        worker_lags: sources::worker_lags(&lags),
        upstreams: sources::upstreams(&pools),
        shared_revocations: shared_revocations.as_ref().map(|(_, counts)| Arc::clone(counts)),
        redis: redis.as_ref().map(|redis| redis.counts().clone()),
        log_dropped: Box::new(log.dropped()),
        reloads: reloads.clone(),
        log_errors: Box::new(log.errors()),
        log_suppressed: Box::new(log.suppressed()),
        in_flight: sources::in_flight(&handshakes, places),
        spans: spans.counts().clone(),
        ..sources::of(&edition, &clock)
    };
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
        reloads: Reloads::new(reloads),
        pools,
        redis,
        handshakes,
        handshake_places: places,
        handshakes_per_ip: KeyedCap::new(&[]),
        carrying,
        lags,
        phase: watch::Sender::new(Phase::Running),
        drain: Drain::default(),
        listening: Mutex::default(),
    }
}
