//! Receivers that do not take what is sent: how long, how much is kept for them, and who is ended for it.

use super::*;
use crate::session::buffered::Buffered;
use crate::session::pump::READ;
use crate::session::pump::tests::is_blocked;

const SLOW: Terms = Terms { send_timeout: 60_000, ..TERMS };

/// A stream of texts of this size, from the client or from the upstream.
fn stream(direction: Direction, payload: usize) -> Vec<u8> {
    Wire::text(direction, &vec![b'x'; payload]).bytes().repeat(1 + 600_000 / payload)
}

/// Sends until nothing more goes; how much went.
async fn fill(rig: &mut Rig, from: &mut rig::End, stream: &[u8]) -> usize {
    let mut sent = 0;
    loop {
        let some = from.send_some(&stream[sent..]);
        sent += some;
        rig.settle().await;
        // Once the end has begun, what is sent is read and thrown away.
        if some == 0 || rig.session.as_ref().is_none_or(|session| session.deadline.is_some()) {
            assert!(sent < stream.len(), "all of it was taken");
            return sent;
        }
    }
}

#[test]
fn a_receiver_that_takes_no_byte_for_send_timeout_ends_the_session_and_is_named() {
    run(async {
        for payload in [1, 5000, 70_000] {
            for direction in Direction::ALL {
                let (mut rig, mut client, mut upstream) = Rig::new(Terms { close_timeout: 5000, ..SLOW });
                let (side, from) = match direction {
                    ToUpstream => ("upstream", &mut client),
                    ToClient => ("client", &mut upstream),
                };
                fill(&mut rig, from, &stream(direction, payload)).await;
                rig.advance(59_000).await;
                assert_eq!(from.take(), b"", "not yet");
                rig.advance(1_000).await;
                let told = from.take();
                assert_eq!(ends::heard(&told), ends::Heard { close: Some(1008), cut: false }, "the sender is told");
                assert!(!rig.is_over(), "a Close has its time");
                rig.advance(5_000).await;
                assert_eq!(rig.end(), format!("{side} slow_consumer 1008"));
            }
        }
    });
}

#[test]
fn a_stalled_session_ends_by_its_timer_alone() {
    run_by_the_wall(async {
        let (mut rig, _client, mut upstream) = Rig::new(Terms { send_timeout: 100, ..TERMS });
        fill(&mut rig, &mut upstream, &stream(ToClient, 1000)).await;
        let mut told = vec![];
        rig.until(|| {
            told.extend(upstream.take());
            !told.is_empty()
        })
        .await;
        assert_eq!(ends::heard(&told).close, Some(1008));
    });
}

#[test]
fn a_receiver_that_takes_a_little_now_and_then_is_not_ended_and_gets_all_of_it() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(SLOW);
        let stream = stream(ToClient, 1000);
        let mut sent = fill(&mut rig, &mut upstream, &stream).await;
        let mut received = vec![];
        for _ in 0..20 {
            rig.advance(50_000).await;
            // A local socket has room again when a whole packet of it was read.
            client.read(16 * 1024);
            received.append(&mut client.received);
            rig.settle().await;
            sent += upstream.send_some(&stream[sent..]);
            rig.settle().await;
        }
        assert!(!rig.is_over() && is_blocked(&rig.session.as_ref().unwrap().down), "it is slow all the time");
        assert!(stream.starts_with(&received) && received.len() > 200_000);
    });
}

#[test]
fn room_that_was_there_before_a_late_worker_came_is_no_stall() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(SLOW);
        fill(&mut rig, &mut upstream, &stream(ToClient, 1000)).await;
        client.take();
        rig.books.clock.advance(std::time::Duration::from_secs(3600));
        rig.turns().await;
        rig.settle().await;
        rig.advance(0).await;
        assert!(!rig.is_over() && rig.session.as_ref().unwrap().deadline.is_none());
    });
}

#[test]
fn whoever_has_nothing_to_take_is_not_slow_nor_who_waits_for_a_rate() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::limited(&delayed("1r/m"), SLOW);
        let (_, up) = (0, Wire::text(ToUpstream, b"hello").bytes());
        client.send(&up.repeat(3));
        rig.settle().await;
        assert_eq!(upstream.take(), up);
        rig.advance(61_500).await;
        rig.advance(62_500).await;
        assert_eq!(upstream.take().len() % up.len(), 0);
        rig.advance(600_000).await;
        assert!(!rig.is_over() && rig.session.as_ref().unwrap().deadline.is_none());
    });
}

