//! What one direction holds of its stream: bytes that wait for the receiver, and behind them bytes that wait for the judge.
//!
//! What is taken at once never comes to stand here. Nothing is decided here either.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::session::buffered::{Buffered, Kept};
use crate::stream::Stream;

/// The time since which nothing waits.
const NOTHING: u64 = u64::MAX;

/// The bytes of one direction that are in memory.
#[derive(Debug)]
pub(super) struct Backlog {
    /// `[sent..judged]` waits for the receiver, `[judged..]` for the judge. Empty, without capacity, while nothing flows.
    pub(super) kept: Kept,
    pub(super) sent: usize,
    pub(super) judged: usize,
    /// Whether TLS may still hold bytes that the socket did not take.
    unflushed: bool,
    /// Since when something waits for a receiver that took no byte; [`NOTHING`] while nothing does.
    waits_since: u64,
    /// Whether a ping of our own stands in the stream and waits for the receiver; what is kept behind it is not its affair.
    ping_waits: bool,
}

impl Backlog {
    /// With the bytes that came with the handshake, which wait for the judge.
    pub(super) fn new(first: &[u8], total: Arc<Buffered>) -> Self {
        let kept = Kept::new(first, total);
        Self { kept, sent: 0, judged: 0, unflushed: false, waits_since: NOTHING, ping_waits: false }
    }

    /// Whether all that was judged was sent.
    pub(super) fn is_sent(&self) -> bool {
        self.sent == self.judged
    }

    /// Whether the receiver's socket has it all.
    pub(super) fn is_delivered(&self) -> bool {
        self.is_sent() && !self.unflushed
    }

    /// Since when the receiver has taken no byte of what waits for it.
    pub(super) fn waits_since(&self) -> Option<u64> {
        Some(self.waits_since).filter(|&since| since != NOTHING)
    }

    /// Whether a ping of our own has not gone out yet.
    pub(super) fn holds_a_ping(&self) -> bool {
        self.ping_waits
    }

    /// Notes whether something waits for the receiver at this moment.
    pub(super) fn look_at_clock(&mut self, now: u64) {
        if self.is_delivered() {
            self.waits_since = NOTHING;
        } else if self.waits_since == NOTHING {
            self.waits_since = now;
        }
    }

    /// Sends what is judged. Ready once there is none left.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> Poll<io::Result<()>> {
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

    /// Writes at once what the receiver takes of the first `pass` bytes of `input`, and keeps the rest of them. False:
    /// there is no room for it.
    pub(super) fn forward(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
        input: &[u8],
        pass: usize,
    ) -> io::Result<bool> {
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

    /// Has whatever TLS holds go out, as far as it goes.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>, to: &mut Stream) -> io::Result<()> {
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(to).poll_flush(cx)
        {
            self.unflushed = false;
            return flushed;
        }
        Ok(())
    }

    /// Puts a frame of our own in front, once all that was judged is sent.
    pub(super) fn put_front(&mut self, frame: Vec<u8>, is_ping: bool) {
        self.ping_waits = is_ping;
        self.judged = frame.len();
        self.kept.put_front(frame);
    }

    /// Makes room for so many bytes to wait for the judge. False: there is none.
    pub(super) fn has_room(&mut self, more: usize) -> bool {
        !self.kept.is_empty() || self.kept.make_room(more)
    }

    /// Moves all to the front of `scratch`, to be judged: nothing is held any more.
    pub(super) fn hand_over(&mut self, scratch: &mut [u8]) {
        if !self.kept.is_empty() {
            scratch[..self.kept.len()].copy_from_slice(&self.kept);
            self.kept.clear();
            self.sent = 0;
            self.judged = 0;
        }
    }

    /// Nobody hears it any more: what waits for the receiver is thrown away.
    pub(super) fn abandon_receiver(&mut self) {
        self.unflushed = false;
        self.sent = self.judged;
        self.forget_sent();
    }

    /// Throws away what waits for the judge.
    pub(super) fn drop_unjudged(&mut self) {
        self.kept.truncate(self.judged);
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

    /// The receiver has taken something, as far as one can see.
    fn note_taken(&mut self) {
        self.unflushed = true;
        self.waits_since = NOTHING;
    }
}
