//! What a session does by itself, and that it does nothing else: waits, pings, deadlines, and rest.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use super::*;
use crate::session::pump::tests::is_blocked;

/// A text from the upstream, and one from the client, of this many bytes.
fn texts(payload: usize) -> (Vec<u8>, Vec<u8>) {
    let text = |direction| Wire::text(direction, &vec![b'x'; payload]).bytes();
    (text(ToClient), text(ToUpstream))
}

/// How many pings of ours stand in what a client got, whose other frames are texts.
fn pings(rig: &Rig, received: &[u8]) -> usize {
    let ping = frame::control(Control::Ping, &rig.live.id.0.to_be_bytes(), None);
    received.windows(ping.len()).filter(|window| *window == ping).count()
}

#[test]
fn a_session_at_rest_holds_no_buffer_and_is_not_polled() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(TERMS);
        let (down, up) = texts(5000);
        for _ in 0..20 {
            client.send(&up);
            upstream.send(&down);
            rig.settle().await;
            assert_eq!((client.take().len(), upstream.take().len()), (down.len(), up.len()));
        }
        assert_eq!(rig.kept(), [0, 0]);
        assert_eq!(rig.settle().await, 0);
    });
}

#[test]
fn a_blocked_direction_is_not_polled_and_the_other_goes_on() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(TERMS);
        let (down, up) = texts(400_000);
        let mut sent = 0;
        while sent < up.len() {
            let before = sent;
            sent += client.send_some(&up[sent..]);
            rig.settle().await;
            if sent == before {
                break;
            }
        }
        assert!(sent < up.len(), "all of it was taken");
        assert_eq!(rig.settle().await, 0);
        for _ in 0..10 {
            upstream.send(&down[..1000]);
            assert!(rig.settle().await < 10);
            assert_eq!(client.take().len(), 1000);
        }
    });
}

#[test]
fn what_came_with_the_handshake_is_passed_on_first_wherever_it_was_cut() {
    run(async {
        let (down, up) = texts(20);
        for cut in 0..=up.len() {
            let cut_down = cut.min(down.len());
            let (mut rig, mut client, mut upstream) = Rig::opened(TERMS, false, None, (&up[..cut], &down[..cut_down]));
            rig.settle().await;
            client.send(&up[cut..]);
            upstream.send(&down[cut_down..]);
            rig.settle().await;
            assert_eq!((client.take(), upstream.take()), (down.clone(), up.clone()));
            assert_eq!(rig.kept(), [0, 0]);
        }
    });
}

#[test]
fn delayed_messages_come_one_by_one_by_the_timer_alone() {
    run_by_the_wall(async {
        let (mut rig, mut client, mut upstream) = Rig::limited(&delayed("200r/s"), TERMS);
        let (_, up) = texts(10);
        client.send(&up.repeat(6));
        let mut received = vec![];
        rig.until(|| {
            received.extend(upstream.take());
            received.len() == 6 * up.len()
        })
        .await;
        assert_eq!(received, up.repeat(6));
        // A poll for each turn, and at most one that comes a little early.
        assert!(rig.polls.get() < 20, "{} polls", rig.polls.get());
    });
}

#[test]
fn delayed_messages_and_the_close_behind_them_come_in_their_turn_when_the_upstream_has_said_its_close() {
    run_by_the_wall(async {
        let (mut rig, mut client, mut upstream) = Rig::limited(&delayed("200r/s"), TERMS);
        let stream = [texts(10).1.repeat(3), Wire::close(ToUpstream, 1000).bytes()].concat();
        client.send(&stream);
        upstream.send(&Wire::close(ToClient, 1000).bytes());
        let mut received = vec![];
        rig.until(|| {
            received.extend(upstream.take());
            received.len() == stream.len()
        })
        .await;
        assert_eq!(received, stream);
        assert_eq!(rig.end(), "upstream closed 1000");
    });
}

#[test]
fn a_delayed_message_that_nobody_reads_is_not_polled_for() {
    run(async {
        let mut rig = waiting_behind_a_backlog("200r/s", &TERMS).await.0;
        rig.advance(10_000).await;
        assert_eq!(rig.settle().await, 0);
    });
}

