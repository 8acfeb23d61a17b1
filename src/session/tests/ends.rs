//! Every way to end: who closes first, who is lost, in the middle of a frame or between two, and whether anybody reads.

use std::io::Cursor;

use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;

use super::rig::End;
use super::*;

/// One side of a session that keeps to RFC 6455: it answers a Close, and is gone once the session ended its stream.
struct Peer {
    end: End,
    sends: Direction,
    all: Vec<u8>,
    reads: bool,
    said_close: bool,
    /// A server closes its connection once both Closes are said (RFC 6455 s7.1.1).
    serves: bool,
    /// In the middle of a frame it can't say Close.
    mid_frame: bool,
}

impl Peer {
    fn new(end: End, sends: Direction) -> Self {
        let serves = sends == ToClient;
        Self { end, sends, all: vec![], reads: true, said_close: false, serves, mid_frame: false }
    }

    fn say_close(&mut self) {
        self.said_close = true;
        self.end.send_some(&Wire::close(self.sends, 1000).bytes());
    }

    /// Does what is to be done; whether there was anything.
    fn tend(&mut self) -> bool {
        if !self.reads || self.end.is_gone() {
            return false;
        }
        let mut did = self.end.read(usize::MAX / 2) > 0;
        self.all.append(&mut self.end.received);
        let heard_close = heard(&self.all).close.is_some();
        if heard_close && !self.said_close && !self.mid_frame {
            self.say_close();
            did = true;
        }
        if self.end.at_end || (self.serves && heard_close && self.said_close) {
            self.end.vanish();
            did = true;
        }
        did
    }
}

/// What a received stream is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// The code of the Close in it; 1005 where it has none.
    pub(super) close: Option<u16>,
    /// Whether it stops in the middle of a frame.
    pub(super) cut: bool,
}

/// Reads a received stream by tungstenite; nothing may stand behind a Close.
pub(super) fn heard(bytes: &[u8]) -> Heard {
    let mut at = 0;
    while at < bytes.len() {
        let mut cursor = Cursor::new(&bytes[at..]);
        let Some((header, length)) = FrameHeader::parse(&mut cursor).unwrap() else {
            return Heard { close: None, cut: true };
        };
        let payload = at + cursor.position() as usize;
        let end = payload as u64 + length;
        if end > bytes.len() as u64 {
            return Heard { close: None, cut: true };
        }
        if u8::from(header.opcode) == 8 {
            assert_eq!(end, bytes.len() as u64, "something stands behind a Close");
            let mask = header.mask.unwrap_or_default();
            let code = bytes.get(payload..payload + 2).filter(|_| length >= 2);
            let code = code.map_or(1005, |code| u16::from_be_bytes([code[0] ^ mask[0], code[1] ^ mask[1]]));
            return Heard { close: Some(code), cut: false };
        }
        at = end as usize;
    }
    Heard { close: None, cut: false }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    ClientCloses,
    UpstreamCloses,
    /// Its Close, and the connection at once.
    UpstreamClosesAndGoes,
    ClientGoes,
    UpstreamGoes,
    GatewayEnds,
    ClientBreaksFraming,
    UpstreamBreaksFraming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    ClientGoes,
    UpstreamGoes,
}

const BEGINS: [Begins; 8] = [
    Begins::ClientCloses,
    Begins::UpstreamCloses,
    Begins::UpstreamClosesAndGoes,
    Begins::ClientGoes,
    Begins::UpstreamGoes,
    Begins::GatewayEnds,
    Begins::ClientBreaksFraming,
    Begins::UpstreamBreaksFraming,
];

#[derive(Clone, Copy, Debug)]
struct Case {
    begins: Begins,
    then: Then,
    /// Which of the two, client and upstream, is in the middle of a frame.
    mid_frame: [bool; 2],
    /// Which of the two does not read, with all sockets on the way to it full.
    deaf: [bool; 2],
}

