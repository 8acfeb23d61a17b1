//! One renewal in the books: counted once and logged once, whatever becomes of it. It is no handshake there.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::ORIGIN;

use super::super::Handshake;
use super::super::record::undecided;
use crate::access_log::{Renewed, Said};
use crate::gateway::Shared;
use crate::id::Id;
use crate::now::Timestamp;
use crate::policy::Denial;
use crate::policy::route::Route;

/// A renewal under way. Dropped before it was decided, its client was lost.
pub(super) struct Record {
    shared: Arc<Shared>,
    id: Id,
    listener: Arc<str>,
    route: Arc<Route>,
    client: IpAddr,
    accepted: u64,
    /// Bounded by the head that it came in.
    origin: Option<Box<[u8]>>,
    /// The token's subject, once a token was good.
    pub(super) subject: Option<Arc<str>>,
    over: bool,
}

impl Record {
    pub(super) fn new(handshake: &Handshake, route: Arc<Route>, client: IpAddr, headers: &HeaderMap) -> Self {
        Self {
            shared: handshake.worker.shared.clone(),
            id: handshake.id,
            listener: handshake.listening().name.clone(),
            route,
            client,
            accepted: handshake.accepted,
            origin: headers.get(ORIGIN).map(|origin| origin.as_bytes().into()),
            subject: None,
            over: false,
        }
    }

    /// It was only asked whether one may come.
    pub(super) fn forget(mut self) {
        self.over = true;
    }

    /// It moved so many sessions.
    pub(super) fn renewed(mut self, sessions: usize) {
        self.write(Ok(sessions), true);
    }

    /// It was refused. `answered` says whether the client was told.
    pub(super) fn refused(mut self, denial: &Denial, answered: bool) {
        self.write(Err(denial), answered);
    }

    fn write(&mut self, result: Result<usize, &Denial>, answered: bool) {
        self.over = true;
        let books = &self.shared.books;
        let denial = result.err();
        books.metrics.renewal(self.route.slot, result.map(|_| ()).map_err(|denial| denial.deny));
        books.log.renewed(&Renewed {
            time: Timestamp(books.clock.now().wall),
            connection_id: self.id,
            listener: &self.listener,
            route: &self.route.name,
            client: self.client,
            origin: self.origin.as_deref().map(Said::bytes),
            subject: self.subject.as_deref().map(Said::new),
            sessions: result.unwrap_or(0),
            reason: denial.map(|denial| denial.deny),
            status: denial.map_or(Some(200), |denial| Some(denial.status)).filter(|_| answered),
            duration_ms: books.clock.mono().saturating_sub(self.accepted),
            why: denial.map(|denial| Said::new(denial.why)),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.over {
            self.write(Err(&undecided(&self.shared)), false);
        }
    }
}
