//! The gateway as a whole: its sockets, its threads, and what they share.
//!
//! Each worker is a thread with a runtime and listening sockets of its own: a connection never changes its thread. One
//! more thread does what is no traffic: the admin's pages and the drain.

mod bind;
pub mod lag;
mod sources;
pub mod turns;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing_appender::non_blocking::WorkerGuard;

use crate::access_log::{AccessLog, Format};
use crate::admin::{self, AdminState, Guard};
use crate::books::Books;
use crate::deny::Deny;
use crate::drain;
use crate::keyset::Keysets;
use crate::leases;
use crate::listener;
use crate::load::Loaded;
use crate::metrics::{Metrics, Sources, Traffic};
use crate::now::Clock;
use crate::policy::Policy;
use crate::policy::cap::{KeyedCap, KeyedPermit};
use crate::policy::key::Key;
use crate::policy::overload::Pace;
use crate::revocation_file::RevocationFile;
use crate::session::buffered::Buffered;
use crate::session::live::{Live, Registry};
use crate::store::Redis;
use bind::{bind, named};
use lag::Lag;
use turns::Turns;

/// The operator's listener, before there is a thread for it.
struct Desk {
    socket: StdListener,
    guard: Guard,
    file: Option<RevocationFile>,
}

/// How far the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// What several gateways count together; none where each counts for itself.
    pub redis: Option<Redis>,
    /// Places for handshakes under way.
    pub handshakes: Arc<Semaphore>,
    /// How many places there are.
    pub handshake_places: usize,
    /// Handshakes under way by address.
    pub handshakes_per_ip: Arc<KeyedCap>,
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
        self.handshakes_per_ip.take(Key::of_ip(peer)).map(Some)
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

/// One thread's share of the gateway.
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What all have.
    pub shared: Arc<Shared>,
    /// Its own counters, by route.
    pub traffic: Vec<Arc<Traffic>>,
    /// For the costly step of each handshake.
    pub turns: Turns,
}

impl Worker {
    /// Whether it keeps up with its work.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.shared.lags[self.index].pace(self.shared.max_lag)
    }
}

/// A gateway that runs.
pub struct Gateway {
    /// Where clients connect, in the order of the file.
    pub addresses: Vec<SocketAddr>,
    /// Where the operator looks.
    pub admin_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    log: WorkerGuard,
}

impl Gateway {
    /// Binds, and lets clients in. The access log goes to `log`.
    ///
    /// # Errors
    /// An address that can't be bound, named; a thread that can't be made.
    pub fn start(
        mut loaded: Loaded,
        clock: Clock,
        format: Format,
        log: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let workers = loaded.workers();
        let mut sockets = Vec::new();
        for (index, listen) in loaded.listen.iter().enumerate() {
            sockets.push(bind(listen.address, workers).map_err(named(&format!("listen[{index}]"), listen.address))?);
        }
        let admin = match loaded.admin {
            Some(address) => Some(bind(address, 1).map_err(named("admin", address))?.remove(0)),
            None => None,
        };
        let kept = match &loaded.revocation_file {
            Some(path) => Some(RevocationFile::open(path.clone(), &loaded.policy.revocations, clock.now().wall)?),
            None => None,
        };
        let addresses = sockets.iter().map(|set| set[0].local_addr()).collect::<io::Result<Vec<_>>>()?;
        let admin_address = admin.as_ref().map(StdListener::local_addr).transpose()?;
        let (access_log, guard) = AccessLog::new(format, log);
        let drain_timeout = loaded.drain_timeout;
        let token = loaded.admin_token.take();
        let shared = Arc::new(share(loaded, clock, access_log, &addresses, workers));
        let mut gateway = Self { addresses, admin_address, shared, threads: Vec::new(), log: guard };
        let admin = admin.zip(admin_address).map(|(socket, address)| {
            let guard = Guard::new(token, address.ip());
            Desk { socket, guard, file: kept }
        });
        let started = gateway.spawn_all(sockets, workers, admin, drain_timeout);
        if started.is_err() {
            gateway.stop();
        }
        started.map(|()| gateway)
    }

    fn spawn_all(
        &mut self,
        mut sockets: Vec<Vec<StdListener>>,
        workers: usize,
        admin: Option<Desk>,
        drain_timeout: Duration,
    ) -> io::Result<()> {
        // First, since the workers let clients in, and clients take descriptors.
        let shared = self.shared.clone();
        self.spawn("admin", move |runtime| keep_house(&runtime, &shared, admin, drain_timeout))?;
        for index in 0..workers {
            let mine = sockets.iter_mut().map(|set| set.remove(0)).collect();
            let shared = self.shared.clone();
            self.spawn(&format!("worker-{index}"), move |runtime| work(&runtime, shared, index, mine))?;
        }
        Ok(())
    }

