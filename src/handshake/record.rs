//! One handshake in the books: counted once and, if it was refused, logged once, whatever becomes of it.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderValue};

use super::Handshake;
use super::traced::{Over, Traced};
use crate::access_log::{Refused, Said};
use crate::deny::Deny;
use crate::gateway::Shared;
use crate::id::Id;
use crate::metrics::Example;
use crate::now::Timestamp;
use crate::policy::route::Route;
use crate::policy::trace::Context;
use crate::policy::{Decision, Denial};
use crate::pool::Server;
use crate::pool::reach::Tried;

/// Text of a client's that is kept for the log, in bytes; the log bounds it in characters.
const KEPT: usize = 1024;

/// A handshake under way. Dropped before it was decided, its client was lost.
pub struct Attempt {
    shared: Arc<Shared>,
    id: Id,
    listener: Arc<str>,
    client: IpAddr,
    accepted: u64,
    host: Option<Box<[u8]>>,
    path: Option<Box<str>>,
    origin: Option<Box<[u8]>>,
    route: Option<Arc<Route>>,
    subject: Option<Arc<str>>,
    server: Option<Arc<Server>>,
    traced: Option<Box<Traced>>,
    over: bool,
}

impl Attempt {
    /// A handshake whose head is here. What is kept of it is copied: a header would hold on to the whole read buffer.
    #[must_use]
    pub fn new(handshake: &Handshake, client: IpAddr, parts: &http::request::Parts) -> Self {
        let copy = |value: &HeaderValue| value.as_bytes().iter().copied().take(KEPT).collect();
        let path: String = parts.uri.path().chars().take(KEPT).collect();
        let query = if parts.uri.query().is_some() { "?" } else { "" };
        let shared = handshake.worker.shared.clone();
        let mut attempt =
            Self::headless(shared, handshake.id, handshake.listening().name.clone(), client, handshake.accepted);
        attempt.host = parts.headers.get(header::HOST).map(copy);
        attempt.path = Some(format!("{path}{query}").into());
        attempt.origin = parts.headers.get(header::ORIGIN).map(copy);
        attempt.traced = Traced::begin(handshake, parts);
        attempt
    }

    /// A handshake that failed before there was a head.
    #[must_use]
    pub fn headless(shared: Arc<Shared>, id: Id, listener: Arc<str>, client: IpAddr, accepted: u64) -> Self {
        Self {
            shared,
            id,
            listener,
            client,
            accepted,
            host: None,
            path: None,
            origin: None,
            route: None,
            subject: None,
            server: None,
            traced: None,
            over: false,
        }
    }

    /// Keeps the route of a handshake that is refused before it is judged.
    pub fn found(&mut self, route: &Arc<Route>) {
        self.route = Some(route.clone());
    }

    /// Keeps what a decision found out, for the log.
    pub fn decided(&mut self, decision: &Decision) {
        self.route.clone_from(&decision.route);
        self.subject.clone_from(&decision.subject);
        self.shared.books.exceeded(&decision.exceeded);
    }

    /// Keeps the server that it is sent to, if there is one.
    pub fn at(&mut self, tried: Option<Tried>) {
        if let (Some(traced), Some(tried)) = (&mut self.traced, &tried) {
            traced.asks(tried);
        }
        self.server = tried.map(|tried| tried.server);
    }

    /// The route, once there is one.
    #[must_use]
    pub fn route(&self) -> Option<&Arc<Route>> {
        self.route.as_ref()
    }

    /// The connection's name.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.client
    }

    /// The token's subject, once a token was good.
    #[must_use]
    pub fn subject(&self) -> Option<Arc<str>> {
        self.subject.clone()
    }

    /// Makes the upstream's request a part of this one's trace.
    pub(super) fn join(&self, headers: &mut HeaderMap) {
        if let Some(traced) = &self.traced {
            traced.join(headers);
        }
    }

    /// The upstream's handshake is over.
    pub(super) fn dialed(&mut self, result: Result<u16, Deny>) {
        if let Some(traced) = &mut self.traced {
            traced.dialed(self.shared.books.clock.mono(), result);
        }
    }

    /// The 101 is out. What the handshake is called in its trace, if it is recorded.
    pub fn admitted(mut self) -> Option<Box<Context>> {
        self.over = true;
        let duration = self.duration();
        self.shared.books.metrics.handshake(
            self.route.as_ref().map(|route| route.slot),
            Ok(()),
            duration,
            self.example(),
        );
        self.trace(Some(101), None)
    }

    /// It was refused. `answered` says whether the client was told.
    pub fn refused(mut self, denial: &Denial, answered: bool) {
        self.write(denial, answered.then_some(denial.status), None);
    }

    /// It was refused, and the client is told by a 101 and a Close with this code.
    pub fn told(mut self, denial: &Denial, code: u16) {
        self.write(denial, Some(101), Some(code));
    }

    fn trace(&mut self, status: Option<u16>, reason: Option<Deny>) -> Option<Box<Context>> {
        let traced = self.traced.take()?;
        let over = Over {
            id: self.id,
            client: self.client,
            begun: self.accepted,
            now: self.shared.books.clock.now(),
            host: self.host.as_deref(),
            path: self.path.as_deref().map(|path| path.trim_end_matches('?')),
            route: self.route.as_ref().map(|route| &*route.name),
            subject: self.subject.as_deref(),
            status,
            reason,
        };
        traced.over(&self.shared.books.spans, &over)
    }

    fn duration(&self) -> u64 {
        self.shared.books.clock.mono().saturating_sub(self.accepted)
    }

    fn example(&self) -> Example {
        Example { id: self.id, wall: self.shared.books.clock.now().wall }
    }

    fn write(&mut self, denial: &Denial, status: Option<u16>, close_code: Option<u16>) {
        self.over = true;
        let books = &self.shared.books;
        let duration_ms = self.duration();
        books.metrics.handshake(
            self.route.as_ref().map(|route| route.slot),
            Err(denial.deny),
            duration_ms,
            self.example(),
        );
        books.refused(&Refused {
            time: Timestamp(books.clock.now().wall),
            connection_id: self.id,
            listener: &self.listener,
            route: self.route.as_ref().map(|route| &*route.name),
            client: self.client,
            host: self.host.as_deref().map(Said::bytes),
            path: self.path.as_deref().map(Said::path),
            origin: self.origin.as_deref().map(Said::bytes),
            subject: self.subject.as_deref().map(Said::new),
            upstream: self.server.as_ref().map(|server| &*server.label),
            reason: denial.deny,
            status,
            close_code,
            duration_ms,
            why: Some(Said::new(denial.why)).filter(|_| !denial.why.is_empty()),
        });
        self.trace(status, Some(denial.deny));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            self.write(&undecided(&self.shared), None, None);
        }
    }
}

/// What became of a request that is dropped before it was decided.
pub(crate) fn undecided(shared: &Shared) -> Denial {
    if std::thread::panicking() {
        Denial::new(Deny::Internal, "the gateway failed")
    } else if shared.is_draining() {
        Denial::new(Deny::Draining, "cut at the end of the drain")
    } else {
        Denial::new(Deny::ClientLost, "the client left before the answer")
    }
}
