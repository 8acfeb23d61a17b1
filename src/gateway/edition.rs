//! What one config makes, whole: it is published in one step and never changed.
//!
//! A connection takes the edition of its moment once, when it is accepted, and keeps it through its handshake: so no
//! handshake is judged by parts of two configs. A session keeps the few small parts that it needs (its route, its accounts,
//! its slots) and not the edition, which is freed when the last of its handshakes is over. What has to outlive a config is not
//! here but in [`super::Shared`], or is handed from one edition to the next by its name.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::carrying::CarryingBounds;
use crate::admin::Guard;
use crate::config::{Config, ProxyProtocol};
use crate::keyset::Keysets;
use crate::load::{Listen, Loaded};
use crate::policy::Policy;
use crate::policy::cap::keyed::{Bound, Full};
use crate::pool::{Pool, Pools};

/// One config, as it is obeyed.
pub struct Edition {
    /// What decides.
    pub policy: Policy,
    /// In the order of the file that the gateway started with, which is that of its sockets.
    pub listeners: Vec<Listening>,
    /// The upstreams, in the order of the policy's. What is known of their servers is handed on, by name.
    pub pools: Vec<Arc<Pool>>,
    /// The key sets that are fetched.
    pub keysets: Arc<Keysets>,
    /// How many handshakes under way one address may have.
    pub handshakes_of_ip: Bound,
    /// How many connections may carry ordinary requests.
    pub carrying: CarryingBounds,
    /// Bytes of a request's or an answer's head.
    pub max_head: usize,
    /// How far, in milliseconds, a worker may be behind.
    pub max_lag: u64,
    /// Over how long sessions are told to go.
    pub drain_timeout: Duration,
    /// How long clients are let in before that.
    pub drain_delay: Duration,
    /// How long a new binary may take to take over.
    pub upgrade_timeout: Duration,
    /// How often it is looked whether its files have changed.
    pub auto_reload: Option<Duration>,
    /// Who may ask at the operator's listener.
    pub admin_guard: Arc<Guard>,
    /// Present: the operator's listener speaks TLS.
    pub admin_tls: Option<TlsAcceptor>,
    /// As it was typed.
    pub config: Config,
}

/// One listener, as its connections need it.
#[derive(Clone)]
pub struct Listening {
    /// Its address as it was typed, by which the next config finds it.
    pub address: SocketAddr,
    /// Its address, as in logs and metrics.
    pub name: Arc<str>,
    /// For TLS and the head together.
    pub handshake_timeout: Duration,
    /// For the next request, once there was one.
    pub keepalive_timeout: Duration,
    /// Requests of one connection.
    pub keepalive_requests: usize,
    /// Present: it speaks TLS.
    pub tls: Option<ListenerTls>,
    /// When each of its certificates ends, by its file, in seconds since 1970.
    pub ends: BTreeMap<PathBuf, u64>,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: ProxyProtocol,
}

/// A listener's TLS.
#[derive(Clone)]
pub struct ListenerTls {
    /// Speaks it.
    pub acceptor: TlsAcceptor,
    /// A hash of what it is made of, so that the next config knows whether that has changed.
    pub print: Box<[u8]>,
}

impl Edition {
    /// Of a config that was loaded to follow `previous`, if the gateway runs. If not, `names` are what its listeners are
    /// called, in their order. Nothing can fail here, and nothing that is in force changes but what key sets are asked with,
    /// and the upstreams in `pools`, which are obeyed as it says from here on.
    #[must_use]
    pub fn new(mut loaded: Loaded, previous: Option<&Self>, names: &[Arc<str>], pools: &Pools) -> Self {
        let listeners = match previous {
            Some(previous) => previous.listeners.iter().map(|known| known.again(&mut loaded.listen)).collect(),
            None => std::mem::take(&mut loaded.listen).into_iter().zip(names).map(Listening::first).collect(),
        };
        let known_sets = previous.map(|previous| &*previous.keysets);
        let policy = loaded.policy;
        let upstreams = policy.upstreams.iter().map(|upstream| {
            let tls = loaded.upstream_tls.get(&*upstream.name);
            (upstream.clone(), tls.map(|tls| TlsConnector::from(tls.clone())))
        });
        let upstreams: Vec<_> = upstreams.collect();
        Self {
            listeners,
            pools: pools.take_over(&upstreams),
            keysets: Arc::new(Keysets::new(
                &policy.key_sets,
                &loaded.keyset_tls,
                loaded.handshakes_in_flight,
                known_sets,
            )),
            handshakes_of_ip: Bound { max: loaded.handshakes_in_flight_per_ip, full: Full::Refuse, mark: None },
            carrying: CarryingBounds::new(loaded.http_connections.total, loaded.http_connections.per_ip),
            max_head: loaded.max_head,
            max_lag: loaded.max_lag,
            drain_timeout: loaded.drain_timeout,
            drain_delay: loaded.drain_delay,
            upgrade_timeout: loaded.upgrade_timeout,
            auto_reload: loaded.auto_reload,
            admin_guard: Arc::new(Guard::new(loaded.admin_token, loaded.admin.map(|address| address.ip()))),
            admin_tls: loaded.admin_tls.map(TlsAcceptor::from),
            config: loaded.config,
            policy,
        }
    }
}

impl Edition {
    /// The listener of this address, as it was typed.
    #[must_use]
    pub fn listener(&self, address: SocketAddr) -> Option<&Listening> {
        self.listeners.iter().find(|listener| listener.address == address)
    }
}

impl Listening {
    fn first((listen, name): (Listen, &Arc<str>)) -> Self {
        Self {
            address: listen.address,
            name: name.clone(),
            handshake_timeout: listen.handshake_timeout,
            keepalive_timeout: listen.keepalive_timeout,
            keepalive_requests: listen.keepalive_requests,
            tls: listen.tls.map(|(config, print)| ListenerTls { acceptor: config.into(), print }),
            ends: listen.ends,
            proxy_protocol: listen.proxy_protocol,
        }
    }

    /// The same listener by a new config, which has each of them: see `load::fixed`.
    fn again(&self, listen: &mut Vec<Listen>) -> Self {
        match listen.iter().position(|listen| listen.address == self.address) {
            Some(at) => Self::first((listen.remove(at), &self.name)),
            None => self.clone(),
        }
    }
}
