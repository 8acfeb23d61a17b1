//! What lives after the 101: two pumps, their deadlines, and one end.
//!
//! A session is a task of its own, a small future written by hand: the handshake's larger one is gone by now. It sees to
//! it that nothing is sent after a Close, that both sides get one, and that a blocked write in one direction does not
//! stall the other.

pub mod buffered;
pub mod exit;
pub mod frame;
pub mod judge;
pub mod live;
pub mod own;
pub mod pump;
mod times;
mod trace;

use std::cell::RefCell;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::time::{Sleep, sleep_until};

use crate::deny::{Deny, Direction, Fault, Side};
use crate::policy::expiry::{Due, Told};
use crate::policy::meter::open::Meters;
use crate::policy::route::Route;
use crate::stream::Stream;
use exit::{End, Exit};
use judge::Judge;
use pump::ahead::{Farewell, Leaves};
use pump::{Event, Pump, Wake};

/// The thread's buffer: what one read takes, behind as much that came with a handshake (`max_header_size` is at most 64k).
const SCRATCH: usize = 2 * pump::READ;

thread_local! {
    /// The one read buffer of all sessions of a worker.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// What the handshake hands over.
pub struct Opened<'a> {
    /// The client's socket and the bytes that came behind its request.
    pub client: (Stream, &'a [u8]),
    /// The upstream's socket and the bytes that came behind its 101.
    pub upstream: (Stream, &'a [u8]),
    /// Whether both agreed on permessage-deflate.
    pub deflate: bool,
    /// The terms.
    pub route: Arc<Route>,
    /// What each direction is measured by.
    pub meters: Meters,
}

/// One session. Resolves once both sides are closed; what is to be said of it is said by its [`Exit`].
pub struct Session {
    client: Stream,
    upstream: Stream,
    /// From the client.
    up: Pump,
    /// From the upstream.
    down: Pump,
    route: Arc<Route>,
    exit: Exit,
    /// Which ends the client, and the log, were told of.
    told: Told,
    /// When the client was pinged.
    pinged: Option<u64>,
    /// Since the end began: when it has to be over.
    deadline: Option<u64>,
    /// A receiver that was lost: the end, if nothing better is heard before the deadline.
    lost: Option<End>,
    timer: Option<Pin<Box<Sleep>>>,
    timer_at: u64,
    /// Whether an operator's order would wake it.
    registered: bool,
}

impl Session {
    /// A session between two sockets. Its counters and its one line of log are `exit`'s.
    #[must_use]
    pub fn new(opened: Opened<'_>, exit: Exit) -> Self {
        let now = exit.now();
        let terms = &opened.route.terms;
        let ([up, down], fragments) = (opened.meters, opened.route.flow.fragments);
        let up = Judge::new(Direction::ToUpstream, opened.deflate, terms.max_message_size, up, fragments[0]);
        let down = Judge::new(Direction::ToClient, opened.deflate, u64::MAX, down, fragments[1]);
        Self {
            up: Pump::new(up, opened.client.1, exit.buffered().clone(), now),
            down: Pump::new(down, opened.upstream.1, exit.buffered().clone(), now),
            client: opened.client.0,
            upstream: opened.upstream.0,
            route: opened.route,
            exit,
            told: Told::NOTHING,
            pinged: None,
            deadline: None,
            lost: None,
            timer: None,
            timer_at: u64::MAX,
            registered: false,
        }
    }

    /// Moves both directions until neither can move. One may be blocked while the other goes on.
    fn pump(&mut self, cx: &mut Context<'_>, now: u64) {
        BUFFER.with_borrow_mut(|scratch| {
            loop {
                let mut wake = Wake::new(scratch, now, self.exit.buffered().read_size());
                let up = self.up.poll(cx, &mut self.client, &mut self.upstream, &mut wake);
                self.exit.count(Direction::ToUpstream, &wake);
                self.up.take_exceeded(|exceeded, count| self.exit.exceeded(exceeded, count));
                if let Poll::Ready(event) = up {
                    self.on_event(Direction::ToUpstream, event, now);
                }
                let mut wake = Wake::new(scratch, now, self.exit.buffered().read_size());
                let down = self.down.poll(cx, &mut self.upstream, &mut self.client, &mut wake);
                self.exit.count(Direction::ToClient, &wake);
                self.down.take_exceeded(|exceeded, count| self.exit.exceeded(exceeded, count));
                if let Poll::Ready(event) = down {
                    self.on_event(Direction::ToClient, event, now);
                }
                // An event may have given the other direction something to say: only two that rest are at rest.
                if up.is_pending() && down.is_pending() {
                    return;
                }
            }
        });
    }

    fn on_event(&mut self, direction: Direction, event: Event, now: u64) {
        let (sender, receiver) = match direction {
            Direction::ToUpstream => (Side::Client, Side::Upstream),
            Direction::ToClient => (Side::Upstream, Side::Client),
        };
        match event {
            Event::Closed(code) => self.note_end(End { side: sender, reason: None, code }, now),
            Event::SenderLost => self.on_lost(sender, now),
            // What the receiver still has to say, a Close above all, comes through the other direction, and so does its end.
            Event::ReceiverLost => {
                let deny = match direction {
                    Direction::ToUpstream => Deny::UpstreamLost,
                    Direction::ToClient => Deny::ClientLost,
                };
                match direction {
                    Direction::ToUpstream => self.up.abandon_receiver(),
                    Direction::ToClient => self.down.abandon_receiver(),
                }
                self.lost.get_or_insert(End { side: receiver, reason: Some(deny), code: None });
                self.deadline.get_or_insert(now + self.route.terms.close_timeout);
            }
            Event::NoRoom => self.end_by(receiver, Deny::SlowConsumer, now),
            Event::Violation(violation) => self.end_by(sender, violation.deny, now),
        }
    }

    fn on_lost(&mut self, sender: Side, now: u64) {
        let ended_before = self.exit.has_ended();
        match sender {
            Side::Client | Side::Gateway => {
                self.note_end(End { side: sender, reason: Some(Deny::ClientLost), code: None }, now);
                self.down.abandon_receiver();
                self.up.abandon_sender();
                if !ended_before {
                    // The upstream learns it as it would from a client of its own: its connection ends.
                    self.down.abandon_sender();
                }
            }
            Side::Upstream => {
                // In the middle of a frame no Close can be said.
                let code = Deny::UpstreamLost.row().close.filter(|_| !self.down.ends_in_a_frame());
                self.note_end(End { side: sender, reason: Some(Deny::UpstreamLost), code }, now);
                self.up.abandon_receiver();
                self.down.say_farewell(self.exit.close_frame(None));
            }
        }
    }

    /// The gateway's own end, or one for a broken rule: a Close to both.
    fn end_by(&mut self, side: Side, deny: Deny, now: u64) {
        let side = if matches!(deny.row().fault, Fault::Limit | Fault::Gateway) { Side::Gateway } else { side };
        self.note_end(End { side, reason: Some(deny), code: deny.row().close }, now);
        self.say_farewells();
    }

    fn say_farewells(&mut self) {
        self.up.say_farewell(self.exit.close_frame(Some(random_mask())));
        self.down.say_farewell(self.exit.close_frame(None));
    }

    /// The first end counts; what follows is how it is carried out.
    fn note_end(&mut self, end: End, now: u64) {
        self.exit.end(end);
        self.deadline.get_or_insert(now + self.route.terms.close_timeout);
    }

    /// Ends what an operator ordered to end, or whose time is over.
    fn check_orders(&mut self, now: u64) {
        if self.deadline.is_some() {
            return;
        }
        if let Some((reason, code)) = self.exit.ordered().map(|order| (order.reason, order.code())) {
            self.note_end(End { side: Side::Gateway, reason: Some(reason), code }, now);
            self.say_farewells();
        } else {
            self.check_expiry(now);
        }
    }

    /// Ends, or says, what its time asks for.
    fn check_expiry(&mut self, now: u64) {
        loop {
            let (expiry, ends) = (&self.route.terms.expiry, self.exit.ends());
            match expiry.look(&mut self.told, ends, now) {
                None => return,
                // Renewed at this very moment.
                Some(Due::End(Deny::TokenExpired)) if !self.exit.expire(ends) => {}
                Some(Due::End(deny)) => return self.end_by(Side::Gateway, deny, now),
                Some(Due::Lapsed) => self.exit.lapsed(),
                Some(Due::Moved) => self.down.tell_receiver(None),
                Some(Due::Notice(left)) => {
                    let notice = expiry.notice.as_ref().map(|notice| frame::text(&notice.with(left)));
                    self.down.tell_receiver(notice);
                }
            }
        }
    }

    /// Ends or pings what is silent for too long. To be asked once the sockets were read: what was in them is no silence,
    /// however late the worker came to it. Says whether there is something to send.
    fn check_silence(&mut self, now: u64) -> bool {
        if self.deadline.is_some() {
            return false;
        }
        if self.pong_is_overdue(now) || now >= self.idle_at() {
            self.end_by(Side::Gateway, Deny::IdleTimeout, now);
            return true;
        }
        let ping_is_due = self.pinged.is_none() && now >= self.ping_at(now);
        if ping_is_due {
            self.ping(now);
        }
        ping_is_due
    }

    /// Ends it for a receiver that takes nothing. To be asked once there was an attempt to write: a worker that comes late
    /// finds room that was there long ago. Says whether there is something to send.
    fn check_receivers(&mut self, now: u64) -> bool {
        let (due, receiver) = self.slow_at();
        let over = self.deadline.is_none() && now >= due;
        if over {
            self.end_by(receiver, Deny::SlowConsumer, now);
        }
        over
    }

    /// Ends it for who has left behind frames that wait for their turn, and that did not get it in `close_timeout`: they are
    /// dropped. To be asked once what had its turn has passed. Says whether there is something to send.
    fn check_leavers(&mut self, now: u64) -> bool {
        let mut left = false;
        for direction in Direction::ALL {
            if now < self.leave_at(direction) {
                continue;
            }
            let (pump, sender) = match direction {
                Direction::ToUpstream => (&mut self.up, Side::Client),
                Direction::ToClient => (&mut self.down, Side::Upstream),
            };
            let Some(Leaves { how, .. }) = pump.leaves() else { continue };
            left = true;
            match how {
                Farewell::Close(code) => {
                    self.note_end(End { side: sender, reason: None, code }, now);
                    self.say_farewells();
                }
                Farewell::Lost => {
                    pump.finish_sender();
                    self.on_lost(sender, now);
                }
            }
        }
        left
    }

    fn pong_is_overdue(&mut self, now: u64) -> bool {
        let Some(pinged) = self.pinged else { return false };
        if self.down.owes_a_ping() {
            // It waits behind a frame, or for a slow client: there is nothing to answer yet.
            self.pinged = Some(now);
            return false;
        }
        if !self.up.awaits_pong() || self.up.heard() > pinged || !self.up.is_reading() {
            self.pinged = None;
            return false;
        }
        now >= pinged.saturating_add(self.route.terms.ping_timeout)
    }

    fn ping(&mut self, now: u64) {
        let payload = self.exit.id().to_be_bytes();
        self.down.ping_receiver(payload);
        self.up.expect_pong(payload);
        self.pinged = Some(now);
    }

    /// Sees to it that the task is woken no later than [`Session::due`]. A timer that rings early is set again then: so
    /// that a message, which moves the idle deadline, need not touch it.
    fn arm(&mut self, cx: &mut Context<'_>, mut now: u64) {
        loop {
            let due = self.due(now);
            match &mut self.timer {
                Some(timer) if now < self.timer_at && self.timer_at <= due && !timer.is_elapsed() => return,
                _ => {}
            }
            let mut timer = Box::pin(sleep_until(self.exit.instant(due).into()));
            if timer.as_mut().poll(cx).is_pending() {
                self.timer = Some(timer);
                self.timer_at = due;
                return;
            }
            // It is due already: either the task has to run again, or the deadline has moved on.
            self.timer = None;
            now = self.exit.now();
            if now >= due {
                cx.waker().wake_by_ref();
                return;
            }
        }
    }

    /// Both sockets' ends; their errors no longer matter.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let client = Pin::new(&mut self.client).poll_shutdown(cx);
        let upstream = Pin::new(&mut self.upstream).poll_shutdown(cx);
        if client.is_pending() || upstream.is_pending() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let now = this.exit.now();
        if !this.registered {
            // A task of its own has one waker all its life.
            this.exit.register(cx.waker());
            this.registered = true;
        }
        this.check_orders(now);
        this.pump(cx, now);
        if this.check_leavers(now) || this.check_receivers(now) || this.check_silence(now) {
            this.pump(cx, now);
        }
        // Who has said and heard its Close is let go, whatever the other side still does. So is a peer whose framing is broken,
        // for its Close can't be waited for, and one that got half a frame, behind which no Close can stand.
        if (!this.up.awaits_close() || this.down.ends_in_a_frame()) && this.down.is_silent() {
            let _ = Pin::new(&mut this.client).poll_shutdown(cx);
        }
        if (!this.down.awaits_close() || this.up.ends_in_a_frame()) && this.up.is_silent() {
            let _ = Pin::new(&mut this.upstream).poll_shutdown(cx);
        }
        let late = this.deadline.is_some_and(|deadline| now >= deadline);
        if let Some(end) = this.lost.filter(|_| late) {
            this.exit.end(end);
        }
        let over = late || (this.up.is_over() && this.down.is_over());
        if over && (this.poll_shutdown(cx).is_ready() || late) {
            return Poll::Ready(());
        }
        this.arm(cx, now);
        Poll::Pending
    }
}

/// Unpredictable, as RFC 6455 s5.3 wants it: the hash of nothing under a key of the system's.
fn random_mask() -> [u8; 4] {
    let [a, b, c, d, ..] = RandomState::new().hash_one(()).to_ne_bytes();
    [a, b, c, d]
}

#[cfg(test)]
mod tests;
