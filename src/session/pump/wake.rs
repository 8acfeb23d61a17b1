//! What one wake brings along for a direction, and what a session hears of it.

use crate::session::frame::Violation;
use crate::session::judge::Tally;

/// What a session has to know of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sender's Close was seen, and passed on unless the receiver had one already. Nothing after it counts.
    Closed(Option<u16>),
    /// The sender's connection ended without a Close.
    SenderLost,
    /// The receiver's connection takes nothing more.
    ReceiverLost,
    /// The receiver did not take all, and there is no memory left to keep it in: nobody hears this direction any more.
    NoRoom,
    /// The sender broke a rule; nothing it sends counts any more.
    Violation(Violation),
}

/// What one wake has to do its work with.
pub struct Wake<'a> {
    /// The thread's buffer.
    pub scratch: &'a mut [u8],
    /// [`crate::now::Now::mono`].
    pub now: u64,
    /// How much may be read at once; at most [`super::READ`].
    pub read: usize,
    /// What was seen.
    pub tally: Tally,
    /// Bytes that passed.
    pub bytes: u64,
}

impl<'a> Wake<'a> {
    /// With nothing seen yet.
    #[must_use]
    pub fn new(scratch: &'a mut [u8], now: u64, read: usize) -> Self {
        Self { scratch, now, read, tally: Tally::default(), bytes: 0 }
    }
}