    /// Returns once the thread has its runtime, or says why it has none.
    fn spawn(&mut self, name: &str, run: impl FnOnce(LocalRuntime) + Send + 'static) -> io::Result<()> {
        let (told, built) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let error = runtime.as_ref().err().map(|error| io::Error::new(error.kind(), error.to_string()));
            // Who started the thread waits for this.
            let _ = told.send(error);
            if let Ok(runtime) = runtime {
                run(runtime);
            }
        })?;
        self.threads.push(thread);
        match built.recv() {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(io::Error::other(format!("the thread {name} failed"))),
        }
    }

    /// What its threads share, for whoever wants to look.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Lets nobody in any more and closes the sessions, spread over the drain time. Returns at once.
    pub fn drain(&self) {
        self.advance(Phase::Draining);
    }

    /// Cuts whatever is left. Returns at once.
    pub fn stop(&self) {
        self.advance(Phase::Stopped);
    }

    /// Waits until everything has ended and is written down.
    ///
    /// # Errors
    /// A thread of the gateway panicked.
    pub fn join(self) -> io::Result<()> {
        let failed = self.threads.into_iter().filter_map(|thread| thread.join().err()).count();
        drop(self.log);
        if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} threads of the gateway failed"))) }
    }

    fn advance(&self, to: Phase) {
        self.shared.phase.send_if_modified(|phase| {
            let forward = (*phase as u8) < to as u8;
            if forward {
                *phase = to;
            }
            forward
        });
    }
}

fn share(loaded: Loaded, clock: Clock, log: AccessLog, addresses: &[SocketAddr], workers: usize) -> Shared {
    let policy = Arc::new(loaded.policy);
    let handshakes = Arc::new(Semaphore::new(loaded.handshakes_in_flight));
    let names: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let routes: Vec<Arc<str>> = policy.routes.iter().map(|route| route.name.clone()).collect();
    let keysets = Arc::new(Keysets::new(&policy.key_sets, &loaded.keyset_tls, loaded.handshakes_in_flight));
    let redis = loaded.redis.map(|settings| Redis::new(settings, clock.clone()));
    let buffered = Buffered::new(loaded.max_buffered);
    let lags: Arc<[Lag]> = (0..workers).map(|_| Lag::default()).collect();
    let sources = Sources {
        buffered: sources::buffered(&buffered),
        worker_lags: sources::worker_lags(&lags),
        ..sources::of(&policy, &keysets, &clock, &handshakes, loaded.handshakes_in_flight, &log, redis.as_ref())
    };
    let listeners = loaded.listen.into_iter().zip(&names);
    Shared {
        listeners: listeners
            .map(|(listen, name)| Listening {
                name: name.as_str().into(),
                handshake_timeout: listen.handshake_timeout,
                tls: listen.tls.map(TlsAcceptor::from),
            })
            .collect(),
        books: Arc::new(Books {
            metrics: Metrics::new(&routes, workers, &names, clock.now(), sources),
            clock,
            log,
            sessions: Registry::new(workers),
            buffered,
        }),
        upstream_tls: loaded.upstream_tls.into_iter().map(|tls| tls.map(TlsConnector::from)).collect(),
        keysets,
        redis,
        handshakes,
        handshake_places: loaded.handshakes_in_flight,
        handshakes_per_ip: KeyedCap::new(loaded.handshakes_in_flight_per_ip),
        max_head: loaded.max_head,
        lags,
        max_lag: loaded.max_lag,
        phase: watch::Sender::new(Phase::Running),
        policy,
    }
}

/// A worker's life.
fn work(runtime: &LocalRuntime, shared: Arc<Shared>, index: usize, sockets: Vec<StdListener>) {
    let traffic = (0..shared.policy.routes.len()).map(|route| shared.books.metrics.traffic(index, route)).collect();
    let mut phase = shared.phase.subscribe();
    let worker = Rc::new(Worker { index, shared, traffic, turns: Turns::default() });
    runtime.block_on(async move {
        let watched = worker.shared.clone();
        tokio::task::spawn_local(async move { watched.lags[index].watch(&watched.books.clock).await });
        for (listener, socket) in sockets.into_iter().enumerate() {
            match TcpListener::from_std(socket) {
                Ok(socket) => drop(tokio::task::spawn_local(listener::run(worker.clone(), socket, listener))),
                Err(error) => tracing::error!(listener, %error, "a listener can't be watched"),
            }
        }
        // The sender lives in `shared`.
        let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
    });
}

/// The other thread's life: the admin's pages and the key sets until the drain is over.
fn keep_house(runtime: &LocalRuntime, shared: &Arc<Shared>, admin: Option<Desk>, drain_timeout: Duration) {
    runtime.block_on(async {
        for task in shared.keysets.tasks(&shared.books.clock) {
            tokio::task::spawn_local(task);
        }
        if let Some(redis) = shared.redis.clone() {
            tokio::task::spawn_local(leases::run(
                shared.policy.wishes.clone(),
                redis.clone(),
                shared.books.clock.clone(),
            ));
            tokio::task::spawn_local(redis.run(Box::new(|_| {})));
        }
        if let Some(Desk { socket, guard, file }) = admin {
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let looked_at = shared.clone();
                    let state = AdminState {
                        books: shared.books.clone(),
                        ready: Box::new(move || is_ready(&looked_at)),
                        guard,
                        revocations: shared.policy.revocations.clone(),
                        file,
                    };
                    tokio::task::spawn_local(admin::serve(socket, Arc::new(state), shared.phase.subscribe()));
                }
                Err(error) => tracing::error!(%error, "the admin listener can't be watched"),
            }
        }
        let mut phase = shared.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
        tokio::select! {
            () = drain::run(shared, drain_timeout) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
        shared.phase.send_replace(Phase::Stopped);
        if let Some(redis) = &shared.redis {
            redis.leave().await;
        }
    });
}

/// Whether new sessions are taken, of every issuer; if not, why.
fn is_ready(shared: &Shared) -> Result<(), String> {
    if shared.is_draining() {
        return Err("draining".to_owned());
    }
    let missing = shared.keysets.missing(&shared.books.clock);
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}
