//! What may pass: the frame machine and the limits of one direction, as one pure step.
//!
//! Bytes in, a number of bytes out that may be forwarded as they are, and what comes then. No socket and no clock here;
//! [`super::pump`] does what this says.

use super::frame::{self, Control, Frames, Seen, Violation};
use crate::deny::{Deny, Direction};
use crate::policy::flow::Fragments;
use crate::policy::limit::{Action, Exceeded};
use crate::policy::meter::{Answer, Charge, Meter, Part};

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
    /// This many bytes are left out: a dropped message or control frame, or the answer to a ping of our own.
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
    /// None where nothing is limited.
    meter: Option<Box<Meter>>,
    fragments: Option<Fragments>,
    /// Frames of the message under way.
    frames_of_message: u32,
    /// Messages that had too many frames, since it was last asked.
    too_many: u32,
    /// Set while a frame waits for its turn, in [`crate::now::Now::mono`].
    wait_until: Option<u64>,
    /// Whether it is to be charged when that is over, since it could not be told before.
    asks_again: bool,
    /// Whether the message under way is being dropped.
    dropping: bool,
    /// What an answer to our own ping holds, while one is outstanding.
    ping: Option<[u8; 8]>,
}

impl Judge {
    /// For the stream that flows in `direction`; see [`Frames::new`].
    #[must_use]
    pub fn new(
        direction: Direction,
        deflate: bool,
        max_message: u64,
        meter: Option<Box<Meter>>,
        fragments: Option<Fragments>,
    ) -> Self {
        Self {
            frames: Frames::new(direction, deflate, max_message),
            meter,
            fragments,
            frames_of_message: 0,
            too_many: 0,
            wait_until: None,
            asks_again: false,
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

    /// The moment until which the next frame has to wait, in [`crate::now::Now::mono`].
    #[must_use]
    pub fn waits_until(&self) -> Option<u64> {
        self.wait_until
    }

    /// Where it stands in the stream of frames.
    #[must_use]
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// The end for a frame that has to wait, and no memory left for it to wait in; the reason is the limit's.
    #[cold]
    #[must_use]
    pub fn no_room_to_wait(&self) -> Violation {
        let deny = self.meter.as_ref().map_or(Deny::MessageRate, |meter| meter.held_for());
        Violation { deny, why: "more than the rate allows, and no memory left to keep it in" }
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
                Seen::Header { header, payload, begins, .. } => {
                    if mode != Mode::Discard {
                        let wire = payload.saturating_add(header as u64);
                        let part = if begins { Part::Begin } else { Part::Continuation };
                        match self.admit(Charge { part, wire }, now, tally) {
                            Admit::Pass => self.dropping = false,
                            Admit::Drop => self.dropping = true,
                            Admit::Wait => return (pass, Then::Wait),
                            Admit::Close(deny) => return (pass, Then::Violation(over(deny))),
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
                    if mode != Mode::Discard {
                        match self.admit(Charge { part: Part::Control, wire: len as u64 }, now, tally) {
                            Admit::Pass => {}
                            Admit::Drop => return (pass, Then::Skip(len)),
                            Admit::Wait => return (pass, Then::Wait),
                            Admit::Close(deny) => return (pass, Then::Violation(over(deny))),
                        }
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

    /// Charges the frame that begins here, once, however often it has to be looked at.
    #[inline]
    fn admit(&mut self, charge: Charge, now: u64, tally: &mut Tally) -> Admit {
        let begins = charge.part == Part::Begin;
        if let Some(until) = self.wait_until {
            if now < until {
                return Admit::Wait;
            }
            self.wait_until = None;
            if !self.asks_again {
                tally.messages += u64::from(begins);
                return Admit::Pass;
            }
        }
        // A frame is counted once, however often it is asked for.
        let again = std::mem::take(&mut self.asks_again);
        if charge.part != Part::Control && !again && self.exceeds_fragments(begins) {
            return Admit::Close(Deny::TooManyFragments);
        }
        if charge.part == Part::Continuation && self.dropping {
            return Admit::Drop;
        }
        match self.meter.as_mut().map_or(Answer::Pass, |meter| meter.charge(charge, now)) {
            Answer::Pass => {
                tally.messages += u64::from(begins);
                Admit::Pass
            }
            Answer::Wait(ms) => {
                tally.delayed += u64::from(begins);
                self.wait_until = Some(now.saturating_add(ms));
                Admit::Wait
            }
            Answer::Again(ms) => {
                self.wait_until = Some(now.saturating_add(ms));
                self.asks_again = true;
                Admit::Wait
            }
            Answer::Drop => {
                tally.dropped += u64::from(begins);
                Admit::Drop
            }
            Answer::Close(deny) => Admit::Close(deny),
        }
    }

    /// Counts a frame of a message. Whether it is the one too many, and that is not only counted.
    #[inline]
    fn exceeds_fragments(&mut self, begins: bool) -> bool {
        let Some(Fragments { max, dry_run, .. }) = self.fragments else { return false };
        self.frames_of_message = if begins { 1 } else { self.frames_of_message.saturating_add(1) };
        // Once a message, also where it goes on.
        if self.frames_of_message != max.saturating_add(1) {
            return false;
        }
        self.too_many += 1;
        !dry_run
    }

    #[cfg(test)]
    pub(super) fn is_metered(&self) -> bool {
        self.meter.is_some()
    }

    /// Tells what has exceeded which limit, and how often, since it was last asked.
    #[inline]
    pub fn take_exceeded(&mut self, mut tell: impl FnMut(Exceeded, u64)) {
        if self.too_many > 0
            && let Some(Fragments { id, .. }) = self.fragments
        {
            tell(Exceeded { limit: id, action: Action::Close }, u64::from(std::mem::take(&mut self.too_many)));
        }
        if let Some(meter) = &mut self.meter {
            meter.take_exceeded(tell);
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

/// What the limits say of a frame.
enum Admit {
    Pass,
    Drop,
    Wait,
    Close(Deny),
}

/// The end for what a limit does not allow; the reason says which.
const fn over(deny: Deny) -> Violation {
    let why = if matches!(deny, Deny::StoreUnavailable) {
        "without Redis a limit of the route can't be told"
    } else {
        "more than a limit of the route allows"
    };
    Violation { deny, why }
}

#[cfg(test)]
mod tests;
