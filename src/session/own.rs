//! The gateway's own frames in one direction: which are due, and where in the stream each may stand.
//!
//! A control frame may stand between any two frames, also those of one message (RFC 6455 s5.4). A message of ours may stand
//! only between two messages: while it waits for that, the message under way still passes, and none begins behind it.

use super::frame::{self, Control};
use super::judge::{Judge, Mode};

/// What the receiver has been told of the end.
#[derive(Debug, Default, PartialEq, Eq)]
enum Farewell {
    #[default]
    NotYet,
    /// This Close frame, as soon as the stream stands on a boundary.
    Due(Vec<u8>),
    /// A Close was put into the stream, or nobody is there to hear one.
    Said,
}

/// What is still to be put into the stream; nothing at first.
#[derive(Debug, Default)]
pub struct Own {
    farewell: Farewell,
    /// What a ping of our own will hold.
    ping: Option<[u8; 8]>,
    /// A whole Text frame.
    notice: Option<Box<[u8]>>,
}

impl Own {
    /// Whether the end has not come yet.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.farewell == Farewell::NotYet
    }

    /// Whether nothing of ours stands behind what has been put into the stream.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.farewell == Farewell::Said
    }

    /// The end, with this Close frame; the first one counts.
    pub fn say_farewell(&mut self, close: Vec<u8>) {
        if self.goes_on() {
            self.farewell = Farewell::Due(close);
        }
    }

    /// The end, and no Close of ours: there was one, or nobody hears it, or it has nowhere to stand.
    pub fn end(&mut self) {
        self.farewell = Farewell::Said;
    }

    /// A ping, on the next boundary of frames.
    pub fn ping(&mut self, payload: [u8; 8]) {
        self.ping = Some(payload);
    }

    /// Whether that ping has not been put into the stream yet.
    #[must_use]
    pub fn owes_a_ping(&self) -> bool {
        self.ping.is_some()
    }

    /// A message, on the next boundary of messages: a whole frame of its own, or none any more.
    pub fn notice(&mut self, frame: Option<Box<[u8]>>) {
        self.notice = frame;
    }

    /// How far the sender's bytes may go. A frame of our own needs a boundary to be stopped at: in a dense stream every read
    /// ends in the midst of a frame.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.farewell {
            Farewell::NotYet if self.ping.is_some() => Mode::ToBoundary,
            Farewell::NotYet if self.notice.is_some() => Mode::ToMessage,
            Farewell::NotYet => Mode::Open,
            Farewell::Due(_) => Mode::ToBoundary,
            Farewell::Said => Mode::Discard,
        }
    }

    /// What is to be put here, where the judge stands; and whether it is a ping.
    pub fn take(&mut self, judge: &Judge) -> Option<(Vec<u8>, bool)> {
        if !judge.on_boundary() {
            return None;
        }
        match &mut self.farewell {
            Farewell::Due(close) => {
                let close = std::mem::take(close);
                *self = Self { farewell: Farewell::Said, ..Self::default() };
                Some((close, false))
            }
            Farewell::NotYet => match self.ping.take() {
                Some(payload) => Some((frame::control(Control::Ping, &payload, None), true)),
                None if judge.on_message_boundary() => Some((self.notice.take()?.into_vec(), false)),
                None => None,
            },
            Farewell::Said => None,
        }
    }
}
