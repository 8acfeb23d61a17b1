//! A live socket holds its slot, and whatever ends it gives the slot back.

use std::sync::Arc;
use std::time::Duration;

use wsgate::deny::Deny;
use wsgate::metrics::Example;
use wsgate::policy::Ask as Asked;
use wsgate::policy::request::Opening;
use wsgate::pool::Lease;
use wsgate::session::exit::Exit;
use wsgate::session::live::Live;
use wsgate::session::live::holder::Holder;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup};

const CAPS: &str = "jwt = \"main\"\nconnections = { total = 1, per_ip = 1, per_subject = 1 }\nidle_timeout = \"1h\"";

/// What ends a session.
#[derive(Clone, Copy, Debug)]
enum Ending {
    ClientCloses,
    UpstreamCloses,
    ClientLeaves,
    ClientResets,
    UpstreamLeaves,
    UpstreamResets,
    TokenEnds,
    NobodySpeaks,
    BadFrame,
    TooBig,
    Ordered,
    NobodyAnswersAClose,
}

impl Ending {
    const ALL: [(Self, &str, &str); 12] = [
        (Self::ClientCloses, "client", "closed"),
        (Self::UpstreamCloses, "upstream", "closed"),
        (Self::ClientLeaves, "client", "client_lost"),
        (Self::ClientResets, "client", "client_lost"),
        (Self::UpstreamLeaves, "upstream", "upstream_lost"),
        (Self::UpstreamResets, "upstream", "upstream_lost"),
        (Self::TokenEnds, "gateway", "token_expired"),
        (Self::NobodySpeaks, "gateway", "idle_timeout"),
        (Self::BadFrame, "client", "bad_frame"),
        (Self::TooBig, "client", "message_too_big"),
        (Self::Ordered, "gateway", "kicked"),
        (Self::NobodyAnswersAClose, "client", "closed"),
    ];

    async fn happens(self, gate: &Gate, mut client: Peer, mut upstream: Peer) {
        let close = Frame::close(1000, "");
        match self {
            Self::ClientCloses => {
                client.say(&close).await;
                upstream.frame().await;
                upstream.say(&close).await;
            }
            Self::UpstreamCloses => {
                upstream.say(&close).await;
                client.frame().await;
                client.say(&close).await;
            }
            Self::ClientLeaves => {
                drop(client);
                upstream.ended().await;
            }
            Self::ClientResets => {
                client.reset();
                upstream.ended().await;
            }
            Self::UpstreamLeaves => {
                drop(upstream);
                client.frame().await;
            }
            Self::UpstreamResets => {
                upstream.reset();
                client.frame().await;
            }
            Self::TokenEnds => gate.advance(Duration::from_secs(1000)),
            Self::NobodySpeaks => {
                gate.advance(Duration::from_secs(3601));
                client.frame().await;
            }
            Self::BadFrame => {
                client.send([0xff; 20]).await;
                client.frame().await;
            }
            Self::TooBig => {
                client.send(Frame::binary([]).header(1 << 40, true)).await;
                client.frame().await;
            }
            Self::Ordered => gate.shared().books.sessions.all()[0].order(Deny::Kicked),
            Self::NobodyAnswersAClose => {
                client.say(&close).await;
                upstream.frame().await;
                gate.advance(Duration::from_secs(6));
                client.ended().await;
            }
        }
    }
}

#[tokio::test]
async fn a_live_session_holds_its_slots_and_every_end_gives_them_back() {
    let backend = Backend::new().await;
    for (ending, side, reason) in Ending::ALL {
        let mut gate = Gate::new(&backend.url(), CAPS);
        let seconds = if matches!(ending, Ending::TokenEnds) { 900 } else { 36_000 };
        let ask = Ask::to("/ws").bearer(&gate.token("alice", seconds));
        let (client, upstream) = gate.session_of(&backend, &ask).await;
        assert_eq!(gate.refusal(&ask).await.status(), 503, "{ending:?}");
        gate.refused("route_cap").await;
        ending.happens(&gate, client, upstream).await;
        gate.ended(side, reason).await;
        gate.rests().await;

        let again = Ask::to("/ws").bearer(&gate.token("alice", 60));
        let (client, mut upstream) = gate.session_of(&backend, &again).await;
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn a_refusal_and_a_failed_upstream_hold_no_slot() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), CAPS);
    let ask = Ask::to("/ws").bearer(&gate.token("alice", 60));
    for answer in ["HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "220 mail\r\n\r\n", ""] {
        let mut client = gate.asking(&ask).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(answer).await;
        drop(upstream);
        assert_eq!(client.head().await.status(), 502);
        gate.refused("upstream_refused").await;
        drop(client);
        gate.rests().await;
    }
    gate.finish().await;
}

/// The place among the handshakes under way is given back when the session begins.
#[tokio::test]
async fn sessions_hold_no_place_of_a_handshake() {
    let backend = Backend::new().await;
    let server = "handshakes_in_flight = 1\nhandshakes_in_flight_per_ip = 1";
    let mut gate = Setup::new().server(server).route("/ws", &backend.url(), "").start();
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(gate.session(&backend).await);
        crate::harness::until("the place to be free", || gate.shared().handshakes_under_way() == 0).await;
        crate::harness::until("the share to be free", || gate.shared().handshakes_per_ip.used() == 0).await;
    }
    for (client, mut upstream) in open {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    gate.finish().await;
}

/// The one thing that a peer can't make happen: a task that panics while it holds a session.
#[tokio::test]
async fn a_panic_gives_back_what_its_session_held_and_is_written_down() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), CAPS);
    let token = gate.token("alice", 60);
    let shared = gate.shared().clone();
    let panicking = std::thread::spawn(move || {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let opening = Opening { host: "chat.example.com".into(), path: "/ws".into() };
        let client = "192.0.2.1".parse().unwrap();
        let now = shared.books.clock.now();
        let decision = shared
            .edition()
            .policy
            .admit(&Asked { opening: &opening, query: None, headers: &headers, client, certificate: None }, now);
        let (admission, route) = (decision.verdict.unwrap(), decision.route.unwrap());
        let id = shared.books.ids.next();
        shared.books.metrics.handshake(Some(route.slot), Ok(()), 0, Example { id, wall: now.wall });
        let holder = Holder::from(&admission.identity);
        let lease = Lease::of_nobody();
        let live = Live::new(id, route.name.clone(), lease.server().clone(), holder, client, now);
        let entry = shared.books.sessions.enter(0, live);
        let active = shared.books.metrics.traffic(0, route.slot).enter();
        let listener: Arc<str> = "test".into();
        let _exit = Exit::new(shared.books.clone(), listener, route, entry, active, (admission.permits, lease));
        assert_eq!(shared.edition().policy.total.used(), 1);
        panic!("as a session of ours might");
    });
    assert!(panicking.join().is_err());
    let line = gate.ended("gateway", "internal").await;
    assert_eq!(line["subject"], "alice");
    gate.finish().await;
}
