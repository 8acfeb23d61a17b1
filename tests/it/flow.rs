//! What flows: bytes, control frames, fragments, from either side; and accounts that sessions share by the key of a zone.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

const MINUTE: Duration = Duration::from_secs(60);
const SHARED: &str = "messages = { zone = \"z\", burst = 5, on_excess = \"drop\" }\nidle_timeout = \"100h\"";

fn ask() -> Ask {
    Ask::to("/ws")
}

/// Whether a message gets through: a ping behind it does in any case.
async fn passes((client, upstream): &mut (Peer, Peer)) -> bool {
    client.send([Frame::text("word").bytes(true), Frame::ping("behind it").bytes(true)].concat()).await;
    let passed = upstream.frame().await == Frame::text("word");
    if passed {
        assert_eq!(upstream.frame().await, Frame::ping("behind it"));
    }
    passed
}

/// A gateway whose two routes count messages by this key, with the sessions of three handshakes.
async fn three(key: &str, asks: impl Fn(&Gate) -> [Ask; 3]) -> (Gate, [(Peer, Peer); 3]) {
    let backend = Backend::new().await;
    let terms = format!("jwt = \"main\"\n{SHARED}");
    let gate = Setup::new()
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .route("/ws", &backend.url(), &terms)
        .route("/other", &backend.url(), &terms)
        .admin(&format!("[zone.z]\nkey = {key}\nrate = \"1/h\""))
        .start();
    let [one, same, other] = asks(&gate);
    let session = async |ask| gate.session_of(&backend, &ask).await;
    let sessions = [session(one).await, session(same).await, session(other).await];
    (gate, sessions)
}

