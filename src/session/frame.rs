//! RFC 6455's frames as a machine: the bytes of one direction in, what stands at their front out.
//!
//! Pure, without a buffer of its own: it may be fed any split of the stream, so long as what it called
//! [`Seen::Incomplete`] comes again with more behind it. [`Frames::look`] only looks; [`Frames::take`] moves on, so that a
//! caller can look at a header, think, and look at it again later.
//!
//! Data frames are known from their header alone. Control frames, at most 139 bytes, are seen whole or not at all.

use crate::deny::{Deny, Direction};

/// The longest header: 2 bytes, 8 of length, 4 of mask (RFC 6455 s5.2).
pub const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455 s5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// The control frames (RFC 6455 s5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Opcode 8.
    Close,
    /// Opcode 9.
    Ping,
    /// Opcode 10.
    Pong,
}

/// What stands at the front of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Part of a header or of a control frame.
    Incomplete,
    /// The header of a data frame.
    Header {
        /// Bytes of the header.
        header: usize,
        /// Bytes of the payload, of which none need be here yet.
        payload: u64,
        /// Whether a message begins with it.
        begins: bool,
        /// Whether it is its message's last frame.
        fin: bool,
    },
    /// This many bytes of payload of the data frame under way; never none.
    Payload(usize),
    /// A whole control frame.
    Control {
        /// Which.
        kind: Control,
        /// Bytes of its header.
        header: usize,
        /// Bytes of header and payload together.
        len: usize,
    },
}

/// Bytes that may not stand in this stream, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `bad_frame` or `message_too_big`.
    pub deny: Deny,
    /// What is wrong, for the log.
    pub why: &'static str,
}

const fn bad(why: &'static str) -> Violation {
    Violation { deny: Deny::BadFrame, why }
}

/// Where one direction of a session stands in its stream of frames.
#[derive(Clone, Debug)]
pub struct Frames {
    /// Payload of the frame under way that is still to come.
    remaining: u64,
    /// Payload of the message under way, over all its frames so far, and the most there may be.
    message: u64,
    max_message: u64,
    /// Whether a message waits for its continuation.
    fragmented: bool,
    masked: bool,
    deflate: bool,
}

impl Frames {
    /// At the start of the stream that flows in `direction`. `deflate` says whether the 101 agreed on permessage-deflate,
    /// without which RSV1 has no meaning (RFC 7692 s6); `max_message` is in bytes as they stand on the wire.
    #[must_use]
    pub fn new(direction: Direction, deflate: bool, max_message: u64) -> Self {
        Self {
            remaining: 0,
            message: 0,
            max_message,
            fragmented: false,
            masked: direction == Direction::ToUpstream,
            deflate,
        }
    }

    /// Lets messages of any size through from now on: once one was too big, the rest is only read to find the Close.
    pub fn forget_max_message(&mut self) {
        self.max_message = u64::MAX;
    }

    /// Whether the stream stands between two frames, so that a control frame of our own may be put here.
    #[must_use]
    pub fn on_boundary(&self) -> bool {
        self.remaining == 0
    }

    /// Whether it stands between two messages, so that a message of our own may be put here (RFC 6455 s5.4).
    #[must_use]
    pub fn on_message_boundary(&self) -> bool {
        self.remaining == 0 && !self.fragmented
    }

    /// What stands at the front of `input`.
    ///
    /// # Errors
    /// What RFC 6455 forbids, as soon as the bytes that show it are here.
    #[inline]
    pub fn look(&self, input: &[u8]) -> Result<Seen, Violation> {
        if self.remaining > 0 {
            // Bounded by the slice's own length before the cast.
            let here = self.remaining.min(input.len() as u64) as usize;
            return Ok(if here == 0 { Seen::Incomplete } else { Seen::Payload(here) });
        }
        let &[first, second, ..] = input else { return Ok(Seen::Incomplete) };
        let fin = first & 0x80 != 0;
        let opcode = first & 0x0f;
        if (second & 0x80 != 0) != self.masked {
            return Err(bad(if self.masked {
                "a client's frame is not masked"
            } else {
                "an upstream's frame is masked"
            }));
        }
        if opcode >= 8 {
            return self.look_at_control(input, first, second);
        }
        self.check_first_byte(first)?;
        let Some((header, payload)) = length(input, second)? else { return Ok(Seen::Incomplete) };
        if self.message_before(opcode).saturating_add(payload) > self.max_message {
            return Err(Violation { deny: Deny::MessageTooBig, why: "a message is over max_message_size" });
        }
        Ok(Seen::Header { header, payload, begins: opcode != 0, fin })
    }

    /// Moves past what [`Frames::look`] saw.
    #[inline]
    pub fn take(&mut self, seen: &Seen) {
        match *seen {
            Seen::Incomplete | Seen::Control { .. } => {}
            Seen::Payload(here) => self.remaining -= here as u64,
            Seen::Header { payload, begins, fin, .. } => {
                self.message = if begins { payload } else { self.message.saturating_add(payload) };
                self.fragmented = !fin;
                self.remaining = payload;
            }
        }
    }

    fn message_before(&self, opcode: u8) -> u64 {
        if opcode == 0 { self.message } else { 0 }
    }

