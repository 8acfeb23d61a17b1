//! The leases of one zone: an account for each key that live sessions are charged by.
//!
//! There are never more than sessions hold, so there is no bound of the zone's own. The last session to go has what is left
//! given back, and what is owed told: to connect anew is no way round a limit, nor does it cost a chunk. While Redis does not
//! answer, what is owed stays in the zone of this gateway, which is bounded.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::wishes::Wishes;
use super::{Lease, Question, Terms, Told};
use crate::policy::bucket::Bucket;
use crate::policy::key::Key;
use crate::policy::remote::OnError;
use crate::policy::zone::Zone;

/// The accounts of a zone that several gateways share.
#[derive(Debug)]
pub struct Leases {
    /// Of this gateway alone: for what there is to remember while Redis does not answer.
    zone: Arc<Zone>,
    on_error: OnError,
    /// The least that any rule lets through at once, in units of excess.
    burst: AtomicU64,
    held: Arc<Mutex<HashMap<Key, Held>>>,
    wishes: Arc<Wishes>,
}

#[derive(Debug)]
struct Held {
    account: Arc<Leased>,
    /// Never 0.
    holders: usize,
}

/// One key's account in this gateway.
#[derive(Debug)]
pub struct Leased {
    lease: Mutex<Books>,
    terms: Terms,
    key: Key,
    home: Arc<Leases>,
}

/// A lease, and whether anybody holds it.
#[derive(Debug, Default)]
pub struct Books {
    /// What is held of the budget.
    pub lease: Lease,
    /// Its last session has gone.
    closed: bool,
}

/// One session's hold on an account, given back by the drop.
#[derive(Debug)]
pub struct LeaseHold(Arc<Leased>);

impl Leases {
    /// None held so far.
    #[must_use]
    pub fn new(zone: Arc<Zone>, on_error: OnError, wishes: Arc<Wishes>) -> Self {
        Self { zone, on_error, burst: AtomicU64::new(u64::MAX), held: Arc::default(), wishes }
    }

    /// The same accounts under other terms, for a reload. An account that sessions hold keeps its own until the last of them
    /// is gone.
    #[must_use]
    pub fn changed(&self, zone: Arc<Zone>, on_error: OnError) -> Self {
        let (held, wishes) = (self.held.clone(), self.wishes.clone());
        Self { zone, on_error, burst: AtomicU64::new(u64::MAX), held, wishes }
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.zone.name()
    }

    /// Says that a rule lets so much excess through at once: no more is fetched ahead.
    pub fn expect(&self, burst: u64) {
        self.burst.fetch_min(burst, Ordering::Relaxed);
    }

    /// Keys held now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A session's hold on the account of its key. The first one has a chunk fetched, which is there before its first
    /// message is.
    #[must_use]
    pub fn hold(self: &Arc<Self>, key: Key, now_ms: u64) -> LeaseHold {
        let mut held = self.held.lock();
        let found = held.entry(key).or_insert_with(|| Held { account: self.open(key), holders: 0 });
        found.holders += 1;
        let account = found.account.clone();
        drop(held);
        account.ask(&mut account.lock(), now_ms);
        LeaseHold(account)
    }

    fn open(self: &Arc<Self>, key: Key) -> Arc<Leased> {
        let terms = Terms::new(self.zone.rate(), self.burst.load(Ordering::Relaxed), self.on_error);
        let books = Books { lease: Lease::owing(self.zone.owed(key)), closed: false };
        Arc::new(Leased { lease: Mutex::new(books), terms, key, home: self.clone() })
    }

    /// What was counted here alone stays here: there is nobody else to tell. A zone that is full forgets it.
    fn leave(&self, key: Key, left: Option<Bucket>) {
        if let Some(left) = left {
            self.zone.owe(key, left);
        }
    }

    fn release(&self, account: &Arc<Leased>) {
        let mut held = self.held.lock();
        let Some(found) = held.get_mut(&account.key) else { return };
        found.holders -= 1;
        if found.holders > 0 {
            return;
        }
        held.remove(&account.key);
        drop(held);
        let mut books = account.lock();
        books.closed = true;
        let left = books.lease.left();
        // With a question under way, its answer is what is given back. With no room for a wish, what is left lapses.
        if !books.lease.is_asked() {
            let _ = self.wishes.push(account.clone());
        }
        drop(books);
        self.leave(account.key, left);
    }
}

impl Leased {
    /// What is held, while nobody else spends it. Whoever holds several accounts at once locks them in the order of
    /// [`Leased::address`].
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Books> {
        self.lease.lock()
    }

    /// What tells it from all other accounts, of any kind.
    #[must_use]
    pub fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// How its budget is fetched.
    #[must_use]
    #[inline]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Whose it is.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The zone's name.
    #[must_use]
    pub fn zone(&self) -> &str {
        self.home.zone()
    }

    /// Wishes for more, where it is time to.
    #[inline]
    pub fn ask(self: &Arc<Self>, books: &mut Books, now_ms: u64) {
        if books.lease.asks(&self.terms, now_ms) && !self.home.wishes.push(self.clone()) {
            books.lease.unask();
        }
    }

    /// What to ask for it now; none if there is nothing to say.
    #[must_use]
    pub fn question(&self) -> Option<Question> {
        let mut books = self.lock();
        if books.closed { books.lease.last_question() } else { Some(books.lease.question(&self.terms)) }
    }

    /// Takes the answer, or that there is none. Whether there is one more question: nobody holds it any more.
    #[must_use]
    pub fn answered(&self, told: Option<Told>, now_ms: u64) -> bool {
        let mut books = self.lock();
        match told {
            Some(told) => books.lease.answered(&self.terms, told, now_ms),
            None => books.lease.unanswered(now_ms),
        }
        let closed = books.closed;
        let left = books.lease.left().filter(|_| closed);
        drop(books);
        self.home.leave(self.key, left);
        // What could not be told to Redis is told no more by an account that has no session.
        closed && told.is_some()
    }
}

impl LeaseHold {
    /// The account.
    #[must_use]
    #[inline]
    pub fn account(&self) -> &Arc<Leased> {
        &self.0
    }
}

impl Drop for LeaseHold {
    fn drop(&mut self) {
        self.0.home.release(&self.0);
    }
}
