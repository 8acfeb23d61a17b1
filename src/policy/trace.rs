//! Whose trace a handshake belongs to, and whether it is recorded: W3C Trace Context, level 1. Pure: random numbers are an
//! argument, as time is elsewhere.
//!
//! Whoever may choose the trace may choose that it is recorded, and with how much of a burden. So a stranger's context is
//! no parent: the handshake begins a trace of its own, and names the stranger's in a link.

use http::HeaderValue;
use http::header::HeaderMap;

use crate::config::{Parents, Tracing};

/// Trace Context s3.2.
pub const TRACEPARENT: &str = "traceparent";
/// Trace Context s3.3.
pub const TRACESTATE: &str = "tracestate";

/// A span, as others name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace's id. Not all zero.
    pub trace: [u8; 16],
    /// The span's id. Not all zero.
    pub span: [u8; 8],
    /// Whether it is recorded.
    pub sampled: bool,
}

impl Context {
    /// What the headers say, if that is one whole `traceparent`.
    #[must_use]
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        Self::parse(only.as_bytes())
    }

    /// `00-TRACE-SPAN-FLAGS` in lower-case hex. A later version may have more behind it (s3.2.4).
    fn parse(text: &[u8]) -> Option<Self> {
        let (head, rest) = text.split_at_checked(55)?;
        let version = hex::<1>(&head[..2])?[0];
        let dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
        let ends = if version == 0 { rest.is_empty() } else { rest.first().is_none_or(|next| *next == b'-') };
        if version == 0xff || !dashes || !ends {
            return None;
        }
        let (trace, span, flags) = (hex(&head[3..35])?, hex(&head[36..52])?, hex::<1>(&head[53..])?[0]);
        let named = trace != [0; 16] && span != [0; 8];
        named.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }

    /// The `traceparent` that names this span.
    #[must_use]
    pub fn header(&self) -> Option<HeaderValue> {
        let flags = u8::from(self.sampled);
        HeaderValue::try_from(format!("00-{}-{}-{flags:02x}", text(&self.trace), text(&self.span))).ok()
    }
}

/// Bytes as hex in lower case.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

/// Takes a `traceparent` that says nothing away, and the `tracestate` that belongs to it (s4.3): an upstream would have to
/// guess.
pub fn tidy(headers: &mut HeaderMap) {
    if Context::read(headers).is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    }
}

/// Fresh random bytes: the ids of a trace and of two spans in it.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// The trace.
    pub trace: [u8; 16],
    /// The handshake's span.
    pub span: [u8; 8],
    /// That of the upstream's handshake within it.
    pub dial: [u8; 8],
}

/// Which handshakes are recorded.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Of the 2^63 values that the last 63 bits of a trace's id may have, as many as are recorded.
    bound: u64,
    parents: Parents,
    /// Whether a span names the subject.
    pub subject: bool,
}

/// One handshake's place among traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The handshake's span.
    pub context: Context,
    /// That of the upstream's handshake.
    pub dial: Context,
    /// The span that it is a child of.
    pub parent: Option<[u8; 8]>,
    /// A stranger's, which it is not.
    pub link: Option<Context>,
}

impl Sampling {
    /// As `[tracing]` says.
    #[must_use]
    pub fn new(tracing: &Tracing) -> Self {
        // A float of 0 to 1, so the product is in range; `as` cuts what is over, which is 1 itself.
        let bound = (tracing.sample * (1_u64 << 63) as f64) as u64;
        Self { bound, parents: tracing.parents, subject: tracing.subject }
    }

    /// The place of a handshake with these headers, which `trusted` says come from a trusted proxy.
    #[must_use]
    pub fn plan(&self, headers: &HeaderMap, trusted: bool, ids: Ids) -> Plan {
        let said = Context::read(headers);
        let taken_over = match self.parents {
            Parents::All => true,
            Parents::TrustedProxies => trusted,
            Parents::None => false,
        };
        let parent = said.filter(|_| taken_over);
        let trace = parent.map_or(ids.trace, |parent| parent.trace);
        let sampled = parent.map_or_else(|| self.records(trace), |parent| parent.sampled);
        Plan {
            context: Context { trace, span: ids.span, sampled },
            dial: Context { trace, span: ids.dial, sampled },
            parent: parent.map(|parent| parent.span),
            link: said.filter(|_| !taken_over),
        }
    }

    fn records(&self, trace: [u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = trace;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.bound
    }
}

impl Plan {
    /// Makes the upstream's request a part of it: its span is a child of the dial's.
    pub fn set(&self, headers: &mut HeaderMap) {
        let Some(header) = self.dial.header() else { return };
        headers.insert(TRACEPARENT, header);
        // It belongs to the trace that was not taken over.
        if self.parent.is_none() {
            headers.remove(TRACESTATE);
        }
    }
}

#[cfg(test)]
mod tests;
