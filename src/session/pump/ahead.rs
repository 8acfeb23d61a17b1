//! What a sender has said behind frames that wait for their turn: whether it leaves.
//!
//! It looks at headers only, each once, however the bytes come; nothing is judged, charged or forwarded by it.

use crate::session::frame::{self, Control, Frames, Seen};

/// How a sender leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// By a Close with this code.
    Close(Option<u16>),
    /// Its connection ended without one.
    Lost,
}

/// A sender that leaves, and since when that is known, in [`crate::now::Now::mono`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaves {
    /// How.
    pub how: Farewell,
    /// When it was seen.
    pub since: u64,
}

/// Where the look ahead stands.
#[derive(Debug)]
pub(super) struct Ahead {
    frames: Frames,
    /// Bytes at the end of those that wait which can't be told yet. So it does not matter what goes on from their front.
    untold: usize,
    /// Whether there is no telling any more: what can't be a frame came.
    blind: bool,
    leaves: Option<Leaves>,
}

impl Ahead {
    /// Looks at all that waits; `frames` stands before it.
    pub(super) fn new(frames: Frames, waiting: &[u8], now: u64) -> Self {
        let mut ahead = Self { frames, untold: 0, blind: false, leaves: None };
        ahead.look(waiting, waiting.len(), now);
        ahead
    }

    /// What is known of it.
    pub(super) fn leaves(&self) -> Option<Leaves> {
        self.leaves
    }

    /// The stream has ended behind what waits.
    pub(super) fn lost(&mut self, now: u64) {
        self.leaves.get_or_insert(Leaves { how: Farewell::Lost, since: now });
    }

    /// Looks on: the last `more` bytes of `waiting` are new.
    pub(super) fn look(&mut self, waiting: &[u8], more: usize, now: u64) {
        self.untold += more;
        while !self.blind && self.leaves.is_none() {
            let rest = &waiting[waiting.len().saturating_sub(self.untold)..];
            let seen = match self.frames.look(rest) {
                Ok(seen) => seen,
                Err(_) => {
                    // The judge will come to it, and say what it is.
                    self.blind = true;
                    return;
                }
            };
            let len = match seen {
                Seen::Incomplete => return,
                Seen::Payload(here) => here,
                Seen::Header { header, .. } => header,
                Seen::Control { kind, header, len } => {
                    if kind == Control::Close {
                        let how = Farewell::Close(frame::close_code(&rest[..len], header));
                        self.leaves = Some(Leaves { how, since: now });
                    }
                    len
                }
            };
            self.frames.take(&seen);
            self.untold -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deny::Direction::{ToClient, ToUpstream};
    use crate::session::frame::tests::wire::Wire;

    #[test]
    fn a_close_is_found_in_any_split_and_whatever_goes_on_from_the_front() {
        for direction in [ToUpstream, ToClient] {
            let message = Wire::text(direction, b"a message that waits").bytes();
            let ping = Wire::control(direction, 9, b"ping").bytes();
            let close = Wire::close(direction, 4000).bytes();
            let all = [&message[..], &ping, &message, &close, b"\xff\xff nothing of this counts"].concat();
            let whole = all.len() - 25;
            for split in 1..whole {
                let mut ahead = Ahead::new(Frames::new(direction, false, u64::MAX), &all[..split], 1);
                assert_eq!(ahead.leaves(), None, "{split}");
                // The first message has got its turn meanwhile, if it was here.
                let front = if split > message.len() { message.len() } else { 0 };
                ahead.look(&all[front..], all.len() - split, 2);
                let leaves = Leaves { how: Farewell::Close(Some(4000)), since: 2 };
                assert_eq!(ahead.leaves(), Some(leaves), "{split}");
                ahead.lost(3);
                assert_eq!(ahead.leaves(), Some(leaves), "what comes behind a Close does not count");
            }
        }
    }

    #[test]
    fn behind_what_is_no_frame_no_close_is_looked_for_but_an_end_is_seen() {
        let close = Wire::close(ToClient, 1000).bytes();
        let mut ahead = Ahead::new(Frames::new(ToClient, false, u64::MAX), &[0x83, 0], 1);
        ahead.look(&[&[0x83, 0], &close[..]].concat(), close.len(), 2);
        assert_eq!(ahead.leaves(), None);
        ahead.lost(3);
        assert_eq!(ahead.leaves(), Some(Leaves { how: Farewell::Lost, since: 3 }));
    }
}
