//! Anything in any order: what arrives is what was sent, once and in order, whoever is slow, and every session ends.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::rig::End as Far;
use super::*;

/// One thing that happens. Sizes are bytes, as far as there are any and a socket takes them.
#[derive(Clone, Copy, Debug)]
enum Step {
    ClientSends(usize),
    UpstreamSends(usize),
    ClientReads(usize),
    UpstreamReads(usize),
    /// Milliseconds.
    TimePasses(u64),
    /// Nobody waits for anybody: all that was said before is seen at once.
    Settles,
}

/// What may end a session from outside.
#[derive(Clone, Copy, Debug)]
enum Blow {
    ClientVanishes,
    UpstreamVanishes,
    ClientFinishes,
    UpstreamFinishes,
    Order,
}

/// What one side is going to send.
#[derive(Clone, Debug)]
struct Speech {
    frames: Vec<Wire>,
    close: Option<Wire>,
    /// Behind the Close, if there is one, and what breaks the framing otherwise.
    garbage: Vec<u8>,
}

impl Speech {
    fn good(&self) -> Vec<u8> {
        let mut bytes = wire::bytes(&self.frames);
        bytes.extend(self.close.iter().flat_map(Wire::bytes));
        bytes
    }

    fn all(&self) -> Vec<u8> {
        [self.good(), self.garbage.clone()].concat()
    }
}

fn speech(direction: Direction) -> impl Strategy<Value = Speech> {
    // 0x83 begins a frame with a reserved opcode.
    let garbage = prop_oneof![3 => Just(vec![]), 1 => vec(any::<u8>(), 1..50).prop_map(|mut bytes| {
        bytes.splice(..0, [0x83, 0x83]);
        bytes
    })];
    (wire::messages(direction, true, 70_000), option::of(wire::close(direction)), garbage)
        .prop_map(|(frames, close, garbage)| Speech { frames, close, garbage })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = || prop_oneof![3 => 1_usize..50, 2 => 50_usize..5000, 1 => 5000_usize..200_000];
    let step = prop_oneof![
        4 => size().prop_map(Step::ClientSends),
        4 => size().prop_map(Step::UpstreamSends),
        3 => size().prop_map(Step::ClientReads),
        3 => size().prop_map(Step::UpstreamReads),
        1 => (0_u64..300).prop_map(Step::TimePasses),
        4 => Just(Step::Settles),
    ];
    vec(step, 0..60)
}

/// One side: what it still has to send, and what it got.
struct Side {
    end: Far,
    rest: Vec<u8>,
    got: Vec<u8>,
}

impl Side {
    fn new(end: Far, rest: Vec<u8>) -> Self {
        Self { end, rest, got: vec![] }
    }

    fn send(&mut self, most: usize) -> usize {
        let most = most.min(self.rest.len());
        let sent = self.end.send_some(&self.rest[..most]);
        self.rest.drain(..sent);
        sent
    }

    fn read(&mut self, most: usize) -> usize {
        let read = self.end.read(most);
        self.got.append(&mut self.end.received);
        read
    }
}

/// The session's own frames taken out of what one side got: the rest, and whether a Close of the session's stands at its end.
fn without_our_own(got: &[u8], sent: &[u8], ping: &[u8]) -> (Vec<u8>, bool) {
    let (mut theirs, mut at) = (vec![], 0);
    while at < got.len() {
        let rest = &got[at..];
        let expected = sent.get(theirs.len()..).unwrap_or_default();
        if rest.starts_with(ping) {
            at += ping.len();
            continue;
        }
        let Some(length) = whole_frame(rest).filter(|length| expected.starts_with(&rest[..*length])) else {
            if !rest.is_empty() && expected.starts_with(rest) {
                theirs.extend(rest);
                return (theirs, false);
            }
            let ours = if ping.starts_with(rest) { 9 } else { 8 };
            assert_eq!(rest[0], 0x80 | ours, "not sent by the other side: {:02x?}", &rest[..rest.len().min(20)]);
            assert!(whole_frame(rest).is_none_or(|length| length == rest.len()), "something stands behind a Close");
            return (theirs, ours == 8);
        };
        theirs.extend(&rest[..length]);
        at += length;
    }
    (theirs, false)
}

fn whole_frame(bytes: &[u8]) -> Option<usize> {
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    let mut cursor = std::io::Cursor::new(bytes);
    let (_, payload) = FrameHeader::parse(&mut cursor).unwrap()?;
    let end = cursor.position() + payload;
    (end <= bytes.len() as u64).then_some(end as usize)
}

#[derive(Clone, Debug)]
struct Play {
    client: Speech,
    upstream: Speech,
    steps: Vec<Step>,
    blow: Option<(prop::sample::Index, Blow)>,
    delayed: bool,
    pinged: bool,
    /// Bytes that came with the handshake.
    first: [usize; 2],
}

