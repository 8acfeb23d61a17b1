//! What passes, what is left out and what is counted, against a model that knows the frames beforehand, under any cut of
//! the bytes and at any times.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::config::OnExcess;
use crate::config::value::Rate;
use crate::policy::bucket::{self, Limit, Verdict};
use crate::policy::limit::What;
use crate::policy::meter::tests::{own, rule};
use crate::session::frame::tests::wire::{self, Wire, cut, sizes};
use Direction::{ToClient, ToUpstream};

const NO_LIMIT: Option<MessageLimit> = None;
const PING: [u8; 8] = *b"our ping";

/// A rate of messages on one connection.
#[derive(Clone, Copy, Debug)]
struct MessageLimit {
    limit: Limit,
    on_excess: OnExcess,
}

fn judge_of(direction: Direction, deflate: bool, max_message: u64, limit: Option<MessageLimit>) -> Judge {
    let meter = limit.map(|MessageLimit { limit, on_excess }| own(vec![rule(What::Messages, limit, on_excess)]));
    Judge::new(direction, deflate, max_message, meter, None)
}

/// As `policy::compile` makes it of a rate and a burst.
fn limited(rate: &str, burst: u64, on_excess: OnExcess) -> Option<MessageLimit> {
    let rate: Rate = rate.parse().unwrap();
    let (burst, delay) = match on_excess {
        OnExcess::Delay => (u64::MAX, burst * Rate::ONE),
        OnExcess::Close | OnExcess::Drop => (burst * Rate::ONE, u64::MAX),
    };
    Some(MessageLimit { limit: Limit { rate, burst, delay }, on_excess })
}

/// What came of a stream, or of its part before the first thing that ends it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    passed: Vec<u8>,
    tally: Tally,
    /// The Close, or the violation.
    end: Option<Then>,
    /// When each message that had to wait had its turn.
    turns: Vec<u64>,
}

/// Shows a judge pieces of a stream, each at its time, as a pump does: a wait holds up all that comes later.
struct Shown {
    judge: Judge,
    held: Vec<u8>,
    out: Outcome,
    now: u64,
    /// Where the passed bytes may stand while the judge says that it is on a boundary.
    boundaries: Vec<usize>,
}

impl Shown {
    fn new(judge: Judge, boundaries: Vec<usize>) -> Self {
        Self { judge, held: vec![], out: Outcome::default(), now: 0, boundaries }
    }

    fn piece(&mut self, piece: &[u8], at: u64, mode: Mode) {
        self.now = self.now.max(at);
        self.held.extend_from_slice(piece);
        while self.out.end.is_none() {
            let (pass, then) = self.judge.judge(&self.held, self.now, mode, &mut self.out.tally);
            let passed: Vec<u8> = self.held.drain(..pass).collect();
            if mode != Mode::Discard {
                self.out.passed.extend(passed);
            }
            match then {
                Then::More => {
                    assert!(self.held.len() < 131, "{} bytes are left for want of more", self.held.len());
                    break;
                }
                Then::Skip(len) => drop(self.held.drain(..len)),
                Then::Wait => self.wait(),
                Then::Boundary | Then::Closed(_) | Then::Violation(_) => self.out.end = Some(then),
            }
            self.check_boundary(mode);
        }
        self.check_boundary(mode);
    }

    /// Looks again twice too early, which must change nothing, and then in time.
    fn wait(&mut self) {
        let until = self.judge.waits_until().unwrap();
        assert!(until > self.now);
        let before = self.out.tally;
        for early in [self.now, until - 1] {
            let said = self.judge.judge(&self.held, early, Mode::Open, &mut self.out.tally);
            assert_eq!((said, self.out.tally), ((0, Then::Wait), before), "a message is charged once");
        }
        self.now = until;
        self.out.turns.push(until);
    }

    fn check_boundary(&self, mode: Mode) {
        if mode != Mode::Discard {
            let stands = self.boundaries.contains(&self.out.passed.len());
            assert_eq!(self.judge.on_boundary(), stands, "after {} bytes", self.out.passed.len());
        }
    }
}

/// Everything that the model says of a stream.
struct Model {
    out: Outcome,
    boundaries: Vec<usize>,
}

