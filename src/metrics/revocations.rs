//! What a gateway counts of the list of revocations that it shares with others.

use std::sync::atomic::{AtomicU64, Ordering};

use super::counts::Shared;

/// The counts of one list.
#[derive(Debug, Default)]
pub struct RevocationCounts {
    unpublished: AtomicU64,
    /// In the wall clock's milliseconds; 0 for never.
    loaded: AtomicU64,
    broken: Shared,
}

impl RevocationCounts {
    /// So many were revoked here, and other gateways can't know of them yet.
    pub fn unpublished(&self, count: usize) {
        self.unpublished.store(count as u64, Ordering::Relaxed);
    }

    /// The list was in step with the store at this moment of the wall clock.
    pub fn loaded(&self, wall: u64) {
        self.loaded.store(wall, Ordering::Relaxed);
    }

    /// When it was in step last; 0 for never.
    #[must_use]
    pub fn loaded_at(&self) -> u64 {
        self.loaded.load(Ordering::Relaxed)
    }

    /// Something in the store or its channel was no revocation.
    pub fn broken(&self) {
        self.broken.up();
    }

    /// How often that was so.
    #[must_use]
    pub fn broken_count(&self) -> u64 {
        self.broken.get()
    }

    /// How many are not published.
    #[must_use]
    pub fn unpublished_count(&self) -> u64 {
        self.unpublished.load(Ordering::Relaxed)
    }
}
