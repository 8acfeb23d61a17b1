//! Frames as the two sides send them, for tests of all that reads frames. tungstenite writes their headers, so that no test
//! asks our own code what is right.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::OpCode;

use crate::deny::Direction;

/// One frame. Its payload is in the clear here.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::session) struct Wire {
    pub(in crate::session) fin: bool,
    pub(in crate::session) rsv1: bool,
    pub(in crate::session) opcode: u8,
    pub(in crate::session) mask: Option<[u8; 4]>,
    pub(in crate::session) payload: Vec<u8>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fin, rsv1, opcode, mask, payload } = self;
        write!(f, "Wire(fin {fin}, rsv1 {rsv1}, opcode {opcode}, mask {mask:?}, {} bytes)", payload.len())
    }
}

impl Wire {
    /// A whole message of text.
    pub(in crate::session) fn text(direction: Direction, payload: &[u8]) -> Self {
        Self::control(direction, 1, payload)
    }

    /// Any frame that stands for itself.
    pub(in crate::session) fn control(direction: Direction, opcode: u8, payload: &[u8]) -> Self {
        let mask = (direction == Direction::ToUpstream).then_some([0x1f, 0x2e, 0x3d, 0x4c]);
        Self { fin: true, rsv1: false, opcode, mask, payload: payload.to_vec() }
    }

    /// A Close with a code.
    pub(in crate::session) fn close(direction: Direction, code: u16) -> Self {
        Self::control(direction, 8, &code.to_be_bytes())
    }

    /// As it stands on the wire.
    pub(in crate::session) fn bytes(&self) -> Vec<u8> {
        let Self { fin: is_final, rsv1, opcode, mask, .. } = *self;
        let opcode = OpCode::from(opcode);
        let header = FrameHeader { is_final, rsv1, rsv2: false, rsv3: false, opcode, mask };
        let mut bytes = Vec::new();
        header.format(self.payload.len() as u64, &mut bytes).unwrap();
        let mask = mask.unwrap_or_default();
        bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    pub(in crate::session) fn is_control(&self) -> bool {
        self.opcode >= 8
    }
}

/// All of them, one behind the other.
pub(in crate::session) fn bytes(frames: &[Wire]) -> Vec<u8> {
    frames.iter().flat_map(Wire::bytes).collect()
}

/// Cuts a stream into pieces of these sizes, over and over.
pub(in crate::session) fn cut<'a>(bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    sizes.iter().cycle().map_while(move |&size| {
        let (piece, behind) = rest.split_at(size.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Sizes for [`cut`]: mostly within a header, at times within what a socket gives.
pub(in crate::session) fn sizes() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![4 => 1_usize..=16, 2 => 17_usize..=300, 1 => 301_usize..=70_000], 1..8)
}

fn payload(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    // The lengths at which the header changes its form (RFC 6455 s5.2) come more often than chance.
    let length = prop_oneof![
        6 => 0..=longest.min(20),
        2 => longest.min(100)..=longest.min(140),
        1 => longest.min(65_530)..=longest.min(65_540),
    ];
    (length, any::<u8>()).prop_map(|(length, start)| (0..length).map(|at| start.wrapping_add(at as u8)).collect())
}

fn control_frames(direction: Direction) -> impl Strategy<Value = Vec<Wire>> {
    vec((9_u8..=10, payload(125)).prop_map(move |(opcode, payload)| Wire::control(direction, opcode, &payload)), 0..2)
}

/// One message in one to four frames, with control frames before, between and behind them.
fn message(direction: Direction, deflate: bool, longest: usize) -> impl Strategy<Value = Vec<Wire>> {
    let part = (payload(longest), any::<[u8; 4]>(), control_frames(direction));
    (1_u8..=2, any::<bool>(), control_frames(direction), vec(part, 1..5)).prop_map(
        move |(opcode, compressed, mut frames, parts)| {
            let last = parts.len() - 1;
            for (at, (payload, mask, behind)) in parts.into_iter().enumerate() {
                frames.push(Wire {
                    fin: at == last,
                    rsv1: deflate && compressed && at == 0,
                    opcode: if at == 0 { opcode } else { 0 },
                    mask: (direction == Direction::ToUpstream).then_some(mask),
                    payload,
                });
                frames.extend(behind);
            }
            frames
        },
    )
}

/// Some messages as one side may send them, without a Close.
pub(in crate::session) fn messages(
    direction: Direction,
    deflate: bool,
    longest: usize,
) -> impl Strategy<Value = Vec<Wire>> {
    vec(message(direction, deflate, longest), 0..8).prop_map(|messages| messages.concat())
}

/// The Close frames that RFC 6455 s7.4 and IANA allow.
pub(in crate::session) fn close(direction: Direction) -> impl Strategy<Value = Wire> {
    let code = prop_oneof![1000_u16..=1003, 1007_u16..=1014, 3000_u16..=4999];
    let body = prop_oneof![
        1 => Just(Vec::new()),
        4 => (code, "\\PC{0,30}").prop_map(|(code, reason)| [&code.to_be_bytes()[..], reason.as_bytes()].concat()),
    ];
    body.prop_map(move |mut body| {
        // Thirty characters are at most 120 bytes: within a control frame's 125.
        body.truncate(125);
        Wire::control(direction, 8, &body)
    })
}

/// Which way, and whether permessage-deflate was agreed on.
pub(in crate::session) fn terms() -> impl Strategy<Value = (Direction, bool)> {
    (prop_oneof![Just(Direction::ToUpstream), Just(Direction::ToClient)], any::<bool>())
}
