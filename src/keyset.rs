//! Published key sets: fetched when the gateway starts, kept fresh in the background, and asked for by handshakes whose
//! token names a key that is not there.
//!
//! One task for each set, on the thread that carries no traffic, does all its fetches: so there is never more than one
//! at a time. When it fetches is arithmetic of `policy::token::refresh`; what it got is judged by `policy::token`.

mod fetch;
mod tell;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::metrics::KeySetFill;
use crate::now::Clock;
use crate::policy::token::published::{Behind, Published, Standing};
use crate::policy::token::refresh::{Asked, Plan, after_success, lifetime};
use tell::Teller;

/// How long a handshake waits for a fetch. What comes later serves the next try of its client.
const WAIT: Duration = Duration::from_secs(1);

/// One part in so many of the places for handshakes under way may wait for key sets, the sets sharing it evenly, so that a
/// key server that hangs takes the places of nobody else's clients.
const SHARE: usize = 4;

/// Every published key set of a gateway.
pub struct Keysets {
    sets: Vec<Arc<Keyset>>,
}

impl Keysets {
    /// Those of a policy; `tls` by the name of the `[jwt.NAME]`. `places` is the number of handshakes under way. What is
    /// published at the same place as in `previous` is the same set, with all that it counts.
    #[must_use]
    pub fn new(
        published: &[Arc<Published>],
        tls: &BTreeMap<String, Arc<ClientConfig>>,
        places: usize,
        previous: Option<&Self>,
    ) -> Self {
        let share = (places / SHARE / published.len().max(1)).max(1);
        let set = |published: &Arc<Published>| {
            let tls = tls.get(&*published.jwt).cloned().map(TlsConnector::from);
            let known = previous.iter().flat_map(|previous| &previous.sets);
            let Some(known) = { known }.find(|known| Arc::ptr_eq(&known.published, published)) else {
                return Arc::new(Keyset::new(published.clone(), tls, share));
            };
            *known.tls.lock() = tls;
            known.clone()
        };
        Self { sets: published.iter().map(set).collect() }
    }

    /// What a handshake may do whose token no set that it looked at could judge: have one fetched, or wait for a fetch
    /// under way. Whether the token is worth another look.
    pub async fn newer(&self, behind: Behind, clock: &Clock) -> bool {
        let Some(set) = self.sets.iter().find(|set| set.published.id == behind.set) else { return false };
        // Before it asks, so that it can't miss the end of what it asked for.
        let mut rounds = set.rounds.subscribe();
        if behind.unknown_kid {
            set.unknown_kids.fetch_add(1, Ordering::Relaxed);
        }
        match set.ask(behind.serial, clock) {
            None => return true,
            Some(Asked::Refused) => return false,
            Some(Asked::Begin | Asked::Join) => {}
        }
        let Ok(_place) = set.waiting.try_acquire() else { return false };
        timeout(WAIT, rounds.changed()).await.is_ok()
    }

    /// Each set that no token can be checked with, and why; not where it is, for whoever asks whether the gateway is ready.
    #[must_use]
    pub fn missing(&self, clock: &Clock) -> Vec<String> {
        let now = clock.now();
        let why = |set: &Arc<Keyset>| {
            let jwt = &set.published.jwt;
            match set.published.standing(now) {
                Standing::Good => None,
                Standing::Never => Some(format!("jwt.{jwt}: its key set was never fetched")),
                Standing::TooOld => Some(format!("jwt.{jwt}: its key set is older than jwks_max_stale")),
            }
        };
        self.sets.iter().filter_map(why).collect()
    }

    /// How each set stands, for the metrics.
    #[must_use]
    pub fn fill(&self, clock: &Clock) -> Vec<KeySetFill> {
        let now = clock.now();
        let fill = |set: &Arc<Keyset>| KeySetFill {
            jwt: set.published.jwt.clone(),
            age_ms: set.published.age(now),
            keys: set.published.key_count() as u64,
            fetched: set.fetched.load(Ordering::Relaxed),
            failed: set.failed.load(Ordering::Relaxed),
            unknown_kids: set.unknown_kids.load(Ordering::Relaxed),
        };
        self.sets.iter().map(fill).collect()
    }

    /// Has every task look at the clock, which was moved.
    pub fn wake_all(&self) {
        for set in &self.sets {
            set.bell.notify_one();
        }
    }
}

