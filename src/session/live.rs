//! A live session, as others see it and as they may order it to end. Nothing here knows how a session ends: it does that
//! itself.

pub mod ending;
pub mod holder;
pub mod order;
pub mod query;
pub mod registry;
mod term;

use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use serde::Serialize;

use crate::access_log::Said;
use crate::deny::{Deny, Direction};
use crate::metrics::Counter;
use crate::now::{Now, Timestamp};
use crate::policy::cap::seat::Leave;
use crate::pool::Server;
use holder::{Holder, Token};
use order::Order;

pub use crate::id::Id;
pub use query::Query;
pub use registry::{Entry, Registry, Snapshot};

/// What others may know of one session, and the one thing that they may tell it.
#[derive(Debug)]
pub struct Live {
    /// The connection's.
    pub id: Id,
    /// The route's name.
    pub route: Arc<str>,
    /// The server that it is on.
    pub server: Arc<Server>,
    /// Whose it is.
    pub holder: Holder,
    /// The client's address.
    pub client: IpAddr,
    /// When it began.
    pub since: Now,
    /// Messages, by [`Direction::index`]. Written by the session alone.
    pub messages: [Counter; 2],
    /// Bytes, likewise.
    pub bytes: [Counter; 2],
    /// The session's task, which has one waker all its life; it stays here, since there may be more than one wake.
    waker: OnceLock<Waker>,
    order: OnceLock<Order>,
}

impl Live {
    /// A session that begins now.
    #[must_use]
    pub fn new(id: Id, route: Arc<str>, server: Arc<Server>, holder: Holder, client: IpAddr, since: Now) -> Self {
        Self {
            id,
            route,
            server,
            holder,
            client,
            since,
            messages: Default::default(),
            bytes: Default::default(),
            waker: OnceLock::new(),
            order: OnceLock::new(),
        }
    }

    /// Orders the session to end, and wakes it. The first order stands.
    pub fn order(&self, order: impl Into<Order>) {
        if self.order.set(order.into()).is_ok() {
            self.wake();
        }
    }

    /// The order to end, once there is one.
    #[must_use]
    pub fn ordered(&self) -> Option<&Order> {
        self.order.get()
    }

    /// Lets the session live by another token of its holder; see [`Holder::renew`].
    pub fn renew(&self, token: Token, until: Option<u64>) -> bool {
        let before = self.holder.term.get();
        let renewed = self.holder.renew(token, until);
        // A session waits for its end alone: a renewal that is sent again and again costs it nothing.
        if renewed && self.holder.term.get() != before {
            self.wake();
        }
        renewed
    }

    /// Whom to wake: said once, by the session, before it first looks at [`Live::ordered`].
    pub fn register(&self, waker: &Waker) {
        // A second one could only be the same.
        let _ = self.waker.set(waker.clone());
        // Either the session sees an order, or who gave it sees the waker; see `wake`.
        fence(Ordering::SeqCst);
    }

    /// Has the session look around.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    fn view(&self, now: Now) -> LiveView<'_> {
        LiveView {
            id: self.id,
            route: &self.route,
            subject: self.holder.subject.as_deref().map(Said::new),
            client: self.client.to_canonical(),
            upstream: &self.server.label,
            since: Timestamp(self.since.wall),
            duration_seconds: now.mono.saturating_sub(self.since.mono) / 1000,
            messages_to_upstream: self.messages[Direction::ToUpstream.index()].get(),
            bytes_to_upstream: self.bytes[Direction::ToUpstream.index()].get(),
            messages_to_client: self.messages[Direction::ToClient.index()].get(),
            bytes_to_client: self.bytes[Direction::ToClient.index()].get(),
        }
    }
}

/// A newer session took its place.
impl Leave for Live {
    fn leave(&self, why: Deny) {
        self.order(why);
    }
}

/// One session as the admin page shows it.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the words of the admin page say it")]
pub struct LiveView<'a> {
    pub id: Id,
    pub route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    pub client: IpAddr,
    pub upstream: &'a str,
    pub since: Timestamp,
    pub duration_seconds: u64,
    pub messages_to_upstream: u64,
    pub bytes_to_upstream: u64,
    pub messages_to_client: u64,
    pub bytes_to_client: u64,
}

#[cfg(test)]
mod tests;
