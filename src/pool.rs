//! Upstreams at work: which servers there are now, who has how many sessions, who waits for one.
//!
//! What is decided here is decided by [`crate::policy::pool`], under one short lock for each upstream. A pool is found by its
//! name and outlives a reload, with all that is known of its servers.

mod check;
pub mod drain;
pub mod keep;
mod queue;
pub mod reach;
mod server;
mod tell;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsConnector;

use crate::metrics::{ServerFill, UpstreamFill};
use crate::now::Clock;
use crate::policy::key::Key;
use crate::policy::pool::settings::{Found, Upstream};
use crate::policy::pool::{self as decide, Id, Nobody, State};
use keep::Resolver;

pub use queue::{Turn, Waiting};
pub use server::{Lease, Server, Terms, Trial};

/// Every upstream, by its name.
pub struct Pools {
    by_name: Mutex<BTreeMap<Arc<str>, Arc<Pool>>>,
    clock: Clock,
    resolver: Resolver,
    /// Who keeps them is told that there may be others.
    changed: Notify,
}

impl Pools {
    /// None yet. Their names will be looked up by `resolver`.
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver) -> Self {
        Self { by_name: Mutex::default(), clock, resolver, changed: Notify::new() }
    }

    /// Takes over what a config says, each with its TLS: the pools in that order. One that was there under the same name keeps
    /// what is known of the servers that stay; one that is not there any more is forgotten once its last session is over.
    pub fn take_over(&self, upstreams: &[(Arc<Upstream>, Option<TlsConnector>)]) -> Vec<Arc<Pool>> {
        let mut by_name = self.by_name.lock();
        let mut kept = BTreeMap::new();
        let mut all = Vec::with_capacity(upstreams.len());
        for (upstream, tls) in upstreams {
            // Also one that was not named for a while.
            let pool = match by_name.remove(&upstream.name) {
                Some(pool) => pool,
                None => Pool::new(upstream.clone(), self.clock.clone()),
            };
            pool.take_over(upstream.clone(), tls.clone());
            kept.insert(upstream.name.clone(), pool.clone());
            all.push(pool);
        }
        for (name, pool) in std::mem::take(&mut *by_name) {
            pool.retire();
            kept.insert(name, pool);
        }
        *by_name = kept;
        // One that is not being waited for is not lost.
        self.changed.notify_one();
        all
    }

    /// Has all names looked up and all servers checked at once.
    pub fn wake_all(&self) {
        for pool in self.all() {
            pool.changed.send_replace(());
        }
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Pool>> {
        let mut by_name = self.by_name.lock();
        // What nobody names any more is needed as long as a handshake may still lead there, or a session lives.
        by_name.retain(|_, pool| !pool.is_over() || Arc::strong_count(pool) > 1);
        by_name.values().cloned().collect()
    }
}

/// One upstream.
pub struct Pool {
    inner: Mutex<Inner>,
    clock: Clock,
    this: Weak<Pool>,
    panics: AtomicU64,
    lookup_failures: AtomicU64,
    /// Whether somebody keeps it.
    kept: AtomicBool,
    /// Who keeps it is told that it is another: both that look names up and that check.
    changed: watch::Sender<()>,
}

struct Inner {
    upstream: Arc<Upstream>,
    /// No config names it any more. Handshakes that began before may still come.
    retired: bool,
    tls: Option<TlsConnector>,
    state: decide::Pool,
    servers: HashMap<Id, Arc<Server>>,
    found: Found,
    waiting: VecDeque<queue::Waiter>,
    tickets: u64,
}

impl Pool {
    fn new(upstream: Arc<Upstream>, clock: Clock) -> Arc<Self> {
        let inner = Inner {
            upstream,
            retired: false,
            tls: None,
            state: decide::Pool::default(),
            servers: HashMap::new(),
            found: Found::new(),
            waiting: VecDeque::new(),
            tickets: 0,
        };
        Arc::new_cyclic(|this| Self {
            inner: Mutex::new(inner),
            clock,
            this: this.clone(),
            panics: AtomicU64::new(0),
            lookup_failures: AtomicU64::new(0),
            kept: AtomicBool::new(false),
            changed: watch::Sender::new(()),
        })
    }

    /// What it is told to do, as it is now.
    #[must_use]
    pub fn upstream(&self) -> Arc<Upstream> {
        self.inner.lock().upstream.clone()
    }

    /// The same, and with what TLS is spoken to its servers; none if it is to be spoken and can't be: never in the plain.
    fn terms(&self) -> Option<Terms> {
        let inner = self.inner.lock();
        Some(Terms { upstream: inner.upstream.clone(), tls: inner.tls.clone() }).filter(Terms::fit)
    }

    /// Its servers now, without those that are gone and have sessions still.
    #[must_use]
    pub fn present(&self) -> Vec<Arc<Server>> {
        let inner = self.inner.lock();
        if inner.retired {
            return Vec::new();
        }
        let now = self.clock.mono();
        let present = inner.state.members().iter().filter(|member| member.state(now) != State::Gone);
        present.filter_map(|member| inner.servers.get(&member.id).cloned()).collect()
    }

    /// The server of this address; of several, the one that is still there.
    fn server(&self, label: &str) -> Option<Arc<Server>> {
        let inner = self.inner.lock();
        let now = self.clock.mono();
        let named = inner.state.members().iter().filter(|member| *member.label() == *label);
        let best = named.min_by_key(|member| member.state(now) == State::Gone)?;
        inner.servers.get(&best.id).cloned()
    }

    /// Whether nobody kept it so far.
    fn begin_keeping(&self) -> bool {
        !self.kept.swap(true, Ordering::Relaxed)
    }

