//! A frame that waits for its turn holds up what stands behind it, and nothing else: whatever has to end, ends.

use super::*;
use crate::deny::Side;
use crate::session::pump::tests::metered_by;

/// What waits, and on which side.
#[derive(Clone, Copy, Debug)]
enum Waits {
    Message,
    /// Between the frames of one message.
    Fragment,
    Control,
}

const ALL: [(Waits, Direction); 6] = [
    (Waits::Message, ToUpstream),
    (Waits::Fragment, ToUpstream),
    (Waits::Control, ToUpstream),
    (Waits::Message, ToClient),
    (Waits::Fragment, ToClient),
    (Waits::Control, ToClient),
];

/// A session in which the second frame from one side waits for a minute; the first has passed.
struct Waiting {
    rig: Rig,
    sender: rig::End,
    receiver: rig::End,
    direction: Direction,
    second: Vec<u8>,
}

impl Waiting {
    async fn new(waits: Waits, direction: Direction, terms: Terms, expires: Option<u64>) -> Self {
        let from = if direction == ToUpstream { "client" } else { "upstream" };
        let part = |fin, opcode| Wire { fin, ..Wire::control(direction, opcode, b"part") };
        let (key, rate, frames) = match waits {
            Waits::Message => ("messages", "1/m", [part(true, 1), part(true, 2)]),
            Waits::Fragment => {
                ("bytes", if direction == ToUpstream { "10/m" } else { "6/m" }, [part(false, 1), part(true, 0)])
            }
            Waits::Control => ("control", "1/m", [part(true, 9), part(true, 10)]),
        };
        let limits = format!("{key} = {{ rate = \"{rate}\", on_excess = \"delay\", from = \"{from}\" }}");
        let (mut rig, client, upstream) = Rig::all(&limits, terms, false, expires, (b"", b""));
        let (mut sender, mut receiver) = if direction == ToUpstream { (client, upstream) } else { (upstream, client) };
        let [first, second] = frames.map(|frame| frame.bytes());
        sender.send(&[&first[..], &second].concat());
        rig.settle().await;
        assert_eq!(receiver.take(), first);
        let session = rig.session.as_ref().unwrap();
        let waiting = if direction == ToUpstream { &session.up } else { &session.down };
        assert!(waiting.waits_until().is_some());
        Self { rig, sender, receiver, direction, second }
    }

    fn back(&self) -> Direction {
        if self.direction == ToUpstream { ToClient } else { ToUpstream }
    }

    /// Both sides are told at once, and their answers end it: the sender's stands behind what waited.
    async fn ends(mut self, code: u16) -> String {
        self.rig.settle().await;
        for end in [&mut self.sender, &mut self.receiver] {
            assert_eq!(ends::heard(&end.take()), ends::Heard { close: Some(code), cut: false });
        }
        self.sender.send(&Wire::close(self.direction, code).bytes());
        let back = self.back();
        self.receiver.send(&Wire::close(back, code).bytes());
        self.rig.settle().await;
        assert!(self.rig.is_over(), "both have answered");
        self.rig.end()
    }
}

#[test]
fn an_order_and_a_revocation_end_who_waits_for_a_turn_at_once() {
    run(async {
        for (waits, direction) in ALL {
            for deny in [Deny::Draining, Deny::TokenRevoked, Deny::Kicked] {
                let waiting = Waiting::new(waits, direction, TERMS, None).await;
                waiting.rig.live.order(deny);
                let code = deny.row().close.unwrap();
                assert_eq!(waiting.ends(code).await, format!("gateway {deny} {code}"), "{waits:?} {direction:?}");
            }
        }
    });
}

#[test]
fn the_end_of_the_identity_ends_who_waits_for_a_turn_at_once() {
    run(async {
        for (waits, direction) in ALL {
            let mut waiting = Waiting::new(waits, direction, TERMS, Some(30_000)).await;
            waiting.rig.advance(30_000).await;
            assert_eq!(waiting.ends(4001).await, "gateway token_expired 4001", "{waits:?} {direction:?}");
        }
    });
}

