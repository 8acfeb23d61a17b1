//! The frame machine against two parsers that others wrote, under any cut of the bytes, and each of its rules by name.

pub(in crate::session) mod wire;

use std::collections::BTreeSet;
use std::io::Cursor;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use soketto::Parsing;
use soketto::base::Codec;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, OpCode};

use super::*;
use wire::{Wire, cut, sizes, terms};

/// One header, with its place in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    at: usize,
    opcode: u8,
    fin: bool,
    header: usize,
    payload: u64,
}

/// What the machine is told, for the oracles and the rules to know it too.
#[derive(Clone, Copy, Debug)]
struct Terms {
    direction: Direction,
    deflate: bool,
    max: u64,
}

impl Terms {
    fn frames(self) -> Frames {
        Frames::new(self.direction, self.deflate, self.max)
    }
}

/// tungstenite's and soketto's opinion of the header at the front. None: more bytes are wanted. The error says who refused.
fn oracles(front: &[u8], at: usize, deflate: bool) -> Result<Option<Found>, &'static str> {
    let mut cursor = Cursor::new(front);
    let theirs = FrameHeader::parse(&mut cursor).map_err(|_| "tungstenite")?;
    let theirs = theirs.map(|(header, payload)| Found {
        at,
        opcode: header.opcode.into(),
        fin: header.is_final,
        header: cursor.position() as usize,
        payload,
    });
    let mut codec = Codec::new();
    codec.set_max_data_size(usize::MAX).add_reserved_bits((deflate, false, false));
    match codec.decode_header(front).map_err(|_| "soketto")? {
        Parsing::NeedMore(_) => assert_eq!(theirs, None),
        Parsing::Done { value, offset } => {
            let (opcode, fin, payload) = (value.opcode().into(), value.is_fin(), value.payload_len() as u64);
            assert_eq!(theirs, Some(Found { at, opcode, fin, header: offset, payload }));
        }
    }
    Ok(theirs)
}

/// Every rule that the bytes at the front break, in the words of the violation. `message` is the payload of an unfinished
/// message so far. Read off the RFC, naively and without an order, so that it shares nothing with the machine.
fn broken_rules(front: &[u8], terms: Terms, message: Option<u64>) -> Vec<&'static str> {
    let &[first, second, ref rest @ ..] = front else { return vec![] };
    let (fin, rsv, opcode) = (first >> 7 == 1, first >> 4 & 7, first & 0xf);
    let (masked, short) = (second >> 7 == 1, u64::from(second & 0x7f));
    let control = opcode >= 8;
    let mut broken = vec![];
    let mut rule = |is_broken: bool, why| broken.extend(is_broken.then_some(why));
    let from_client = terms.direction == Direction::ToUpstream;
    rule(from_client && !masked, "a client's frame is not masked");
    rule(!from_client && masked, "an upstream's frame is masked");
    rule(matches!(opcode, 3..=7 | 11..=15), "a reserved opcode");
    rule(control && rsv != 0, "a control frame with a reserved bit");
    rule(control && (!fin || short > 125), "a control frame in fragments or over 125 bytes");
    rule(!control && rsv & 3 != 0, "RSV2 or RSV3 is set");
    let rsv1_is_wrong = rsv & 4 != 0 && (!terms.deflate || opcode == 0);
    rule(!control && rsv1_is_wrong, "RSV1 is set without permessage-deflate, or on a continuation");
    rule(opcode == 0 && message.is_none(), "a continuation without a message");
    rule(matches!(opcode, 1 | 2) && message.is_some(), "a new message inside an unfinished one");
    let wide = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some(length) = rest.get(..wide) else { return broken };
    let length = length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let length = if wide == 0 { short } else { length };
    let not_shortest = (wide == 2 && length < 126) || (wide == 8 && length < 65_536);
    rule(!control && not_shortest, "a length that is not in its shortest form");
    rule(!control && length >> 63 == 1, "a length of 2^63 or more");
    let Some(body) = rest.get(wide + if masked { 4 } else { 0 }..) else { return broken };
    let so_far = if opcode == 0 { message.unwrap_or(0) } else { 0 };
    rule(
        !control && u128::from(so_far) + u128::from(length) > u128::from(terms.max),
        "a message is over max_message_size",
    );
    let Some(body) = body.get(..length as usize).filter(|_| opcode == 8) else { return broken };
    let key = if masked { &rest[wide..wide + 4] } else { &[0; 4] };
    let body: Vec<u8> = body.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    rule(body.len() == 1, "a Close with half a code");
    if let [high, low, ref reason @ ..] = body[..] {
        // tungstenite leaves 1012 and 1013 to the application, by name; IANA has registered 1014 too.
        let code = u16::from_be_bytes([high, low]);
        rule(!CloseCode::from(code).is_allowed() && code != 1014, "a Close with a code that may not be sent");
        rule(String::from_utf8(reason.to_vec()).is_err(), "a Close with a reason that is not UTF-8");
    }
    broken
}

