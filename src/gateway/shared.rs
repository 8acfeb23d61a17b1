//! What all threads of a gateway share, and how it is made of what was loaded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::lag::Lag;
use super::sources;
use crate::access_log::AccessLog;
use crate::books::Books;
use crate::deny::Deny;
use crate::id::Ids;
use crate::keyset::Keysets;
use crate::load::Loaded;
use crate::metrics::{Metrics, Sources};
use crate::now::Clock;
use crate::policy::Policy;
use crate::policy::cap::keyed::{Bound, Full};
use crate::policy::cap::{KeyedCap, KeyedPermit};
use crate::policy::key::Key;
use crate::revocation_file::RevocationFile;
use crate::revoking::Revoking;
use crate::session::buffered::Buffered;
use crate::session::live::{Live, Registry};
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

/// One listener, as its connections need it.
pub struct Listening {
    /// Its address, as in logs and metrics.
    pub name: Arc<str>,
    /// For TLS and the head together.
    pub handshake_timeout: Duration,
    /// Present: it speaks TLS.
    pub tls: Option<TlsAcceptor>,
}

/// What all threads share.
pub struct Shared {
    /// What decides.
    pub policy: Arc<Policy>,
    /// Clock, counters, log, live sessions.
    pub books: Arc<Books>,
    /// In the order of the file.
    pub listeners: Vec<Listening>,
    /// By route.
    pub upstream_tls: Vec<Option<TlsConnector>>,
    /// The key sets that are fetched.
    pub keysets: Arc<Keysets>,
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
    /// How many one address may have.
    pub handshakes_of_ip: Bound,
    /// Bytes of a request's or an answer's head.
    pub max_head: usize,
    /// How far each worker is behind.
    pub lags: Arc<[Lag]>,
    /// How far, in milliseconds, it may be.
    pub max_lag: u64,
    /// How far the gateway is.
    pub phase: watch::Sender<Phase>,
}

impl Shared {
    /// Whether no client is let in any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// To be called of a session once it is listed, or has another token: a revocation ends those who are listed with its
    /// token, and one that came since that token was judged did not see this session.
    pub fn end_if_revoked(&self, live: &Live) {
        let wall = self.books.clock.now().wall;
        if live.holder.bearing(|bearer| self.policy.revocations.check(bearer, wall).is_some()) {
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
    pub fn handshake_share(&self, peer: IpAddr) -> Option<Option<KeyedPermit>> {
        if self.policy.is_trusted_proxy(peer) {
            return Some(None);
        }
        let taken = self.handshakes_per_ip.take(Key::of_ip(peer), &self.handshakes_of_ip, None)?;
        Some(Some(taken.permit))
    }

    /// A place for a handshake that gave its own away, if one is free.
    #[must_use]
    pub fn another_place(&self, peer: IpAddr) -> Option<Place> {
        let place = self.handshakes.clone().try_acquire_owned().ok()?;
        Some(Place::new(place, self.handshake_share(peer)?))
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
}

/// All of it, before the first thread.
pub(super) fn share(
    loaded: Loaded,
    clock: Clock,
    log: AccessLog,
    kept: Option<RevocationFile>,
    addresses: &[SocketAddr],
    workers: usize,
) -> Shared {
    let policy = Arc::new(loaded.policy);
    let handshakes = Arc::new(Semaphore::new(loaded.handshakes_in_flight));
    let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let routes: Vec<Arc<str>> = policy.routes.iter().map(|route| route.name.clone()).collect();
    let keysets = Arc::new(Keysets::new(&policy.key_sets, &loaded.keyset_tls, loaded.handshakes_in_flight));
    let redis = loaded.redis.map(|settings| Redis::new(settings, clock.clone()));
    let shared_revocations = redis.clone().filter(|_| loaded.revocations_shared).map(|redis| (redis, Arc::default()));
    let buffered = Buffered::new(loaded.max_buffered);
    let lags: Arc<[Lag]> = (0..workers).map(|_| Lag::default()).collect();
    let sources = Sources {
        buffered: sources::buffered(&buffered),
        worker_lags: sources::worker_lags(&lags),
        shared_revocations: shared_revocations.as_ref().map(|(_, counts)| Arc::clone(counts)),
        ..sources::of(&policy, &keysets, &clock, &handshakes, loaded.handshakes_in_flight, &log, redis.as_ref())
    };
    let listeners = loaded.listen.into_iter().zip(&names);
    let metrics = Metrics::new(&routes, workers, &names, clock.now(), sources);
    let books =
        Arc::new(Books { metrics, clock, log, ids: Ids::default(), sessions: Registry::new(workers), buffered });
    Shared {
        listeners: listeners
            .map(|(listen, name)| Listening {
                name: name.as_str().into(),
                handshake_timeout: listen.handshake_timeout,
                tls: listen.tls.map(TlsAcceptor::from),
            })
            .collect(),
        revoking: Arc::new(Revoking::new(books.clone(), policy.revocations.clone(), kept, shared_revocations)),
        books,
        upstream_tls: loaded.upstream_tls.into_iter().map(|tls| tls.map(TlsConnector::from)).collect(),
        keysets,
        redis,
        handshakes,
        handshake_places: loaded.handshakes_in_flight,
        handshakes_per_ip: KeyedCap::new(&[]),
        handshakes_of_ip: Bound { max: loaded.handshakes_in_flight_per_ip, full: Full::Refuse, mark: None },
        max_head: loaded.max_head,
        lags,
        max_lag: loaded.max_lag,
        phase: watch::Sender::new(Phase::Running),
        policy,
    }
}
