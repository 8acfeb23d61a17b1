//! The only place that reads a clock.
//!
//! Decisions take [`Now`] as an argument: it is read once a handshake and once a socket read. A test moves its gateway's
//! clock ahead instead of waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back; its zero is the start of the process. Rates, idle times, deadlines.
    pub mono: u64,
    /// Milliseconds since 1970-01-01 UTC. Only for what the world dates: `exp`, `nbf`, log lines.
    pub wall: u64,
}

/// Where [`Now`] comes from. Clones share what [`Clock::advance`] added.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads a clock")]
    pub fn system() -> Self {
        Self { start: Instant::now(), ahead: Arc::new(AtomicU64::new(0)) }
    }

    /// Both clocks, now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads a clock")]
    pub fn now(&self) -> Now {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: millis(self.start.elapsed()) + ahead, wall: millis(wall) + ahead }
    }

    /// Milliseconds of [`Now::mono`] alone, for the hot path: half the cost of [`Clock::now`].
    #[must_use]
    pub fn mono(&self) -> u64 {
        millis(self.start.elapsed()) + self.ahead.load(Ordering::Relaxed)
    }

    /// When a timer has to ring for the moment `mono` on this clock.
    #[must_use]
    pub fn instant(&self, mono: u64) -> Instant {
        let from_start = Duration::from_millis(mono.saturating_sub(self.ahead.load(Ordering::Relaxed)));
        self.start.checked_add(from_start).unwrap_or(self.start)
    }

    /// Moves both clocks ahead, for every holder of this clock. For tests; running timers do not notice by themselves.
    pub fn advance(&self, by: Duration) {
        self.ahead.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// Whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