/// The whole stream as the oracles and the rules have it: the headers, and where and how it breaks a rule, if it does.
fn expected(bytes: &[u8], terms: Terms) -> (Vec<Found>, Option<(usize, Vec<&'static str>)>) {
    let (mut found, mut at, mut message) = (vec![], 0, None);
    while at < bytes.len() {
        let front = &bytes[at..];
        let broken = broken_rules(front, terms, message);
        let theirs = oracles(front, at, terms.deflate);
        if !broken.is_empty() {
            return (found, Some((at, broken)));
        }
        let Some(header) = theirs.expect("what an oracle refuses breaks a rule of ours") else { break };
        let end = (at + header.header) as u64 + header.payload;
        if header.opcode >= 8 && end > bytes.len() as u64 {
            break;
        }
        if header.opcode < 8 {
            let sum = message.unwrap_or(0) + header.payload;
            message = (!header.fin).then_some(sum);
        }
        found.push(header);
        at = usize::try_from(end).unwrap_or(usize::MAX);
    }
    (found, None)
}

/// The stream as the machine has it, fed in pieces: what was incomplete comes again with more behind it.
fn walk<'a>(terms: Terms, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Found>, Option<(usize, Violation)>) {
    let mut frames = terms.frames();
    let (mut found, mut at, mut held): (Vec<Found>, usize, Vec<u8>) = (vec![], 0, vec![]);
    for piece in pieces {
        held.extend_from_slice(piece);
        loop {
            let seen = match frames.look(&held) {
                Ok(Seen::Incomplete) => break,
                Ok(seen) => seen,
                Err(violation) => return (found, Some((at, violation))),
            };
            assert_eq!(frames.look(&held), Ok(seen), "looking changes nothing");
            let (opcode, fin) = (held[0] & 0xf, held[0] >> 7 == 1);
            let len = match seen {
                Seen::Incomplete => unreachable!(),
                Seen::Payload(here) => here,
                Seen::Header { header, payload, begins, fin: last } => {
                    assert_eq!((begins, last), (opcode != 0, fin));
                    found.push(Found { at, opcode, fin, header, payload });
                    header
                }
                Seen::Control { header, len, .. } => {
                    found.push(Found { at, opcode, fin, header, payload: (len - header) as u64 });
                    len
                }
            };
            frames.take(&seen);
            held.drain(..len);
            at += len;
            let last = found.last().unwrap();
            let frame_is_over = at as u64 == (last.at + last.header) as u64 + last.payload;
            assert_eq!(frames.on_boundary(), frame_is_over, "at {at} in {last:?}");
        }
        assert!(held.len() < MAX_HEADER + MAX_CONTROL_PAYLOAD, "{} bytes held back", held.len());
    }
    (found, None)
}

