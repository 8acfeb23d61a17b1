//! A request as bytes: what two readers could take for two different requests is refused before anybody reads it.
//!
//! RFC 9112 lets a server be lenient, and servers differ in how: that difference is what request smuggling lives by. So a
//! head passes only in the one form that every server reads alike, and the end of its message is known from here on.

pub mod chunks;

use http::StatusCode;

use super::Denial;
use crate::deny::Deny;

/// Lines of a head, as many as hyper reads.
const MAX_LINES: usize = 100;

/// A request's head, and where its message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes, the empty line included.
    pub len: usize,
    /// What comes behind it.
    pub body: Body,
    /// Whether it is HTTP/1.0, whose connection ends with the answer.
    pub is_http10: bool,
}

/// How the body's end is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After so many bytes; none where there is no body.
    Length(u64),
    /// Where the chunks say so.
    Chunked,
}

/// Looks for the end of a head while it arrives; every byte is looked at once.
#[derive(Debug, Default)]
pub struct Scan {
    at: usize,
    line: usize,
    lines: usize,
}

/// A head that nobody should read.
#[must_use]
pub fn bad(why: &'static str) -> Denial {
    Denial::new(Deny::BadHandshake, why)
}

const fn too_large(why: &'static str) -> Denial {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16();
    Denial { deny: Deny::BadHandshake, status, retry_after: None, why, behind: None }
}

impl Scan {
    /// The head, once it is whole. `bytes` is everything since its first byte.
    ///
    /// # Errors
    /// `bad_handshake`, as soon as it can't become a head any more.
    pub fn look(&mut self, bytes: &[u8], most: usize) -> Result<Option<Head>, Denial> {
        while let Some(&byte) = bytes.get(self.at) {
            let after_cr = self.at > 0 && bytes[self.at - 1] == b'\r';
            match byte {
                b'\n' if !after_cr => return Err(bad("a line that ends in a bare LF")),
                _ if after_cr && byte != b'\n' => return Err(bad("a bare CR")),
                b'\n' => {
                    let line = &bytes[self.line..self.at - 1];
                    if self.lines == 0 {
                        request_line(line)?;
                    }
                    self.at += 1;
                    if line.is_empty() {
                        return if self.at > most { Err(over()) } else { read(&bytes[..self.at]).map(Some) };
                    }
                    self.lines += 1;
                    self.line = self.at;
                    if self.lines > MAX_LINES + 1 {
                        return Err(too_large("a head of more than 100 lines"));
                    }
                    continue;
                }
                b'\r' => {}
                // Of a request line every byte is visible: so what is no HTTP at all is known by its first byte.
                other if self.lines == 0 && !matches!(other, b' '..=b'~') => return Err(not_http()),
                b'\t' => {}
                control if control.is_ascii_control() => return Err(bad("a control character in the head")),
                _ => {}
            }
            self.at += 1;
        }
        if bytes.len() >= most { Err(over()) } else { Ok(None) }
    }
}

fn not_http() -> Denial {
    bad("not HTTP/1.1")
}

fn over() -> Denial {
    too_large("the head is over max_header_size")
}

/// RFC 9112 s3: one space between the three parts, and no other.
fn request_line(line: &[u8]) -> Result<bool, Denial> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(not_http());
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) || target.is_empty() || target.contains(&b'\t') {
        return Err(not_http());
    }
    match version {
        b"HTTP/1.1" => Ok(false),
        b"HTTP/1.0" => Ok(true),
        _ => Err(not_http()),
    }
}

/// What a whole head says of its message.
fn read(head: &[u8]) -> Result<Head, Denial> {
    // Every line ends in CR LF, and none but the last is empty.
    let mut lines =
        head[..head.len() - 4].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let is_http10 = request_line(first)?;
    let (mut length, mut is_chunked, mut hosts) = (None, false, 0);
    for line in lines {
        let (name, value) = field(line)?;
        match kind(name) {
            Kind::Length if !name.contains(&b'_') => {
                let parsed = content_length(value).ok_or(bad("a malformed Content-Length"))?;
                if length.replace(parsed).is_some() {
                    return Err(bad("two Content-Length headers"));
                }
            }
            Kind::Coding if !name.contains(&b'_') => {
                if is_chunked {
                    return Err(bad("two Transfer-Encoding headers"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("a Transfer-Encoding other than chunked"));
                }
                is_chunked = true;
            }
            Kind::Length | Kind::Coding => return Err(bad("a header that some take for the body's length")),
            Kind::Host => hosts += 1,
            Kind::Other => {}
        }
    }
    if hosts > 1 {
        return Err(bad("two Host headers"));
    }
    let body = match (length, is_chunked) {
        (Some(_), true) => return Err(bad("Content-Length and Transfer-Encoding")),
        (None, true) if is_http10 => return Err(bad("Transfer-Encoding in HTTP/1.0")),
        (None, true) => Body::Chunked,
        (Some(length), false) => Body::Length(length),
        // RFC 1945 s7.2.2: such a body could only end with the connection.
        (None, false)
            if is_http10 && [b"POST ".as_slice(), b"PUT ", b"PATCH "].iter().any(|m| first.starts_with(m)) =>
        {
            let status = StatusCode::LENGTH_REQUIRED.as_u16();
            return Err(Denial { status, ..bad("a body without a length in HTTP/1.0") });
        }
        (None, false) => Body::Length(0),
    };
    Ok(Head { len: head.len(), body, is_http10 })
}

/// RFC 9112 s5: a name, a colon right behind it, a value; no line goes on in the next one (s5.2).
fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Denial> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(bad("a header that goes on in the next line"));
    }
    let at = line.iter().position(|byte| *byte == b':').ok_or(bad("a header without a colon"))?;
    let (name, value) = (&line[..at], &line[at + 1..]);
    if name.last().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(bad("a space before the colon of a header"));
    }
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(bad("a header whose name is none"));
    }
    Ok((name, value.trim_ascii()))
}

enum Kind {
    Length,
    Coding,
    Host,
    Other,
}

/// CGI and WSGI take `_` for `-` (RFC 3875 s4.1.18).
fn kind(name: &[u8]) -> Kind {
    let is = |known: &[u8]| {
        name.len() == known.len()
            && name.iter().zip(known).all(|(b, k)| b.to_ascii_lowercase() == *k || (*b == b'_' && *k == b'-'))
    };
    if is(b"content-length") {
        Kind::Length
    } else if is(b"transfer-encoding") {
        Kind::Coding
    } else if is(b"host") {
        Kind::Host
    } else {
        Kind::Other
    }
}

/// Digits alone: no sign, no list, nothing that overflows in anybody's reader.
fn content_length(value: &[u8]) -> Option<u64> {
    let is_plain = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    str::from_utf8(value).ok().filter(|_| is_plain)?.parse().ok()
}

/// RFC 9110 s5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests;
