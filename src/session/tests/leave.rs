//! Who leaves while its own frames wait for their turn is not held for them: by a Close, or by an end of its connection.

use super::rig::End;
use super::*;
use crate::session::buffered::Buffered;
use crate::session::pump::READ;

/// As long as what leaves has for what it left behind.
const LEAVE: u64 = 5000;

const SHORT: Terms = Terms { close_timeout: LEAVE, ..TERMS };

/// A session in which the second message from one side waits for a minute, and others behind it.
struct Leaving {
    rig: Rig,
    sender: End,
    receiver: End,
    direction: Direction,
}

impl Leaving {
    async fn new(direction: Direction, terms: Terms, buffered: Arc<Buffered>) -> Self {
        let from = if direction == ToUpstream { "client" } else { "upstream" };
        let limits = format!("messages = {{ rate = \"1/m\", on_excess = \"delay\", from = \"{from}\" }}");
        let (rig, client, upstream) = Rig::of(&limits, terms, false, None, (b"", b""), buffered);
        let (sender, receiver) = if direction == ToUpstream { (client, upstream) } else { (upstream, client) };
        let mut leaving = Self { rig, sender, receiver, direction };
        leaving.sender.send(&[leaving.message(), leaving.message()].concat());
        leaving.rig.settle().await;
        assert_eq!(leaving.receiver.take(), leaving.message());
        leaving
    }

    fn message(&self) -> Vec<u8> {
        Wire::text(self.direction, b"a message").bytes()
    }

    fn close(&self, code: u16) -> Vec<u8> {
        Wire::close(self.direction, code).bytes()
    }

    async fn answer(&mut self, code: u16) {
        let back = if self.direction == ToUpstream { ToClient } else { ToUpstream };
        self.receiver.send(&Wire::close(back, code).bytes());
        self.rig.settle().await;
    }

    fn side(&self) -> &'static str {
        if self.direction == ToUpstream { "client" } else { "upstream" }
    }
}

fn plenty() -> Arc<Buffered> {
    Buffered::new(u64::MAX)
}

fn told(end: &mut End) -> Option<u16> {
    ends::heard(&end.take()).close
}

#[test]
fn a_close_behind_what_waits_is_passed_on_after_close_timeout_and_what_waits_is_dropped() {
    run(async {
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, SHORT, plenty()).await;
            // In two parts, the second of which comes by itself.
            let close = l.close(4321);
            l.sender.send(&[&l.message().repeat(60)[..], &close[..3]].concat());
            l.rig.settle().await;
            l.rig.advance(LEAVE).await;
            l.sender.send(&close[3..]);
            l.rig.settle().await;
            l.rig.advance(LEAVE - 1).await;
            assert!(l.receiver.take().is_empty() && l.sender.take().is_empty());
            l.rig.advance(1).await;
            let got = l.receiver.take();
            assert_eq!(ends::heard(&got), ends::Heard { close: Some(4321), cut: false });
            assert!(got.len() <= 8, "nothing but the Close");
            assert_eq!(told(&mut l.sender), Some(4321));
            l.answer(4321).await;
            assert!(l.rig.is_over(), "{direction:?}");
            assert_eq!(l.rig.end(), format!("{} closed 4321", l.side()));
        }
    });
}

#[test]
fn what_waits_in_front_of_a_close_still_gets_its_turn_if_that_comes_in_time() {
    run(async {
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, Terms { close_timeout: 90_000, ..TERMS }, plenty()).await;
            l.sender.send(&[l.message(), l.close(1000)].concat());
            l.rig.settle().await;
            l.rig.advance(60_000).await;
            assert_eq!(l.receiver.take(), l.message(), "its turn");
            l.rig.advance(30_000).await;
            assert_eq!(told(&mut l.receiver), Some(1000), "no turn in time: {direction:?}");
            l.answer(1000).await;
            assert_eq!(l.rig.end(), format!("{} closed 1000", l.side()));
        }
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, TERMS, plenty()).await;
            l.sender.send(&l.close(1000));
            l.rig.settle().await;
            l.rig.advance(60_000).await;
            assert_eq!(l.receiver.take(), [l.message(), l.close(1000)].concat(), "both, as they are");
            l.answer(1000).await;
            assert_eq!(l.rig.end(), format!("{} closed 1000", l.side()));
        }
    });
}