/// A session in which a message waits for its turn behind one that its upstream does not take.
async fn waiting_behind_a_backlog(rate: &str, terms: &Terms) -> (Rig, rig::End, rig::End) {
    for length in (1000..60_000).step_by(1000) {
        let (mut rig, mut client, upstream) = Rig::limited(&delayed(rate), terms.clone());
        let (_, long) = texts(length);
        let (_, short) = texts(10);
        let both = [&long[..], &short].concat();
        let mut sent = 0;
        while sent < both.len() {
            match client.send_some(&both[sent..]) {
                0 => break,
                some => sent += some,
            }
            rig.settle().await;
        }
        let up = &rig.session.as_ref().unwrap().up;
        if up.waits_until().is_some() && is_blocked(up) {
            return (rig, client, upstream);
        }
    }
    panic!("no length of a message fills the sockets so");
}

#[test]
fn a_turn_that_comes_between_reading_and_sleeping_is_not_slept_through() {
    #[derive(Default)]
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    run(async {
        let (mut rig, mut client, _upstream) = Rig::limited(&delayed("1r/s"), TERMS);
        rig.settle().await;
        client.send(&texts(10).1.repeat(2));
        rig.turns().await;
        let mut session = rig.session.take().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let now = session.exit.now();
        session.pump(&mut cx, now);
        assert_eq!(session.up.waits_until(), Some(now + 1000));
        rig.books.clock.advance(std::time::Duration::from_millis(1100));
        let before = woken.0.load(Ordering::Relaxed);
        session.arm(&mut cx, now);
        // At once, or by a timer whose moment is over: those have steps of a millisecond.
        let wait = async {
            while woken.0.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), wait).await.expect("it sleeps");
    });
}

#[test]
fn a_ping_finds_its_place_in_a_stream_that_never_pauses_between_two_frames() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(Terms { ping_interval: Some(1000), ..TERMS });
        let (frame, _) = texts(100);
        upstream.send(&frame[..50]);
        rig.settle().await;
        rig.advance(1000).await;
        // Each read ends in the middle of the next frame.
        for _ in 0..3 {
            upstream.send(&[&frame[50..], &frame[..50]].concat());
            rig.settle().await;
        }
        let received = client.take();
        assert_eq!(pings(&rig, &received), 1);
        let ping = frame::control(Control::Ping, &rig.live.id.0.to_be_bytes(), None);
        assert_eq!(received, [&frame[..], &ping, &frame, &frame, &frame[..50]].concat());
        assert_eq!(rig.kept(), [0, 0]);
    });
}

#[test]
fn a_client_that_is_not_listened_to_is_not_pinged() {
    run(async {
        let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
        let (mut rig, mut client, _upstream) = waiting_behind_a_backlog("1r/s", &terms).await;
        for _ in 0..10 {
            rig.advance(1500).await;
        }
        let received = client.take();
        assert!(pings(&rig, &received) <= 1, "{} pings", pings(&rig, &received));
        assert!(!rig.is_over());
    });
}

#[test]
fn a_client_that_falls_silent_within_a_header_is_pinged_and_ended() {
    run(async {
        let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
        let (mut rig, mut client, mut upstream) = Rig::new(terms);
        client.send(&texts(10).1[..1]);
        rig.settle().await;
        for _ in 0..3 {
            // The upstream's talk is no sign of the client's life.
            upstream.send(&texts(10).0);
            rig.advance(1000).await;
        }
        let received = client.take();
        assert_eq!(pings(&rig, &received), 1);
        assert!(received.ends_with(&frame::close(1001, "idle_timeout", None)));
    });
}

#[test]
fn a_ping_that_waits_behind_a_frame_is_not_overdue_before_it_went_out() {
    run(async {
        let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
        let (mut rig, mut client, mut upstream) = Rig::new(terms);
        let (frame, _) = texts(100);
        upstream.send(&frame[..50]);
        rig.settle().await;
        for _ in 0..5 {
            rig.advance(1000).await;
        }
        upstream.send(&frame[50..]);
        rig.settle().await;
        let received = client.take();
        assert_eq!(pings(&rig, &received), 1, "behind the frame");
        assert!(!received.ends_with(&frame::close(1001, "idle_timeout", None)));
        rig.advance(1000).await;
        assert_eq!(client.take(), frame::close(1001, "idle_timeout", None), "from then on it may be answered");
    });
}

