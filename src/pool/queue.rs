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
    given: oneshot::Sender<Trial>,
}

/// One who waits. Its drop gives its place in the queue back, and what it was given meanwhile.
pub struct Waiting {
    pool: Arc<Pool>,
    ticket: u64,
    given: oneshot::Receiver<Trial>,
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

    /// Gives what has become free to those who wait.
    pub(super) fn serve(&self) {
        let mut served = Vec::new();
        {
            let mut inner = self.inner.lock();
            while let Some(first) = inner.waiting.pop_front() {
                match self.pick(&mut inner, first.key, &[]) {
                    Ok(trial) => served.push((first.given, trial)),
                    Err(_) => {
                        inner.waiting.push_front(first);
                        break;
                    }
                }
            }
        }
        // Not under the lock: what nobody takes any more goes back through it.
        for (to, trial) in served {
            let _ = to.send(trial);
        }
    }
}

impl Waiting {
    /// The server, once it is its turn; none if that is not within so many milliseconds.
    pub async fn turn(mut self, patience: u64) -> Option<Trial> {
        let until = self.pool.clock.mono().saturating_add(patience);
        loop {
            let left = Duration::from_millis(until.saturating_sub(self.pool.clock.mono()));
            match timeout(left.min(LOOK), &mut self.given).await {
                Ok(given) => return given.ok(),
                Err(_) if left <= LOOK => return None,
                Err(_) => self.pool.serve(),
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pool.inner.lock().waiting.retain(|waiter| waiter.ticket != self.ticket);
    }
}