/// The model: walks whole frames. `seen_at` is when the header that ends at this byte is here.
fn model(frames: &[Wire], limit: Option<MessageLimit>, ping: Option<[u8; 8]>, seen_at: impl Fn(usize) -> u64) -> Model {
    let (mut out, mut boundaries, mut bucket, mut ping) = (Outcome::default(), vec![0], None, ping);
    let (mut at, mut now, mut dropping) = (0, 0, false);
    for frame in frames {
        let bytes = frame.bytes();
        let header_end = at + bytes.len() - frame.payload.len();
        at += bytes.len();
        if frame.opcode == 10 && ping.is_some_and(|ping| frame.payload == ping) {
            ping = None;
            continue;
        }
        if matches!(frame.opcode, 1 | 2) {
            dropping = false;
            now = now.max(seen_at(header_end));
            let verdict = limit.map_or(Verdict::Pass, |l| bucket::hit(&mut bucket, &l.limit, Rate::ONE, now));
            match (verdict, limit.map(|limit| limit.on_excess)) {
                (Verdict::Pass, _) => {}
                (Verdict::Wait(ms), _) => {
                    now += ms;
                    out.turns.push(now);
                    out.tally.delayed += 1;
                }
                (Verdict::Reject { .. }, Some(OnExcess::Drop)) => {
                    dropping = true;
                    out.tally.dropped += 1;
                }
                (Verdict::Reject { .. }, _) => {
                    out.end = Some(Then::Violation(over(Deny::MessageRate)));
                    return Model { out, boundaries };
                }
            }
            out.tally.messages += u64::from(!dropping);
        }
        if dropping && !frame.is_control() {
            continue;
        }
        out.passed.extend(bytes);
        boundaries.push(out.passed.len());
        if frame.opcode == 8 {
            let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            out.end = Some(Then::Closed(code));
            break;
        }
    }
    Model { out, boundaries }
}

/// When the byte before `end` is here, if the stream comes in these pieces at these times.
fn arrival<'a>(bytes: &'a [u8], sizes: &'a [usize], times: &'a [u64]) -> impl Fn(usize) -> u64 {
    let mut reached = vec![];
    let mut at = 0;
    for (piece, time) in cut(bytes, sizes).zip(times) {
        at += piece.len();
        reached.push((at, *time));
    }
    move |end| reached.iter().find(|(at, _)| *at >= end).map_or(0, |(_, time)| *time)
}

fn limits() -> impl Strategy<Value = Option<MessageLimit>> {
    let rate = prop_oneof![Just("10r/s"), Just("3r/s"), Just("500r/s"), Just("30r/m")];
    let on_excess = prop_oneof![Just(OnExcess::Close), Just(OnExcess::Drop), Just(OnExcess::Delay)];
    option::weighted(0.9, (rate, 0_u64..4, on_excess)).prop_map(|limit| {
        let (rate, burst, on_excess) = limit?;
        limited(rate, burst, on_excess)
    })
}

/// A client's frames, with up to two pongs that answer our ping, with or without a Close.
fn frames() -> impl Strategy<Value = Vec<Wire>> {
    let close = option::of(wire::close(ToUpstream));
    (wire::messages(ToUpstream, true, 300), vec(any::<Index>(), 0..3), close).prop_map(|(mut frames, pongs, close)| {
        for pong in pongs {
            frames.insert(pong.index(frames.len() + 1), Wire::control(ToUpstream, 10, &PING));
        }
        frames.extend(close);
        frames
    })
}

/// Never back, often at once.
fn times() -> impl Strategy<Value = Vec<u64>> {
    vec(prop_oneof![3 => Just(0_u64), 2 => 0_u64..300, 1 => 0_u64..5000], 1..40).prop_map(|steps| {
        let step = |now: &mut u64, step: &u64| {
            *now += step;
            Some(*now)
        };
        steps.iter().cycle().take(8000).scan(0, step).collect()
    })
}

