//! What an operator reads of the list that is shared: each change of its state once, never once a record.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

#[derive(Debug, Default)]
pub(super) struct Teller {
    /// Whether it is in step, once anything was said.
    said: Mutex<Option<bool>>,
    broken: AtomicBool,
    no_room: AtomicBool,
}

impl Teller {
    pub(super) fn in_step(&self, revocations: usize) {
        match self.said.lock().replace(true) {
            None => tracing::info!(revocations, "the revocations of all gateways are loaded from Redis"),
            Some(false) => tracing::info!(revocations, "the revocations are in step with Redis again"),
            Some(true) => {}
        }
    }

    pub(super) fn behind(&self, revocations: usize) {
        if self.said.lock().replace(false) != Some(false) {
            tracing::warn!(
                revocations,
                "the revocations can't be read from Redis: this gateway goes on with those it has, and does not know what \
                 others revoke"
            );
        }
    }

    /// A whole load begins: what is said once may be said once more.
    pub(super) fn anew(&self, broken: bool) {
        if !broken {
            self.broken.store(false, Ordering::Relaxed);
            self.no_room.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn broken(&self) {
        if !self.broken.swap(true, Ordering::Relaxed) {
            tracing::warn!("something among the revocations in Redis is no revocation: it is skipped");
        }
    }

    pub(super) fn no_room(&self, capacity: usize) {
        if !self.no_room.swap(true, Ordering::Relaxed) {
            tracing::error!(
                entries = capacity,
                "there are more revocations in Redis than twice `entries` of [revocation]: the rest does not count here"
            );
        }
    }
}
