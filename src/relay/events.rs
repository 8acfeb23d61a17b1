//! A stream of events (`text/event-stream`), which has no end of its own. So it is held as a session is: `connections`
//! counts it, it is listed among the live ones, and it ends with the identity that opened it.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Context;

use crate::deny::{Deny, Direction};
use crate::gateway::Shared;
use crate::id::Id;
use crate::policy::expiry::{Due, Ends, Expiry, NEVER, Told};
use crate::policy::route::Route;
use crate::policy::{Admission, Permits};
use crate::pool::Server;
use crate::session::live::holder::Holder;
use crate::session::live::{Entry, Live};

/// What such a stream holds, and what may end it.
pub(super) struct Events {
    entry: Entry,
    _permits: Permits,
    expiry: Expiry,
    told: Told,
}

impl Events {
    /// From here on it is listed.
    pub(super) fn begin(
        shared: &Shared,
        worker: usize,
        id: Id,
        client: IpAddr,
        route: &Route,
        mut admission: Admission,
        server: Arc<Server>,
    ) -> Self {
        let holder = Holder::from(&mut admission);
        let live = Live::new(id, route.name.clone(), server.clone(), holder, client, shared.books.clock.now());
        let entry = shared.books.sessions.enter(worker, live);
        shared.end_if_revoked(&entry);
        if server.is_drained() {
            entry.order(Deny::UpstreamDrained);
        }
        admission.permits.begun(&entry);
        Self { entry, _permits: admission.permits, expiry: route.terms.expiry.clone(), told: Told::NOTHING }
    }

    /// As it is listed.
    pub(super) fn live(&self) -> &Live {
        &self.entry
    }

    fn ends(&self) -> Ends {
        let holder = &self.entry.holder;
        let certificate = holder.certificate_ends.map_or(NEVER, std::num::NonZeroU64::get);
        Ends { since: self.entry.since.mono, expires: holder.term.get(), certificate }
    }

    /// Whether it has to end now.
    pub(super) fn look(&mut self, cx: &mut Context<'_>, now: u64) -> Option<Deny> {
        self.entry.register(cx.waker());
        if let Some(order) = self.entry.ordered() {
            return Some(order.reason);
        }
        let ends = self.ends();
        // A notice is a WebSocket message, which has no place here.
        while let Some(due) = self.expiry.look(&mut self.told, ends, now) {
            if let Due::End(reason) = due {
                self.entry.holder.term.end();
                return Some(reason);
            }
        }
        None
    }

    /// When it has to be looked at again, in [`crate::now::Now::mono`].
    pub(super) fn next(&self) -> u64 {
        self.expiry.next(&self.told, self.ends())
    }

    /// Counts what went to the client.
    pub(super) fn carried(&self, bytes: u64) {
        self.entry.bytes[Direction::ToClient.index()].add(bytes);
    }
}