#[test]
fn a_slow_receiver_does_not_put_off_the_end_of_a_session() {
    run(async {
        let terms = Terms { close_timeout: 5000, ..SLOW };
        let (mut rig, mut client, mut upstream) = Rig::opened(terms, false, Some(70_000), (b"", b""));
        let stream = stream(ToClient, 1000);
        let sent = fill(&mut rig, &mut upstream, &stream).await;
        rig.advance(50_000).await;
        client.read(16 * 1024);
        rig.settle().await;
        upstream.send_some(&stream[sent..]);
        rig.settle().await;
        assert!(is_blocked(&rig.session.as_ref().unwrap().down));
        rig.advance(20_000).await;
        rig.advance(5_000).await;
        assert_eq!(rig.end(), "gateway token_expired 4001");
    });
}

#[test]
fn without_room_in_all_a_session_ends_at_once_and_those_that_keep_something_live_on() {
    run(async {
        let total = Buffered::new(128 * 1024);
        let mut stalled = vec![];
        let stream = stream(ToClient, 5000);
        let (mut last, mut upstream) = loop {
            assert!(stalled.len() < 100, "there is always room");
            let (mut rig, client, mut upstream) =
                Rig::with(Terms { close_timeout: 5000, ..SLOW }, false, None, (b"", b""), total.clone());
            let before = total.bytes();
            fill(&mut rig, &mut upstream, &stream).await;
            assert!(total.bytes() <= total.limit());
            if total.bytes() == before {
                drop(client);
                break (rig, upstream);
            }
            // While memory is scarce each keeps little: there is room for many more.
            let most = if before > total.limit() / 2 { 4096 } else { READ };
            assert!(rig.kept()[1] <= most + 512, "{} of {most}", rig.kept()[1]);
            stalled.push((rig, client, upstream));
        };
        assert!(stalled.len() > 10, "{} sessions", stalled.len());
        let told = upstream.take();
        assert_eq!(ends::heard(&told), ends::Heard { close: Some(1008), cut: false });
        last.advance(5_000).await;
        assert!(last.is_over());
        for (rig, client, _) in &mut stalled {
            let mut received = vec![];
            rig.settle_with(|| {
                let some = client.take();
                received.extend(&some);
                !some.is_empty()
            })
            .await;
            assert!(received.len() > 4096 && stream.starts_with(&received));
        }
        assert!(total.bytes() < 1000, "{}", total.bytes());
        drop(stalled);
        assert_eq!(total.bytes(), 0);
    });
}

#[test]
fn the_end_for_want_of_room_names_the_receiver() {
    run(async {
        for direction in Direction::ALL {
            let terms = Terms { close_timeout: 5000, ..SLOW };
            let (mut rig, mut client, mut upstream) = Rig::with(terms, false, None, (b"", b""), Buffered::new(10));
            let (side, from) = match direction {
                ToUpstream => ("upstream", &mut client),
                ToClient => ("client", &mut upstream),
            };
            fill(&mut rig, from, &stream(direction, 5000)).await;
            assert_eq!(ends::heard(&from.take()).close, Some(1008));
            assert!(rig.kept().iter().sum::<usize>() < 256, "nothing is kept for it: {:?}", rig.kept());
            rig.advance(5_000).await;
            assert_eq!(rig.end(), format!("{side} slow_consumer 1008"));
        }
    });
}

#[test]
fn what_would_wait_for_its_rate_without_room_is_over_the_rate() {
    run(async {
        for (key, opcode, reason) in
            [("messages", 1, "message_rate"), ("bytes", 1, "byte_rate"), ("control", 9, "control_rate")]
        {
            let terms = Terms { close_timeout: 5000, ..SLOW };
            let limits = format!("{key} = {{ rate = \"1/m\", on_excess = \"delay\" }}");
            let (mut rig, mut client, mut upstream) =
                Rig::of(&limits, terms, false, None, (b"", b""), Buffered::new(10));
            let up = Wire::control(ToUpstream, opcode, b"hello").bytes();
            client.send(&up.repeat(3));
            rig.settle().await;
            let told = upstream.take();
            assert_eq!(told[..up.len()], up);
            assert_eq!(ends::heard(&told).close, Some(4029));
            assert_eq!(ends::heard(&client.take()).close, Some(4029));
            rig.advance(5_000).await;
            assert_eq!(rig.end(), format!("gateway {reason} 4029"));
        }
    });
}