#[test]
fn a_sender_that_is_gone_behind_what_waits_is_not_held_for_it() {
    run(async {
        for direction in Direction::ALL {
            for vanishes in [false, true] {
                let mut l = Leaving::new(direction, SHORT, plenty()).await;
                l.sender.send(&l.message().repeat(60));
                if vanishes {
                    l.sender.vanish();
                } else {
                    l.sender.finish();
                }
                l.rig.settle().await;
                l.rig.advance(LEAVE - 1).await;
                assert!(!l.rig.is_over() && l.receiver.take().is_empty());
                l.rig.advance(1).await;
                let code = told(&mut l.receiver);
                if direction == ToUpstream {
                    assert_eq!((code, l.receiver.at_end), (None, true), "as from a client of its own");
                    assert_eq!(l.rig.end(), "client client_lost -");
                } else {
                    assert!(code.is_some());
                    l.answer(code.unwrap()).await;
                    assert_eq!(l.rig.end(), format!("upstream upstream_lost {}", code.unwrap()));
                }
            }
        }
    });
}

#[test]
fn what_waits_in_front_of_an_end_still_gets_its_turn_if_that_comes_in_time() {
    run(async {
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, TERMS, plenty()).await;
            l.sender.finish();
            l.rig.settle().await;
            l.rig.advance(60_000).await;
            let message = l.message();
            assert_eq!(l.receiver.take()[..message.len()], message);
            l.rig.advance(TERMS.close_timeout).await;
            assert!(l.rig.is_over(), "{direction:?}");
        }
    });
}

#[test]
fn no_more_is_read_ahead_than_may_be_kept_and_a_close_beyond_it_is_seen_when_turns_made_room() {
    run(async {
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, SHORT, plenty()).await;
            let all = [l.message().repeat(20_000), l.close(1000)].concat();
            let mut sent = 0;
            loop {
                let some = l.sender.send_some(&all[sent..]);
                l.rig.settle().await;
                sent += some;
                if some == 0 {
                    break;
                }
            }
            assert!(sent < all.len(), "the sender is stopped");
            let kept = l.rig.kept()[direction.index()];
            assert!(kept <= READ && kept > READ / 2, "{kept}");
            l.rig.advance(10 * LEAVE).await;
            assert!(!l.rig.is_over(), "nobody knows of an end");
            // An order needs no turn, nor does the Close behind all of it.
            l.rig.live.order(Deny::Draining);
            l.rig.settle().await;
            assert!(told(&mut l.sender).is_some());
            l.rig.advance(LEAVE).await;
            assert!(l.rig.is_over());
        }
    });
}

#[test]
fn without_memory_for_it_nothing_is_read_ahead_and_nothing_ends() {
    run(async {
        for direction in Direction::ALL {
            let mut l = Leaving::new(direction, SHORT, Buffered::new(3000)).await;
            l.sender.send(&[l.message().repeat(20), l.close(1000)].concat());
            l.rig.settle().await;
            assert_eq!(l.rig.kept()[direction.index()], l.message().len());
            l.rig.advance(2 * LEAVE).await;
            assert!(!l.rig.is_over());
            l.rig.advance(60_000 - 2 * LEAVE).await;
            assert_eq!(l.receiver.take(), l.message(), "the turn made room");
            l.rig.advance(LEAVE).await;
            assert_eq!(told(&mut l.receiver), Some(1000), "{direction:?}");
            l.answer(1000).await;
            assert_eq!(l.rig.end(), format!("{} closed 1000", l.side()));
        }
    });
}

#[test]
fn a_sender_that_leaves_ends_even_where_the_receiver_has_begun_an_end_of_its_own() {
    run(async {
        let mut l = Leaving::new(ToUpstream, SHORT, plenty()).await;
        l.sender.send(&l.close(1000));
        l.rig.settle().await;
        l.rig.advance(LEAVE - 1000).await;
        l.answer(1001).await;
        assert_eq!(told(&mut l.sender), Some(1001), "it passes at once");
        l.rig.advance(1000).await;
        assert_eq!(told(&mut l.receiver), Some(1001), "its answer, without what waited");
        assert!(l.rig.is_over(), "no second close_timeout");
        assert_eq!(l.rig.end(), "upstream closed 1001");
    });
}
