//! Spans on their way to an OpenTelemetry collector: a queue that is bounded, and one task that empties it beside the traffic.
//!
//! Whoever ends a handshake or a session puts a span in and goes on. What finds no room is dropped and counted: a trace
//! never holds up traffic.

mod otlp;
mod send;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::metrics::{SpanCounts, SpanResult};
use crate::policy::trace::{Context, Ids};
use send::{Collector, Sent};

pub use send::Settings;

/// Random numbers for a trace of its own; none if there are none to be had.
#[must_use]
pub fn fresh() -> Option<Ids> {
    let mut ids = Ids { trace: [0; 16], span: [0; 8], dial: [0; 8] };
    rand::fill(&mut ids.trace)
        .and_then(|()| rand::fill(&mut ids.span))
        .and_then(|()| rand::fill(&mut ids.dial))
        .ok()?;
    Some(ids)
}

/// Spans that may wait, at about a KiB each, and three with the longest path and host: OpenTelemetry's own figure.
const QUEUE: usize = 2048;

/// Spans of one request.
const BATCH: usize = 512;

/// How long the first span of a batch may wait for others.
const GATHER: Duration = Duration::from_secs(1);

/// What a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something within the gateway.
    Internal,
    /// A request that it answers.
    Server,
    /// A request that it makes.
    Client,
}

/// One attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// Something that took some time, and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its own name among traces.
    pub context: Context,
    /// The span that it is a child of.
    pub parent: Option<[u8; 8]>,
    /// One that it has to do with, in another trace.
    pub link: Option<Context>,
    /// What it is called: one of few.
    pub name: String,
    /// What it is about.
    pub kind: Kind,
    /// When it began, in the wall clock's milliseconds.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// By the names of OpenTelemetry's semantic conventions.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub failed: Option<&'static str>,
}

/// Where spans are put in.
pub struct Spans {
    queue: mpsc::Sender<Span>,
    counts: Arc<SpanCounts>,
    /// The collector of the config that is obeyed.
    collector: watch::Sender<Option<Arc<Settings>>>,
    /// Until the task that empties the queue takes it.
    rest: Mutex<Option<mpsc::Receiver<Span>>>,
}

impl Spans {
    /// A queue for the collector of these settings, if there is one; nobody is asked before [`Spans::run`].
    #[must_use]
    pub fn new(settings: Option<Settings>) -> Self {
        let (queue, rest) = mpsc::channel(QUEUE);
        let collector = watch::Sender::new(settings.map(Arc::new));
        Self { queue, counts: Arc::default(), collector, rest: Mutex::new(Some(rest)) }
    }

    /// A new config: what waits goes to its collector too.
    pub fn follow(&self, settings: Option<Settings>) {
        self.collector.send_replace(settings.map(Arc::new));
    }

    /// What is counted of them.
    #[must_use]
    pub fn counts(&self) -> &Arc<SpanCounts> {
        &self.counts
    }

    /// Puts one in, if there is room, and anybody to get it.
    pub fn push(&self, span: Span) {
        // Of a handshake or a session that began before a config without `[tracing]` did.
        if self.collector.borrow().is_none() {
            return;
        }
        match self.queue.try_send(span) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.counts.add(SpanResult::Dropped, 1),
        }
    }

    /// Sends what is put in, until `over` becomes true; then what is there goes out, each batch with one try.
    pub async fn run(&self, mut over: watch::Receiver<bool>) {
        let Some(mut queue) = self.rest.lock().take() else { return };
        let mut collector = Collector::new(self.collector.subscribe());
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let closing = gather(&mut queue, &mut batch, &mut over).await;
            if batch.is_empty() {
                return;
            }
            let sent = collector.send(&batch, &mut over).await;
            let count = batch.len() as u64;
            match sent {
                Sent::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    self.counts.add(SpanResult::Exported, count - rejected);
                    self.counts.add(SpanResult::Failed, rejected);
                }
                Sent::Failed => self.counts.add(SpanResult::Failed, count),
                Sent::ToNobody => self.counts.add(SpanResult::Dropped, count),
            }
            batch.clear();
            if closing && queue.is_empty() {
                return;
            }
        }
    }
}

/// Fills a batch: with a span, whenever it comes, and what else comes within a second. True once there will be no more.
async fn gather(queue: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>, over: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        biased;
        // An error is a sender that is gone.
        _ = over.wait_for(|over| *over) => return take_the_rest(queue, batch),
        got = queue.recv_many(batch, BATCH) => if got == 0 { return true },
    }
    let mut late = std::pin::pin!(sleep(GATHER));
    while batch.len() < BATCH {
        let left = BATCH - batch.len();
        tokio::select! {
            biased;
            _ = over.wait_for(|over| *over) => return take_the_rest(queue, batch),
            () = &mut late => break,
            got = queue.recv_many(batch, left) => if got == 0 { return true },
        }
    }
    false
}

/// As much as a batch may have.
fn take_the_rest(queue: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    while batch.len() < BATCH
        && let Ok(span) = queue.try_recv()
    {
        batch.push(span);
    }
    true
}

impl fmt::Debug for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// TLS to a collector.
pub(crate) type Tls = Arc<ClientConfig>;

#[cfg(test)]
mod tests;