impl Case {
    /// Whether the one who begins could do so in the middle of a frame of its own.
    fn is_possible(&self) -> bool {
        match self.begins {
            Begins::ClientCloses | Begins::ClientBreaksFraming => !self.mid_frame[0],
            Begins::UpstreamCloses | Begins::UpstreamClosesAndGoes | Begins::UpstreamBreaksFraming => {
                !self.mid_frame[1]
            }
            Begins::ClientGoes | Begins::UpstreamGoes | Begins::GatewayEnds => true,
        }
    }

    /// Whether everybody left is there to answer, so that no deadline is needed.
    fn ends_by_itself(&self) -> bool {
        // One that stays in the middle of a frame for ever never answers a Close.
        let stuck = |side: usize| self.mid_frame[side];
        let client_left = self.begins == Begins::ClientGoes || self.then == Then::ClientGoes;
        let upstream_left = matches!(self.begins, Begins::UpstreamGoes | Begins::UpstreamClosesAndGoes)
            || self.then == Then::UpstreamGoes;
        self.deaf == [false; 2] && (client_left || !stuck(0)) && (upstream_left || !stuck(1))
    }
}

fn cases() -> Vec<Case> {
    let flags = [[false, false], [false, true], [true, false], [true, true]];
    let mut cases = vec![];
    for begins in BEGINS {
        for then in [Then::Nothing, Then::ClientGoes, Then::UpstreamGoes] {
            for mid_frame in flags {
                for deaf in flags {
                    cases.push(Case { begins, then, mid_frame, deaf });
                }
            }
        }
    }
    cases.retain(Case::is_possible);
    cases
}

/// Fills every socket on the way from one peer to the other with whole frames, until nothing more is taken.
async fn fill(rig: &mut Rig, from: &mut Peer) {
    let frame = Wire::text(from.sends, &[7; 1000]).bytes();
    let mut rest: Vec<u8> = vec![];
    loop {
        rig.settle().await;
        if rest.is_empty() {
            rest = frame.clone();
        }
        let sent = from.end.send_some(&rest);
        rest.drain(..sent);
        if sent == 0 {
            from.mid_frame = rest.len() < frame.len();
            return;
        }
    }
}

async fn play(case: Case) -> Result<(), String> {
    let (mut rig, client, upstream) = Rig::new(TERMS);
    let mut client = Peer::new(client, ToUpstream);
    let mut upstream = Peer::new(upstream, ToClient);
    let [client_deaf, upstream_deaf] = case.deaf;
    (client.reads, upstream.reads) = (!client_deaf, !upstream_deaf);
    if upstream_deaf {
        fill(&mut rig, &mut client).await;
    }
    if client_deaf {
        fill(&mut rig, &mut upstream).await;
    }
    for (peer, mid_frame) in [(&mut client, case.mid_frame[0]), (&mut upstream, case.mid_frame[1])] {
        let frame = Wire::text(peer.sends, &[7; 100]).bytes();
        if mid_frame {
            peer.end.send_some(&frame[..50]);
            peer.mid_frame = true;
        }
    }
    rig.settle().await;
    match case.begins {
        Begins::ClientCloses => client.say_close(),
        Begins::UpstreamCloses => upstream.say_close(),
        Begins::UpstreamClosesAndGoes => {
            upstream.say_close();
            upstream.end.vanish();
        }
        Begins::ClientGoes => client.end.vanish(),
        Begins::UpstreamGoes => upstream.end.vanish(),
        Begins::GatewayEnds => rig.live.order(Deny::Draining),
        Begins::ClientBreaksFraming => drop(client.end.send_some(&[0x83, 0x80, 1, 2, 3, 4])),
        Begins::UpstreamBreaksFraming => drop(upstream.end.send_some(&[0x83, 0])),
    }
    if case.then == Then::Nothing {
        rig.settle().await;
    }
    match case.then {
        Then::Nothing => {}
        Then::ClientGoes => client.end.vanish(),
        Then::UpstreamGoes => upstream.end.vanish(),
    }
    rig.settle_with(|| client.tend() | upstream.tend()).await;
    let by_itself = rig.is_over();
    if !by_itself {
        rig.advance(TERMS.close_timeout).await;
        // Nobody could know of an end: what would tell of it stands behind what a deaf peer does not take.
        let nothing_heard = !rig.is_over();
        if nothing_heard {
            if case.deaf == [false; 2] {
                return Err("does not end".to_owned());
            }
            rig.advance(TERMS.send_timeout).await;
            rig.advance(TERMS.close_timeout).await;
            let end = rig.end();
            let named = ["client", "upstream"].into_iter().zip(case.deaf).filter(|(_, deaf)| *deaf);
            let right = named.map(|(side, _)| format!("{side} slow_consumer 1008")).any(|named| named == end);
            return if right { Ok(()) } else { Err(format!("takes nothing and ends as {end}")) };
        }
    }
    if case.ends_by_itself() && !by_itself {
        return Err("waits for the deadline".to_owned());
    }
    (client.reads, upstream.reads) = (true, true);
    while client.tend() | upstream.tend() {}
    let end = rig.end();
    check_end(case, &end)?;
    check_codes(case, [heard(&client.all).close, heard(&upstream.all).close])
}

