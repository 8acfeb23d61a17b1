//! A new config in the place of the one that is obeyed, while everything goes on: it is read, compiled and published; or the
//! old one stays, and it is said why. All of it happens on the thread that carries no traffic.
//!
//! It is asked for by a signal, by the operator's listener, or by files that changed. A config that was refused is read again
//! when it changes, and so is said to be wrong once.

mod enforce;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::gateway::{Edition, Shared};
use crate::keyset::Tasks;
use crate::load::{Attempt, Loaded, Source};
use crate::material::Seen;
use crate::metrics::ReloadCounts;

pub use enforce::end_if_changed;

/// Reloads that may wait for their turn; one that finds no place is refused.
const WAITING: usize = 16;

/// Files that changed have to stay as they are for so long before they are read: an editor writes in pieces, and half a file may
/// be a config too.
const SETTLE: Duration = Duration::from_millis(200);

/// Who asks for a new config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// `POST /reload`.
    Admin,
    /// A file changed.
    Files,
}

impl Trigger {
    /// The word in the log.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Admin => "admin",
            Self::Files => "files",
        }
    }
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is obeyed from now on.
    Taken {
        /// Of the files that it was read from.
        hash: String,
        /// What is allowed, but perhaps not meant; empty if there is nothing.
        warnings: String,
    },
    /// The one before is obeyed: the whole report says why.
    Refused(String),
    /// It was not looked at.
    NotNow(&'static str),
}

/// How far reloads are: one is under way while more began than ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// How many began.
    pub begun: u64,
    /// How many ended, whatever became of them.
    pub ended: u64,
    /// When the last one began, as [`Clock::micros`](crate::now::Clock::micros) says it.
    pub begun_at: u64,
}

struct Ask {
    trigger: Trigger,
    answer: Option<oneshot::Sender<Outcome>>,
}

/// Where a reload is asked for, and how the last one went.
pub struct Reloads {
    asks: mpsc::Sender<Ask>,
    inbox: Mutex<Option<mpsc::Receiver<Ask>>>,
    /// What is counted of them.
    pub counts: Arc<ReloadCounts>,
    error: Mutex<Option<String>>,
    progress: watch::Sender<Progress>,
}

impl Reloads {
    /// None so far.
    #[must_use]
    pub fn new(counts: Arc<ReloadCounts>) -> Self {
        let (asks, inbox) = mpsc::channel(WAITING);
        let progress = watch::Sender::default();
        Self { asks, inbox: Mutex::new(Some(inbox)), counts, error: Mutex::default(), progress }
    }

    /// Has the config read again. Returns at once.
    pub fn ask(&self, trigger: Trigger) {
        if self.asks.try_send(Ask { trigger, answer: None }).is_err() {
            tracing::warn!(trigger = trigger.label(), "no reload: too many wait already");
        }
    }

    /// The same, and what became of it.
    pub async fn answer(&self, trigger: Trigger) -> Outcome {
        let (answer, told) = oneshot::channel();
        if self.asks.try_send(Ask { trigger, answer: Some(answer) }).is_err() {
            return Outcome::NotNow("too many reloads wait already, or the gateway is stopping");
        }
        told.await.unwrap_or(Outcome::NotNow("the gateway is stopping"))
    }

    /// Tells whoever watches of each that begins and ends. Some may be told of together.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    fn began(&self, at: u64) {
        self.progress
            .send_modify(|progress| *progress = Progress { begun: progress.begun + 1, begun_at: at, ..*progress });
    }

    fn ended(&self) {
        self.progress.send_modify(|progress| progress.ended += 1);
    }

    /// The whole report of the last one, if it was refused.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }
}