/// Resets the clients, and waits until they are written down.
async fn leave(gate: &mut Gate, sessions: impl IntoIterator<Item = (Peer, Peer)>) {
    for (client, mut upstream) in sessions {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
}

/// The third vector of nginx's with hours for seconds, in turns by two sessions that share a key.
#[tokio::test]
async fn two_sessions_of_one_key_share_one_account_and_a_third_of_another_has_its_own() {
    let far = 1_000_000;
    let alice = |gate: &Gate| ask().bearer(&gate.token("alice", far));
    let of = |gate: &Gate, subject: &str, tenant: &str| {
        let exp = gate.clock.now().wall / 1000 + far;
        ask().bearer(&gate.sign(&json!({ "sub": subject, "exp": exp, "org": { "tenant": tenant } })))
    };
    let with = |gate: &Gate, name: &str, values: [&str; 3]| values.map(|value| alice(gate).with(name, value));
    type Asks<'a> = Box<dyn Fn(&Gate) -> [Ask; 3] + 'a>;
    let kinds: [(&str, Asks<'_>); 9] = [
        ("\"ip\"", Box::new(|gate| with(gate, "X-Forwarded-For", ["192.0.2.1", "192.0.2.1", "192.0.2.2"]))),
        ("\"subject\"", Box::new(|gate| [of(gate, "a", "x"), of(gate, "a", "y"), of(gate, "b", "x")])),
        ("\"claim:org.tenant\"", Box::new(|gate| [of(gate, "a", "x"), of(gate, "b", "x"), of(gate, "a", "y")])),
        ("\"header:x-key\"", Box::new(|gate| with(gate, "X-Key", ["1", "1", "2"]))),
        ("\"cookie:sid\"", Box::new(|gate| with(gate, "Cookie", ["sid=1", "a=2; sid=1", "sid=2"]))),
        ("\"route\"", Box::new(|gate| [alice(gate), alice(gate), alice(gate).line("GET /other HTTP/1.1")])),
        (
            "\"host\"",
            Box::new(|gate| {
                ["a.example.com", "A.example.com:80", "b.example.com"].map(|host| alice(gate).but("Host", host))
            }),
        ),
        (
            "[\"subject\", \"header:x-key\"]",
            Box::new(|gate| [("a", "1"), ("a", "1"), ("a", "2")].map(|(s, key)| of(gate, s, "x").with("X-Key", key))),
        ),
        (
            "[\"route\", \"claim:nothing\"]",
            Box::new(|gate| [of(gate, "a", "x"), of(gate, "b", "y"), alice(gate).line("GET /other HTTP/1.1")]),
        ),
    ];
    for (key, asks) in kinds {
        let (mut gate, mut sessions) = three(key, asks).await;
        let mut now = Duration::ZERO;
        let vector = [(0, 6, 1), (60, 1, 1), (118, 0, 1), (120, 1, 0)];
        for (minutes, in_, out) in vector {
            gate.advance(minutes * MINUTE - now);
            now = minutes * MINUTE;
            for n in 0..in_ + out {
                let passed = passes(&mut sessions[n % 2]).await;
                assert_eq!(passed, n < in_, "{key}: message {n} of minute {minutes}");
            }
        }
        for n in 0..6 {
            assert!(passes(&mut sessions[2]).await, "{key}: message {n} of another key");
        }
        leave(&mut gate, sessions).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn by_connection_each_session_has_an_account_of_its_own_that_both_directions_share() {
    let backend = Backend::new().await;
    let mut gate = Setup::new()
        .route("/ws", &backend.url(), &SHARED.replace("burst", "from = \"both\", burst"))
        .admin("[zone.z]\nkey = [\"connection\", \"ip\"]\nrate = \"1/h\"")
        .start();
    let mut sessions = [gate.session(&backend).await, gate.session(&backend).await];
    for session in &mut sessions {
        for n in 0..3 {
            assert!(passes(session).await, "message {n}");
            session.1.say(&Frame::text("answer")).await;
            assert_eq!(session.0.frame().await, Frame::text("answer"));
        }
        assert!(!passes(session).await);
        session.1.send([Frame::text("one too many").bytes(false), Frame::ping("behind").bytes(false)].concat()).await;
        assert_eq!(session.0.frame().await, Frame::ping("behind"));
    }
    assert_eq!(gate.count("wsgate_zone_entries{zone=\"z\"}"), 0.0);
    for (direction, count) in [("to_upstream", 2.0), ("to_client", 2.0)] {
        let sample = format!(
            "wsgate_limit_exceeded_total{{route=\"ws\",limit=\"messages\",zone=\"z\",direction=\"{direction}\",action=\"drop\",dry_run=\"false\"}}"
        );
        until("all to be counted", || gate.count(&sample) == count).await;
    }
    leave(&mut gate, sessions).await;
    gate.finish().await;
}

#[tokio::test]
async fn who_connects_anew_owes_what_the_session_before_it_owed() {
    let backend = Backend::new().await;
    let mut gate =
        Setup::new().route("/ws", &backend.url(), SHARED).admin("[zone.z]\nkey = \"ip\"\nrate = \"1/h\"").start();
    let mut session = gate.session(&backend).await;
    for _ in 0..6 {
        assert!(passes(&mut session).await);
    }
    leave(&mut gate, [session]).await;
    gate.rests().await;
    let mut session = gate.session(&backend).await;
    assert!(!passes(&mut session).await);
    gate.advance(60 * MINUTE);
    assert!(passes(&mut session).await);
    leave(&mut gate, [session]).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_zone_without_room_for_a_session_s_account_refuses_the_handshake() {
    let backend = Backend::new().await;
    let terms = "messages = { zone = \"z\" }";
    let mut gate = Setup::new()
        .route("/ws", &backend.url(), terms)
        .route("/tried", &backend.url(), "messages = { zone = \"z\", dry_run = true }")
        .admin("[zone.z]\nkey = \"header:x-key\"\nrate = \"1/h\"\nentries = 64")
        .start();
    let mut open = Vec::new();
    for n in 0..64 {
        open.push(gate.session_of(&backend, &ask().with("X-Key", &n.to_string())).await);
    }
    let told = gate.refusal(&ask().with("X-Key", "64")).await;
    assert_eq!((told.status(), told.one("retry-after")), (503, Some("1")));
    assert!(told.body.starts_with("zone_full: "), "{told:?}");
    gate.refused("zone_full").await;
    open.push(gate.session_of(&backend, &ask().with("X-Key", "7")).await);
    open.push(gate.session_of(&backend, &Ask::to("/tried").with("X-Key", "64")).await);
    let sample = "wsgate_limit_exceeded_total{route=\"tried\",limit=\"messages\",zone=\"z\",direction=\"to_upstream\",action=\"close\",dry_run=\"true\"}";
    assert_eq!(gate.count(sample), 1.0);
    leave(&mut gate, open).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_limit_with_when_is_for_those_who_claim_it_alone() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\nmessages = [{ zone = \"free\", on_excess = \"drop\", when = { plan = \"free\" } }, \
                 { rate = \"1/h\", burst = 3, on_excess = \"drop\" }]";
    let mut gate = Setup::new()
        .route("/ws", &backend.url(), terms)
        .admin("[zone.free]\nkey = \"subject\"\nrate = \"1/h\"")
        .start();
    let exp = gate.clock.now().wall / 1000 + 1000;
    // The second session of who is free starts where the first has left off; of who pays each connection counts apart.
    for (plan, count) in [("free", 1), ("free", 0), ("paid", 4), ("paid", 4)] {
        let token = gate.sign(&json!({ "sub": plan, "exp": exp, "plan": plan }));
        let mut session = gate.session_of(&backend, &ask().bearer(&token)).await;
        for n in 0..6 {
            assert_eq!(passes(&mut session).await, n < count, "message {n} of {plan}");
        }
        leave(&mut gate, [session]).await;
        gate.rests().await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn bytes_are_judged_by_the_frame_s_header_before_its_payload_passes() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "bytes = { rate = \"1/h\", burst = \"1k\" }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    let large = Frame::binary(vec![7; 5000]);
    client.say(&large).await;
    assert_eq!(upstream.frame().await, large, "the first is free");
    let kilobyte = Frame::binary(vec![7; 1024 - 8]);
    client.say(&kilobyte).await;
    assert_eq!(upstream.frame().await, kilobyte);
    client.send(kilobyte.header(1000, true)).await;
    assert_eq!(client.frame().await.as_close(), (4029, "byte_rate"));
    assert_eq!(upstream.frame().await.as_close(), (4029, "byte_rate"));
    drop((client, upstream));
    gate.ended("gateway", "byte_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_s_messages_are_limited_where_the_route_says_so() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "messages = { rate = \"1/h\", burst = 1, from = \"upstream\" }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    for n in 0..20 {
        client.say(&Frame::text(&n.to_string())).await;
        assert_eq!(upstream.frame().await, Frame::text(&n.to_string()));
    }
    upstream.send(Frame::text("word").bytes(false).repeat(3)).await;
    for _ in 0..2 {
        assert_eq!(client.frame().await, Frame::text("word"));
    }
    assert_eq!(client.frame().await.as_close(), (4029, "message_rate"));
    assert_eq!(upstream.frame().await.as_close(), (4029, "message_rate"));
    drop((client, upstream));
    gate.ended("gateway", "message_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn pings_and_pongs_are_limited_and_the_close_and_the_answer_to_our_own_ping_are_not() {
    let backend = Backend::new().await;
    let terms = "control = { rate = \"1/h\", burst = 1, on_excess = \"drop\" }\nping_interval = \"10s\"";
    let mut gate = Gate::new(&backend.url(), terms);
    let (mut client, mut upstream) = gate.session(&backend).await;
    gate.advance(Duration::from_secs(11));
    let ours = client.frame().await;
    client.say(&Frame::new(0x8a, ours.payload.clone())).await;
    for frame in [Frame::ping("1"), Frame::pong("2"), Frame::ping("3"), Frame::pong("4"), Frame::text("behind")] {
        client.say(&frame).await;
    }
    for frame in [Frame::ping("1"), Frame::pong("2"), Frame::text("behind")] {
        assert_eq!(upstream.frame().await, frame);
    }
    client.say(&Frame::close(1000, "")).await;
    assert_eq!(upstream.frame().await.as_close(), (1000, ""));
    upstream.say(&Frame::close(1000, "")).await;
    assert_eq!(client.frame().await.as_close(), (1000, ""));
    gate.ended("client", "closed").await;
    gate.finish().await;
}

#[tokio::test]
async fn control_frames_beyond_the_rate_end_the_session_with_a_reason_of_their_own() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "control = { rate = \"1/h\", burst = 1, from = \"both\" }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    upstream.send(Frame::ping("?").bytes(false).repeat(2)).await;
    for _ in 0..2 {
        assert_eq!(client.frame().await, Frame::ping("?"));
    }
    client.send(Frame::ping("?").bytes(true).repeat(3)).await;
    for _ in 0..2 {
        assert_eq!(upstream.frame().await, Frame::ping("?"));
    }
    assert_eq!(client.frame().await.as_close(), (4029, "control_rate"));
    assert_eq!(upstream.frame().await.as_close(), (4029, "control_rate"));
    drop((client, upstream));
    gate.ended("gateway", "control_rate").await;
    gate.finish().await;
}

#[tokio::test]
async fn a_message_of_more_frames_than_allowed_ends_the_session_at_the_one_too_many() {
    let backend = Backend::new().await;
    for from in ["client", "upstream"] {
        let mut gate = Gate::new(&backend.url(), &format!("fragments = {{ max = 3, from = \"{from}\" }}"));
        let (mut client, mut upstream) = gate.session(&backend).await;
        let is_client = from == "client";
        let (sender, receiver) = if is_client { (&mut client, &mut upstream) } else { (&mut upstream, &mut client) };
        let (first, empty, last) = (Frame::new(0x01, "a"), Frame::new(0x00, ""), Frame::new(0x80, ""));
        let three = [&first, &Frame::ping("?"), &empty, &last];
        for frame in three.into_iter().chain(three) {
            sender.say(frame).await;
            assert_eq!(receiver.frame().await, *frame);
        }
        sender.send([&first, &empty, &empty, &last].map(|frame| frame.bytes(is_client)).concat()).await;
        for frame in [&first, &empty, &empty] {
            assert_eq!(receiver.frame().await, *frame);
        }
        assert_eq!(receiver.frame().await.as_close(), (1008, "too_many_fragments"));
        assert_eq!(sender.frame().await.as_close(), (1008, "too_many_fragments"));
        drop((client, upstream));
        gate.ended(from, "too_many_fragments").await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn fragments_in_dry_run_are_counted_once_a_message() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "fragments = { max = 2, dry_run = true }");
    let (mut client, mut upstream) = gate.session(&backend).await;
    for _ in 0..2 {
        for first in [0x01, 0x00, 0x00, 0x00, 0x80] {
            client.say(&Frame::new(first, "x")).await;
            assert_eq!(upstream.frame().await, Frame::new(first, "x"));
        }
    }
    let sample = "wsgate_limit_exceeded_total{route=\"ws\",limit=\"fragments\",direction=\"to_upstream\",action=\"close\",dry_run=\"true\"}";
    until("both to be counted", || gate.count(sample) == 2.0).await;
    leave(&mut gate, [(client, upstream)]).await;
    gate.finish().await;
}
