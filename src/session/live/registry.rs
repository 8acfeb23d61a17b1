//! The list of live sessions, for those who look at sessions or end them from outside: the admin page and the drain.
//!
//! A session is listed as long as its [`Entry`] lives. The list is cut by worker, so that a session's start and end
//! wait for nobody but who looks.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use super::query::Query;
use super::{Id, Live, LiveView};
use crate::now::Now;
use crate::policy::renew::Lineage;

/// The sessions that a [`Query`] asked for, as they were at one moment.
#[derive(Debug)]
pub struct Snapshot {
    lives: Vec<Arc<Live>>,
    total: usize,
    now: Now,
}

impl Snapshot {
    /// The sessions, in the order that was asked for.
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

/// One worker's part of the list.
#[derive(Debug, Default)]
struct Shard {
    lives: HashMap<Id, Arc<Live>>,
    /// Those that a token may renew, by whose: a renewal finds its few among all without a walk over the rest.
    lineages: BTreeSet<(Lineage, Id)>,
}

impl Shard {
    fn insert(&mut self, live: Arc<Live>) {
        self.lineages.extend(live.holder.lineage.map(|lineage| (lineage, live.id)));
        self.lives.insert(live.id, live);
    }

    fn remove(&mut self, live: &Live) -> Option<Arc<Live>> {
        if let Some(lineage) = live.holder.lineage {
            self.lineages.remove(&(lineage, live.id));
        }
        self.lives.remove(&live.id)
    }
}

/// The list of live sessions.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Arc<Mutex<Shard>>]>,
}

impl Registry {
    /// An empty list for so many workers, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self { shards: (0..workers.max(1)).map(|_| Arc::default()).collect() }
    }

    /// Lists a session of this worker until the entry drops.
    pub fn enter(&self, worker: usize, live: Live) -> Entry {
        let shard = self.shards[worker % self.shards.len()].clone();
        let live = Arc::new(live);
        shard.lock().insert(live.clone());
        Entry { live, shard }
    }

    /// How many are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().lives.len()).sum()
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
            all.extend(shard.lock().lives.values().cloned());
        }
        all
    }

    /// Those of one route that tokens of this lineage may renew.
    #[must_use]
    pub fn of_lineage(&self, route: &str, lineage: Lineage) -> Vec<Arc<Live>> {
        let mut found = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock();
            let theirs = shard.lineages.range((lineage, Id(0))..=(lineage, Id(u64::MAX)));
            found
                .extend(theirs.filter_map(|(_, id)| shard.lives.get(id)).filter(|live| *live.route == *route).cloned());
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
        let (lives, total) = query.choose(self.all());
        Snapshot { lives, total, now }
    }
}

/// A session's place in the list; its drop takes the session off it.
#[derive(Debug)]
#[must_use]
pub struct Entry {
    live: Arc<Live>,
    shard: Arc<Mutex<Shard>>,
}

impl Deref for Entry {
    type Target = Arc<Live>;

    fn deref(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let left = self.shard.lock().remove(&self.live);
        // The last pointer may drop with it: outside the lock.
        drop(left);
    }
}
