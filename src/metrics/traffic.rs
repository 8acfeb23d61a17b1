//! What is counted for every message: plain numbers that one thread writes and every thread may read.
//!
//! A worker counts into numbers of its own, so that a message costs neither a locked instruction nor a cache line that
//! another core wants too. A scrape adds the workers up.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deny::Direction;

/// A count with one writer.
///
/// [`Counter::add`] is a load and a store, not a read-modify-write: of two threads that add at once, one is lost. The
/// thread that owns a session owns its counters, and sessions never change their thread.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. From the owning thread only.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count, from any thread.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The traffic of one route on one worker.
///
/// 128 bytes apart from each other: a cache line, and the one that x86 prefetches with it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Traffic {
    messages: [Counter; 2],
    bytes: [Counter; 2],
    delayed: Counter,
    dropped: Counter,
    started: Counter,
    ended: Counter,
}

impl Traffic {
    /// Counts messages that went on, each when its first frame begins.
    pub fn passed(&self, direction: Direction, messages: u64) {
        self.messages[direction.index()].add(messages);
    }

    /// Counts bytes that went on, frame headers included.
    pub fn carried(&self, direction: Direction, bytes: u64) {
        self.bytes[direction.index()].add(bytes);
    }

    /// Counts messages of a client that had to wait for their turn.
    pub fn delayed(&self, messages: u64) {
        self.delayed.add(messages);
    }

    /// Counts messages of a client that were dropped.
    pub fn dropped(&self, messages: u64) {
        self.dropped.add(messages);
    }

    /// Counts one session as active, until what is returned drops.
    pub fn enter(self: &Arc<Self>) -> Active {
        self.started.add(1);
        Active { traffic: self.clone(), stays: PhantomData }
    }

    pub(super) fn messages_of(&self, direction: Direction) -> u64 {
        self.messages[direction.index()].get()
    }

    pub(super) fn bytes_of(&self, direction: Direction) -> u64 {
        self.bytes[direction.index()].get()
    }

    pub(super) fn delayed_count(&self) -> u64 {
        self.delayed.get()
    }

    pub(super) fn dropped_count(&self) -> u64 {
        self.dropped.get()
    }

    pub(super) fn active(&self) -> u64 {
        // `ended` first: a session that starts and ends between the two loads must not count as minus one.
        let ended = self.ended.get();
        self.started.get().saturating_sub(ended)
    }
}

/// One active session, for as long as this lives: a reset, a timeout and a panic give it back alike.
///
/// It can't be sent to another thread, since [`Traffic`] is written by the thread that owns it alone.
#[derive(Debug)]
#[must_use]
pub struct Active {
    traffic: Arc<Traffic>,
    stays: PhantomData<*const ()>,
}

impl Deref for Active {
    type Target = Traffic;

    fn deref(&self) -> &Traffic {
        &self.traffic
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.traffic.ended.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_active_until_its_guard_drops_also_by_a_panic() {
        let traffic = Arc::new(Traffic::default());
        let first = traffic.enter();
        assert_eq!(traffic.active(), 1);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let second = traffic.enter();
            assert_eq!(traffic.active(), 2);
            second.passed(Direction::ToClient, 1);
            panic!("a session fails");
        }));
        assert!(panicked.is_err());
        assert_eq!(traffic.active(), 1);
        drop(first);
        assert_eq!((traffic.active(), traffic.messages_of(Direction::ToClient)), (0, 1));
    }

    #[test]
    fn two_workers_share_no_cache_line() {
        assert_eq!((size_of::<Traffic>(), align_of::<Traffic>()), (128, 128));
    }

    #[test]
    fn directions_are_counted_apart() {
        let traffic = Traffic::default();
        traffic.passed(Direction::ToUpstream, 3);
        traffic.carried(Direction::ToClient, 5);
        assert_eq!(Direction::ALL.map(|d| traffic.messages_of(d)), [3, 0]);
        assert_eq!(Direction::ALL.map(|d| traffic.bytes_of(d)), [0, 5]);
    }
}
