//! The end of an identity, the end of a session's time, what is said ahead of them, and a renewal that moves them.

use proptest::prelude::*;

use super::*;
use crate::config::OnExpiry;
use crate::policy::expiry::{Expiry, Notice};
use crate::session::frame::tests::wire::{cut, sizes};

const TEXT: &str = "{\"type\":\"token_expiring\"}";

/// The identity ends at this moment of the clock, which begins at 0 with the rig.
const END: u64 = 600_000;

fn terms(on_expiry: OnExpiry, max_lifetime: Option<u64>, before: Option<u64>) -> Terms {
    let notice = before.map(|before| Arc::new(Notice { before, text: TEXT.to_owned() }));
    Terms { expiry: Expiry { on_expiry, max_lifetime, notice }, ..TERMS }
}

/// The notice as tungstenite would write it.
fn notice() -> Vec<u8> {
    Wire::text(ToClient, TEXT.as_bytes()).bytes()
}

fn lapses(rig: &Rig) -> usize {
    let metrics = rig.books.metrics.render(None).body;
    let sample = metrics.lines().find_map(|line| line.strip_prefix("wsgate_sessions_expired_total{route=\"test\"} "));
    sample.unwrap().parse().unwrap()
}

#[test]
fn a_session_is_no_older_than_its_route_lets_it_be_whatever_its_token_says() {
    run(async {
        for on_expiry in [OnExpiry::Close, OnExpiry::Log] {
            let terms = terms(on_expiry, Some(5000), None);
            let (mut rig, mut client, mut upstream) = Rig::opened(terms, false, Some(END), (b"", b""));
            rig.advance(4500).await;
            assert_eq!(client.take(), [0_u8; 0]);
            rig.advance(500).await;
            assert_eq!(client.take(), frame::close(1001, "lifetime_over", None));
            client.send(&Wire::close(ToUpstream, 1001).bytes());
            upstream.send(&Wire::close(ToClient, 1001).bytes());
            rig.settle().await;
            assert_eq!(rig.end(), "gateway lifetime_over 1001");
        }
    });
}

#[test]
fn the_end_of_the_identity_comes_by_the_timer_alone() {
    run_by_the_wall(async {
        let terms = terms(OnExpiry::Close, None, Some(40));
        let (mut rig, mut client, _upstream) = Rig::opened(terms, false, Some(60), (b"", b""));
        let expected = [notice(), frame::close(4001, "token_expired", None)].concat();
        let mut received = vec![];
        rig.until(|| {
            received.extend(client.take());
            received.len() == expected.len()
        })
        .await;
        assert_eq!(received, expected);
        assert!(rig.polls.get() < 20, "{} polls", rig.polls.get());
    });
}

#[test]
fn an_identity_that_ends_without_the_session_is_said_to_once_and_again_after_a_renewal() {
    run(async {
        let (mut rig, mut client, mut upstream) =
            Rig::opened(terms(OnExpiry::Log, None, None), false, Some(END), (b"", b""));
        rig.advance(END - 1000).await;
        assert_eq!(lapses(&rig), 0);
        rig.advance(1000).await;
        assert_eq!(lapses(&rig), 1);
        assert_eq!(rig.settle().await, 0);
        rig.advance(1000).await;
        upstream.send(&Wire::text(ToClient, b"on").bytes());
        rig.settle().await;
        assert_eq!((client.take().len(), lapses(&rig)), (4, 1));
        assert!(rig.live.holder.term.extend(Some(2 * END)));
        rig.advance(1000).await;
        assert_eq!(lapses(&rig), 1);
        rig.advance(END).await;
        assert_eq!(lapses(&rig), 2);
        assert!(!rig.is_over());
    });
}

#[test]
fn a_renewed_session_outlives_its_first_token_and_ends_with_the_second() {
    run(async {
        let (mut rig, mut client, _upstream) =
            Rig::opened(terms(OnExpiry::Close, None, Some(60_000)), false, Some(END), (b"", b""));
        rig.advance(END - 60_000).await;
        assert_eq!(client.take(), notice());
        assert!(rig.live.holder.term.extend(Some(2 * END)));
        rig.live.wake();
        rig.settle().await;
        rig.advance(60_000).await;
        assert_eq!(client.take(), [0_u8; 0], "one notice for each end");
        rig.advance(END - 60_000).await;
        assert_eq!(client.take(), notice(), "and one for the next");
        rig.advance(60_000).await;
        assert_eq!(client.take(), frame::close(4001, "token_expired", None));
    });
}

#[test]
fn of_a_renewal_and_the_end_at_one_moment_the_first_counts() {
    run(async {
        for renewed_first in [true, false] {
            let (mut rig, mut client, _upstream) =
                Rig::opened(terms(OnExpiry::Close, None, None), false, Some(END), (b"", b""));
            rig.settle().await;
            rig.books.clock.advance(std::time::Duration::from_millis(END));
            if renewed_first {
                // The clock is past the end, and the session has not looked yet.
                assert!(rig.live.holder.term.extend(Some(2 * END)));
            }
            rig.live.wake();
            rig.settle().await;
            let said = client.take();
            if renewed_first {
                assert_eq!(said, [0_u8; 0]);
                rig.advance(END - 1000).await;
                assert_eq!(client.take(), [0_u8; 0]);
            } else {
                assert_eq!(said, frame::close(4001, "token_expired", None));
                assert!(!rig.live.holder.term.extend(Some(2 * END)), "it has begun to end");
            }
        }
    });
}

