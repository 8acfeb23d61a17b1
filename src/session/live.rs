//! Every live session, for those who look at sessions or end them from outside: the admin page and the drain.
//!
//! A session is listed as long as its [`Entry`] lives. The list is cut by worker, so that a session's start and end
//! wait for nobody but who looks. Nothing here knows how a session ends: it is ordered to, and does it itself.

pub mod holder;
pub mod order;
mod term;

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use crate::access_log::Said;
use crate::deny::Direction;
use crate::metrics::Counter;
use crate::now::{Now, Timestamp};
use crate::policy::renew::Lineage;
use holder::{Holder, Token};
use order::Order;

/// A connection's name in logs and on the admin page: unique in this process, and most likely among its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What others may know of one session, and the one thing that they may tell it.
#[derive(Debug)]
pub struct Live {
    /// From [`Registry::next_id`].
    pub id: Id,
    /// The route's name.
    pub route: Arc<str>,
    /// Whose it is.
    pub holder: Holder,
    /// The client's address.
    pub client: IpAddr,
    /// When it began.
    pub since: Now,
    /// Messages, by [`Direction::index`]. Written by the session alone.
    pub messages: [Counter; 2],
    /// Bytes, likewise.
    pub bytes: [Counter; 2],
    /// The session's task, which has one waker all its life; it stays here, since there may be more than one wake.
    waker: OnceLock<Waker>,
    order: OnceLock<Order>,
}

impl Live {
    /// A session that begins now.
    #[must_use]
    pub fn new(id: Id, route: Arc<str>, holder: Holder, client: IpAddr, since: Now) -> Self {
        Self {
            id,
            route,
            holder,
            client,
            since,
            messages: Default::default(),
            bytes: Default::default(),
            waker: OnceLock::new(),
            order: OnceLock::new(),
        }
    }

    /// Orders the session to end, and wakes it. The first order stands.
    pub fn order(&self, order: impl Into<Order>) {
        if self.order.set(order.into()).is_ok() {
            self.wake();
        }
    }

    /// The order to end, once there is one.
    #[must_use]
    pub fn ordered(&self) -> Option<&Order> {
        self.order.get()
    }

    /// Lets the session live by another token of its holder; see [`Holder::renew`].
    pub fn renew(&self, token: Token, until: Option<u64>) -> bool {
        let renewed = self.holder.renew(token, until);
        if renewed {
            self.wake();
        }
        renewed
    }

    /// Whom to wake: said once, by the session, before it first looks at [`Live::ordered`].
    pub fn register(&self, waker: &Waker) {
        // A second one could only be the same.
        let _ = self.waker.set(waker.clone());
        // Either the session sees an order, or who gave it sees the waker; see `wake`.
        fence(Ordering::SeqCst);
    }

    /// Has the session look around.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }

    fn view(&self, now: Now) -> LiveView<'_> {
        LiveView {
            id: self.id,
            route: &self.route,
            subject: self.holder.subject.as_deref().map(Said::new),
            client: self.client.to_canonical(),
            since: Timestamp(self.since.wall),
            duration_seconds: now.mono.saturating_sub(self.since.mono) / 1000,
            messages_to_upstream: self.messages[Direction::ToUpstream.index()].get(),
            bytes_to_upstream: self.bytes[Direction::ToUpstream.index()].get(),
            messages_to_client: self.messages[Direction::ToClient.index()].get(),
            bytes_to_client: self.bytes[Direction::ToClient.index()].get(),
        }
    }
}

/// One session as the admin page shows it.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the words of the admin page say it")]
pub struct LiveView<'a> {
    pub id: Id,
    pub route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Said<'a>>,
    pub client: IpAddr,
    pub since: Timestamp,
    pub duration_seconds: u64,
    pub messages_to_upstream: u64,
    pub bytes_to_upstream: u64,
    pub messages_to_client: u64,
    pub bytes_to_client: u64,
}

/// Which sessions to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// At most so many, the oldest first.
    pub limit: usize,
    /// Of this route alone.
    pub route: Option<String>,
    /// Of this subject alone.
    pub subject: Option<String>,
}

/// The sessions that a [`Query`] asked for, as they were at one moment.
#[derive(Debug)]
pub struct Snapshot {
    lives: Vec<Arc<Live>>,
    total: usize,
    now: Now,
}

impl Snapshot {
    /// The sessions, the oldest first.
    pub fn connections(&self) -> impl Iterator<Item = LiveView<'_>> {
        self.lives.iter().map(|live| live.view(self.now))
    }

    /// How many there are of them, shown or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Page<'a> {
            connections: Vec<LiveView<'a>>,
            total: usize,
            truncated: bool,
        }
        let truncated = self.lives.len() < self.total;
        Page { connections: self.connections().collect(), total: self.total, truncated }.serialize(serializer)
    }
}

type Shard = Mutex<HashMap<Id, Arc<Live>>>;

/// The list of live sessions.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Arc<Shard>]>,
    next: AtomicU64,
}

impl Registry {
    /// An empty list for so many workers, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        // The keys of std's hasher are random: no secret, but enough to tell this start from the one before.
        let start = RandomState::new().hash_one(0_u8) << 32;
        Self { shards: (0..workers.max(1)).map(|_| Arc::default()).collect(), next: AtomicU64::new(start) }
    }

    /// A name for the next connection: the start's random 32 bits, then a count that goes on into them if it must.
    #[must_use]
    pub fn next_id(&self) -> Id {
        Id(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Lists a session of this worker until the entry drops.
    pub fn enter(&self, worker: usize, live: Live) -> Entry {
        let shard = self.shards[worker % self.shards.len()].clone();
        let live = Arc::new(live);
        shard.lock().insert(live.id, live.clone());
        Entry { live, shard }
    }

    /// How many are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether none is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Live>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            // A shard is locked while its pointers are copied, not while they are looked at.
            all.extend(shard.lock().values().cloned());
        }
        all
    }

    /// Those of one route that tokens of this lineage may renew.
    #[must_use]
    pub fn of_lineage(&self, route: &str, lineage: Lineage) -> Vec<Arc<Live>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            // The rest is left where it is: a pointer's copy costs more than a look.
            let lives = shard.lock();
            let meant = |live: &&Arc<Live>| live.holder.lineage == Some(lineage) && *live.route == *route;
            found.extend(lives.values().filter(meant).cloned());
        }
        found
    }

    /// Has every session look around.
    pub fn wake_all(&self) {
        for live in self.all() {
            live.wake();
        }
    }

    /// Those that the query asks for.
    #[must_use]
    pub fn snapshot(&self, query: &Query, now: Now) -> Snapshot {
        let mut lives = self.all();
        lives.retain(|live| {
            query.route.as_deref().is_none_or(|route| *live.route == *route)
                && query.subject.as_deref().is_none_or(|subject| live.holder.subject.as_deref() == Some(subject))
        });
        let total = lives.len();
        lives.sort_unstable_by_key(|live| live.id);
        lives.truncate(query.limit);
        Snapshot { lives, total, now }
    }
}

/// A session's place in the list; its drop takes the session off it.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    live: Arc<Live>,
    shard: Arc<Shard>,
}

impl Deref for Entry {
    type Target = Arc<Live>;

    fn deref(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let left = self.shard.lock().remove(&self.live.id);
        // The last pointer may drop with it: outside the lock.
        drop(left);
    }
}

#[cfg(test)]
mod tests;