    fn take_over(&self, upstream: Arc<Upstream>, tls: Option<TlsConnector>) {
        {
            let mut inner = self.inner.lock();
            inner.retired = false;
            if upstream.health.is_none() {
                inner.state.forget_checks();
            }
            inner.found.retain(|name, _| upstream.names().any(|wanted| wanted == *name));
            inner.upstream = upstream;
            inner.tls = tls;
            self.sync(&mut inner);
        }
        self.changed.send_replace(());
        self.serve();
    }

    fn retire(&self) {
        self.inner.lock().retired = true;
        self.changed.send_replace(());
    }

    /// Whether no config names it, and nobody has anything of it any more.
    fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.retired && inner.waiting.is_empty() && inner.state.members().iter().all(|member| member.in_use == 0)
    }

    fn lookup_failed(&self) {
        self.lookup_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// A lookup is over.
    fn resolved(&self, name: (String, u16), addresses: Vec<std::net::SocketAddr>) {
        {
            let mut inner = self.inner.lock();
            if inner.upstream.names().all(|wanted| wanted != name) {
                return;
            }
            inner.found.insert(name, addresses);
            self.sync(&mut inner);
        }
        self.serve();
    }

    fn sync(&self, inner: &mut Inner) {
        let servers = inner.upstream.resolved(&inner.found);
        let change = inner.state.sync(&servers, self.clock.mono());
        for id in &change.went {
            inner.servers.remove(id);
        }
        for id in change.came {
            let Some(member) = inner.state.members().iter().find(|member| member.id == id) else { continue };
            let server = Server {
                upstream: inner.upstream.name.clone(),
                label: member.label(),
                id,
                address: member.server.address.clone(),
                host: member.server.host.clone(),
                counts: Arc::default(),
                drained: member.drained.into(),
                pool: self.this.clone(),
            };
            inner.servers.insert(id, Arc::new(server));
        }
    }

    /// One of its servers that is not in `tried`, for a handshake that has its turn.
    ///
    /// # Errors
    /// Why there is none.
    pub fn take(&self, key: Option<Key>, tried: &[Id]) -> Result<Trial, Nobody> {
        let mut inner = self.inner.lock();
        self.pick(&mut inner, key, tried)
    }

    fn pick(&self, inner: &mut Inner, key: Option<Key>, tried: &[Id]) -> Result<Trial, Nobody> {
        let Inner { upstream, tls, state, servers, .. } = inner;
        let picked = state.pick(upstream, key, tried, self.clock.mono())?;
        if picked.panic {
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
        // Both are changed under one lock, so a member has its server.
        let server = servers.get(&picked.id).ok_or(Nobody::Left)?;
        Ok(Trial::new(server.clone(), picked.trial, Terms { upstream: upstream.clone(), tls: tls.clone() }))
    }

    fn release(&self, id: Id) {
        {
            let mut inner = self.inner.lock();
            if inner.state.release(id) {
                inner.servers.remove(&id);
            }
        }
        self.serve();
    }

    fn succeeded(&self, server: &Server, trial: bool) {
        let back = self.inner.lock().state.succeeded(server.id, trial, self.clock.mono());
        if back {
            tell::back(server);
            self.serve();
        }
    }

    fn failed(&self, server: &Server) {
        let chance = RandomState::new().hash_one(());
        let ejected = {
            let mut inner = self.inner.lock();
            let Inner { upstream, state, .. } = &mut *inner;
            state.failed(server.id, upstream, self.clock.mono(), chance)
        };
        if let Some(for_ms) = ejected {
            server.counts.ejected();
            tell::ejected(server, for_ms);
        }
    }

    fn abandoned(&self, id: Id, trial: bool) {
        self.inner.lock().state.abandoned(id, trial);
    }

    /// A check is over.
    fn checked(&self, server: &Server, result: Result<(), &'static str>) {
        server.counts.checked(result.is_ok());
        let turned = {
            let mut inner = self.inner.lock();
            let Some(health) = inner.upstream.health.as_ref().map(|health| health.terms) else { return };
            inner.state.checked(server.id, result.is_ok(), health, self.clock.mono())
        };
        match turned {
            Some(true) => {
                tell::up(server);
                self.serve();
            }
            Some(false) => tell::down(server, result.err().unwrap_or_default()),
            None => {}
        }
    }

    /// Takes a server out, or lets it in again. False: it was so already, or is gone.
    pub fn drain(&self, server: &Server, drained: bool) -> bool {
        let changed = self.inner.lock().state.drain(server.id, drained, self.clock.mono());
        if changed {
            server.drained.store(drained, Ordering::SeqCst);
            // Who waits gets what there is now, or is told that there is nothing.
            self.serve();
        }
        changed
    }

    /// How it stands.
    #[must_use]
    pub fn fill(&self) -> UpstreamFill {
        let inner = self.inner.lock();
        let now = self.clock.mono();
        let shown = inner.state.members().iter().filter(|member| !inner.retired || member.in_use > 0);
        let servers = shown.filter_map(|member| {
            let server = inner.servers.get(&member.id)?;
            Some(ServerFill {
                server: server.label.clone(),
                state: if inner.retired { State::Gone } else { member.state(now) },
                sessions: member.in_use as u64,
                limit: member.server.max_connections.map(|most| most as u64),
                counts: server.counts.clone(),
            })
        });
        UpstreamFill {
            upstream: inner.upstream.name.clone(),
            waiting: inner.waiting.len() as u64,
            panics: self.panics.load(Ordering::Relaxed),
            lookup_failures: self.lookup_failures.load(Ordering::Relaxed),
            servers: servers.collect(),
        }
    }
}

#[cfg(test)]
mod tests;