proptest! {
    #[test]
    fn all_passes_but_dropped_messages_and_our_pong_and_is_counted_under_any_cut_at_any_times(
        frames in frames(),
        limit in limits(),
        pinged in any::<bool>(),
        sizes in sizes(),
        times in times(),
        garbage in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = wire::bytes(&frames);
        if frames.last().is_some_and(|last| last.opcode == 8) {
            // Nothing counts behind a Close.
            bytes.extend(garbage);
        }
        let ping = pinged.then_some(PING);
        let model = model(&frames, limit, ping, arrival(&bytes, &sizes, &times));
        let mut judge = judge_of(ToUpstream, true, u64::MAX, limit);
        if pinged {
            judge.expect_pong(PING);
        }
        let mut shown = Shown::new(judge, model.boundaries);
        for (piece, time) in cut(&bytes, &sizes).zip(times) {
            shown.piece(piece, time, Mode::Open);
        }
        prop_assert_eq!(shown.out, model.out);
    }

    #[test]
    fn a_cut_changes_nothing_where_all_comes_at_once(frames in frames(), limit in limits(), sizes in sizes()) {
        let bytes = wire::bytes(&frames);
        let [whole, pieces] = [&[usize::MAX][..], &sizes].map(|sizes| {
            let judge = judge_of(ToUpstream, true, u64::MAX, limit);
            let mut shown = Shown::new(judge, model(&frames, limit, None, |_| 7).boundaries);
            cut(&bytes, sizes).for_each(|piece| shown.piece(piece, 7, Mode::Open));
            shown.out
        });
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn told_to_stop_it_passes_the_frame_under_way_and_then_only_looks_for_the_close(
        frames in wire::messages(ToUpstream, true, 300),
        limit in prop_oneof![Just(NO_LIMIT), Just(limited("1r/s", 2, OnExcess::Drop))],
        stop in any::<Index>(),
        sizes in sizes(),
        close in wire::close(ToUpstream),
    ) {
        let (bytes, close_bytes) = (wire::bytes(&frames), close.bytes());
        let model = model(&frames, limit, None, |_| 0);
        let (before, behind) = bytes.split_at(stop.index(bytes.len() + 1));
        let mut shown = Shown::new(judge_of(ToUpstream, true, u64::MAX, limit), model.boundaries.clone());
        cut(before, &sizes).for_each(|piece| shown.piece(piece, 0, Mode::Open));
        let so_far = shown.out.passed.len();
        let tally = shown.out.tally;
        shown.piece(&[], 0, Mode::ToBoundary);
        cut(behind, &sizes).for_each(|piece| shown.piece(piece, 0, Mode::ToBoundary));
        let stops_at = *model.boundaries.iter().find(|at| **at >= so_far).unwrap();
        prop_assert_eq!(shown.out.end.take(), Some(Then::Boundary));
        prop_assert_eq!(&shown.out.passed[..], &model.out.passed[..stops_at]);
        shown.piece(&[], 0, Mode::Discard);
        cut(&close_bytes, &sizes).for_each(|piece| shown.piece(piece, 0, Mode::Discard));
        let code = frame::close_code(&close_bytes, 6);
        prop_assert_eq!(shown.out.end, Some(Then::Closed(code)));
        prop_assert_eq!(shown.out.tally, tally, "nothing is counted that does not pass");
    }

    #[test]
    fn told_to_stop_between_messages_it_passes_all_of_the_one_under_way(
        frames in wire::messages(ToClient, true, 300),
        stop in any::<Index>(),
        sizes in sizes(),
    ) {
        let bytes = wire::bytes(&frames);
        let model = model(&frames, NO_LIMIT, None, |_| 0);
        let (before, behind) = bytes.split_at(stop.index(bytes.len() + 1));
        let mut shown = Shown::new(judge_of(ToClient, true, u64::MAX, NO_LIMIT), model.boundaries);
        cut(before, &sizes).for_each(|piece| shown.piece(piece, 0, Mode::Open));
        let so_far = shown.out.passed.len();
        shown.piece(&[], 0, Mode::ToMessage);
        cut(behind, &sizes).for_each(|piece| shown.piece(piece, 0, Mode::ToMessage));
        let (mut at, mut unfinished, mut whole) = (0, false, vec![0]);
        for frame in &frames {
            at += frame.bytes().len();
            unfinished = if frame.is_control() { unfinished } else { !frame.fin };
            whole.extend((!unfinished).then_some(at));
        }
        let stops_at = *whole.iter().find(|at| **at >= so_far).unwrap();
        prop_assert_eq!(shown.out.end, Some(Then::Boundary));
        prop_assert_eq!(shown.out.passed.len(), stops_at);
        prop_assert!(shown.judge.on_message_boundary());
    }

    #[test]
    fn no_bytes_make_it_panic_or_pass_more_than_there_is(
        bytes in vec(any::<u8>(), 0..400),
        limit in limits(),
        modes in vec(prop_oneof![Just(Mode::Open), Just(Mode::ToBoundary), Just(Mode::ToMessage), Just(Mode::Discard)], 1..5),
        sizes in sizes(),
    ) {
        let mut judge = judge_of(ToClient, true, 300, limit);
        let (mut held, mut tally, mut now) = (vec![], Tally::default(), 0);
        for (piece, mode) in cut(&bytes, &sizes).zip(modes.iter().cycle()) {
            held.extend_from_slice(piece);
            now += 1;
            loop {
                let (pass, then) = judge.judge(&held, now, *mode, &mut tally);
                held.drain(..pass);
                match then {
                    Then::Skip(len) => drop(held.drain(..len)),
                    Then::Violation(violation) if !judge.survives(&violation) => return Ok(()),
                    _ => break,
                }
            }
        }
    }
}

/// Frames at one moment, shown whole.
fn show(max_message: u64, limit: Option<MessageLimit>, frames: &[Wire]) -> Shown {
    let boundaries = model(frames, limit, None, |_| 0).boundaries;
    let mut shown = Shown::new(judge_of(ToUpstream, false, max_message, limit), boundaries);
    shown.piece(&wire::bytes(frames), 0, Mode::Open);
    shown
}

#[test]
fn fragments_of_a_dropped_message_go_and_control_frames_between_them_pass() {
    let part = |fin, opcode| Wire { fin, ..Wire::control(ToUpstream, opcode, b"part") };
    let ping = Wire::control(ToUpstream, 9, b"?");
    let kept = [part(true, 1), ping.clone()];
    let dropped = [part(false, 2), part(false, 0), part(true, 0)];
    let frames = [&kept[..], &dropped[..1], &kept[1..], &dropped[1..], &kept[1..]].concat();
    let shown = show(100, limited("1r/m", 0, OnExcess::Drop), &frames);
    assert_eq!(shown.out.passed, wire::bytes(&[&kept[..], &kept[1..], &kept[1..]].concat()));
    assert_eq!(shown.out.tally, Tally { messages: 1, delayed: 0, dropped: 1 });
}

#[test]
fn a_dropped_message_leaves_a_boundary_even_while_its_payload_is_still_to_come() {
    let first = Wire::text(ToUpstream, b"one").bytes();
    let second = Wire::text(ToUpstream, &[7; 100]).bytes();
    let mut shown =
        Shown::new(judge_of(ToUpstream, false, 100, limited("1r/m", 0, OnExcess::Drop)), vec![0, first.len()]);
    shown.piece(&[&first[..], &second[..50]].concat(), 0, Mode::Open);
    assert!(shown.judge.on_boundary());
    shown.piece(&second[50..60], 0, Mode::ToBoundary);
    assert_eq!(shown.out.end, Some(Then::Boundary));
    assert_eq!(shown.out.passed, first);
}

#[test]
fn messages_over_the_rate_are_spaced_at_the_rate() {
    let frames: Vec<Wire> = (0..5).map(|_| Wire::text(ToUpstream, b"x")).collect();
    let shown = show(100, limited("10r/s", 0, OnExcess::Delay), &frames);
    assert_eq!(shown.out.turns, [100, 200, 300, 400]);
    assert_eq!(shown.out.tally, Tally { messages: 5, delayed: 4, dropped: 0 });
}

#[test]
fn a_burst_of_a_delayed_route_passes_at_once() {
    let frames: Vec<Wire> = (0..5).map(|_| Wire::text(ToUpstream, b"x")).collect();
    let shown = show(100, limited("10r/s", 3, OnExcess::Delay), &frames);
    assert_eq!(shown.out.turns, [100]);
}

#[test]
fn what_breaks_a_limit_leaves_the_close_to_be_found_and_what_breaks_the_framing_does_not() {
    let text = Wire::text(ToUpstream, b"12345");
    let frames = [text.clone(), text.clone(), text, Wire::close(ToUpstream, 1000)];
    for (limit, max, deny) in
        [(limited("1r/m", 0, OnExcess::Close), 100, Deny::MessageRate), (NO_LIMIT, 4, Deny::MessageTooBig)]
    {
        let mut shown = show(max, limit, &frames);
        let Some(Then::Violation(violation)) = shown.out.end.take() else { panic!("no violation") };
        assert_eq!(violation.deny, deny);
        assert!(shown.judge.survives(&violation));
        shown.piece(&[], 0, Mode::Discard);
        assert_eq!(shown.out.end, Some(Then::Closed(Some(1000))));
    }
    let mut judge = judge_of(ToUpstream, false, 100, NO_LIMIT);
    let (pass, then) = judge.judge(&[0x81, 1, 0], 0, Mode::Open, &mut Tally::default());
    let Then::Violation(violation) = then else { panic!("no violation") };
    assert_eq!((pass, violation.deny, judge.survives(&violation)), (0, Deny::BadFrame, false));
}

#[test]
fn only_a_pong_with_the_pings_payload_answers_it_and_only_once() {
    let pong = |payload: &[u8]| Wire::control(ToUpstream, 10, payload);
    let others =
        [pong(b""), pong(b"our pin"), pong(b"our ping!"), Wire::control(ToUpstream, 9, &PING), pong(b"0ur ping")];
    let frames = [&others[..], &[pong(&PING), pong(&PING)]].concat();
    let mut judge = judge_of(ToUpstream, false, 100, NO_LIMIT);
    judge.expect_pong(PING);
    let boundaries = model(&frames, NO_LIMIT, Some(PING), |_| 0).boundaries;
    let mut shown = Shown::new(judge, boundaries);
    shown.piece(&wire::bytes(&others), 0, Mode::Open);
    assert!(shown.judge.awaits_pong());
    shown.piece(&wire::bytes(&frames[5..]), 0, Mode::Open);
    assert!(!shown.judge.awaits_pong());
    assert_eq!(shown.out.passed, wire::bytes(&[&others[..], &[pong(&PING)]].concat()));
}