#[test]
fn a_pinged_client_that_vanished_is_ended_although_the_upstream_talks_until_nothing_fits() {
    run(async {
        let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, close_timeout: 1000, ..TERMS };
        let (mut rig, _client, mut upstream) = Rig::new(terms);
        rig.settle().await;
        rig.advance(1000).await;
        let (frame, _) = texts(60_000);
        let mut rest = frame.clone();
        loop {
            let sent = upstream.send_some(&rest);
            rest.drain(..sent);
            rig.settle().await;
            if sent == 0 && rig.kept()[1] > 0 {
                break;
            }
            if rest.is_empty() {
                rest = frame.clone();
            }
        }
        for _ in 0..3 {
            rig.advance(1000).await;
        }
        assert!(rig.is_over(), "not only at the idle timeout");
        assert_eq!(rig.end(), "gateway idle_timeout 1001");
    });
}

#[test]
fn a_pong_in_time_keeps_a_silent_client_and_is_not_passed_on() {
    run(async {
        let terms = Terms { ping_interval: Some(1000), ping_timeout: 1000, ..TERMS };
        let (mut rig, mut client, mut upstream) = Rig::new(terms);
        rig.settle().await;
        for _ in 0..5 {
            rig.advance(1000).await;
            let ping = client.take();
            assert_eq!(pings(&rig, &ping), 1);
            client.send(&Wire::control(ToUpstream, 10, &ping[2..]).bytes());
            rig.settle().await;
        }
        assert_eq!(upstream.take(), b"");
        assert!(!rig.is_over());
    });
}

#[test]
fn what_waits_in_the_socket_when_a_stalled_worker_goes_on_was_no_silence() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::new(Terms { idle_timeout: 1000, ..TERMS });
        rig.settle().await;
        let (_, up) = texts(10);
        client.send(&up);
        // Between two polls both happen: the deadline passes, and the bytes are seen to be there.
        rig.books.clock.advance(std::time::Duration::from_millis(5000));
        rig.turns().await;
        rig.settle().await;
        assert_eq!(upstream.take(), up);
        assert_eq!(client.take(), b"");
    });
}

#[test]
fn the_end_of_a_token_waits_for_the_frame_under_way_and_then_both_are_told() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::opened(TERMS, false, Some(LONG), (b"", b""));
        let (down, up) = texts(100);
        client.send(&up[..50]);
        upstream.send(&down[..50]);
        rig.settle().await;
        rig.advance(LONG).await;
        assert_eq!((client.take(), upstream.take()), (down[..50].to_vec(), up[..50].to_vec()));
        client.send(&[&up[50..], &up].concat());
        upstream.send(&[&down[50..], &down].concat());
        rig.settle().await;
        let close = frame::close(4001, "token_expired", None);
        assert_eq!(client.take(), [&down[50..], &close].concat(), "no message begins any more");
        let told = upstream.take();
        assert_eq!(told[..56], up[50..]);
        assert_eq!(ends::heard(&told[56..]), ends::Heard { close: Some(4001), cut: false });
        client.send(&Wire::close(ToUpstream, 4001).bytes());
        upstream.send(&Wire::close(ToClient, 4001).bytes());
        rig.settle().await;
        assert_eq!(rig.end(), "gateway token_expired 4001");
    });
}

#[test]
fn a_close_finds_its_place_behind_a_backlog_and_a_rate_that_was_broken_there() {
    run(async {
        let (mut rig, mut client, mut upstream) = Rig::limited("messages = { rate = \"1r/m\" }", TERMS);
        let (_, long) = texts(50_000);
        let stream = [&long[..], &long, &Wire::close(ToUpstream, 1000).bytes()].concat();
        let (mut sent, mut received) = (0, vec![]);
        while sent < stream.len() {
            let some = client.send_some(&stream[sent..]);
            sent += some;
            rig.settle().await;
            if some == 0 {
                upstream.read(1000);
            }
        }
        rig.settle_with(|| {
            received.extend(upstream.take());
            upstream.read(1) > 0
        })
        .await;
        received.extend(upstream.take());
        assert_eq!(received[..long.len()], long);
        assert_eq!(ends::heard(&received[long.len()..]), ends::Heard { close: Some(4029), cut: false });
        assert_eq!(client.take(), frame::close(4029, "message_rate", None));
        upstream.send(&Wire::close(ToClient, 4029).bytes());
        rig.settle().await;
        assert_eq!(rig.end(), "gateway message_rate 4029");
    });
}
