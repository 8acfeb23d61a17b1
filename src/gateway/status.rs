//! What `/status` shows, gathered.

use super::lag::Lag;
use super::{Shared, sources};
use crate::admin::{BufferedStatus, DrainStatus, RedisStatus, Status, WorkerStatus};

/// How the gateway is now.
pub(super) fn of(shared: &Shared) -> Status {
    let (books, edition) = (&shared.books, shared.edition());
    let started = books.metrics.started();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: books.clock.now().wall.saturating_sub(started) / 1000,
        phase: *shared.phase.borrow(),
        drain: drain(shared),
        sessions: books.sessions.len() as u64,
        handshakes_in_flight: shared.handshakes_under_way() as u64,
        caps: sources::caps_of(&edition.policy),
        zones: sources::zones_of(&edition.policy),
        workers: shared.lags.iter().map(|lag| worker(lag, edition.max_lag)).collect(),
        buffered: BufferedStatus { bytes: books.buffered.bytes(), limit: books.buffered.limit() },
        redis: shared.redis.as_ref().map(|redis| RedisStatus { breaker: redis.state() }),
    }
}

/// How a drain goes; none before it was asked for.
pub(super) fn drain(shared: &Shared) -> Option<DrainStatus> {
    let plan = shared.drain.plan()?;
    let left = shared.books.sessions.len() + shared.handshakes_under_way();
    // Rounded up, so that 0 is the end.
    let deadline_seconds = plan.deadline().saturating_sub(shared.books.clock.mono()).div_ceil(1000);
    Some(DrainStatus { left: left as u64, deadline_seconds })
}

fn worker(lag: &Lag, bound_ms: u64) -> WorkerStatus {
    WorkerStatus { lag_ms: lag.last_ms(), pace: lag.pace(bound_ms) }
}
