//! What several gateways count together, in Redis or Valkey: rates, caps, message budgets. One connection for all workers.
//!
//! Every question is one script that decides on the server, by the server's clock, so that gateways need to agree on
//! nothing else. Nobody waits here longer than `[redis] timeout`, and nobody at all while the store is known not to answer
//! (`breaker`). What a limit does then is not decided here: callers act on [`Redis::on_error`].

pub mod breaker;
mod charge;
mod dial;
mod hear;
mod keeper;
mod lease;
mod link;
mod revocations;
mod script;
mod settings;
mod slots;
mod table;
mod tell;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use redis::{Cmd, FromRedisValue, ScriptInvocation};
use tokio::sync::Notify;

use crate::metrics::{Fallback, Operation, RedisCounts};
use crate::now::Clock;
use crate::policy::key::Key;
use crate::policy::remote::OnError;

pub use crate::metrics::RedisFailure as Unavailable;
pub use breaker::State;
pub use charge::RemoteHit;
pub use lease::{Granted, RemoteBudget};
pub use revocations::{CHANNEL as REVOCATIONS, Page, Swap};
pub use settings::{Pace, Settings};
pub use slots::{Held, RemoteSlot, Taken};

use link::Link;
use table::Table;

/// The store of one gateway. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Redis(Arc<Store>);

#[derive(Debug)]
struct Store {
    settings: Settings,
    clock: Clock,
    counts: Arc<RedisCounts>,
    link: Link,
    /// What this gateway holds of the shared caps.
    table: Mutex<Table>,
    /// Rings the keeper: the table has something to write.
    dirty: Notify,
    /// Whether the server has forgotten this gateway.
    forgotten: AtomicBool,
    /// Under which name this gateway's slots stand; another one for each connection, so that what an old connection
    /// still brings counts for nobody.
    node: Mutex<Arc<str>>,
}

/// What the store tells its gateway, on the thread that carries no traffic. It must not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The connection is there, for the first time or again: what was published meanwhile was missed.
    Connected,
    /// Another gateway asks for the end of this gateway's oldest session of that key, since the cap is full.
    Evict {
        /// The cap's name.
        cap: &'a str,
        /// Its key.
        key: Key,
    },
    /// Something was published in one of [`Settings::channels`].
    Message {
        /// Its name without the prefix.
        channel: &'a str,
        /// What was published.
        payload: &'a [u8],
    },
}

/// Who listens.
pub type Listener = Box<dyn Fn(Heard<'_>) + Send + Sync>;

impl Redis {
    /// One that is not connected: that is for [`Redis::run`].
    #[must_use]
    pub fn new(settings: Settings, clock: Clock) -> Self {
        let counts = Arc::new(RedisCounts::default());
        let link = Link::new(&settings, clock.clone(), counts.clone());
        Self(Arc::new(Store {
            link,
            clock,
            counts,
            settings,
            table: Mutex::default(),
            dirty: Notify::new(),
            forgotten: AtomicBool::new(false),
            node: Mutex::new(name()),
        }))
    }

    /// What callers are to do where there is no answer.
    #[must_use]
    pub fn on_error(&self) -> OnError {
        self.0.settings.remote.on_error
    }

    /// To be called for each decision that was made without an answer, as `on_error` says.
    pub fn fell_back(&self) {
        self.0.counts.fell_back(match self.on_error() {
            OnError::Local => Fallback::Local,
            OnError::Open => Fallback::Open,
            OnError::Closed => Fallback::Closed,
        });
    }

    /// Whether it is asked at all.
    #[must_use]
    pub fn state(&self) -> State {
        self.0.link.state()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Arc<RedisCounts> {
        &self.0.counts
    }

    /// Has the keeper look at the clock, which was moved.
    pub fn wake(&self) {
        self.0.link.ring();
    }

    /// Publishes in a channel that gateways of the same prefix listen to; how many did hear it.
    ///
    /// # Errors
    /// There is no answer. It may have been published all the same.
    pub async fn publish(&self, channel: &str, payload: &[u8]) -> Result<u64, Unavailable> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.key(&["channel", channel])).arg(payload);
        self.command(Operation::Publish, &publish).await
    }

    /// Any other command, for what is stored beside limits: its keys are made by [`Redis::key`].
    ///
    /// # Errors
    /// There is no answer. It may have been done all the same.
    pub async fn command<T: FromRedisValue>(&self, operation: Operation, command: &Cmd) -> Result<T, Unavailable> {
        self.0.link.ask(operation, async |connection| command.query_async(connection).await).await
    }

    /// A script, for what is stored beside limits: its keys are made by [`Redis::key`]. One that the server does not know is
    /// brought to it.
    ///
    /// # Errors
    /// There is no answer. It may have been done all the same.
    pub async fn script<T: FromRedisValue>(
        &self,
        operation: Operation,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        self.0.link.ask(operation, async |connection| call.invoke_async(connection).await).await
    }

    /// A key of these parts, as `{wsgate}:zone:logins:0123..`. All keys share one hash slot.
    #[must_use]
    pub fn key(&self, parts: &[&str]) -> String {
        let mut key = format!("{{{}}}", self.0.settings.remote.prefix);
        for part in parts {
            key.push(':');
            key.push_str(part);
        }
        key
    }

    fn node(&self) -> Arc<str> {
        self.0.node.lock().clone()
    }
}

/// A name that no other gateway has. The keys of std's hasher are random.
fn name() -> Arc<str> {
    format!("{:016x}", RandomState::new().hash_one(0_u8)).into()
}

#[cfg(test)]
mod tests;
