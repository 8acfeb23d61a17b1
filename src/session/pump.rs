//! One direction of a session: reads, asks the judge, writes on at once, and keeps only what the receiver did not take.
//!
//! While nothing flows there is no buffer. While the receiver does not take, nothing is read: that is the whole of
//! backpressure. A pump never decides that a session ends; it says what happened.

mod wake;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::buffered::{Buffered, Kept};
use super::frame::Violation;
use super::judge::{Judge, Mode, Then};
use super::own::Own;
use crate::deny::Deny;
use crate::policy::limit::Exceeded;
use crate::stream::Stream;

pub use wake::{Event, Wake};

/// Bytes of one read, of which a frame may be any part.
pub const READ: usize = 64 * 1024;

/// Reads in one wake. A sender that is never done must leave the other direction its turn, and the worker's other sessions.
const TURN: usize = 16;

/// The time since which nothing waits.
const NOTHING: u64 = u64::MAX;

/// A message that has to wait for its rate, and no memory left for it to wait in.
const NO_ROOM_TO_WAIT: Violation = Violation {
    deny: Deny::MessageRate,
    why: "more messages than the rate allows, and no memory left to keep them in",
};

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
    /// `[sent..judged]` waits for the receiver, `[judged..]` for the judge. Empty, without capacity, while nothing flows.
    kept: Kept,
    sent: usize,
    judged: usize,
    /// Whether what waits for the judge can be judged without more bytes.
    look_again: bool,
    /// Whether TLS may still hold bytes that the socket did not take.
    unflushed: bool,
    /// Since when something waits for a receiver that took no byte; [`NOTHING`] while nothing does.
    waits_since: u64,
    own: Own,
    sender: Sender,
    /// Whether a ping of our own stands in the stream and waits for the receiver; what is kept behind it is not its affair.
    ping_waits: bool,
    heard: u64,
}

impl Pump {
    /// A direction whose sender's first bytes came with the handshake, and what it keeps counts in `total`. `now` is
    /// [`crate::now::Now::mono`].
    #[must_use]
    pub fn new(judge: Judge, first: &[u8], total: Arc<Buffered>, now: u64) -> Self {
        Self {
            judge,
            kept: Kept::new(first, total),
            sent: 0,
            judged: 0,
            look_again: !first.is_empty(),
            unflushed: false,
            waits_since: NOTHING,
            own: Own::default(),
            sender: Sender::Speaks,
            ping_waits: false,
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
        self.sent == self.judged && self.waits_until().is_none()
    }

    /// Since when the receiver has taken no byte of what waits for it, in [`crate::now::Now::mono`]. Of what TLS holds it
    /// shows only when all is taken.
    #[must_use]
    pub fn waits_since(&self) -> Option<u64> {
        Some(self.waits_since).filter(|&since| since != NOTHING)
    }

    /// Whether a ping of our own has not gone out yet.
    #[must_use]
    pub fn owes_a_ping(&self) -> bool {
        self.own.owes_a_ping() || self.ping_waits
    }

    /// Whether a Close of the sender may still come: it has not sent one, and has not broken the framing in which to find it.
    #[must_use]
    pub fn awaits_close(&self) -> bool {
        self.sender == Sender::Speaks
    }

    /// Whether the sender went away in the middle of a frame, after which no Close can stand.
    #[must_use]
    pub fn ends_in_a_frame(&self) -> bool {
        self.sender == Sender::Done && !self.judge.on_boundary()
    }

    /// Whether the receiver has got all that it will get.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.own.is_over() && self.sent == self.judged && !self.unflushed
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
        self.unflushed = false;
        self.sent = self.judged;
        self.forget_sent();
    }

    /// Nothing more is awaited from the sender; what waits for the receiver still goes out, without a Close behind it.
    pub fn abandon_sender(&mut self) {
        self.finish_sender();
        self.own.end();
    }

