//! One direction between two local sockets, polled by hand.

use std::task::Waker;

use super::*;
use crate::deny::Deny;
use crate::deny::Direction::ToClient;
use crate::session::frame::tests::wire::Wire;
use crate::session::tests::rig::{End, pair, run, stream};

/// Bytes of memory that a direction holds on to.
pub(in crate::session) fn kept_by(pump: &Pump) -> usize {
    pump.backlog.kept.capacity()
}

/// Whether it has rules to measure by.
pub(in crate::session) fn metered_by(pump: &Pump) -> bool {
    pump.judge.is_metered()
}

/// Whether what was judged waits for the receiver.
pub(in crate::session) fn is_blocked(pump: &Pump) -> bool {
    pump.backlog.sent < pump.backlog.judged
}

/// A Close of our own.
const CLOSE: [u8; 2] = [0x88, 0];

/// A direction to the client, with both of its sockets.
struct Rig {
    pump: Pump,
    from: Stream,
    to: Stream,
    scratch: Vec<u8>,
    passed: u64,
    sender: End,
    receiver: End,
}

impl Rig {
    fn new(scratch: usize) -> Self {
        let ((from, sender), (to, receiver)) = (pair(), pair());
        Self {
            pump: Pump::new(Judge::new(ToClient, false, 100_000, None, None), &[], Buffered::new(u64::MAX), 0),
            from: stream(from),
            to: stream(to),
            scratch: vec![0; scratch],
            passed: 0,
            sender: End::new(sender),
            receiver: End::new(receiver),
        }
    }

    /// One poll, after sockets had time to get ready.
    async fn poll(&mut self) -> Poll<Event> {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let mut wake = Wake::new(&mut self.scratch, 0, READ);
        let mut cx = Context::from_waker(Waker::noop());
        let event = self.pump.poll(&mut cx, &mut self.from, &mut self.to, &mut wake);
        self.passed += wake.bytes;
        event
    }

    /// Fills the way to the receiver; what of `stream` was sent.
    async fn block(&mut self, stream: &[u8]) -> usize {
        let mut sent = 0;
        loop {
            let some = self.sender.send_some(&stream[sent..]);
            sent += some;
            if self.poll().await.is_pending() && some == 0 {
                return sent;
            }
        }
    }

    /// Polls and reads until nothing comes any more, and does as a session does on the way; the events.
    async fn drain(&mut self) -> Vec<Event> {
        let mut events = vec![];
        loop {
            let polled = self.poll().await;
            let read = self.receiver.read(usize::MAX / 2);
            let Poll::Ready(event) = polled else {
                if read == 0 {
                    return events;
                }
                continue;
            };
            match event {
                Event::ReceiverLost => self.pump.abandon_receiver(),
                Event::Violation(_) => self.pump.say_farewell(CLOSE.to_vec()),
                Event::Closed(_) | Event::SenderLost | Event::NoRoom => {}
            }
            events.push(event);
        }
    }
}

fn text(payload: usize) -> Vec<u8> {
    Wire::text(ToClient, &vec![b'x'; payload]).bytes()
}

#[test]
fn a_sender_that_is_never_done_leaves_the_other_direction_its_turn() {
    run(async {
        let mut rig = Rig::new(64);
        let stream = text(60).repeat(100);
        rig.sender.send(&stream);
        assert_eq!(rig.poll().await, Poll::Pending);
        assert!(rig.passed > 0 && rig.passed <= 64 * TURN as u64, "{} bytes at once", rig.passed);
        rig.drain().await;
        assert_eq!(rig.receiver.received, stream);
    });
}

#[test]
fn what_is_kept_for_a_slow_receiver_is_no_more_than_one_read() {
    run(async {
        for payload in [1, 100, 999, 5000, 20_000] {
            let mut rig = Rig::new(4096);
            let stream = text(payload).repeat(400_000 / payload);
            let sent = rig.block(&stream).await;
            assert!(sent < stream.len());
            assert!(is_blocked(&rig.pump) && rig.pump.backlog.kept.len() <= 4096);
            assert_eq!(
                rig.pump.backlog.kept.capacity(),
                rig.pump.backlog.kept.len(),
                "no byte more than what has to be kept"
            );
            // Our own Close stands before what is kept for the judge.
            let close = super::super::frame::close(1012, "draining", None);
            rig.pump.say_farewell(close.clone());
            rig.drain().await;
            assert!(kept_by(&rig.pump) <= 4096 + close.len());
            let received = std::mem::take(&mut rig.receiver.received);
            let whole = received.strip_suffix(&close[..]);
            let boundary =
                whole.is_some_and(|whole| whole.len() % text(payload).len() == 0 && stream.starts_with(whole));
            // Without the rest of the frame under way there is no boundary for the Close.
            assert!(boundary || stream.starts_with(&received) && !rig.pump.judge.on_boundary());
        }
    });
}

