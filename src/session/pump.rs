//! One direction of a session: reads, asks the judge, writes on at once, and keeps only what the receiver did not take.
//!
//! While nothing flows there is no buffer. While the receiver does not take, nothing is read: that is the whole of
//! backpressure. While a frame waits for its turn, no more is read than may be kept, to learn whether the sender leaves.
//! A pump never decides that a session ends; it says what happened.

pub mod ahead;
mod backlog;
mod wake;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::buffered::Buffered;
use super::judge::{Judge, Mode, Then};
use super::own::Own;
use crate::policy::limit::Exceeded;
use crate::stream::Stream;
use ahead::{Ahead, Leaves};
use backlog::Backlog;

pub use wake::{Event, Wake};

/// Bytes of one read, of which a frame may be any part.
pub const READ: usize = 64 * 1024;

/// Reads in one wake. A sender that is never done must leave the other direction its turn, and the worker's other sessions.
const TURN: usize = 16;

/// What there is still to come from the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    Speaks,
    /// It broke a rule: its bytes are read and thrown away, so that it gets to read our Close.
    Ignored,
    /// Its Close was seen, or its connection ended.
    Done,
}

/// One direction.
#[derive(Debug)]
pub struct Pump {
    judge: Judge,
    backlog: Backlog,
    /// Whether what waits for the judge can be judged without more bytes.
    look_again: bool,
    /// What stands behind a frame that has waited for its turn; none where no frame has, since the last read to be judged.
    ahead: Option<Box<Ahead>>,
    own: Own,
    sender: Sender,
    heard: u64,
}

impl Pump {
    /// A direction whose sender's first bytes came with the handshake, and what it keeps counts in `total`. `now` is
    /// [`crate::now::Now::mono`].
    #[must_use]
    pub fn new(judge: Judge, first: &[u8], total: Arc<Buffered>, now: u64) -> Self {
        Self {
            judge,
            backlog: Backlog::new(first, total),
            look_again: !first.is_empty(),
            ahead: None,
            own: Own::default(),
            sender: Sender::Speaks,
            heard: now,
        }
    }

    /// When the sender was last heard, in [`crate::now::Now::mono`].
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// The moment until which the sender is not read, for its rate.
    #[must_use]
    pub fn waits_until(&self) -> Option<u64> {
        self.judge.waits_until()
    }