#[test]
fn a_session_that_ends_for_another_reason_is_not_renewed_while_it_waits_for_the_close() {
    run(async {
        let (mut rig, mut client, _upstream) = Rig::opened(TERMS, false, Some(END), (b"", b""));
        client.send(&Wire::close(ToUpstream, 1000).bytes());
        rig.settle().await;
        assert!(!rig.is_over());
        assert!(!rig.live.holder.term.extend(Some(2 * END)));
    });
}

#[test]
fn a_notice_waits_for_the_end_of_the_message_and_is_left_out_if_that_does_not_come() {
    run(async {
        let first = Wire { fin: false, ..Wire::text(ToClient, b"first") }.bytes();
        let ping = Wire::control(ToClient, 9, b"between").bytes();
        for comes in [true, false] {
            let terms = terms(OnExpiry::Close, None, Some(60_000));
            let (mut rig, mut client, mut upstream) = Rig::opened(terms, false, Some(END), (b"", b""));
            upstream.send(&first);
            rig.settle().await;
            rig.advance(END - 60_000).await;
            upstream.send(&ping);
            rig.settle().await;
            assert_eq!(client.take(), [&first[..], &ping].concat());
            assert_eq!(rig.settle().await, 0);
            if comes {
                let rest = [Wire::control(ToClient, 0, b"last"), Wire::text(ToClient, b"next")];
                upstream.send(&wire::bytes(&rest));
                rig.settle().await;
                assert_eq!(client.take(), [rest[0].bytes(), notice(), rest[1].bytes()].concat());
            }
            rig.advance(60_000).await;
            assert_eq!(client.take(), frame::close(4001, "token_expired", None));
        }
    });
}

#[test]
fn a_notice_that_waits_is_taken_back_by_a_renewal() {
    run(async {
        let terms = terms(OnExpiry::Close, None, Some(60_000));
        let (mut rig, mut client, mut upstream) = Rig::opened(terms, false, Some(END), (b"", b""));
        upstream.send(&Wire { fin: false, ..Wire::text(ToClient, b"first") }.bytes());
        rig.settle().await;
        rig.advance(END - 60_000).await;
        assert!(rig.live.holder.term.extend(Some(2 * END)));
        rig.live.wake();
        rig.settle().await;
        client.take();
        upstream.send(&Wire::control(ToClient, 0, b"last").bytes());
        rig.settle().await;
        assert_eq!(client.take(), Wire::control(ToClient, 0, b"last").bytes());
    });
}

#[test]
fn a_notice_is_nobodys_message() {
    run(async {
        let (mut rig, mut client, _upstream) =
            Rig::opened(terms(OnExpiry::Close, None, Some(60_000)), true, Some(END), (b"", b""));
        rig.advance(END - 60_000).await;
        assert_eq!(client.take(), notice());
        assert_eq!((rig.live.messages[1].get(), rig.live.bytes[1].get()), (0, 0));
    });
}

/// Where the frames leave no message unfinished, in bytes.
fn between_messages(frames: &[Wire]) -> Vec<usize> {
    let (mut at, mut unfinished, mut found) = (0, false, vec![0]);
    for frame in frames {
        at += frame.bytes().len();
        if !frame.is_control() {
            unfinished = !frame.fin;
        }
        if !unfinished {
            found.push(at);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wherever_the_moment_falls_a_notice_stands_between_two_messages(
        frames in wire::messages(ToClient, true, 300),
        pinged in any::<bool>(),
        when in any::<prop::sample::Index>(),
        sizes in sizes(),
    ) {
        run(async {
            let mut terms = terms(OnExpiry::Close, None, Some(60_000));
            terms.ping_interval = pinged.then_some(END - 60_000);
            let (mut rig, mut client, mut upstream) = Rig::opened(terms, true, Some(END), (b"", b""));
            let bytes = wire::bytes(&frames);
            let pieces: Vec<&[u8]> = cut(&bytes, &sizes).collect();
            let when = when.index(pieces.len() + 1);
            let mut got = vec![];
            for (at, piece) in pieces.iter().enumerate() {
                if at == when {
                    rig.advance(END - 60_000).await;
                }
                upstream.send(piece);
                rig.settle().await;
                got.extend(client.take());
            }
            if when == pieces.len() {
                rig.advance(END - 60_000).await;
                got.extend(client.take());
            }
            let ping = frame::control(Control::Ping, &rig.live.id.0.to_be_bytes(), None);
            if let Some(at) = got.windows(ping.len()).position(|window| window == ping) {
                assert!(pinged);
                got.drain(at..at + ping.len());
            }
            let notice = notice();
            let at = got.windows(notice.len()).position(|window| window == notice).expect("a notice");
            got.drain(at..at + notice.len());
            assert!(between_messages(&frames).contains(&at), "at {at}");
            assert_eq!(got, bytes);
        });
    }
}
