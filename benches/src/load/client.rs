//! One client: what it still has to send, and what must come back next, byte for byte.

use std::io::{ErrorKind, IoSlice};
use std::rc::Rc;
use std::time::Instant;

use super::message::{Message, STAMP};
use super::stream::Stream;
use crate::{Result, wire};

/// The largest answer to the opening handshake.
const MAX_ANSWER: usize = 16 * 1024;

/// What must come next.
enum Expected {
    /// The 101, of which this much is here.
    Answer(Vec<u8>),
    /// `head` and the message's body, of which `at` bytes are here.
    Echo,
    /// The Close, of which `at` bytes are here; then the end.
    Close,
    /// Nothing.
    Silence,
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: Stream,
    number: u32,
    turn: u32,
    message: Rc<Message>,
    /// When what is under way began.
    pub(crate) since: Instant,
    /// The request, or the head of a message.
    outgoing: Vec<u8>,
    /// The message's body follows `outgoing`.
    with_body: bool,
    sent: usize,
    expected: Expected,
    expected_head: Vec<u8>,
    at: usize,
}

impl Client {
    /// A client that asks for its handshake once its socket is connected.
    pub(crate) fn new(stream: Stream, number: u32, request: Vec<u8>, message: Rc<Message>) -> Self {
        Self {
            stream,
            number,
            turn: 0,
            message,
            since: Instant::now(),
            outgoing: request,
            with_body: false,
            sent: 0,
            expected: Expected::Answer(Vec::new()),
            expected_head: Vec::new(),
            at: 0,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.expected, Expected::Silence)
    }

    pub(crate) fn send(&mut self) -> Result<()> {
        let mut stamp = [0; STAMP];
        stamp[..4].copy_from_slice(&self.number.to_be_bytes());
        stamp[4..].copy_from_slice(&self.turn.to_be_bytes());
        self.turn = self.turn.wrapping_add(1);
        self.message.heads(stamp, &mut self.outgoing, &mut self.expected_head);
        self.since = Instant::now();
        self.begin(Expected::Echo, true)
    }

    pub(crate) fn close(&mut self) -> Result<()> {
        self.outgoing.clear();
        self.outgoing.extend_from_slice(&wire::CLOSE_SENT);
        self.begin(Expected::Close, false)
    }

    fn begin(&mut self, expected: Expected, with_body: bool) -> Result<()> {
        (self.expected, self.with_body, self.sent, self.at) = (expected, with_body, 0, 0);
        self.write()
    }

    /// Goes on as far as it can. True: what was under way is complete.
    ///
    /// # Errors
    /// A byte that must not come, an end that is too early, a broken connection.
    pub(crate) fn advance(&mut self, scratch: &mut [u8]) -> Result<bool> {
        self.write()?;
        loop {
            let read = match self.stream.read(scratch) {
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(format!("client {}: {e}", self.number).into()),
            };
            let complete = if read == 0 { self.end() } else { self.take(&scratch[..read]) };
            if complete.map_err(|e| format!("client {}, message {}: {e}", self.number, self.turn))? {
                return Ok(true);
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        self.stream.flush()?;
        loop {
            let body = if self.with_body { self.message.sent_body() } else { &[] };
            let head_left = &self.outgoing[self.sent.min(self.outgoing.len())..];
            let body_left = &body[self.sent.saturating_sub(self.outgoing.len())..];
            if head_left.is_empty() && body_left.is_empty() {
                return Ok(());
            }
            match self.stream.write(&[IoSlice::new(head_left), IoSlice::new(body_left)]) {
                Ok(written) => self.sent += written,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(format!("client {}: {e}", self.number).into()),
            }
        }
    }

    fn end(&self) -> Result<bool, String> {
        match &self.expected {
            Expected::Close if self.at == wire::CLOSE_ECHOED.len() => Ok(true),
            Expected::Answer(_) => Err("closed before the answer to the handshake".into()),
            Expected::Echo => Err(format!("closed at byte {} of an echo", self.at)),
            Expected::Close => Err("closed without a Close".into()),
            Expected::Silence => Err("closed while idle".into()),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<bool, String> {
        match &mut self.expected {
            Expected::Answer(answer) => {
                answer.extend_from_slice(bytes);
                let Some(end) = wire::head_end(answer) else {
                    return if answer.len() > MAX_ANSWER { Err("an endless answer".into()) } else { Ok(false) };
                };
                wire::Handshake::check(&answer[..end])?;
                if end < answer.len() {
                    return Err("bytes behind the 101 that nobody asked for".into());
                }
                self.expected = Expected::Silence;
                Ok(true)
            }
            Expected::Echo => self.compare(bytes),
            Expected::Close => {
                let left = &wire::CLOSE_ECHOED[self.at..];
                if !left.starts_with(bytes) {
                    return Err(format!("{bytes:02x?} instead of the Close"));
                }
                self.at += bytes.len();
                Ok(false)
            }
            Expected::Silence => Err(format!("{} bytes that nobody asked for", bytes.len())),
        }
    }

    fn compare(&mut self, bytes: &[u8]) -> Result<bool, String> {
        if self.at == 0 && bytes[0] == 0x88 {
            return Err(format!("a Close instead of an echo: {:02x?}", &bytes[..bytes.len().min(127)]));
        }
        let head_left = &self.expected_head[self.at.min(self.expected_head.len())..];
        let body_left = &self.message.expected_body()[self.at.saturating_sub(self.expected_head.len())..];
        let (first, second) = bytes.split_at(bytes.len().min(head_left.len()));
        if !head_left.starts_with(first) || !body_left.starts_with(second) {
            return Err(format!("wrong echo within {} bytes behind byte {}", bytes.len(), self.at));
        }
        self.at += bytes.len();
        if bytes.len() < head_left.len() + body_left.len() {
            return Ok(false);
        }
        self.expected = Expected::Silence;
        Ok(true)
    }
}