/// The machine under one way of cutting says what the oracles and the rules say.
fn agrees(bytes: &[u8], terms: Terms, sizes: &[usize]) {
    let (headers, broken) = expected(bytes, terms);
    let (found, violation) = walk(terms, cut(bytes, sizes));
    assert_eq!(found, headers);
    match (violation, broken) {
        (None, None) => {}
        (Some((at, violation)), Some((place, rules))) => {
            assert_eq!(at, place);
            assert!(rules.contains(&violation.why), "{violation:?} is none of {rules:?}");
            let too_big = violation.why == "a message is over max_message_size";
            assert_eq!(violation.deny, if too_big { Deny::MessageTooBig } else { Deny::BadFrame });
        }
        (violation, broken) => panic!("the machine says {violation:?}, the rules {broken:?}"),
    }
}

fn streams(longest: usize) -> impl Strategy<Value = (Terms, Vec<Wire>)> {
    terms().prop_flat_map(move |(direction, deflate)| {
        let terms = Terms { direction, deflate, max: u64::MAX };
        (wire::messages(direction, deflate, longest), proptest::option::of(wire::close(direction))).prop_map(
            move |(mut frames, close)| {
                frames.extend(close);
                (terms, frames)
            },
        )
    })
}

fn starts(frames: &[Wire]) -> Vec<usize> {
    let lengths = frames.iter().map(|frame| frame.bytes().len());
    let ends = lengths.scan(0, |at, length| {
        *at += length;
        Some(*at)
    });
    [0].into_iter().chain(ends).collect()
}

