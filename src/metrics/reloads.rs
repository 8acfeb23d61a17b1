//! What is counted of configs that were taken, or not, while the gateway runs; named as Prometheus names its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::counts::Shared;
use crate::now::Now;

/// Reloads, and how the last one went. The start counts as one that went well, and is in no count.
#[derive(Debug)]
pub struct ReloadCounts {
    pub(super) ok: Shared,
    pub(super) failed: Shared,
    successful: AtomicBool,
    /// When a config was last taken, in milliseconds of the wall clock.
    taken_at: AtomicU64,
    /// When one was last refused, likewise.
    refused_at: AtomicU64,
    hash: ArcSwap<String>,
}

impl ReloadCounts {
    /// Of a gateway that starts with the files of this hash.
    #[must_use]
    pub fn new(hash: String, now: Now) -> Self {
        Self {
            ok: Shared::default(),
            failed: Shared::default(),
            successful: AtomicBool::new(true),
            taken_at: AtomicU64::new(now.wall),
            refused_at: AtomicU64::default(),
            hash: ArcSwap::from_pointee(hash),
        }
    }

    /// A config was taken.
    pub fn taken(&self, hash: String, now: Now) {
        self.ok.up();
        self.successful.store(true, Ordering::Relaxed);
        self.taken_at.store(now.wall, Ordering::Relaxed);
        self.hash.store(hash.into());
    }

    /// A config was refused: the one before is obeyed.
    pub fn refused(&self, now: Now) {
        self.failed.up();
        self.refused_at.store(now.wall, Ordering::Relaxed);
        self.successful.store(false, Ordering::Relaxed);
    }

    /// Whether the last one was taken.
    #[must_use]
    pub fn was_successful(&self) -> bool {
        self.successful.load(Ordering::Relaxed)
    }

    /// When a config was last taken, in milliseconds of the wall clock.
    #[must_use]
    pub fn taken_at(&self) -> u64 {
        self.taken_at.load(Ordering::Relaxed)
    }

    /// When the last one was refused, in milliseconds of the wall clock; none if it was taken.
    #[must_use]
    pub fn refused_at(&self) -> Option<u64> {
        (!self.was_successful()).then(|| self.refused_at.load(Ordering::Relaxed))
    }

    /// The hash of the files that are obeyed; empty where there are none.
    #[must_use]
    pub fn hash(&self) -> String {
        (**self.hash.load()).clone()
    }
}

impl Default for ReloadCounts {
    fn default() -> Self {
        Self::new(String::new(), Now { mono: 0, wall: 0 })
    }
}
