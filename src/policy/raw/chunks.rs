//! The chunks of a body (RFC 9112 s7.1), followed to the end of the message; their data passes through untouched.
//!
//! Size, data and ends of lines exactly as written there. Extensions and trailers are bounded, and nobody behind the gateway
//! sees them, since the body goes up in chunks of the gateway's own.

use super::is_token;

/// Hexadecimal digits of a size: 2^60, more than any body.
const MAX_DIGITS: u8 = 15;

/// Bytes of all extensions of a body.
const MAX_EXTENSIONS: u16 = 1024;

/// Bytes of all trailers.
const MAX_TRAILERS: u16 = 8192;

/// Where in the body one is.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    extensions: u16,
    trailers: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    SizeEnd {
        value: u64,
    },
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a line behind the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    LastLf,
    Done,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, extensions: 0, trailers: 0 }
    }
}

impl Chunks {
    /// Whether the message is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// How many of these bytes belong to the message: all, unless it ends before.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let State::Data(left) = self.state {
                let here = left.min((bytes.len() - at) as u64);
                // At most what there is.
                at += here as usize;
                self.state = if left == here { State::DataCr } else { State::Data(left - here) };
                continue;
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, &'static str> {
        Ok(match (self.state, byte) {
            (State::Size { value, digits }, digit) if digit.is_ascii_hexdigit() => {
                if digits == MAX_DIGITS {
                    return Err("a chunk size of too many digits");
                }
                let digit = char::from(digit).to_digit(16).unwrap_or(0);
                State::Size { value: value * 16 + u64::from(digit), digits: digits + 1 }
            }
            (State::Size { digits: 0, .. }, _) => return Err("a chunk without a size"),
            (State::Size { value, .. } | State::Extension { value }, b'\r') => State::SizeEnd { value },
            (State::Size { value, .. }, b';') => State::Extension { value },
            (State::Extension { value }, text) if is_text(text) => {
                self.extensions += 1;
                if self.extensions > MAX_EXTENSIONS {
                    return Err("chunk extensions of more than 1 KiB");
                }
                State::Extension { value }
            }
            (State::SizeEnd { value: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { value }, b'\n') => State::Data(value),
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { value: 0, digits: 0 },
            (State::TrailerStart, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::Done,
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => return self.trailer(byte),
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            _ => return Err("a chunk that does not end as it says"),
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<State, &'static str> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err("trailers of more than 8 KiB");
        }
        match (self.state, byte) {
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            _ => Err("a malformed trailer"),
        }
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is left over behind the message, if it ends at all.
    fn rest(body: &[u8]) -> Result<Option<&[u8]>, &'static str> {
        let mut chunks = Chunks::default();
        let taken = chunks.take(body)?;
        Ok(chunks.is_done().then(|| &body[taken..]))
    }

    #[test]
    fn a_body_ends_behind_its_last_chunk_and_its_trailers() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "00a\r\n0123456789\r\n0\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n0;z\r\n\r\n",
        ] {
            assert_eq!(rest(body.as_bytes()), Ok(Some(&b""[..])), "{body:?}");
            let more = format!("{body}GET / HTTP/1.1\r\n");
            assert_eq!(rest(more.as_bytes()), Ok(Some(&b"GET / HTTP/1.1\r\n"[..])));
        }
        assert_eq!(rest(b"0\r\nDigest: abc\r\nX: \r\n\r\n!"), Ok(Some(&b"!"[..])));
        assert_eq!(rest(b"5\r\nhel"), Ok(None));
    }

    #[test]
    fn what_servers_read_in_different_ways_is_refused() {
        let bad = [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1 \r\na\r\n",
            " 1\r\na\r\n",
            "1\na\n0\n\n",
            "1\r\na0\r\n\r\n",
            "1\r\nab\r\n",
            "1\r\na\n0\r\n\r\n",
            "1;a\nb\r\n",
            "1;a\0\r\n",
            "1;a\rb\r\n",
            "10000000000000000\r\n",
            "0\r\n folded: x\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\nX: a\nb\r\n\r\n",
            "0\r\nX\r\n\r\n",
            "0\r\n\rX",
        ];
        for body in bad {
            assert!(rest(body.as_bytes()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |length: usize| format!("0;{}\r\n\r\n", "x".repeat(length));
        assert!(rest(extension(1024).as_bytes()).is_ok() && rest(extension(1025).as_bytes()).is_err());
        let many = "1;abcdefgh\r\nx\r\n".repeat(200);
        assert!(rest(many.as_bytes()).is_err(), "all of them together");
        let trailer = |length: usize| format!("0\r\nx:{}\r\n\r\n", "x".repeat(length));
        assert!(rest(trailer(8000).as_bytes()).is_ok() && rest(trailer(8192).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn a_split_changes_nothing(body in "[0-3a;\r\n:x]{0,40}", at in 0usize..40) {
            let whole = rest(body.as_bytes()).map(|rest| rest.map(<[u8]>::len));
            let at = at.min(body.len());
            let mut chunks = Chunks::default();
            let taken = chunks.take(&body.as_bytes()[..at]).and_then(|first| {
                if chunks.is_done() { return Ok(first) }
                chunks.take(&body.as_bytes()[at..]).map(|second| first + second)
            });
            let split = taken.map(|taken| chunks.is_done().then(|| body.len() - taken));
            prop_assert_eq!(split, whole);
        }

        #[test]
        fn any_data_in_chunks_of_any_size_is_followed_to_its_end(sizes in prop::collection::vec(1usize..2000, 0..8)) {
            let mut body = Vec::new();
            for size in sizes {
                body.extend(format!("{size:x}\r\n").bytes());
                body.extend(std::iter::repeat_n(b'\n', size));
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\nrest");
            prop_assert_eq!(rest(&body), Ok(Some(&b"rest"[..])));
        }
    }
}
