//! One line for every handshake that was refused, every session that ended, and what happened to an identity in between.
//!
//! A line is written by a thread of its own and is dropped, and counted, where its reader is too slow: a log never
//! holds up traffic. Payloads, tokens and query strings have no field here.

mod said;

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::deny::{Deny, Side};
use crate::id::Id;
use crate::now::Timestamp;

pub use said::{MAX_CHARS, Said};

/// Lines that may wait for their reader: some 16 MiB.
const WAITING: usize = 32_768;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// `key=value`, for a person at a terminal.
    Text,
    /// No lines at all.
    Off,
}

/// A handshake that was refused.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "handshake_refused")]
#[allow(missing_docs, reason = "the words of the log line say it")]
pub struct Refused<'a> {
    pub time: Timestamp,
    pub connection_id: Id,
    pub listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'a str>,
    pub client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Said<'a>>,
    /// Made by [`Said::path`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    #[serde(serialize_with = "label")]
    pub reason: Deny,
    /// None where nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of the Close behind a 101, where the route denies by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    pub duration_ms: u64,
    /// What exactly was wrong, for the operator alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Said<'a>>,
}

/// A session that ended.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "session_ended")]
#[allow(missing_docs, reason = "the words of the log line say it")]
pub struct Ended<'a> {
    pub time: Timestamp,
    pub connection_id: Id,
    pub listener: &'a str,
    pub route: &'a str,
    pub client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    pub duration_ms: u64,
    pub messages_to_upstream: u64,
    pub bytes_to_upstream: u64,
    pub messages_to_client: u64,
    pub bytes_to_client: u64,
    /// None where no Close was sent, or one without a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    #[serde(serialize_with = "side")]
    pub side: Side,
    /// None is an ordinary end: that side closed.
    #[serde(serialize_with = "end")]
    pub reason: Option<Deny>,
}

/// A session whose identity has ended, and that goes on.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "identity_expired")]
#[allow(missing_docs, reason = "the words of the log line say it")]
pub struct Expired<'a> {
    pub time: Timestamp,
    pub connection_id: Id,
    pub route: &'a str,
    pub client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
}

/// A renewal, whatever became of it.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "renewal")]
#[allow(missing_docs, reason = "the words of the log line say it")]
pub struct Renewed<'a> {
    pub time: Timestamp,
    pub connection_id: Id,
    pub listener: &'a str,
    pub route: &'a str,
    pub client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    /// How many sessions live by the new token.
    pub sessions: usize,
    /// None where there are any.
    #[serde(serialize_with = "maybe_label", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Deny>,
    /// None where nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    pub duration_ms: u64,
    /// What exactly was wrong, for the operator alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Said<'a>>,
}

/// An ordinary request, whatever became of it: `request` if the upstream has answered, `request_refused` if not.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the words of the log line say it")]
pub struct Requested<'a> {
    pub event: &'static str,
    pub time: Timestamp,
    pub connection_id: Id,
    pub listener: &'a str,
    pub route: &'a str,
    pub client: IpAddr,
    pub method: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Said<'a>>,
    /// Made by [`Said::path`].
    pub path: Said<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Said<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    /// None where nothing was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was refused, or why its answer ended before its end; none of one that was whole.
    #[serde(serialize_with = "maybe_label", skip_serializing_if = "Option::is_none")]
    pub reason: Option<Deny>,
    pub bytes_to_upstream: u64,
    pub bytes_to_client: u64,
    pub duration_ms: u64,
    /// What exactly was wrong, for the operator alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Said<'a>>,
}

/// Where the lines go. Clones write to the same place.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    to: NonBlocking,
}

impl AccessLog {
    /// Writes to `writer` on a thread of its own. The guard's drop waits, for a second at most, until all is written.
    pub fn new(format: Format, writer: impl Write + Send + 'static) -> (Self, WorkerGuard) {
        // The thread flushes when it has caught up, so a buffer saves system calls and delays nothing.
        Self::with_room(format, BufWriter::with_capacity(64 * 1024, writer), WAITING)
    }

    fn with_room(format: Format, writer: impl Write + Send + 'static, waiting: usize) -> (Self, WorkerGuard) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(waiting).thread_name("access-log");
        let (to, guard) = builder.finish(writer);
        (Self { format, to }, guard)
    }

    /// Writes down a refused handshake.
    pub fn refused(&self, refused: &Refused<'_>) {
        self.line(refused);
    }

    /// Writes down the end of a session.
    pub fn ended(&self, ended: &Ended<'_>) {
        self.line(ended);
    }

    /// Writes down that a session's identity has ended.
    pub fn expired(&self, expired: &Expired<'_>) {
        self.line(expired);
    }

    /// Writes down a renewal.
    pub fn renewed(&self, renewed: &Renewed<'_>) {
        self.line(renewed);
    }

    /// Writes down an ordinary request.
    pub fn requested(&self, requested: &Requested<'_>) {
        self.line(requested);
    }

    /// A reader of the number of lines dropped so far.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counter: ErrorCounter = self.to.error_counter();
        move || counter.dropped_lines() as u64
    }

    fn line(&self, record: &impl Serialize) {
        let line = match self.format {
            Format::Off => return,
            Format::Json => serde_json::to_vec(record).map(|mut line| {
                line.push(b'\n');
                line
            }),
            Format::Text => serde_json::to_vec(record).and_then(|json| text(&json)).map(String::into_bytes),
        };
        // Neither fails: the records are structs of texts and numbers, and the queue drops instead of failing.
        let written = line.map_err(io::Error::from).and_then(|line| self.to.clone().write_all(&line));
        if let Err(error) = written {
            tracing::error!(%error, "a line of the access log could not be written");
        }
    }
}

/// The text form of a JSON line, so that both always say the same.
fn text(json: &[u8]) -> serde_json::Result<String> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = String;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
            let mut line = String::with_capacity(256);
            while let Some((key, value)) = map.next_entry::<&str, serde_json::Value>()? {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.extend([key, "="]);
                match value.as_str().filter(|text| plain(text)) {
                    Some(text) => line.push_str(text),
                    // A number as it is; any other text as JSON writes it, quoted and escaped.
                    None => line.push_str(&value.to_string()),
                }
            }
            line.push('\n');
            Ok(line)
        }
    }

    serde_json::Deserializer::from_slice(json).deserialize_map(Pairs)
}

/// Whether a text needs no quotes.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\'))
}

fn label<S: Serializer>(reason: &Deny, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.label())
}

fn maybe_label<S: Serializer>(reason: &Option<Deny>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Deny::label).serialize(serializer)
}

fn end<S: Serializer>(reason: &Option<Deny>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.map_or("closed", Deny::label))
}

fn side<S: Serializer>(side: &Side, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(side.label())
}

#[cfg(test)]
mod tests;
