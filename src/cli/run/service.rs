//! What a service manager is told, in systemd's words (sd_notify(3)). Where there is none, nothing is said.

use std::env;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::gateway::lag::Lag;
use crate::gateway::{Phase, Shared};
use crate::now::Timestamp;
use crate::reload::Progress;

/// Between two looks where no watchdog wants to hear sooner.
const LOOK: Duration = Duration::from_secs(5);

/// Two ticks of a worker: one that is well has one in between.
const SOONEST: Duration = Duration::from_millis(100);

/// On top of the drain's own deadline, for what is written down at the end.
const GRACE_SECONDS: u64 = 10;

/// What was said so far.
pub(super) struct Service {
    listens: bool,
    watchdog: Option<Duration>,
    /// Ticks of each worker at the last sign of life.
    ticks: Vec<u64>,
    said_stopping: bool,
    /// Reloads that were said to have begun.
    said_reloading: u64,
    /// Those that were said to be over.
    said_reloaded: u64,
}

impl Service {
    pub(super) fn new() -> Self {
        let listens = env::var_os("NOTIFY_SOCKET").is_some();
        let watchdog = sd_notify::watchdog_enabled().filter(|_| listens);
        Self { listens, watchdog, ticks: Vec::new(), said_stopping: false, said_reloading: 0, said_reloaded: 0 }
    }

    /// How long to wait before the next [`Service::look`].
    pub(super) fn interval(&self) -> Duration {
        self.watchdog.map_or(LOOK, |watchdog| (watchdog / 2).clamp(SOONEST, LOOK))
    }

    /// The sockets are open, and the workers accept.
    pub(super) fn ready(&mut self, shared: &Shared) {
        self.ticks = ticks(shared);
        self.say(&[NotifyState::Ready, NotifyState::Status(&running(shared))]);
    }

    /// How it is: to be said now and then, and at each change of the phase.
    pub(super) fn look(&mut self, shared: &Shared) {
        match *shared.phase.borrow() {
            Phase::Running => self.say(&[NotifyState::Status(&running(shared))]),
            // Another process speaks from now on.
            Phase::HandedOver => self.listens = false,
            Phase::Leaving | Phase::Draining | Phase::Stopped => self.stopping(shared),
        }
    }

    /// A reload began or ended. The manager has to hear of both, each time and in this order, and when it began: so it knows
    /// whether what it asked for was still to come. A refused one is over too: the gateway goes on.
    pub(super) fn reloads(&mut self, shared: &Shared, progress: Progress) {
        if *shared.phase.borrow() != Phase::Running {
            return;
        }
        if progress.begun > self.said_reloading {
            self.said_reloading = progress.begun;
            self.reloading(shared.books.clock.micros().saturating_sub(progress.begun_at));
        }
        if progress.ended == progress.begun && progress.ended > self.said_reloaded {
            self.said_reloaded = progress.ended;
            self.say(&[NotifyState::Ready, NotifyState::Status(&running(shared))]);
        }
    }

    /// One that began so many microseconds ago.
    fn reloading(&self, ago: u64) {
        // The manager's clock is the machine's, and ours begins with the process.
        match NotifyState::monotonic_usec_now() {
            Ok(NotifyState::MonotonicUsec(now)) => {
                let began = NotifyState::MonotonicUsec(now.saturating_sub(i128::from(ago)));
                self.say(&[NotifyState::Reloading, began, NotifyState::Status("reloading")]);
            }
            // There is no such clock: it is told without.
            Ok(_) | Err(_) => self.say(&[NotifyState::Reloading, NotifyState::Status("reloading")]),
        }
    }

    /// A sign of life for the watchdog, unless a worker gave none to this one.
    pub(super) fn beat(&mut self, shared: &Shared) {
        if self.watchdog.is_none() || *shared.phase.borrow() == Phase::HandedOver {
            return;
        }
        let ticks = ticks(shared);
        match stuck(&self.ticks, &ticks) {
            None => self.say(&[NotifyState::Watchdog]),
            Some(worker) => tracing::error!(worker, "a worker does not come to its work: no sign of life is given"),
        }
        self.ticks = ticks;
    }

    fn stopping(&mut self, shared: &Shared) {
        let left = shared.books.sessions.len();
        let status = format!("draining: {left} sessions left");
        if self.said_stopping {
            return self.say(&[NotifyState::Status(&status)]);
        }
        self.said_stopping = true;
        // So that a drain may take longer than TimeoutStopSec.
        let deadline = shared.drain.plan().map_or(0, |plan| plan.deadline().saturating_sub(shared.books.clock.mono()));
        let extend = format!("EXTEND_TIMEOUT_USEC={}", (deadline / 1000 + GRACE_SECONDS) * 1_000_000);
        self.say(&[NotifyState::Stopping, NotifyState::Status(&status), NotifyState::Custom(&extend)]);
    }

    fn say(&self, state: &[NotifyState<'_>]) {
        if self.listens {
            say(state);
        }
    }
}

/// Another process is the service's main one from now on.
pub(super) fn main_is(pid: u32) {
    say(&[NotifyState::MainPid(pid)]);
}

/// Nothing is said where nobody listens.
fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager can't be told");
    }
}

fn running(shared: &Shared) -> String {
    let refused = shared.reloads.counts.refused_at().map_or_else(String::new, |at| {
        format!("; the config read at {} was refused, an older one is obeyed", Timestamp(at))
    });
    format!("running: {} sessions, {} workers{refused}", shared.books.sessions.len(), shared.lags.len())
}

fn ticks(shared: &Shared) -> Vec<u64> {
    shared.lags.iter().map(Lag::ticks).collect()
}

/// The worker that has not come to its tick since.
fn stuck(before: &[u64], now: &[u64]) -> Option<usize> {
    before.iter().zip(now).position(|(before, now)| before == now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_that_does_not_tick_is_enough() {
        assert_eq!(stuck(&[], &[1, 2]), None, "the first time");
        assert_eq!(stuck(&[1, 5], &[2, 9]), None);
        assert_eq!(stuck(&[1, 5], &[2, 5]), Some(1));
    }
}