/// The Close codes that client and upstream got to read, where nothing was in the way.
fn check_codes(case: Case, codes: [Option<u16>; 2]) -> Result<(), String> {
    if case.deaf != [false; 2] || case.mid_frame != [false; 2] || case.then != Then::Nothing {
        return Ok(());
    }
    let expected = match case.begins {
        Begins::ClientCloses | Begins::UpstreamCloses => [Some(1000); 2],
        Begins::UpstreamClosesAndGoes => [Some(1000), None],
        Begins::ClientGoes => [None; 2],
        Begins::UpstreamGoes => [Some(1014), None],
        Begins::GatewayEnds => [Some(1012); 2],
        Begins::ClientBreaksFraming | Begins::UpstreamBreaksFraming => [Some(1002); 2],
    };
    if codes == expected { Ok(()) } else { Err(format!("the codes are {codes:?}, not {expected:?}")) }
}

/// The end that the log tells of.
fn check_end(case: Case, end: &str) -> Result<(), String> {
    if case.deaf != [false; 2] || case.then != Then::Nothing {
        // Whose bytes are seen first depends on what is in the way; but it is never a fault of the gateway's.
        let wrong = end.contains("internal") || (end.contains("draining") && case.begins != Begins::GatewayEnds);
        return if wrong { Err(format!("ends as {end}")) } else { Ok(()) };
    }
    let expected = match case.begins {
        Begins::ClientCloses => "client closed 1000",
        Begins::UpstreamCloses | Begins::UpstreamClosesAndGoes => "upstream closed 1000",
        Begins::ClientGoes => "client client_lost -",
        Begins::UpstreamGoes if case.mid_frame[1] => "upstream upstream_lost -",
        Begins::UpstreamGoes => "upstream upstream_lost 1014",
        Begins::GatewayEnds => "gateway draining 1012",
        Begins::ClientBreaksFraming => "client bad_frame 1002",
        Begins::UpstreamBreaksFraming => "upstream bad_frame 1002",
    };
    if end == expected { Ok(()) } else { Err(format!("ends as {end}, not as {expected}")) }
}

#[test]
fn every_session_ends_for_the_right_reason_and_without_a_deadline_where_all_answer() {
    let cases = cases();
    let played = cases.len();
    let wrong: Vec<String> =
        cases.into_iter().filter_map(|case| run(play(case)).err().map(|wrong| format!("{wrong}: {case:?}"))).collect();
    assert!(wrong.is_empty(), "{} of {played}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(played > 200);
}