/// The tasks of the key sets that are obeyed now, each of which lives until its set is no more. Needs a local runtime.
#[derive(Default)]
pub struct Tasks(BTreeMap<u64, AbortHandle>);

impl Tasks {
    /// Begins those that are new, and ends those whose set is not among these.
    pub fn tend(&mut self, keysets: &Keysets, clock: &Clock) {
        let is_kept = |id: &u64| keysets.sets.iter().any(|set| set.published.id == *id);
        for (_, task) in self.0.extract_if(.., |id, _| !is_kept(id)) {
            task.abort();
        }
        for set in &keysets.sets {
            let begin = || tokio::task::spawn_local(set.clone().run(clock.clone())).abort_handle();
            self.0.entry(set.published.id).or_insert_with(begin);
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One published key set, and what its task and the handshakes have to tell each other.
struct Keyset {
    published: Arc<Published>,
    /// Absent where it is asked over plain HTTP alone. For the next fetch: a config that is read again may trust others.
    tls: Mutex<Option<TlsConnector>>,
    plan: Mutex<Plan>,
    /// Rings the task: a token asks for a fetch, or the clock was moved.
    bell: Notify,
    /// Places of handshakes that wait for it: its own, so that made-up keys of one issuer are no other's affair.
    waiting: Semaphore,
    /// Counts the fetches that ended, well or not.
    rounds: watch::Sender<u64>,
    fetched: AtomicU64,
    failed: AtomicU64,
    unknown_kids: AtomicU64,
}

impl Keyset {
    fn new(published: Arc<Published>, tls: Option<TlsConnector>, share: usize) -> Self {
        Self {
            published,
            tls: Mutex::new(tls),
            plan: Mutex::default(),
            bell: Notify::new(),
            waiting: Semaphore::new(share),
            rounds: watch::Sender::new(0),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unknown_kids: AtomicU64::new(0),
        }
    }

    /// Asks for a set newer than `serial`; none where there is one already.
    fn ask(&self, serial: u64, clock: &Clock) -> Option<Asked> {
        let mut plan = self.plan.lock();
        // Under the lock: a set is taken before its fetch counts as over.
        if self.published.serial() != serial {
            return None;
        }
        let asked = plan.ask(&self.published.timing, clock.mono());
        drop(plan);
        if asked == Asked::Begin {
            self.bell.notify_one();
        }
        Some(asked)
    }

    async fn run(self: Arc<Self>, clock: Clock) {
        let mut teller = Teller::new(self.published.clone());
        loop {
            let due = {
                let mut plan = self.plan.lock();
                if plan.begin(clock.mono()) { None } else { Some(plan.due()) }
            };
            match due {
                None => self.fetch(&clock, &mut teller).await,
                Some(due) => tokio::select! {
                    () = sleep_until(clock.instant(due).into()) => {}
                    () = self.bell.notified() => {}
                },
            }
        }
    }

    /// One fetch, and what follows from it.
    async fn fetch(&self, clock: &Clock, teller: &mut Teller) {
        let tls = self.tls.lock().clone();
        let answer = fetch::set(&self.published.location, tls.as_ref()).await;
        let now = clock.now();
        let taken = answer.and_then(|answer| match self.published.take(&answer.text, now) {
            Ok(taken) => Ok((taken, lifetime(&answer.headers, now.wall))),
            Err(what) => Err(fetch::Failure { url: answer.url, what }),
        });
        {
            let mut plan = self.plan.lock();
            match &taken {
                Ok((_, lifetime)) => plan.succeeded(now.mono, after_success(&self.published.timing, *lifetime, dice())),
                Err(_) => plan.failed(now.mono, dice()),
            }
            self.published.set_due(plan.due());
        }
        let count = if taken.is_ok() { &self.fetched } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
        match taken {
            Ok((taken, _)) => teller.taken(&taken),
            Err(failure) => teller.failed(&failure, now),
        }
        self.rounds.send_modify(|rounds| *rounds += 1);
    }
}

/// A number that two gateways hardly share.
fn dice() -> u32 {
    // The keys of std's hasher are random; the lower half is as good as the upper.
    RandomState::new().hash_one(0_u8) as u32
}

#[cfg(test)]
mod tests;