#[test]
fn the_other_side_s_close_passes_at_once_and_the_answer_comes_in_its_turn() {
    run(async {
        for (waits, direction) in ALL {
            let mut w = Waiting::new(waits, direction, TERMS, None).await;
            let (close, answer) = (Wire::close(w.back(), 1000).bytes(), Wire::close(direction, 1000).bytes());
            w.receiver.send(&close);
            w.rig.settle().await;
            assert_eq!(w.sender.take(), close, "{waits:?} {direction:?}");
            w.sender.send(&answer);
            w.rig.settle().await;
            assert!(!w.rig.is_over());
            w.rig.advance(60_000).await;
            assert_eq!(w.receiver.take(), [&w.second[..], &answer].concat());
            assert!(w.rig.is_over(), "{waits:?} {direction:?}");
            let side = if direction == ToUpstream { Side::Upstream } else { Side::Client };
            assert_eq!(w.rig.end(), format!("{} closed 1000", side.label()));
        }
    });
}

#[test]
fn a_close_that_is_not_answered_in_time_for_waiting_ends_the_session_all_the_same() {
    run(async {
        for (waits, direction) in ALL {
            let terms = Terms { close_timeout: 5000, ..TERMS };
            let mut w = Waiting::new(waits, direction, terms, None).await;
            w.receiver.send(&Wire::close(w.back(), 1000).bytes());
            w.rig.settle().await;
            w.rig.advance(5000).await;
            assert!(w.rig.is_over(), "{waits:?} {direction:?}");
        }
    });
}

#[test]
fn a_client_is_pinged_and_has_to_answer_while_its_upstream_waits_for_a_turn() {
    run(async {
        for (waits, direction) in ALL.into_iter().filter(|(_, direction)| *direction == ToClient) {
            let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
            let mut w = Waiting::new(waits, direction, terms, None).await;
            w.rig.advance(1000).await;
            let ping = frame::control(Control::Ping, &w.rig.live.id.0.to_be_bytes(), None);
            assert_eq!(w.receiver.take(), ping, "{waits:?}");
            w.rig.advance(1000).await;
            assert_eq!(w.ends(1001).await, "gateway idle_timeout 1001", "{waits:?}");
        }
    });
}

#[test]
fn a_client_that_waits_for_its_turn_is_pinged_after_it() {
    run(async {
        for (waits, direction) in ALL.into_iter().filter(|(_, direction)| *direction == ToUpstream) {
            let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
            let mut w = Waiting::new(waits, direction, terms, None).await;
            w.rig.advance(59_000).await;
            assert_eq!(w.sender.take(), b"", "it can't be heard before");
            w.rig.advance(1000).await;
            assert_eq!(w.receiver.take(), w.second, "{waits:?}");
            w.rig.advance(1000).await;
            assert!(!w.sender.take().is_empty(), "{waits:?}");
            w.rig.advance(1000).await;
            assert_eq!(w.ends(1001).await, "gateway idle_timeout 1001", "{waits:?}");
        }
    });
}

#[test]
fn an_upstream_s_delayed_messages_come_by_the_timer_alone() {
    run_by_the_wall(async {
        let limits = delayed("200r/s").replace(" }", ", from = \"upstream\" }");
        let (mut rig, mut client, mut upstream) = Rig::limited(&limits, TERMS);
        let messages = Wire::text(ToClient, b"word").bytes().repeat(6);
        upstream.send(&messages);
        let mut received = vec![];
        rig.until(|| {
            received.extend(client.take());
            received.len() == messages.len()
        })
        .await;
        assert!(rig.polls.get() < 20, "{} polls", rig.polls.get());
    });
}

/// Its bytes are here, and it is the gateway that does not read them.
#[test]
fn who_waits_for_a_turn_is_not_idle_on_either_side() {
    run(async {
        for (waits, direction) in ALL {
            let mut w = Waiting::new(waits, direction, Terms { idle_timeout: 30_000, ..TERMS }, None).await;
            w.rig.advance(59_000).await;
            assert!(w.receiver.take().is_empty());
            w.rig.advance(1000).await;
            assert_eq!(w.receiver.take(), w.second, "{waits:?} {direction:?}");
            w.rig.advance(30_000).await;
            assert_eq!(w.ends(1001).await, "gateway idle_timeout 1001", "{waits:?} {direction:?}");
        }
    });
}

#[test]
fn a_session_without_rules_holds_no_meter_and_is_no_larger_for_them() {
    run(async {
        let (rig, ..) = Rig::new(TERMS);
        let session = rig.session.as_ref().unwrap();
        assert!(!metered_by(&session.up) && !metered_by(&session.down));
        // What it was when each judge had a bucket of its own.
        assert!(size_of::<Judge>() <= 96, "{} bytes", size_of::<Judge>());
    });
}
