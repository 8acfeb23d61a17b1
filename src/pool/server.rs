//! One server of an upstream, and what is held of it: a [`Trial`] while a handshake is on its way, a [`Lease`] as long as the
//! session lives. Both give their place back by their drop.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio_rustls::TlsConnector;

use super::Pool;
use crate::config::value::ServerAddress;
use crate::deny::Deny;
use crate::metrics::ServerCounts;
use crate::policy::Denial;
use crate::policy::pool::Id;
use crate::policy::pool::settings::Upstream;

/// One server.
pub struct Server {
    /// Its upstream's name.
    pub upstream: Arc<str>,
    /// Its address, as logs, metrics and the admin's paths name it.
    pub label: Arc<str>,
    pub(super) id: Id,
    pub(super) address: ServerAddress,
    /// The host that its certificate is for.
    pub(super) host: Option<Arc<str>>,
    pub(super) counts: Arc<ServerCounts>,
    pub(super) drained: AtomicBool,
    pub(super) pool: Weak<Pool>,
}

impl Server {
    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Whether an operator takes it out, so that no session may begin on it.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.drained.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.label, self.upstream)
    }
}

/// A place on a server, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Lease(pub(super) Arc<Server>);

impl Lease {
    /// Whose.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.0
    }

    /// On a server that is nobody's, for tests of what holds one.
    pub fn of_nobody() -> Self {
        Self(Arc::new(Server {
            upstream: "u".into(),
            label: "10.0.0.1:80".into(),
            id: 0,
            address: ServerAddress::Tcp("10.0.0.1".to_owned(), 80),
            host: None,
            counts: Arc::default(),
            drained: AtomicBool::new(false),
            pool: Weak::new(),
        }))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(pool) = self.0.pool.upgrade() {
            pool.release(self.0.id);
        }
    }
}

/// A handshake on its way to a server. Dropped before anything is known, it says nothing of the server.
#[must_use]
pub struct Trial {
    /// None once it is settled.
    lease: Option<Lease>,
    /// The server was not thought to be well.
    trial: bool,
    terms: Terms,
    /// None until something goes to the server.
    begun_micros: Option<u64>,
}

/// How a server is to be talked to: as its upstream said when it was chosen, and not as one that came meanwhile says.
#[derive(Clone)]
pub struct Terms {
    /// What the upstream says.
    pub upstream: Arc<Upstream>,
    /// With what TLS is spoken, where it is to be.
    pub tls: Option<TlsConnector>,
}

impl Terms {
    /// Whether there is the TLS that is to be spoken. If not, nothing goes anywhere: never in the plain.
    #[must_use]
    pub fn fit(&self) -> bool {
        self.upstream.tls == self.tls.is_some()
    }
}

impl Trial {
    pub(super) fn new(server: Arc<Server>, trial: bool, terms: Terms) -> Self {
        Self { lease: Some(Lease(server)), trial, terms, begun_micros: None }
    }

    /// How the server is to be talked to.
    pub(super) fn terms(&self) -> Terms {
        self.terms.clone()
    }

    /// From now on it is connected to.
    pub(super) fn begin(&mut self, now_micros: u64) {
        self.begun_micros = Some(now_micros);
    }

    /// Whose turn it is.
    #[must_use]
    pub fn server(&self) -> Option<&Arc<Server>> {
        self.lease.as_ref().map(Lease::server)
    }

    /// The server answered well.
    #[must_use]
    pub fn succeeded(mut self) -> Option<Lease> {
        let (pool, lease) = self.answered()?;
        pool.inspect(|pool| pool.succeeded(&lease.0, self.trial));
        Some(lease)
    }

    /// The server answered, with what says neither that it is well nor that it is not.
    #[must_use]
    pub fn served(mut self) -> Option<Lease> {
        let (_, lease) = self.answered()?;
        self.abandon(&lease);
        Some(lease)
    }

    fn answered(&mut self) -> Option<(Option<Arc<Pool>>, Lease)> {
        let lease = self.lease.take()?;
        let pool = lease.0.pool.upgrade();
        if let (Some(pool), Some(begun)) = (&pool, self.begun_micros) {
            lease.0.counts.answered(pool.clock.micros().saturating_sub(begun));
        }
        Some((pool, lease))
    }

    /// It came to nothing. `ill` says whether that is the server's fault; else the server did well to answer as it did.
    pub fn failed(mut self, deny: Deny, ill: bool) {
        let Some(lease) = self.lease.take() else { return };
        lease.0.counts.failed(deny);
        if let Some(pool) = lease.0.pool.upgrade() {
            if ill {
                pool.failed(&lease.0);
            } else {
                pool.succeeded(&lease.0, self.trial);
            }
        }
    }

    /// There is no connection, by the server's fault: what is told of it.
    pub(super) fn not_reached(self, denial: Denial) -> Denial {
        self.failed(denial.deny, true);
        denial
    }

    /// It came to nothing for the gateway's own fault.
    pub fn undone(mut self) {
        if let Some(lease) = self.lease.take() {
            self.abandon(&lease);
        }
    }

    fn abandon(&self, lease: &Lease) {
        if let Some(pool) = lease.0.pool.upgrade() {
            pool.abandoned(lease.0.id, self.trial);
        }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            if self.begun_micros.is_some() {
                lease.0.counts.failed(Deny::ClientLost);
            }
            self.abandon(&lease);
        }
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a trial of {:?}", self.server())
    }
}
