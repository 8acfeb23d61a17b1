//! One ordinary request in the books: counted once and logged once, whatever becomes of it. It is no handshake there.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;

use super::upload::Progress;
use crate::access_log::{Requested, Said};
use crate::deny::{Deny, Direction};
use crate::gateway::Shared;
use crate::handshake::Handshake;
use crate::handshake::record::undecided;
use crate::handshake::traced::{Over, Traced};
use crate::id::Id;
use crate::now::Timestamp;
use crate::policy::Denial;
use crate::policy::cap::KeyedPermit;
use crate::policy::route::Route;
use crate::pool::Lease;
use crate::pool::reach::Tried;

/// Text of a client's that is kept for the log, in bytes; the log bounds it in characters.
const KEPT: usize = 1024;

/// A request under way. Dropped before its answer was whole, its client was lost.
pub(super) struct Record {
    shared: Arc<Shared>,
    id: Id,
    listener: Arc<str>,
    client: IpAddr,
    begun: u64,
    method: Box<str>,
    host: Option<Box<[u8]>>,
    path: Box<str>,
    origin: Option<Box<[u8]>>,
    route: Arc<Route>,
    /// The token's subject, once a token was good.
    pub(super) subject: Option<Arc<str>>,
    /// Its place of its client's address, where the connection is of none.
    pub(super) share: Option<KeyedPermit>,
    /// Its place on the server that answers it.
    pub(super) lease: Option<Lease>,
    /// What went up.
    pub(super) progress: Rc<Progress>,
    received: u64,
    /// The upstream's, once it has answered.
    status: Option<u16>,
    traced: Option<Box<Traced>>,
    end: End,
}

#[derive(Clone, Copy)]
enum End {
    /// It is under way.
    Open,
    /// The answer was whole.
    Whole,
    /// It was refused, and the client was told, if it was still there.
    Refused(Denial, bool),
    /// The answer ended before its end.
    Cut(Deny),
    /// It is not to be written down: it was only asked whether one may come.
    Preflight,
}

impl Record {
    pub(super) fn new(handshake: &Handshake, route: Arc<Route>, client: IpAddr, parts: &Parts) -> Self {
        let copy = |value: &HeaderValue| value.as_bytes().iter().copied().take(KEPT).collect();
        let path: String = parts.uri.path().chars().take(KEPT).collect();
        let query = if parts.uri.query().is_some() { "?" } else { "" };
        let shared = handshake.worker.shared.clone();
        shared.books.metrics.request_began(route.slot);
        Self {
            shared,
            id: handshake.id,
            listener: handshake.listening().name.clone(),
            client,
            begun: handshake.accepted,
            method: parts.method.as_str().chars().take(32).collect::<String>().into(),
            host: parts.headers.get(HOST).map(copy),
            path: format!("{path}{query}").into(),
            origin: parts.headers.get(ORIGIN).map(copy),
            route,
            subject: None,
            share: None,
            lease: None,
            progress: Rc::default(),
            received: 0,
            status: None,
            traced: Traced::begin(handshake, parts),
            end: End::Open,
        }
    }

    /// [`crate::now::Now::mono`].
    pub(super) fn now(&self) -> u64 {
        self.shared.books.clock.mono()
    }

    /// When a timer has to ring for a moment of that clock.
    pub(super) fn instant(&self, mono: u64) -> Instant {
        self.shared.books.clock.instant(mono)
    }

    /// It was only asked whether one may come.
    pub(super) fn preflight(mut self) {
        self.end = End::Preflight;
    }

    /// It was refused, and the client is told.
    pub(super) fn refused(mut self, denial: &Denial) {
        self.end = End::Refused(*denial, denial.deny != Deny::ClientLost);
    }

    /// Makes the upstream's request a part of this one's trace.
    pub(super) fn join(&self, headers: &mut HeaderMap) {
        if let Some(traced) = &self.traced {
            traced.join(headers);
        }
    }

    /// This server is asked, if there is one.
    pub(super) fn at(&mut self, tried: Option<Tried>) {
        if let (Some(traced), Some(tried)) = (&mut self.traced, tried) {
            traced.asks(&tried);
        }
    }

    /// The head of the upstream's answer is here, or why there is none.
    pub(super) fn dialed(&mut self, result: Result<u16, Deny>) {
        let now = self.now();
        if let Some(traced) = &mut self.traced {
            traced.dialed(now, result);
        }
    }

    /// The upstream has answered.
    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// The answer is a stream of events: its spans end with the head, since nobody looks at a trace for as long as it lasts.
    pub(super) fn streams(&mut self) {
        self.trace(self.status, None);
    }

    fn trace(&mut self, status: Option<u16>, reason: Option<Deny>) {
        let Some(traced) = self.traced.take() else { return };
        let over = Over {
            id: self.id,
            client: self.client,
            begun: self.begun,
            now: self.shared.books.clock.now(),
            host: self.host.as_deref(),
            path: Some(self.path.trim_end_matches('?')),
            route: Some(&self.route.name),
            subject: self.subject.as_deref(),
            status,
            reason,
        };
        traced.over(&self.shared.books.spans, &over);
    }

    /// So many bytes of the answer went on.
    pub(super) fn carried(&mut self, bytes: u64) {
        self.received += bytes;
    }

    /// All of the answer went on.
    pub(super) fn is_whole(&mut self) {
        if matches!(self.end, End::Open) {
            self.end = End::Whole;
        }
    }

    /// The answer ends here, for this reason.
    pub(super) fn ends(&mut self, reason: Deny) {
        if matches!(self.end, End::Open) {
            self.end = End::Cut(self.progress.denial.take().map_or(reason, |denial| denial.deny));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let books = &self.shared.books;
        let lost = undecided(&self.shared);
        let (reason, status, why) = match self.end {
            End::Preflight => {
                books.metrics.request_ended(self.route.slot, None);
                return;
            }
            End::Whole => (None, self.status, ""),
            End::Refused(denial, told) => (Some(denial.deny), Some(denial.status).filter(|_| told), denial.why),
            End::Cut(reason) => (Some(reason), self.status, ""),
            End::Open => (Some(lost.deny), self.status, lost.why),
        };
        let duration_ms = self.now().saturating_sub(self.begun);
        let bytes = [self.progress.bytes.get(), self.received];
        let result = reason.map_or(Ok(()), Err);
        let code = self.status;
        books.metrics.request_ended(self.route.slot, Some((result, code, duration_ms, bytes)));
        books.log.requested(&Requested {
            event: if self.status.is_some() { "request" } else { "request_refused" },
            time: Timestamp(books.clock.now().wall),
            connection_id: self.id,
            listener: &self.listener,
            route: &self.route.name,
            client: self.client,
            method: Said::new(&self.method),
            host: self.host.as_deref().map(Said::bytes),
            path: Said::path(&self.path),
            origin: self.origin.as_deref().map(Said::bytes),
            subject: self.subject.as_deref().map(Said::new),
            status,
            reason,
            bytes_to_upstream: bytes[Direction::ToUpstream.index()],
            bytes_to_client: bytes[Direction::ToClient.index()],
            duration_ms,
            why: Some(Said::new(why)).filter(|_| !why.is_empty()),
        });
        self.trace(status, reason);
    }
}