    /// Whether the sender is read at present: no wait for its rate, no slow receiver.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.backlog.is_sent() && self.waits_until().is_none()
    }

    /// Since when the receiver has taken no byte of what waits for it, in [`crate::now::Now::mono`]. Of what TLS holds it
    /// shows only when all is taken.
    #[must_use]
    pub fn waits_since(&self) -> Option<u64> {
        self.backlog.waits_since()
    }

    /// Whether a ping of our own has not gone out yet.
    #[must_use]
    pub fn owes_a_ping(&self) -> bool {
        self.own.owes_a_ping() || self.backlog.holds_a_ping()
    }

    /// Whether a Close of the sender may still come: it has not sent one, and has not broken the framing in which to find it.
    #[must_use]
    pub fn awaits_close(&self) -> bool {
        self.sender == Sender::Speaks
    }

    /// Whether, and since when, the sender's Close or the end of its stream is known to stand behind what waits for its turn.
    #[must_use]
    pub fn leaves(&self) -> Option<Leaves> {
        // Once the receiver is told of an end nothing waits any more.
        let waits = self.sender == Sender::Speaks && self.own.goes_on();
        self.ahead.as_ref().filter(|_| waits).and_then(|ahead| ahead.leaves())
    }

    /// Whether the sender went away in the middle of a frame, after which no Close can stand.
    #[must_use]
    pub fn ends_in_a_frame(&self) -> bool {
        self.sender == Sender::Done && !self.judge.on_boundary()
    }

    /// Whether the receiver has got all that it will get.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.own.is_over() && self.backlog.is_delivered()
    }

    /// Whether there is nothing left to do here.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.sender == Sender::Done && self.is_silent()
    }

    /// Tells the receiver of the end with this Close frame, on the next boundary; no message begins any more.
    pub fn say_farewell(&mut self, close: Vec<u8>) {
        self.own.say_farewell(close);
        self.forgo_impossible_farewell();
    }

    /// Pings the receiver, which is a client, on the next boundary.
    pub fn ping_receiver(&mut self, payload: [u8; 8]) {
        self.own.ping(payload);
    }

    /// Has the receiver told something between two messages: this whole frame, or nothing any more.
    pub fn tell_receiver(&mut self, frame: Option<Box<[u8]>>) {
        self.own.notice(frame);
    }

    /// Tells what has exceeded which limit, and how often, since it was last asked.
    #[inline]
    pub fn take_exceeded(&mut self, tell: impl FnMut(Exceeded, u64)) {
        self.judge.take_exceeded(tell);
    }

    /// A ping with this payload is on its way to the sender: its pong is not passed on.
    pub fn expect_pong(&mut self, payload: [u8; 8]) {
        self.judge.expect_pong(payload);
    }

    /// Whether our own ping is still unanswered.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        self.judge.awaits_pong()
    }

    /// Nobody hears this direction any more: what waits for the receiver is thrown away. What waits for the judge stays,
    /// since the sender's Close can be found only if no byte before it is missing.
    pub fn abandon_receiver(&mut self) {
        self.own.end();
        self.backlog.abandon_receiver();
    }

    /// Nothing more is awaited from the sender; what waits for the receiver still goes out, without a Close behind it.
    pub fn abandon_sender(&mut self) {
        self.finish_sender();
        self.own.end();
    }

    /// Nothing more comes from the sender; the receiver may yet be told.
    pub fn finish_sender(&mut self) {
        self.sender = Sender::Done;
        self.backlog.drop_unjudged();
        self.look_again = false;
        self.forgo_impossible_farewell();
    }

    /// Without a sender the frame under way never ends: there is no boundary for a Close to stand on.
    fn forgo_impossible_farewell(&mut self) {
        if self.ends_in_a_frame() {
            self.own.end();
        }
    }

    /// Moves what can be moved. Pending: nothing more can happen before a wake, or before [`Pump::waits_until`].
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        wake: &mut Wake<'_>,
    ) -> Poll<Event> {
        let polled = self.move_on(cx, from, to, wake);
        self.backlog.look_at_clock(wake.now);
        polled
    }

    fn move_on(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        wake: &mut Wake<'_>,
    ) -> Poll<Event> {
        for _ in 0..TURN {
            match self.backlog.poll_send(cx, to) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ReceiverLost),
                Poll::Ready(Ok(())) => {}
            }
            if self.put_in_own_frames() {
                continue;
            }
            if self.sender == Sender::Done {
                return self.rest(cx, to);
            }
            if self.waits(wake.now) {
                match self.look_ahead(cx, from, wake) {
                    Poll::Ready(()) => continue,
                    Poll::Pending => return self.rest(cx, to),
                }
            }
            let filled = match self.poll_input(cx, from, wake) {
                Poll::Ready(Some(filled)) => filled,
                Poll::Pending => return self.rest(cx, to),
                Poll::Ready(None) => {
                    self.finish_sender();
                    return Poll::Ready(Event::SenderLost);
                }
            };
            if let Some(event) = self.work(cx, to, filled, wake) {
                return Poll::Ready(event);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn waits(&self, now: u64) -> bool {
        self.own.goes_on() && self.judge.waits_until().is_some_and(|until| now < until)
    }

    /// On a boundary, with all before it sent: our own frames. Whether there were any.
    fn put_in_own_frames(&mut self) -> bool {
        let Some((frame, is_ping)) = self.own.take(&self.judge) else { return false };
        self.backlog.put_front(frame, is_ping);
        true
    }

    /// Before a rest: whatever TLS holds goes out. Its errors show at the next write.
    fn rest(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<Event> {
        match self.backlog.flush(cx, to) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(Event::ReceiverLost),
        }
    }

    /// While a frame waits for its turn: reads what is behind it, as much as may be kept, to learn whether the sender leaves.
    /// Ready: there may be more.
    fn look_ahead(&mut self, cx: &mut Context<'_>, from: &mut Stream, wake: &mut Wake<'_>) -> Poll<()> {
        let (judge, kept) = (&self.judge, &mut self.backlog.kept);
        let ahead = self.ahead.get_or_insert_with(|| Box::new(Ahead::new(judge.frames().clone(), kept, wake.now)));
        let room = wake.read.min(wake.scratch.len()).saturating_sub(kept.len());
        // What can't be kept stays in the socket: that is backpressure.
        if ahead.leaves().is_some() || room == 0 || !kept.book(room) {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(&mut wake.scratch[..room]);
        let polled = Pin::new(from).poll_read(cx, &mut buf);
        let read = buf.filled();
        kept.push_booked(read, room);
        let more = ready!(polled).is_ok() && !read.is_empty();
        if !more {
            ahead.lost(wake.now);
            return Poll::Pending;
        }
        ahead.look(kept, read.len(), wake.now);
        Poll::Ready(())
    }

    /// Puts what is to be judged at the front of the scratch buffer: how much, or none at the end of the stream.
    fn poll_input(&mut self, cx: &mut Context<'_>, from: &mut Stream, wake: &mut Wake<'_>) -> Poll<Option<usize>> {
        let held = self.backlog.kept.len();
        let mut filled = held;
        if !self.look_again {
            let end = wake.scratch.len().min(held + wake.read);
            let mut buf = ReadBuf::new(&mut wake.scratch[held..end]);
            // An error here is a reset or a TLS fault: in either case nothing more comes.
            if ready!(Pin::new(from).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(None);
            }
            filled += buf.filled().len();
            self.ahead = None;
        }
        // Also of bytes that waited here for their turn: while they did, their sender was not idle.
        self.heard = wake.now;
        self.look_again = false;
        self.backlog.hand_over(wake.scratch);
        Poll::Ready(Some(filled))
    }

    /// Judges the first `filled` bytes of the scratch buffer and sends or keeps them.
    fn work(&mut self, cx: &mut Context<'_>, to: &mut Stream, filled: usize, wake: &mut Wake<'_>) -> Option<Event> {
        if self.sender == Sender::Ignored {
            return None;
        }
        let mut at = 0;
        let mut lost = None;
        loop {
            let mode = self.own.mode();
            let input = &wake.scratch[at..filled];
            let (pass, then) = self.judge.judge(input, wake.now, mode, &mut wake.tally);
            if mode != Mode::Discard && pass > 0 {
                wake.bytes += pass as u64;
                lost = match self.backlog.forward(cx, to, input, pass) {
                    Ok(true) => None,
                    Ok(false) => Some(Event::NoRoom),
                    Err(_) => Some(Event::ReceiverLost),
                };
                if lost.is_some() {
                    // The sender may have said its Close behind this, or just here: that is found all the same.
                    self.abandon_receiver();
                }
            }
            at += pass;
            match then {
                Then::Skip(len) => at += len,
                Then::More | Then::Wait | Then::Boundary => {
                    self.look_again = then == Then::Wait;
                    // Behind our own Close nothing counts but the sender's: that is found by looking again.
                    self.look_again |= then == Then::Boundary && at < filled;
                    let rest = &wake.scratch[at..filled];
                    if then == Then::Wait && !self.backlog.has_room(rest.len()) {
                        self.look_again = false;
                        self.sender = Sender::Ignored;
                        return Some(Event::Violation(self.judge.no_room_to_wait()));
                    }
                    self.backlog.kept.push(rest);
                    return lost;
                }
                // These two end the session, whether or not the receiver is lost.
                Then::Closed(code) => {
                    self.sender = Sender::Done;
                    self.own.end();
                    return Some(Event::Closed(code));
                }
                Then::Violation(violation) => {
                    let rest = &wake.scratch[at..filled];
                    // Without room for the rest its Close is not looked for.
                    let fits = self.backlog.has_room(rest.len());
                    if self.judge.survives(&violation) && fits {
                        self.backlog.kept.push(rest);
                        self.look_again = true;
                    } else {
                        self.sender = Sender::Ignored;
                    }
                    return Some(Event::Violation(violation));
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