    /// Nothing more comes from the sender; the receiver may yet be told.
    fn finish_sender(&mut self) {
        self.sender = Sender::Done;
        self.kept.truncate(self.judged);
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
        if self.sent == self.judged && !self.unflushed {
            self.waits_since = NOTHING;
        } else if self.waits_since == NOTHING {
            self.waits_since = wake.now;
        }
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
            match self.poll_send(cx, to) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ReceiverLost),
                Poll::Ready(Ok(())) => {}
            }
            if self.put_in_own_frames() {
                continue;
            }
            if self.sender == Sender::Done || self.waits(wake.now) {
                return self.rest(cx, to);
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

    /// Sends what is judged. Ready once there is none left.
    fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
        while self.sent < self.judged {
            let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept[self.sent..self.judged]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
            self.note_taken();
        }
        self.forget_sent();
        Poll::Ready(Ok(()))
    }

    /// Once all that was judged is sent: keeps what is not judged.
    fn forget_sent(&mut self) {
        self.ping_waits = false;
        if self.sent > 0 {
            self.kept.let_go(self.sent);
            self.sent = 0;
            self.judged = 0;
        }
    }

    /// On a boundary, with all before it sent: our own frames. Whether there were any.
    fn put_in_own_frames(&mut self) -> bool {
        let Some((frame, is_ping)) = self.own.take(&self.judge) else { return false };
        self.ping_waits = is_ping;
        self.judged = frame.len();
        self.kept.put_front(frame);
        true
    }

    /// Before a rest: whatever TLS holds goes out. Its errors show at the next write.
    fn rest(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<Event> {
        if self.unflushed {
            match Pin::new(to).poll_flush(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => {
                    self.unflushed = false;
                    return Poll::Ready(Event::ReceiverLost);
                }
            }
        }
        Poll::Pending
    }

    /// Puts what is to be judged at the front of the scratch buffer: how much, or none at the end of the stream.
    fn poll_input(&mut self, cx: &mut Context<'_>, from: &mut Stream, wake: &mut Wake<'_>) -> Poll<Option<usize>> {
        let held = self.kept.len().min(wake.scratch.len());
        let mut filled = held;
        if !self.look_again {
            let end = wake.scratch.len().min(held + wake.read);
            let mut buf = ReadBuf::new(&mut wake.scratch[held..end]);
            // An error here is a reset or a TLS fault: in either case nothing more comes.
            if ready!(Pin::new(from).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                return Poll::Ready(None);
            }
            filled += buf.filled().len();
        }
        // Also of bytes that waited here for their turn: while they did, their sender was not idle.
        self.heard = wake.now;
        self.look_again = false;
        if held > 0 {
            wake.scratch[..held].copy_from_slice(&self.kept[..held]);
            self.keep_nothing();
        }
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
                lost = match self.forward(cx, to, input, pass) {
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
                    if then == Then::Wait && self.kept.is_empty() && !self.kept.make_room(rest.len()) {
                        self.look_again = false;
                        self.sender = Sender::Ignored;
                        return Some(Event::Violation(NO_ROOM_TO_WAIT));
                    }
                    self.kept.push(rest);
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
                    let fits = !self.kept.is_empty() || self.kept.make_room(rest.len());
                    if self.judge.survives(&violation) && fits {
                        self.kept.push(rest);
                        self.look_again = true;
                    } else {
                        self.sender = Sender::Ignored;
                    }
                    return Some(Event::Violation(violation));
                }
            }
        }
    }

    /// Writes at once what the receiver takes of the first `pass` bytes of `input`, and keeps the rest of them. False:
    /// there is no room for it.
    fn forward(&mut self, cx: &mut Context<'_>, to: &mut Stream, input: &[u8], pass: usize) -> io::Result<bool> {
        let mut at = 0;
        while self.kept.is_empty() && at < pass {
            match Pin::new(&mut *to).poll_write(cx, &input[at..pass])? {
                Poll::Pending => break,
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => at += written,
            }
            self.note_taken();
        }
        // All of the input that may have to be kept, at once.
        if self.kept.is_empty() && at < pass && !self.kept.make_room(input.len() - at) {
            return Ok(false);
        }
        self.kept.push(&input[at..pass]);
        self.judged = self.kept.len();
        Ok(true)
    }

    /// The receiver has taken something, as far as one can see.
    fn note_taken(&mut self) {
        self.unflushed = true;
        self.waits_since = NOTHING;
    }

    fn keep_nothing(&mut self) {
        self.kept.clear();
        self.sent = 0;
        self.judged = 0;
    }
}

#[cfg(test)]
pub(super) mod tests;