fn plays() -> impl Strategy<Value = Play> {
    let blow = prop_oneof![
        Just(Blow::ClientVanishes),
        Just(Blow::UpstreamVanishes),
        Just(Blow::ClientFinishes),
        Just(Blow::UpstreamFinishes),
        Just(Blow::Order),
    ];
    let first = prop_oneof![2 => Just([0, 0]), 1 => [0_usize..200, 0_usize..200]];
    (
        speech(ToUpstream),
        speech(ToClient),
        steps(),
        option::of((any::<prop::sample::Index>(), blow)),
        any::<[bool; 2]>(),
        first,
    )
        .prop_map(|(client, upstream, steps, blow, [delayed, pinged], first)| Play {
            client,
            upstream,
            steps,
            blow,
            delayed,
            pinged,
            first,
        })
}

async fn play(play: Play) {
    let terms = Terms { ping_interval: play.pinged.then_some(100), ..TERMS };
    let limits = if play.delayed { delayed("50r/s") } else { String::new() };
    let [mut up, mut down] = [play.client.all(), play.upstream.all()];
    let behind = [up.split_off(play.first[0].min(up.len())), down.split_off(play.first[1].min(down.len()))];
    let (mut rig, client, upstream) = Rig::all(&limits, terms, true, None, (&up, &down));
    let [up, down] = behind;
    let (mut client, mut upstream) = (Side::new(client, up), Side::new(upstream, down));
    let blow_at = play.blow.map(|(at, blow)| (at.index(play.steps.len() + 1), blow));
    for at in 0..=play.steps.len() {
        if let Some((_, blow)) = blow_at.filter(|(when, _)| *when == at) {
            strike(&mut rig, &mut client, &mut upstream, blow);
        }
        match play.steps.get(at) {
            Some(Step::ClientSends(most)) => drop(client.send(*most)),
            Some(Step::UpstreamSends(most)) => drop(upstream.send(*most)),
            Some(Step::ClientReads(most)) => drop(client.read(*most)),
            Some(Step::UpstreamReads(most)) => drop(upstream.read(*most)),
            Some(Step::TimePasses(ms)) => rig.advance(*ms).await,
            Some(Step::Settles) => drop(rig.settle().await),
            None => {}
        }
    }
    drain(&mut rig, &mut client, &mut upstream).await;
    let begun = play.blow.is_some()
        || [&play.client, &play.upstream].iter().any(|s| s.close.is_some() || !s.garbage.is_empty());
    if begun {
        rig.advance(TERMS.close_timeout).await;
        drain(&mut rig, &mut client, &mut upstream).await;
        let end = rig.end();
        assert!(!end.contains("internal"), "{end}");
        assert!(!end.contains("draining") || matches!(play.blow, Some((_, Blow::Order))), "{end}");
    } else {
        assert!(!rig.is_over());
        assert_eq!((rig.kept(), rig.settle().await), ([0, 0], 0));
    }
    let ping = frame::control(Control::Ping, &rig.live.id.0.to_be_bytes(), None);
    for (speech, other, got) in
        [(&play.client, &play.upstream, &upstream.got), (&play.upstream, &play.client, &client.got)]
    {
        let good = speech.good();
        let (theirs, closed_by_us) = without_our_own(got, &good, &ping);
        assert!(good.starts_with(&theirs), "{} bytes came, of which not all were sent", theirs.len());
        // With nobody lost and nothing broken on either side all of it arrives, and no Close but the sender's.
        if play.blow.is_none() && other.garbage.is_empty() && speech.garbage.is_empty() {
            assert!(!closed_by_us);
            // The other side's Close may have ended it before all was said.
            assert!(theirs.len() == good.len() || other.close.is_some() && speech.close.is_none());
        }
    }
}

fn strike(rig: &mut Rig, client: &mut Side, upstream: &mut Side, blow: Blow) {
    match blow {
        Blow::ClientVanishes => client.end.vanish(),
        Blow::UpstreamVanishes => upstream.end.vanish(),
        Blow::ClientFinishes => client.end.finish(),
        Blow::UpstreamFinishes => upstream.end.finish(),
        Blow::Order => rig.live.order(Deny::Kicked),
    }
}

/// Both say all that they have and read all that comes; each turn of a delayed message comes.
async fn drain(rig: &mut Rig, client: &mut Side, upstream: &mut Side) {
    loop {
        rig.settle_with(|| {
            let most = usize::MAX / 2;
            client.send(most) + upstream.send(most) + client.read(most) + upstream.read(most) > 0
        })
        .await;
        let Some(session) = &rig.session else { return };
        let now = session.exit.now();
        let Some(until) = session.up.waits_until().filter(|until| *until > now) else { return };
        rig.advance(until - now).await;
    }
}

proptest! {
    // A play is a session from its start to its end.
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_what_arrives_was_sent_in_order_once_and_the_session_ends(script in plays()) {
        run(play(script));
    }
}
