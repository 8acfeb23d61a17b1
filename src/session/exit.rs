//! The one exit of every session: whatever ends it, it is counted once, logged once, and gives back what it held.
//!
//! It works by `Drop`, so that a panic, and a worker that stops in the middle, leave the same trace as a Close.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::buffered::Buffered;
use super::frame;
use super::live::order::Order;
use super::live::{Entry, Live};
use super::pump::Wake;
use super::trace;
use crate::access_log::{Ended, Expired, Said};
use crate::books::Books;
use crate::deny::{Deny, Direction, Side};
use crate::metrics::{Active, Example};
use crate::now::Timestamp;
use crate::policy::Permits;
use crate::policy::expiry::{Ends, NEVER};
use crate::policy::limit::Exceeded;
use crate::policy::route::Route;
use crate::policy::trace::Context;
use crate::pool::Lease;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Who ended it.
    pub side: Side,
    /// Why; none if that side simply closed.
    pub reason: Option<Deny>,
    /// The code of the first Close, if it had one.
    pub code: Option<u16>,
}

/// What a session holds as long as it lives, and what is said of it when it ends.
pub struct Exit {
    books: Arc<Books>,
    listener: Arc<str>,
    route: Arc<Route>,
    entry: Entry,
    active: Active,
    _held: (Permits, Lease),
    /// What its handshake is called in a trace, if that is recorded; boxed, for few are.
    trace: Option<Box<Context>>,
    end: Option<End>,
}

impl Exit {
    /// From here on the session is listed, counted as active, and will be written down.
    #[must_use]
    pub fn new(
        books: Arc<Books>,
        listener: Arc<str>,
        route: Arc<Route>,
        entry: Entry,
        active: Active,
        held: (Permits, Lease),
    ) -> Self {
        Self { books, listener, route, entry, active, _held: held, trace: None, end: None }
    }

    /// The same of a session whose handshake is recorded.
    #[must_use]
    pub fn traced(mut self, trace: Option<Box<Context>>) -> Self {
        self.trace = trace;
        self
    }

    /// [`crate::now::Now::mono`].
    #[must_use]
    #[inline]
    pub fn now(&self) -> u64 {
        self.books.clock.mono()
    }

    /// When a timer has to ring for a moment of that clock.
    #[must_use]
    pub fn instant(&self, mono: u64) -> Instant {
        self.books.clock.instant(mono)
    }

    /// What all sessions keep.
    #[must_use]
    #[inline]
    pub fn buffered(&self) -> &Arc<Buffered> {
        &self.books.buffered
    }

    /// The connection's number.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.entry.id.0
    }

    /// The ends that the session may meet, as they are now.
    #[must_use]
    #[inline]
    pub fn ends(&self) -> Ends {
        let holder = &self.entry.holder;
        Ends {
            since: self.entry.since.mono,
            expires: holder.term.get(),
            certificate: holder.certificate_ends.map_or(NEVER, NonZeroU64::get),
        }
    }

    /// Begins the end since the identity's has come. False: a renewal has moved it.
    #[must_use]
    pub fn expire(&self, ends: Ends) -> bool {
        self.entry.holder.term.expire(ends.expires)
    }

    /// Writes down that the identity has ended although the session goes on.
    pub fn lapsed(&self) {
        let live: &Live = &self.entry;
        self.books.metrics.identity_expired(self.route.slot);
        self.books.log.expired(&Expired {
            time: Timestamp(self.books.clock.now().wall),
            connection_id: live.id,
            route: &live.route,
            client: live.client,
            subject: live.holder.subject.as_deref().map(Said::new),
        });
    }

    /// Who is to be woken by [`super::live::Live::order`].
    #[inline]
    pub fn register(&self, waker: &Waker) {
        self.entry.register(waker);
    }

    /// What an operator, or a drain, wants of this session.
    #[must_use]
    #[inline]
    pub fn ordered(&self) -> Option<&Order> {
        self.entry.ordered()
    }

    /// Counts what one wake moved.
    #[inline]
    pub fn count(&self, direction: Direction, wake: &Wake<'_>) {
        if wake.bytes > 0 {
            self.entry.bytes[direction.index()].add(wake.bytes);
            self.active.carried(direction, wake.bytes);
            self.entry.messages[direction.index()].add(wake.tally.messages);
            self.active.passed(direction, wake.tally.messages);
        }
        if wake.tally.delayed > 0 {
            self.active.delayed(wake.tally.delayed);
        }
        if wake.tally.dropped > 0 {
            self.active.dropped(wake.tally.dropped);
        }
    }

    /// Counts what has exceeded a limit.
    pub fn exceeded(&self, exceeded: Exceeded, count: u64) {
        self.books.exceeded_by(exceeded, count);
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// The end. The first one counts.
    pub fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
        // From here on no renewal counts.
        self.entry.holder.term.end();
    }

    /// The Close that tells of the end: with the reason's code and label, or an answer to a Close with its own code
    /// (RFC 6455 s5.5.1).
    #[must_use]
    pub fn close_frame(&self, mask: Option<[u8; 4]>) -> Vec<u8> {
        match self.end {
            Some(End { reason: Some(deny), .. }) => {
                let plain = Order::from(deny);
                let order = self.ordered().filter(|order| order.reason == deny).unwrap_or(&plain);
                frame::close(order.code().unwrap_or(1011), order.text(), mask)
            }
            Some(End { code: Some(code), .. }) => frame::close(code, "", mask),
            Some(_) | None => frame::control(frame::Control::Close, &[], mask),
        }
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        // No end means that the task was torn down: by a panic of ours, or with its worker, at the end of a drain.
        let torn = if std::thread::panicking() { Deny::Internal } else { Deny::Draining };
        let end = self.end.unwrap_or(End { side: Side::Gateway, reason: Some(torn), code: None });
        let now = self.books.clock.now();
        let live = &*self.entry;
        let duration_ms = now.mono.saturating_sub(live.since.mono);
        let messages = Direction::ALL.map(|direction| live.messages[direction.index()].get());
        let bytes = Direction::ALL.map(|direction| live.bytes[direction.index()].get());
        let example = Example { id: live.id, wall: now.wall };
        self.books.metrics.session_ended(self.route.slot, (end.side, end.reason), duration_ms, messages, example);
        self.books.log.ended(&Ended {
            time: Timestamp(now.wall),
            connection_id: live.id,
            listener: &self.listener,
            route: &live.route,
            client: live.client,
            subject: live.holder.subject.as_deref().map(Said::new),
            upstream: &live.server.label,
            duration_ms,
            messages_to_upstream: messages[0],
            bytes_to_upstream: bytes[0],
            messages_to_client: messages[1],
            bytes_to_client: bytes[1],
            close_code: end.code,
            side: end.side,
            reason: end.reason,
        });
        if let Some(handshake) = &self.trace {
            trace::ended(&self.books.spans, **handshake, live, end, now);
        }
    }
}
