//! Each rule by hand, with its section of RFC 6455 unless another is named, and what stands just within it.

use super::*;

/// Unmasked bytes as they come from an upstream, the last frame of which is judged.
fn from_upstream(deflate: bool, max: u64, bytes: &[u8]) -> Result<Vec<Found>, &'static str> {
    let terms = Terms { direction: Direction::ToClient, deflate, max };
    let (found, violation) = walk(terms, cut(bytes, &[usize::MAX]));
    match violation {
        None => Ok(found),
        Some((_, violation)) => Err(violation.why),
    }
}

/// The section, whether permessage-deflate was agreed on, the bytes, and what is said of them.
type Row = (&'static str, bool, &'static [u8], Result<(), &'static str>);

const RULES: &[Row] = &[
    // The opcodes.
    ("5.2", false, &[0x80 | 3, 0], Err("a reserved opcode")),
    ("5.2", false, &[0x80 | 7, 0], Err("a reserved opcode")),
    ("5.2", false, &[0x80 | 11, 0], Err("a reserved opcode")),
    ("5.2", false, &[0x80 | 15, 0], Err("a reserved opcode")),
    ("5.2", false, &[0x81, 0, 0x82, 0], Ok(())),
    // The reserved bits.
    ("5.2", true, &[0x80 | 0x20 | 1, 0], Err("RSV2 or RSV3 is set")),
    ("5.2", true, &[0x80 | 0x10 | 1, 0], Err("RSV2 or RSV3 is set")),
    ("5.2", false, &[0x80 | 0x40 | 1, 0], Err("RSV1 is set without permessage-deflate, or on a continuation")),
    ("RFC 7692 6", true, &[0x80 | 0x40 | 1, 0], Ok(())),
    ("RFC 7692 6.1", true, &[0x41, 0, 0xc0, 0], Err("RSV1 is set without permessage-deflate, or on a continuation")),
    ("RFC 7692 6.1", true, &[0x41, 0, 0x80, 0], Ok(())),
    ("RFC 7692 6.1", true, &[0x80 | 0x40 | 9, 0], Err("a control frame with a reserved bit")),
    ("5.2", true, &[0x80 | 0x20 | 8, 0], Err("a control frame with a reserved bit")),
    // Lengths.
    ("5.2", false, &[0x82, 126, 0, 125], Err("a length that is not in its shortest form")),
    ("5.2", false, &[0x82, 126, 0, 126], Ok(())),
    ("5.2", false, &[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Err("a length that is not in its shortest form")),
    ("5.2", false, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], Ok(())),
    ("5.2", false, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Err("a length of 2^63 or more")),
    ("5.2", false, &[0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Ok(())),
    // Fragments.
    ("5.4", false, &[0x80, 0], Err("a continuation without a message")),
    ("5.4", false, &[0x00, 0], Err("a continuation without a message")),
    ("5.4", false, &[0x81, 0, 0x80, 0], Err("a continuation without a message")),
    ("5.4", false, &[0x01, 0, 0x81, 0], Err("a new message inside an unfinished one")),
    ("5.4", false, &[0x01, 0, 0x00, 0, 0x02, 0], Err("a new message inside an unfinished one")),
    ("5.4", false, &[0x01, 0, 0x89, 0, 0x00, 0, 0x8a, 0, 0x80, 0, 0x82, 0], Ok(())),
    // A control frame between the fragments ends nothing.
    ("5.4", false, &[0x01, 0, 0x89, 0, 0x81, 0], Err("a new message inside an unfinished one")),
    // Control frames.
    ("5.5", false, &[0x09, 0], Err("a control frame in fragments or over 125 bytes")),
    ("5.5", false, &[0x89, 126], Err("a control frame in fragments or over 125 bytes")),
    ("5.5", false, &[0x88, 127], Err("a control frame in fragments or over 125 bytes")),
    // The Close.
    ("5.5.1", false, &[0x88, 0], Ok(())),
    ("5.5.1", false, &[0x88, 1, 3], Err("a Close with half a code")),
    ("5.5.1", false, &[0x88, 2, 3, 232], Ok(())),
    ("5.5.1", false, &[0x88, 3, 3, 232, 0xff], Err("a Close with a reason that is not UTF-8")),
    ("5.5.1", false, &[0x88, 4, 3, 232, 0xc3, 0xa9], Ok(())),
    ("5.5.1", false, &[0x88, 3, 3, 232, 0xc3], Err("a Close with a reason that is not UTF-8")),
    // The mask, of an upstream; a client's is below.
    ("5.1", false, &[0x81, 0x80], Err("an upstream's frame is masked")),
    ("5.1", false, &[0x89, 0x80], Err("an upstream's frame is masked")),
];

#[test]
fn every_rule_has_its_words() {
    for (section, deflate, bytes, verdict) in RULES {
        let said = from_upstream(*deflate, u64::MAX, bytes).map(drop);
        assert_eq!(said, *verdict, "s{section}: {bytes:02x?}");
    }
    // Every word of the machine stands in the table or in a test of its own below.
    let tabled: BTreeSet<&str> = RULES.iter().filter_map(|(.., verdict)| verdict.err()).collect();
    assert_eq!(tabled.len(), 12, "{tabled:?}");
}

#[test]
fn a_clients_frame_is_masked_whatever_its_kind() {
    // RFC 6455 s5.1.
    for opcode in [0, 1, 2, 8, 9, 10] {
        let said = Frames::new(Direction::ToUpstream, false, 0).look(&[0x80 | opcode, 0]);
        assert_eq!(said.unwrap_err().why, "a client's frame is not masked");
    }
}

#[test]
fn only_codes_that_may_be_sent_stand_in_a_close() {
    // RFC 6455 s7.4.1 and s7.4.2; IANA's registry has 1012 to 1014 since.
    let allowed = |code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    let mut refused = 0;
    for code in 0..=u16::MAX {
        let bytes = Wire::close(Direction::ToClient, code).bytes();
        let said = from_upstream(false, 0, &bytes).map(drop);
        if allowed(code) {
            assert_eq!(said, Ok(()), "{code}");
        } else {
            assert_eq!(said, Err("a Close with a code that may not be sent"), "{code}");
            refused += 1;
        }
    }
    assert_eq!(refused, 65_536 - 4 - 8 - 2000);
}

#[test]
fn a_message_may_be_as_big_as_the_most_and_no_byte_bigger_over_all_its_frames() {
    assert!(from_upstream(false, 5, &[0x82, 5]).is_ok());
    assert_eq!(from_upstream(false, 5, &[0x82, 6]), Err("a message is over max_message_size"));
    assert!(from_upstream(false, 5, &[0x02, 3, 0, 0, 0, 0x80, 2]).is_ok());
    assert_eq!(from_upstream(false, 5, &[0x02, 3, 0, 0, 0, 0x80, 3]), Err("a message is over max_message_size"));
    // Control frames between do not count, and the next message starts at nothing.
    assert!(from_upstream(false, 5, &[0x02, 3, 0, 0, 0, 0x89, 4, 0, 0, 0, 0, 0x80, 2, 0, 0, 0x82, 5]).is_ok());
    // The sum of two lengths may be over 2^63.
    let half = [127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let mut frames = Frames::new(Direction::ToClient, false, u64::MAX - 2);
    frames.message = u64::MAX - 1;
    frames.fragmented = true;
    let said = frames.look(&[&[0x80][..], &half[..]].concat());
    assert_eq!(said.unwrap_err().deny, Deny::MessageTooBig);
}

#[test]
fn once_the_size_is_forgotten_the_same_message_is_let_through() {
    let mut frames = Frames::new(Direction::ToClient, false, 5);
    assert_eq!(frames.look(&[0x82, 6]).unwrap_err().deny, Deny::MessageTooBig);
    frames.forget_max_message();
    assert_eq!(frames.look(&[0x82, 6]), Ok(Seen::Header { header: 2, payload: 6, begins: true, fin: true }));
}

#[test]
fn a_control_frame_is_seen_whole_or_not_at_all() {
    let bytes = Wire::control(Direction::ToUpstream, 9, &[7; 125]).bytes();
    assert_eq!(bytes.len(), 131);
    let frames = Frames::new(Direction::ToUpstream, false, 0);
    for short in 0..131 {
        assert_eq!(frames.look(&bytes[..short]), Ok(Seen::Incomplete));
    }
    assert_eq!(frames.look(&bytes), Ok(Seen::Control { kind: Control::Ping, header: 6, len: 131 }));
}

#[test]
fn payload_is_seen_only_as_far_as_it_is_here_and_belongs_to_the_frame() {
    let mut frames = Frames::new(Direction::ToClient, false, 100);
    let seen = frames.look(&[0x82, 5]).unwrap();
    frames.take(&seen);
    assert_eq!(frames.look(&[]), Ok(Seen::Incomplete));
    assert_eq!(frames.look(&[0x88; 3]), Ok(Seen::Payload(3)));
    frames.take(&Seen::Payload(3));
    assert_eq!(frames.look(&[0x88; 30]), Ok(Seen::Payload(2)));
    assert!(!frames.on_boundary());
    frames.take(&Seen::Payload(2));
    assert!(frames.on_boundary());
}

#[test]
fn a_text_of_our_own_is_written_as_tungstenite_writes_one() {
    for length in [0, 1, 125, 126, 127, 4096, 65_535, 65_536] {
        let text = "x".repeat(length);
        assert_eq!(
            *crate::session::frame::text(&text),
            *Wire::text(Direction::ToClient, text.as_bytes()).bytes(),
            "{length}"
        );
    }
}
