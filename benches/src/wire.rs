//! The bytes of RFC 6455 that both ends need: the opening handshake, frame headers, masks, and a stream's echo.

use std::net::SocketAddr;

/// Payloads of control frames end here (RFC 6455 s5.5).
const MAX_CONTROL: u64 = 125;
/// FIN and the opcode of a binary frame (RFC 6455 s5.2).
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The nonce of every handshake (RFC 6455 s4.1 wants a random one; nothing here depends on it, and its answer is known).
const KEY: &str = "d3NnYXRlIGJlbmNobWFyaw==";

/// What a client asks for.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The request's target.
    pub path: String,
    /// `Origin`, where one is sent.
    pub origin: Option<String>,
    /// The token of `Authorization: Bearer`, where one is sent.
    pub token: Option<String>,
}

impl Handshake {
    /// The request, whole.
    #[must_use]
    pub fn request(&self, address: SocketAddr) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nHost: {address}\r\n", self.path);
        text += &format!("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n");
        text += "Sec-WebSocket-Version: 13\r\n";
        if let Some(origin) = &self.origin {
            text += &format!("Origin: {origin}\r\n");
        }
        if let Some(token) = &self.token {
            text += &format!("Authorization: Bearer {token}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }

    /// Whether `head`, up to and with its blank line, is the 101 to [`Handshake::request`]; or what it is instead.
    ///
    /// # Errors
    /// The status line, or the header that is wrong.
    pub fn check(head: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(head);
        let status = text.lines().next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 101 ") {
            return Err(format!("answered `{status}` instead of 101"));
        }
        let accept = tungstenite::handshake::derive_accept_key(KEY.as_bytes());
        match field(&text, "sec-websocket-accept") {
            Some(value) if value == accept => Ok(()),
            other => Err(format!("Sec-WebSocket-Accept is {other:?}, not `{accept}`")),
        }
    }
}

/// The 101 to the request `head`, or nothing where it has no key.
#[must_use]
pub fn switching_protocols(head: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(head);
    let accept = tungstenite::handshake::derive_accept_key(field(&text, "sec-websocket-key")?.as_bytes());
    let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    answer += &format!("Sec-WebSocket-Accept: {accept}\r\n\r\n");
    Some(answer.into_bytes())
}

/// Where a head ends: behind its blank line.
#[must_use]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

/// The header of a whole binary message in one frame, masked or not.
#[must_use]
pub fn binary_header(size: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut header = vec![BINARY];
    push_length(&mut header, size as u64, mask.is_some());
    header.extend(mask.unwrap_or_default().into_iter().take(if mask.is_some() { 4 } else { 0 }));
    header
}

/// In the fewest bytes that hold it, as RFC 6455 s5.2 asks.
fn push_length(header: &mut Vec<u8>, length: u64, masked: bool) {
    let bit = if masked { 0x80 } else { 0 };
    match length {
        0..=125 => header.push(bit | length as u8),
        126..=0xFFFF => {
            header.push(bit | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(bit | 127);
            header.extend(length.to_be_bytes());
        }
    }
}

/// A client's Close with 1000, and its echo.
pub const CLOSE_SENT: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8];
/// What comes back for [`CLOSE_SENT`].
pub const CLOSE_ECHOED: [u8; 4] = [0x88, 0x02, 0x03, 0xE8];

/// Masks or unmasks `bytes`, of which the first stands at `phase` of its payload (RFC 6455 s5.3).
pub fn apply_mask(bytes: &mut [u8], mut mask: [u8; 4], phase: usize) {
    mask.rotate_left(phase % 4);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// Turns a client's stream of frames into the same frames of a server, however the stream is cut.
///
/// Payloads go on as they come, so a frame of any size takes no memory. Pings become pongs, pongs vanish.
#[derive(Default)]
pub struct Echoer {
    /// The header that is coming in: at most 2 + 8 + 4 bytes.
    header: [u8; 14],
    have: usize,
    mask: [u8; 4],
    /// Payload bytes of the current frame: passed, and still to come.
    passed: usize,
    left: u64,
    opcode: u8,
}

impl Echoer {
    /// Appends to `out` what `input` is answered with. True: the client's Close was answered, and nothing may follow.
    ///
    /// # Errors
    /// A frame that a client must not send.
    pub fn echo(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<bool, &'static str> {
        while !input.is_empty() {
            if self.left == 0 {
                input = self.take_header(input, out)?;
            }
            let here = input.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let (payload, next) = input.split_at(here);
            if self.opcode != PONG {
                let start = out.len();
                out.extend_from_slice(payload);
                apply_mask(&mut out[start..], self.mask, self.passed);
            }
            self.passed += here;
            self.left -= here as u64;
            input = next;
            if self.left == 0 && self.have == 0 && self.opcode == CLOSE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes header bytes; once they are whole, the frame's own header is in `out` and the payload begins.
    fn take_header<'a>(&mut self, mut input: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
        while let Some((&byte, rest)) = input.split_first() {
            self.header[self.have] = byte;
            self.have += 1;
            input = rest;
            if self.have >= 2 && self.have == self.header_length()? {
                self.begin_frame(out)?;
                break;
            }
        }
        Ok(input)
    }

    fn header_length(&self) -> Result<usize, &'static str> {
        if self.header[1] & 0x80 == 0 {
            return Err("a client's frame is not masked");
        }
        Ok(match self.header[1] & 0x7F {
            126 => 2 + 2 + 4,
            127 => 2 + 8 + 4,
            _ => 2 + 4,
        })
    }

    fn begin_frame(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let (length, mask) = self.header[1..self.have].split_at(self.have - 5);
        // A short length is the byte itself without the mask bit; a long one stands behind that byte.
        let length = match length {
            [short] => u64::from(short & 0x7F),
            [_, long @ ..] => long.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)),
            [] => 0,
        };
        self.mask.copy_from_slice(mask);
        self.opcode = self.header[0] & 0x0F;
        if self.opcode >= CLOSE && length > MAX_CONTROL {
            return Err("a control frame is longer than 125 bytes");
        }
        if self.opcode != PONG {
            let opcode = if self.opcode == PING { PONG } else { self.opcode };
            out.push(self.header[0] & 0xF0 | opcode);
            push_length(out, length, false);
        }
        (self.have, self.passed, self.left) = (0, 0, length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x83, 0xF4];
        let mut frame = vec![first];
        push_length(&mut frame, payload.len() as u64, true);
        frame.extend(mask);
        let start = frame.len();
        frame.extend(payload);
        apply_mask(&mut frame[start..], mask, 0);
        frame
    }

