//! The accounts that want more of their budgets, until somebody asks for them.
//!
//! Sessions put them in, one task takes them out. There is one place for each account at a time, and a fixed number of
//! places, made at the start: to wish allocates nothing. Where none is free the next hit wishes again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::table::Leased;

/// Places. A task that keeps up has a handful waiting; these are some milliseconds of one that does not.
const PLACES: usize = 4096;

/// A queue of accounts.
#[derive(Debug)]
pub struct Wishes(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    queue: VecDeque<Arc<Leased>>,
    /// Who takes them out, while there are none.
    waits: Option<Waker>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self(Mutex::new(Inner { queue: VecDeque::with_capacity(PLACES), waits: None }))
    }
}

impl Wishes {
    /// Puts one in. Whether there was room.
    #[must_use]
    pub fn push(&self, account: Arc<Leased>) -> bool {
        let mut inner = self.0.lock();
        if inner.queue.len() >= PLACES {
            return false;
        }
        inner.queue.push_back(account);
        let waits = inner.waits.take();
        drop(inner);
        if let Some(waker) = waits {
            waker.wake();
        }
        true
    }

    /// Takes the oldest out. One task does: the last that found none is woken.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Arc<Leased>> {
        let mut inner = self.0.lock();
        if let Some(account) = inner.queue.pop_front() {
            return Poll::Ready(account);
        }
        inner.waits = Some(cx.waker().clone());
        Poll::Pending
    }
}