    fn check_first_byte(&self, first: u8) -> Result<(), Violation> {
        let opcode = first & 0x0f;
        if first & 0x30 != 0 {
            return Err(bad("RSV2 or RSV3 is set"));
        }
        if first & 0x40 != 0 && (!self.deflate || opcode == 0) {
            return Err(bad("RSV1 is set without permessage-deflate, or on a continuation"));
        }
        match (opcode, self.fragmented) {
            (0, false) => Err(bad("a continuation without a message")),
            (1 | 2, true) => Err(bad("a new message inside an unfinished one")),
            (0..=2, _) => Ok(()),
            _ => Err(bad("a reserved opcode")),
        }
    }

    fn look_at_control(&self, input: &[u8], first: u8, second: u8) -> Result<Seen, Violation> {
        let kind = match first & 0x0f {
            8 => Control::Close,
            9 => Control::Ping,
            10 => Control::Pong,
            _ => return Err(bad("a reserved opcode")),
        };
        if first & 0x70 != 0 {
            return Err(bad("a control frame with a reserved bit"));
        }
        let payload = usize::from(second & 0x7f);
        if first & 0x80 == 0 || payload > MAX_CONTROL_PAYLOAD {
            return Err(bad("a control frame in fragments or over 125 bytes"));
        }
        let header = if self.masked { 6 } else { 2 };
        let len = header + payload;
        let Some(frame) = input.get(..len) else { return Ok(Seen::Incomplete) };
        if kind == Control::Close {
            check_close(&frame[header..], &unmasked(frame, header))?;
        }
        Ok(Seen::Control { kind, header, len })
    }
}

/// Header and payload length, once the whole header is here.
#[inline]
fn length(input: &[u8], second: u8) -> Result<Option<(usize, u64)>, Violation> {
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let (fixed, payload) = match second & 0x7f {
        126 => {
            let Some(&[high, low]) = input.get(2..4).and_then(|b| b.first_chunk()) else { return Ok(None) };
            (4, u64::from(u16::from_be_bytes([high, low])))
        }
        127 => {
            let Some(bytes) = input.get(2..10).and_then(|b| b.first_chunk()) else { return Ok(None) };
            (10, u64::from_be_bytes(*bytes))
        }
        short => (2, u64::from(short)),
    };
    // RFC 6455 s5.2: the minimal number of bytes must be used, and the most significant bit must be 0.
    if (fixed == 4 && payload < 126) || (fixed == 10 && payload <= 0xffff) {
        return Err(bad("a length that is not in its shortest form"));
    }
    if payload > i64::MAX as u64 {
        return Err(bad("a length of 2^63 or more"));
    }
    let header = fixed + mask;
    Ok((input.len() >= header).then_some((header, payload)))
}

/// A control frame's payload in the clear, and how much of it counts. `frame` is whole; `header` is its header's length.
#[must_use]
pub fn unmasked(frame: &[u8], header: usize) -> [u8; MAX_CONTROL_PAYLOAD] {
    let mut clear = [0; MAX_CONTROL_PAYLOAD];
    let mask = if header == 6 { [frame[2], frame[3], frame[4], frame[5]] } else { [0; 4] };
    for (at, (to, from)) in clear.iter_mut().zip(&frame[header..]).enumerate() {
        *to = from ^ mask[at % 4];
    }
    clear
}

/// The code of a whole Close frame; none where it gives none (RFC 6455 s7.1.5 calls that 1005).
#[must_use]
pub fn close_code(frame: &[u8], header: usize) -> Option<u16> {
    (frame.len() >= header + 2).then(|| {
        let clear = unmasked(frame, header);
        u16::from_be_bytes([clear[0], clear[1]])
    })
}

/// RFC 6455 s5.5.1 and s7.4: no body, or a code that may stand on the wire and a reason in UTF-8.
fn check_close(payload: &[u8], clear: &[u8; MAX_CONTROL_PAYLOAD]) -> Result<(), Violation> {
    match payload.len() {
        0 => return Ok(()),
        1 => return Err(bad("a Close with half a code")),
        _ => {}
    }
    // 1014 is IANA's, later than the RFC; 1004 to 1006 and 1015 never stand in a frame.
    let code = u16::from_be_bytes([clear[0], clear[1]]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(bad("a Close with a code that may not be sent"));
    }
    if std::str::from_utf8(&clear[2..payload.len()]).is_err() {
        return Err(bad("a Close with a reason that is not UTF-8"));
    }
    Ok(())
}

/// A control frame of our own. `mask` is given towards the upstream, and is to be unpredictable (RFC 6455 s5.3).
#[must_use]
pub fn control(kind: Control, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
    let opcode = match kind {
        Control::Close => 8,
        Control::Ping => 9,
        Control::Pong => 10,
    };
    let mut frame = Vec::with_capacity(6 + payload.len());
    // At most 125, see above.
    let length = payload.len() as u8;
    match mask {
        None => {
            frame.extend([0x80 | opcode, length]);
            frame.extend_from_slice(payload);
        }
        Some(mask) => {
            frame.extend([0x80 | opcode, 0x80 | length]);
            frame.extend(mask);
            frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        }
    }
    frame
}

/// A Close frame with a code and a reason.
#[must_use]
pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend(code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    control(Control::Close, &payload, mask)
}

/// A Text message of our own to a client: one frame, not masked. RSV1 stays 0, which is a message that is not compressed
/// also where permessage-deflate was agreed on (RFC 7692 s6.1).
#[must_use]
pub fn text(text: &str) -> Box<[u8]> {
    let length = text.len() as u64;
    let mut frame = vec![0x81];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend(length.to_be_bytes());
        }
    }
    frame.extend_from_slice(text.as_bytes());
    frame.into()
}

#[cfg(test)]
pub(super) mod tests;
