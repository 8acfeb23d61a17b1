//! What may pass: the frame machine and the message limit of one direction, as one pure step.
//!
//! Bytes in, a number of bytes out that may be forwarded as they are, and what comes then. No socket and no clock here;
//! [`super::pump`] does what this says.

use std::sync::Arc;

use super::frame::{self, Control, Frames, Seen, Violation};
use crate::config::OnExcess;
use crate::config::value::Rate;
use crate::deny::{Deny, Direction};
use crate::policy::bucket::{self, Bucket, Verdict};
use crate::policy::route::MessageLimit;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything that may pass, passes.
    Open,
    /// Only the rest of the frame under way: a Close of our own waits for the boundary.
    ToBoundary,
    /// Only the rest of the message under way: a message of our own waits for its end.
    ToMessage,
    /// Nothing is forwarded or limited any more; only the other side's Close is of interest.
    Discard,
}

/// What comes behind the bytes that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing can be said before more bytes are here. What is left, at most a control frame, is to be shown again.
    More,
    /// This many bytes are left out: a dropped message, or the answer to a ping of our own.
    Skip(usize),
    /// The rest is to be shown again when [`Judge::waits_until`] is over.
    Wait,
    /// The frame or message under way is over, as [`Mode::ToBoundary`] or [`Mode::ToMessage`] asked.
    Boundary,
    /// The last of the passing bytes were a Close with this code. Nothing after it counts.
    Closed(Option<u16>),
    /// The next bytes may not stand there.
    Violation(Violation),
}

/// What was seen on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that began and passed.
    pub messages: u64,
    /// Messages that had to wait.
    pub delayed: u64,
    /// Messages that were dropped.
    pub dropped: u64,
}

/// The state of one direction.
#[derive(Debug)]
pub struct Judge {
    frames: Frames,
    /// The route's own: every session of it looks at the same one.
    limit: Option<Arc<MessageLimit>>,
    bucket: Option<Bucket>,
    /// Set while a message that is already charged waits for its turn, in [`crate::now::Now::mono`].
    wait_until: Option<u64>,
    /// Whether the message under way is being dropped.
    dropping: bool,
    /// What an answer to our own ping holds, while one is outstanding.
    ping: Option<[u8; 8]>,
}

impl Judge {
    /// For the stream that flows in `direction`; see [`Frames::new`].
    #[must_use]
    pub fn new(direction: Direction, deflate: bool, max_message: u64, limit: Option<Arc<MessageLimit>>) -> Self {
        Self {
            frames: Frames::new(direction, deflate, max_message),
            limit,
            bucket: None,
            wait_until: None,
            dropping: false,
            ping: None,
        }
    }

    /// Whether what was passed so far ends on a frame boundary.
    #[must_use]
    pub fn on_boundary(&self) -> bool {
        self.dropping || self.frames.on_boundary()
    }

    /// Whether it ends between two messages too, so that one of our own may be put here.
    #[must_use]
    pub fn on_message_boundary(&self) -> bool {
        self.dropping || self.frames.on_message_boundary()
    }

    /// The moment until which the next message has to wait, in [`crate::now::Now::mono`].
    #[must_use]
    pub fn waits_until(&self) -> Option<u64> {
        self.wait_until
    }

    /// A ping of our own with this payload is on its way: the pong that answers it will be left out.
    pub fn expect_pong(&mut self, payload: [u8; 8]) {
        self.ping = Some(payload);
    }

    /// Whether our own ping is still unanswered.
    #[must_use]
    pub fn awaits_pong(&self) -> bool {
        self.ping.is_some()
    }

    /// After a violation: whether what follows is still frames, so that the sender's Close can be found among them.
    pub fn survives(&mut self, violation: &Violation) -> bool {
        self.frames.forget_max_message();
        violation.deny != Deny::BadFrame
    }

    /// How many of `input`'s first bytes may pass, and what comes then. `now` is [`crate::now::Now::mono`].
    #[inline]
    pub fn judge(&mut self, input: &[u8], now: u64, mode: Mode, tally: &mut Tally) -> (usize, Then) {
        let mut pass = 0;
        loop {
            if (mode == Mode::ToBoundary && self.on_boundary())
                || (mode == Mode::ToMessage && self.on_message_boundary())
            {
                return (pass, Then::Boundary);
            }
            let seen = match self.frames.look(&input[pass..]) {
                Ok(seen) => seen,
                Err(violation) => return (pass, Then::Violation(violation)),
            };
            let len = match seen {
                Seen::Incomplete => return (pass, Then::More),
                Seen::Payload(here) => here,
                Seen::Header { header, begins, .. } => {
                    if begins && mode == Mode::Open {
                        match self.admit(now, tally) {
                            Admit::Pass => self.dropping = false,
                            Admit::Drop => self.dropping = true,
                            Admit::Wait => return (pass, Then::Wait),
                            Admit::Close => return (pass, Then::Violation(OVER_RATE)),
                        }
                    }
                    header
                }
                Seen::Control { kind, header, len } => {
                    let frame = &input[pass..pass + len];
                    if kind == Control::Close {
                        return (pass + len, Then::Closed(frame::close_code(frame, header)));
                    }
                    if kind == Control::Pong && self.answers_ping(frame, header) {
                        return (pass, Then::Skip(len));
                    }
                    pass += len;
                    continue;
                }
            };
            self.frames.take(&seen);
            if self.dropping {
                return (pass, Then::Skip(len));
            }
            pass += len;
        }
    }

    /// Charges the message that begins here, once, however often it has to be looked at.
    #[inline]
    fn admit(&mut self, now: u64, tally: &mut Tally) -> Admit {
        let Some(MessageLimit { limit, on_excess }) = self.limit.as_deref() else {
            tally.messages += 1;
            return Admit::Pass;
        };
        if let Some(until) = self.wait_until {
            if now < until {
                return Admit::Wait;
            }
            self.wait_until = None;
            tally.messages += 1;
            return Admit::Pass;
        }
        match (bucket::hit(&mut self.bucket, limit, Rate::ONE, now), on_excess) {
            (Verdict::Pass, _) => {
                tally.messages += 1;
                Admit::Pass
            }
            (Verdict::Wait(ms), _) => {
                tally.delayed += 1;
                self.wait_until = Some(now.saturating_add(ms));
                Admit::Wait
            }
            (Verdict::Reject { .. }, OnExcess::Drop) => {
                tally.dropped += 1;
                Admit::Drop
            }
            (Verdict::Reject { .. }, OnExcess::Close | OnExcess::Delay) => Admit::Close,
        }
    }

    fn answers_ping(&mut self, frame: &[u8], header: usize) -> bool {
        let Some(payload) = self.ping else { return false };
        let answers = frame.len() == header + payload.len() && frame::unmasked(frame, header).starts_with(&payload);
        if answers {
            self.ping = None;
        }
        answers
    }
}

/// What the limit says of a message that begins.
enum Admit {
    Pass,
    Drop,
    Wait,
    Close,
}

const OVER_RATE: Violation = Violation { deny: Deny::MessageRate, why: "more messages than rate and burst allow" };

#[cfg(test)]
mod tests;