/// Takes one config after the other, for ever; `source` is none of a gateway whose config is no file. To be run once, where
/// `tokio::task::spawn_local` may be called.
pub async fn run(shared: Arc<Shared>, source: Option<Source>, mut seen: Seen) {
    let mut tasks = Tasks::default();
    tasks.tend(&shared.edition().keysets, &shared.books.clock);
    let Some(mut inbox) = shared.reloads.inbox.lock().take() else { return };
    loop {
        // While it stops nothing is taken, so nothing is looked for; who is there when that begins may be told so once.
        let every = shared.edition().auto_reload.filter(|_| source.is_some() && !shared.is_draining());
        let ask = tokio::select! {
            ask = inbox.recv() => ask,
            () = change(&seen, every) => Some(Ask { trigger: Trigger::Files, answer: None }),
        };
        // The sender lives in `shared`, which lives here.
        let Some(Ask { trigger, answer }) = ask else { return };
        shared.reloads.began(shared.books.clock.micros());
        let outcome = match &source {
            None => Outcome::NotNow("this gateway's config is no file"),
            Some(_) if shared.is_draining() => Outcome::NotNow("the gateway is stopping"),
            Some(source) => {
                let attempt = read(source.clone(), shared.edition()).await;
                seen = attempt.seen.clone();
                let outcome = take(&shared, attempt);
                tasks.tend(&shared.edition().keysets, &shared.books.clock);
                outcome
            }
        };
        say(trigger, &outcome);
        shared.reloads.ended();
        // Who asked may be gone.
        let _ = answer.map(|answer| answer.send(outcome));
    }
}

/// Returns once a file is not what it was, and has stopped changing.
async fn change(seen: &Seen, every: Option<Duration>) {
    let Some(every) = every else { return std::future::pending().await };
    loop {
        sleep(every).await;
        let now = look(seen).await;
        if now == *seen {
            continue;
        }
        sleep(SETTLE).await;
        if look(seen).await == now {
            return;
        }
    }
}

/// Off the thread: a file may lie on a slow disk.
async fn look(seen: &Seen) -> Seen {
    let known = seen.clone();
    // It does not panic; if it did, nothing has changed.
    spawn_blocking(move || known.look()).await.unwrap_or_else(|_| seen.clone())
}

async fn read(source: Source, edition: Arc<Edition>) -> Attempt {
    let (again, previous) = (source.clone(), edition.clone());
    match spawn_blocking(move || source.load(Some(&edition))).await {
        Ok(attempt) => attempt,
        // It does not panic; if it did, here it is again, where it is seen.
        Err(_) => again.load(Some(&previous)),
    }
}

/// Publishes it, or keeps what there is.
fn take(shared: &Arc<Shared>, attempt: Attempt) -> Outcome {
    let counts = &shared.reloads.counts;
    match attempt.result {
        Ok(loaded) => {
            let hash = attempt.seen.fingerprint();
            let warnings =
                if loaded.warnings.problems().is_empty() { String::new() } else { loaded.warnings.to_string() };
            publish(shared, loaded);
            counts.taken(hash.clone(), shared.books.clock.now());
            *shared.reloads.error.lock() = None;
            Outcome::Taken { hash, warnings }
        }
        Err(report) => {
            counts.refused(shared.books.clock.now());
            let report = report.to_string();
            *shared.reloads.error.lock() = Some(report.clone());
            Outcome::Refused(report)
        }
    }
}

fn publish(shared: &Arc<Shared>, mut loaded: Loaded) {
    shared.books.spans.follow(loaded.spans.take());
    let edition = Edition::new(loaded, Some(&shared.edition()), &[], &shared.pools);
    // Before anybody counts for a name that is new.
    shared.books.metrics.grow(&edition.policy.roll);
    edition.policy.begin();
    shared.publish(edition);
    tokio::task::spawn_local(enforce::run(shared.clone(), shared.edition()));
}

fn say(trigger: Trigger, outcome: &Outcome) {
    let trigger = trigger.label();
    match outcome {
        Outcome::Taken { hash, warnings } => {
            if !warnings.is_empty() {
                tracing::warn!(trigger, "the new config is taken, with warnings:\n{warnings}");
            }
            tracing::info!(trigger, hash, "a new config is obeyed");
        }
        Outcome::Refused(report) => tracing::error!(trigger, "the new config is refused, the old one stays:\n{report}"),
        Outcome::NotNow(why) => tracing::warn!(trigger, why, "no reload"),
    }
}