    fn plain(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        push_length(&mut frame, payload.len() as u64, false);
        frame.extend(payload);
        frame
    }

    #[test]
    fn a_stream_has_the_same_echo_under_every_cut() {
        let long: Vec<u8> = (0..70_000u32).map(|i| i as u8).collect();
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        for (first, answer, payload) in
            [(0x01, 0x01, &b"Hel"[..]), (0x89, 0x8A, b"?"), (0x80, 0x80, b"lo"), (0x8A, 0, b"x"), (0x82, 0x82, b"")]
        {
            sent.extend(masked(first, payload));
            if answer != 0 {
                expected.extend(plain(answer, payload));
            }
        }
        for length in [125, 126, 65_535, 65_536, 70_000] {
            sent.extend(masked(0x82, &long[..length]));
            expected.extend(plain(0x82, &long[..length]));
        }
        sent.extend(CLOSE_SENT);
        expected.extend(CLOSE_ECHOED);
        for cut in [1, 2, 3, 5, 7, 13, 64, 4096, sent.len()] {
            let (mut echoer, mut out, mut closed) = (Echoer::default(), Vec::new(), false);
            for piece in sent.chunks(cut) {
                assert!(!closed, "closed before the Close");
                closed = echoer.echo(piece, &mut out).unwrap();
            }
            assert!(closed && out == expected, "cut into pieces of {cut}");
        }
    }

    #[test]
    fn what_a_client_must_not_send_is_an_error() {
        let mut out = Vec::new();
        assert!(Echoer::default().echo(&plain(0x82, b"bare"), &mut out).is_err());
        assert!(Echoer::default().echo(&masked(0x89, &[0; 126]), &mut out).is_err());
    }

    #[test]
    fn headers_are_those_of_tungstenite() {
        use std::io::Cursor;
        use tungstenite::protocol::frame::FrameHeader;
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = binary_header(size, mask);
                let (parsed, length) = FrameHeader::parse(&mut Cursor::new(&header)).unwrap().unwrap();
                assert_eq!((length, parsed.mask, parsed.is_final), (size as u64, mask, true));
            }
        }
    }

    #[test]
    fn a_refusal_is_told_by_its_status_line() {
        let refused = Handshake::check(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap_err();
        assert!(refused.contains("403 Forbidden"), "{refused}");
        let other = Handshake::check(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n");
        assert!(other.is_err());
    }

    #[test]
    fn the_answer_to_a_request_passes_the_check() {
        let handshake = Handshake { path: "/".into(), origin: None, token: None };
        let request = handshake.request(SocketAddr::from(([127, 0, 0, 1], 80)));
        assert_eq!(head_end(&request), Some(request.len()));
        assert_eq!(Handshake::check(&switching_protocols(&request).unwrap()), Ok(()));
    }
}
