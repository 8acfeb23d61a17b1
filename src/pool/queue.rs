//! Those who wait while every server has its `max_connections`: first come, first served, so many at most, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Pool, Trial};
use crate::policy::key::Key;
use crate::policy::pool::Nobody;

/// How often one who waits has it looked whether a time out is over: nothing else announces that.
const LOOK: Duration = Duration::from_millis(250);

/// One who waits, as the pool keeps it.
pub(super) struct Waiter {
    ticket: u64,
    key: Option<Key>,
    given: oneshot::Sender<Result<Trial, Nobody>>,
}

/// One who waits. Its drop gives its place in the queue back, and what it was given meanwhile.
pub struct Waiting {
    pool: Arc<Pool>,
    ticket: u64,
    given: oneshot::Receiver<Result<Trial, Nobody>>,
}

/// What becomes of who asks for a server and may wait for it.
pub enum Turn {
    /// Here it is.
    Now(Trial),
    /// It has to wait.
    Later(Waiting),
    /// So many wait already.
    QueueFull,
    /// There is none to wait for.
    Nobody,
}

impl Pool {
    /// A server, or a place in the queue.
    pub fn take_or_wait(self: &Arc<Self>, key: Option<Key>) -> Turn {
        let mut inner = self.inner.lock();
        if inner.waiting.is_empty() {
            match self.pick(&mut inner, key, &[]) {
                Ok(trial) => return Turn::Now(trial),
                Err(Nobody::Left) => return Turn::Nobody,
                Err(Nobody::Full) => {}
            }
        }
        if inner.waiting.len() >= inner.upstream.queue {
            return Turn::QueueFull;
        }
        let (to, given) = oneshot::channel();
        inner.tickets += 1;
        let ticket = inner.tickets;
        inner.waiting.push_back(Waiter { ticket, key, given: to });
        Turn::Later(Waiting { pool: self.clone(), ticket, given })
    }

    /// Gives what has become free to those who wait; and tells them where there is nothing left to wait for.
    pub(super) fn serve(&self) {
        let mut served = Vec::new();
        {
            let mut inner = self.inner.lock();
            while let Some(first) = inner.waiting.pop_front() {
                match self.pick(&mut inner, first.key, &[]) {
                    Err(Nobody::Full) => {
                        inner.waiting.push_front(first);
                        break;
                    }
                    given => served.push((first.given, given)),
                }
            }
        }
        // Not under the lock: what nobody takes any more goes back through it.
        for (to, given) in served {
            let _ = to.send(given);
        }
    }

    fn is_first(&self, ticket: u64) -> bool {
        self.inner.lock().waiting.front().is_some_and(|first| first.ticket == ticket)
    }

    fn leave_queue(&self, ticket: u64) {
        let mut inner = self.inner.lock();
        // They stand in the order of their tickets.
        if let Ok(at) = inner.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) {
            inner.waiting.remove(at);
        }
    }
}

impl Waiting {
    /// The server, once it is its turn.
    ///
    /// # Errors
    /// Why there is none: all are full still after so many milliseconds, or none is left to wait for.
    pub async fn turn(mut self, patience: u64) -> Result<Trial, Nobody> {
        let until = self.pool.clock.mono().saturating_add(patience);
        loop {
            let left = Duration::from_millis(until.saturating_sub(self.pool.clock.mono()));
            match timeout(left.min(LOOK), &mut self.given).await {
                Ok(given) => return given.unwrap_or(Err(Nobody::Left)),
                Err(_) if left <= LOOK => {
                    self.pool.leave_queue(self.ticket);
                    // What was given in this very moment is taken.
                    return self.given.try_recv().unwrap_or(Err(Nobody::Full));
                }
                // One for all: what the first can't have, nobody can.
                Err(_) if self.pool.is_first(self.ticket) => self.pool.serve(),
                Err(_) => {}
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.leave_queue(self.ticket);
    }
}
