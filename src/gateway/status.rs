//! What `/status` shows, gathered.

use super::{Shared, sources};
use crate::admin::Status;

/// How the gateway is now.
pub(super) fn of(shared: &Shared) -> Status {
    let books = &shared.books;
    let started = books.metrics.started();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: books.clock.now().wall.saturating_sub(started) / 1000,
        phase: *shared.phase.borrow(),
        sessions: books.sessions.len() as u64,
        handshakes_in_flight: shared.handshakes_under_way() as u64,
        caps: sources::caps_of(&shared.policy),
        zones: sources::zones_of(&shared.policy),
    }
}
