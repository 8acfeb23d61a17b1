//! How far a worker is behind with its work: a task on it ticks, and sees how late each tick comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;

use crate::now::{Clock, millis};
use crate::policy::overload::{Pace, Ticks};

/// Between two ticks. Twenty wakes a second are a few hundredths of a percent of a core.
const TICK: Duration = Duration::from_millis(50);

/// One worker's lag, for all threads to see. Milliseconds.
#[derive(Debug, Default)]
pub struct Lag {
    /// Of the last tick.
    last: AtomicU64,
    /// At the least, over the last few.
    steady: AtomicU64,
    /// What is added to each.
    pretended: AtomicU64,
    /// How many there were.
    ticks: AtomicU64,
}

impl Lag {
    /// How late the last tick came.
    #[must_use]
    pub fn last_ms(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// How many ticks there were: a worker that hangs has no more.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// How the worker stands, where `bound_ms` of lag is allowed.
    #[must_use]
    pub fn pace(&self, bound_ms: u64) -> Pace {
        Pace::of(self.steady.load(Ordering::Relaxed), bound_ms)
    }

    /// Has every tick from now on seem so much later. For tests.
    pub fn pretend(&self, late: Duration) {
        self.pretended.store(millis(late), Ordering::Relaxed);
    }

    /// Ticks for ever, on the worker that it measures.
    pub async fn watch(&self, clock: &Clock) {
        let mut ticks = Ticks::default();
        loop {
            let before = clock.micros();
            sleep(TICK).await;
            let took = clock.micros().saturating_sub(before) / 1000;
            let late = took.saturating_sub(millis(TICK)) + self.pretended.load(Ordering::Relaxed);
            self.last.store(late, Ordering::Relaxed);
            self.steady.store(ticks.note(late), Ordering::Relaxed);
            self.ticks.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::overload::IN_A_ROW;

    #[test]
    fn a_worker_that_does_not_come_to_its_tasks_is_seen_to_be_late_and_then_to_have_caught_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (lag, clock) = (Lag::default(), Clock::system());
        let busy = async {
            for _ in 0..IN_A_ROW {
                let before = lag.last_ms();
                assert_eq!(lag.pace(10), Pace::Keeps, "not before {IN_A_ROW} of them");
                // The work itself: whoever waits for this thread waits.
                std::thread::sleep(TICK + Duration::from_millis(30 + before));
                sleep(Duration::from_millis(1)).await;
                assert!(lag.last_ms() >= 30 + before, "{} after {before}", lag.last_ms());
            }
            assert_ne!(lag.pace(10), Pace::Keeps);
            while lag.pace(10) != Pace::Keeps {
                sleep(TICK).await;
            }
        };
        let in_time = async {
            tokio::select! {
                biased;
                () = lag.watch(&clock) => {}
                () = busy => {}
            }
        };
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), in_time).await.unwrap() });
    }

    #[test]
    fn a_clock_that_a_test_moves_is_no_lag() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (lag, clock) = (Lag::default(), Clock::system());
        lag.pretend(Duration::from_millis(1));
        let ahead = async {
            while lag.last_ms() == 0 {
                clock.advance(Duration::from_secs(1_000_000));
                sleep(TICK).await;
            }
            assert!(lag.last_ms() < 1_000_000);
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = lag.watch(&clock) => {}
                () = ahead => {}
            }
        });
    }
}
