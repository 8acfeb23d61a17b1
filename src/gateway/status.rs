//! What `/status` shows, gathered.

use std::sync::Arc;

use super::edition::Edition;
use super::history::History;
use super::lag::Lag;
use super::{Shared, sources};
use crate::admin::{
    BufferedStatus, ConfigStatus, DrainStatus, EndedStatus, RedisStatus, RefusedOnRoute, RefusedStatus, RouteStatus,
    Status, WorkerStatus,
};
use crate::books::Books;
use crate::deny::Deny;

/// How the gateway is now; `ready` says what it lacks, if it does not let everybody in.
pub(super) fn of(shared: &Shared, history: &History, ready: Result<(), String>) -> Status {
    let (books, edition) = (&shared.books, shared.edition());
    let started = books.metrics.started();
    Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: books.clock.now().wall.saturating_sub(started) / 1000,
        phase: *shared.phase.borrow(),
        drain: drain(shared),
        not_ready: ready.err().map(|why| why.lines().map(str::to_owned).collect()),
        sessions: books.sessions.len() as u64,
        handshakes_in_flight: shared.handshakes_under_way() as u64,
        history: history.shown(),
        refused: refused(books, history),
        refusals: books.recent.list(),
        refusals_left_out: books.recent.left_out(),
        ended: ended(books),
        routes: routes(books, &edition),
        caps: sources::caps_of(&edition.policy),
        zones: sources::zones_of(&edition.policy),
        workers: shared.lags.iter().map(|lag| worker(lag, edition.max_lag)).collect(),
        buffered: BufferedStatus { bytes: books.buffered.bytes(), limit: books.buffered.limit() },
        upstreams: shared.pools.all().iter().map(|pool| pool.fill().into()).collect(),
        redis: shared.redis.as_ref().map(|redis| RedisStatus { breaker: redis.state() }),
        config: ConfigStatus {
            hash: shared.reloads.counts.hash(),
            taken_at: shared.reloads.counts.taken_at() as f64 / 1e3,
            last_reload_successful: shared.reloads.counts.was_successful(),
            error: shared.reloads.error(),
        },
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

fn refused(books: &Books, history: &History) -> Vec<RefusedStatus> {
    let by_reason = |(deny, routes): (Deny, Vec<_>)| {
        let on = |(route, count): &(Arc<str>, u64)| RefusedOnRoute { route: route.to_string(), count: *count };
        let routes: Vec<RefusedOnRoute> = routes.iter().map(on).collect();
        let count: u64 = routes.iter().map(|route| route.count).sum();
        let row = deny.row();
        RefusedStatus {
            reason: row.label,
            fault: row.fault.to_string(),
            meaning: row.sentence,
            count,
            recent: count.saturating_sub(history.refused_before(deny)),
            routes,
        }
    };
    books.metrics.refused_by_route().into_iter().map(by_reason).collect()
}

fn ended(books: &Books) -> Vec<EndedStatus> {
    let ended = books.metrics.totals().ended.into_iter();
    ended
        .map(|(side, reason, count)| EndedStatus {
            reason: reason.map_or("closed", Deny::label),
            side: side.label(),
            count,
        })
        .collect()
}

/// Those of this config; of one that a reload took away nobody wants to choose.
fn routes(books: &Books, edition: &Edition) -> Vec<RouteStatus> {
    let all = books.metrics.sessions_by_route().into_iter();
    let known = all.filter(|(name, _)| edition.policy.routes.iter().any(|route| *route.name == **name));
    known.map(|(route, sessions)| RouteStatus { route: route.to_string(), sessions }).collect()
}

fn worker(lag: &Lag, bound_ms: u64) -> WorkerStatus {
    WorkerStatus { lag_ms: lag.last_ms(), pace: lag.pace(bound_ms) }
}