proptest! {
    #[test]
    fn valid_frames_are_seen_as_others_see_them_under_any_cut((terms, frames) in streams(70_000), sizes in sizes()) {
        let bytes = wire::bytes(&frames);
        agrees(&bytes, terms, &sizes);
        let (found, violation) = walk(terms, cut(&bytes, &sizes));
        prop_assert_eq!(violation, None);
        prop_assert_eq!(found.len(), frames.len());
    }

    #[test]
    fn short_streams_are_seen_alike_under_every_cut_in_two((terms, frames) in streams(139)) {
        let bytes = wire::bytes(&frames);
        agrees(&bytes, terms, &[1]);
        let whole = walk(terms, [&bytes[..]].into_iter());
        for at in 0..=bytes.len().min(600) {
            prop_assert_eq!(&walk(terms, [&bytes[..at], &bytes[at..]].into_iter()), &whole);
        }
    }

    #[test]
    fn damaged_headers_are_refused_by_a_rule_with_a_name_or_seen_as_others_see_them(
        (terms, frames) in streams(300),
        max in prop_oneof![Just(u64::MAX), 0_u64..400],
        damage in vec((any::<Index>(), 0_usize..16, any::<u8>()), 0..3),
        sizes in sizes(),
    ) {
        let mut bytes = wire::bytes(&frames);
        let starts = starts(&frames);
        for (frame, offset, flip) in damage {
            if let Some(byte) = bytes.get_mut(frame.get(&starts) + offset) {
                *byte ^= flip;
            }
        }
        agrees(&bytes, Terms { max, ..terms }, &sizes);
    }

    #[test]
    fn any_bytes_at_all_are_refused_or_seen_as_others_see_them(
        (direction, deflate) in terms(),
        max in any::<u64>(),
        mut bytes in vec(any::<u8>(), 0..200),
        right_start in any::<bool>(),
        sizes in sizes(),
    ) {
        // Half of them get past the first two bytes, where chance alone seldom leads.
        if let (true, [first, second, ..]) = (right_start, &mut bytes[..]) {
            *first &= 0x8b;
            *second = if direction == Direction::ToUpstream { *second | 0x80 } else { *second & 0x7f };
        }
        agrees(&bytes, Terms { direction, deflate, max }, &sizes);
    }

    #[test]
    fn a_header_says_how_long_its_payload_is_before_any_of_it_is_here(
        (direction, deflate) in terms(),
        length in prop_oneof![any::<u64>(), 0_u64..70_000, (0_u32..64).prop_map(|bits| 1 << bits)],
        mask in any::<[u8; 4]>(),
        some in 0_usize..100,
    ) {
        let mask = (direction == Direction::ToUpstream).then_some(mask);
        let header = FrameHeader { mask, opcode: OpCode::from(2), ..FrameHeader::default() };
        let mut bytes = vec![];
        header.format(length, &mut bytes).unwrap();
        let terms = Terms { direction, deflate, max: u64::MAX };
        let whole = bytes.len();
        bytes.resize(whole + some.min(length as usize), 7);
        agrees(&bytes, terms, &[1]);
        let mut frames = terms.frames();
        if length >> 63 == 0 {
            prop_assert_eq!(frames.look(&bytes[..whole - 1]), Ok(Seen::Incomplete));
            let seen = frames.look(&bytes).unwrap();
            prop_assert_eq!(seen, Seen::Header { header: whole, payload: length, begins: true, fin: true });
            frames.take(&seen);
            prop_assert_eq!(frames.on_boundary(), length == 0);
        }
    }

    #[test]
    fn control_frames_of_our_own_are_read_by_others_and_by_ourselves(
        kind in prop_oneof![Just(Control::Ping), Just(Control::Pong)],
        payload in vec(any::<u8>(), 0..140),
        mask in proptest::option::of(any::<[u8; 4]>()),
    ) {
        let frame = control(kind, &payload, mask);
        let (opcode, body) = read_by_others(&frame, mask);
        prop_assert_eq!(opcode, if kind == Control::Ping { 9 } else { 10 });
        prop_assert_eq!(&body, &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)]);
        let direction = if mask.is_some() { Direction::ToUpstream } else { Direction::ToClient };
        let header = frame.len() - body.len();
        let seen = Frames::new(direction, false, 0).look(&frame);
        prop_assert_eq!(seen, Ok(Seen::Control { kind, header, len: frame.len() }));
        prop_assert!(unmasked(&frame, header).starts_with(&body));
    }

    #[test]
    fn close_frames_of_our_own_are_read_by_others_and_by_ourselves(
        code in 3000_u16..=4999,
        reason in "\\PC{0,30}",
        mask in proptest::option::of(any::<[u8; 4]>()),
    ) {
        let frame = close(code, &reason, mask);
        let (opcode, body) = read_by_others(&frame, mask);
        prop_assert_eq!(opcode, 8);
        prop_assert_eq!(&body, &[&code.to_be_bytes(), reason.as_bytes()].concat());
        let direction = if mask.is_some() { Direction::ToUpstream } else { Direction::ToClient };
        let header = frame.len() - body.len();
        let seen = Frames::new(direction, false, 0).look(&frame);
        prop_assert_eq!(seen, Ok(Seen::Control { kind: Control::Close, header, len: frame.len() }));
        prop_assert_eq!(close_code(&frame, header), Some(code));
    }
}

/// Opcode and payload in the clear, as tungstenite reads a final frame.
fn read_by_others(frame: &[u8], mask: Option<[u8; 4]>) -> (u8, Vec<u8>) {
    let header = oracles(frame, 0, false).unwrap().unwrap();
    assert!(header.fin);
    assert_eq!(frame.len(), header.header + header.payload as usize);
    let (theirs, _) = FrameHeader::parse(&mut Cursor::new(frame)).unwrap().unwrap();
    assert_eq!(theirs.mask, mask);
    let key = mask.unwrap_or_default();
    let body = frame[header.header..].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    (header.opcode, body)
}

#[test]
fn a_close_without_a_code_has_none() {
    let frame = control(Control::Close, &[], Some([1, 2, 3, 4]));
    assert_eq!(close_code(&frame, 6), None);
    let seen = Frames::new(Direction::ToUpstream, false, 0).look(&frame);
    assert_eq!(seen, Ok(Seen::Control { kind: Control::Close, header: 6, len: 6 }));
}

mod rules;
