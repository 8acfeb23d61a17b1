//! One line for every handshake that was refused, every session that ended, and what happened to an identity in between.
//!
//! A line is written by a thread of its own and is dropped, and counted, where its reader is too slow: a log never
//! holds up traffic. Payloads, tokens and query strings have no field here.

mod output;
mod said;
mod sampling;
mod shape;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::config::LogFormat;
use crate::config::value::Rate;
use crate::deny::{Deny, Side};
use crate::id::Id;
use crate::now::Timestamp;

use output::{LogFile, Outputs};
pub use said::{MAX_CHARS, Said};
use sampling::Sampling;

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
    /// The server that it was sent to, the last of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
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
    /// The server that it was on.
    pub upstream: &'a str,
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
    on: bool,
    to: NonBlocking,
    /// Those of its places that are files.
    files: Arc<[Arc<LogFile>]>,
    /// None: each refusal has its line.
    sampling: Option<Arc<Sampling>>,
    errors: Arc<AtomicU64>,
}

/// What `[access_log]` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The form that was asked for.
    pub format: LogFormat,
    /// Whether lines go to standard output.
    pub stdout: bool,
    /// The files that they go to.
    pub files: Vec<PathBuf>,
    /// The fields of a line; none: all.
    pub fields: Option<Vec<String>>,
    /// How many refusals of one reason are written: how often, and how many beyond.
    pub refusals: (Rate, u32),
}

impl AccessLog {
    /// Writes to `writer`, and nowhere else, on a thread of its own. The guard's drop waits, for a second at most, until all
    /// is written.
    pub fn new(format: Format, writer: impl Write + Send + 'static) -> (Self, WorkerGuard) {
        let errors = Arc::default();
        let outputs = Outputs::new(None, Arc::clone(&errors)).writer(format, writer);
        Self::with_room(format != Format::Off, outputs, errors, WAITING)
    }

    /// Writes to where the settings say; on standard output, which is `stdout`, in the form `format`.
    ///
    /// # Errors
    /// A file that can't be opened, named.
    pub fn start(
        settings: &Settings,
        format: Format,
        stdout: impl Write + Send + 'static,
    ) -> io::Result<(Self, WorkerGuard)> {
        let on = format != Format::Off;
        let errors = Arc::default();
        let mut outputs = Outputs::new(settings.fields.clone(), Arc::clone(&errors));
        if settings.stdout {
            outputs = outputs.writer(format, stdout);
        }
        let paths = settings.files.iter().filter(|_| on);
        let files = paths.map(|path| LogFile::open(path).map(Arc::new)).collect::<io::Result<Vec<_>>>()?;
        // No file is a terminal.
        let of_files = if settings.format == LogFormat::Text { Format::Text } else { Format::Json };
        for file in &files {
            outputs = outputs.file(of_files, file.clone());
        }
        let (mut log, guard) = Self::with_room(on, outputs, errors, WAITING);
        log.files = files.into();
        let (rate, burst) = settings.refusals;
        log.sampling = Some(Arc::new(Sampling::new(rate, burst)));
        Ok((log, guard))
    }

    fn with_room(on: bool, outputs: Outputs, errors: Arc<AtomicU64>, waiting: usize) -> (Self, WorkerGuard) {
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(waiting).thread_name("access-log");
        let (to, guard) = builder.finish(outputs);
        (Self { on, to, files: Arc::default(), sampling: None, errors }, guard)
    }

    /// Opens its files anew: what stands under their paths now is another file, since the operator has moved the old one.
    pub fn reopen(&self) {
        for file in &*self.files {
            file.reopen();
        }
    }

    /// Writes down a refused handshake.
    pub fn refused(&self, refused: &Refused<'_>) {
        self.sampled(refused, refused.reason, refused.time);
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
        match renewed.reason {
            Some(reason) => self.sampled(renewed, reason, renewed.time),
            None => self.line(renewed),
        }
    }

    /// Writes down an ordinary request.
    pub fn requested(&self, requested: &Requested<'_>) {
        match requested.reason.filter(|_| requested.event == "request_refused") {
            Some(reason) => self.sampled(requested, reason, requested.time),
            None => self.line(requested),
        }
    }

    /// A reader of the number of lines dropped so far.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let counter: ErrorCounter = self.to.error_counter();
        move || counter.dropped_lines() as u64
    }

    /// A reader of the number of lines that could not be written so far.
    pub fn errors(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let errors = self.errors.clone();
        move || errors.load(Ordering::Relaxed)
    }

    /// A reader of the number of refusals left out so far, by reason.
    pub fn suppressed(&self) -> impl Fn() -> Vec<(Deny, u64)> + Send + Sync + 'static {
        let sampling = self.sampling.clone();
        move || sampling.as_ref().map(|sampling| sampling.suppressed()).unwrap_or_default()
    }

    /// A line about a refusal, unless there are too many of its reason.
    fn sampled(&self, record: &impl Serialize, reason: Deny, time: Timestamp) {
        if !self.on {
            return;
        }
        match self.sampling.as_ref().map_or(Some(0), |sampling| sampling.admit(reason, time.0)) {
            None => {}
            Some(0) => self.line(record),
            Some(suppressed) => self.line(&Sampled { record, suppressed }),
        }
    }

    fn line(&self, record: &impl Serialize) {
        if !self.on {
            return;
        }
        // Neither fails: the records are structs of texts and numbers, and the queue drops instead of failing.
        let written = serde_json::to_vec(record).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.to.clone().write_all(&line)
        });
        if let Err(error) = written {
            tracing::error!(%error, "a line of the access log could not be written");
        }
    }
}

/// A line before which others were left out.
#[derive(Serialize)]
struct Sampled<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    /// How many of the same reason.
    suppressed: u64,
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