#[test]
fn a_close_is_found_behind_what_a_lost_receiver_did_not_take() {
    run(async {
        // A control frame is seen whole or not at all, so most reads leave the beginning of one for the judge.
        let pings = Wire::control(ToClient, 9, &[7; 125]).bytes().repeat(400);
        let stream = [pings, Wire::close(ToClient, 1000).bytes()].concat();
        let mut with_a_beginning = 0;
        for scratch in (1000..5000).step_by(333) {
            let mut rig = Rig::new(scratch);
            let mut sent = rig.block(&stream).await;
            assert!(is_blocked(&rig.pump));
            assert_eq!(
                rig.pump.backlog.kept.capacity(),
                rig.pump.backlog.kept.len(),
                "no byte more than what has to be kept"
            );
            with_a_beginning += usize::from(rig.pump.backlog.kept.len() > rig.pump.backlog.judged);
            rig.receiver.vanish();
            let mut events = rig.drain().await;
            while sent < stream.len() {
                sent += rig.sender.send_some(&stream[sent..]);
                events.extend(rig.drain().await);
            }
            assert_eq!(events, [Event::ReceiverLost, Event::Closed(Some(1000))]);
            assert!(rig.pump.is_over());
            assert_eq!(kept_by(&rig.pump), 0);
        }
        assert!(with_a_beginning > 0);
    });
}

#[test]
fn the_close_that_could_not_be_passed_on_is_an_end_all_the_same() {
    run(async {
        let mut rig = Rig::new(4096);
        rig.receiver.vanish();
        rig.sender.send(&[text(10), Wire::close(ToClient, 1001).bytes()].concat());
        assert_eq!(rig.drain().await.last(), Some(&Event::Closed(Some(1001))));
        assert!(rig.pump.is_over());
    });
}

#[test]
fn a_violation_behind_a_backlog_comes_after_it_and_the_close_after_both() {
    run(async {
        let mut rig = Rig::new(4096);
        let stream = text(1000).repeat(100);
        let big = &Wire::text(ToClient, &[0; 100_001]).bytes()[..50];
        let mut sent = rig.block(&stream).await;
        let all = [&stream[..], big].concat();
        let mut events = vec![];
        while sent < all.len() {
            sent += rig.sender.send_some(&all[sent..]);
            events.extend(rig.drain().await);
        }
        let [Event::Violation(violation)] = events[..] else { panic!("{events:?}") };
        assert_eq!(violation.deny, Deny::MessageTooBig);
        assert_eq!(rig.receiver.received, [&stream[..], &CLOSE].concat());
        assert!(rig.pump.is_silent() && !rig.pump.is_over(), "its Close is still to come");
    });
}

#[test]
fn a_ping_that_waits_is_forgotten_for_a_close() {
    run(async {
        let mut rig = Rig::new(4096);
        rig.sender.send(&text(100)[..50]);
        rig.drain().await;
        rig.pump.ping_receiver([7; 8]);
        rig.pump.say_farewell(CLOSE.to_vec());
        rig.sender.send(&text(100)[50..]);
        rig.drain().await;
        assert_eq!(rig.receiver.received, [&text(100)[..], &CLOSE].concat());
        assert_eq!(kept_by(&rig.pump), 0);
    });
}

#[test]
fn a_sender_that_is_lost_within_a_header_leaves_a_boundary_for_the_close_and_within_a_frame_none() {
    run(async {
        for (cut, boundary) in [(0, true), (1, true), (2, false), (50, false)] {
            let mut rig = Rig::new(4096);
            rig.sender.send(&[&text(10)[..], &text(100)[..cut]].concat());
            rig.drain().await;
            rig.sender.finish();
            assert_eq!(rig.drain().await, [Event::SenderLost]);
            rig.pump.say_farewell(CLOSE.to_vec());
            rig.drain().await;
            assert_eq!(rig.receiver.received.ends_with(&CLOSE), boundary, "{cut}");
            assert_eq!(rig.pump.ends_in_a_frame(), !boundary);
            assert!(rig.pump.is_over());
        }
    });
}
