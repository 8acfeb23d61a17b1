//! The books of a gateway: its clock, its counters, its log, its list of live sessions. Every handshake and every session
//! is entered here once.

pub mod recent;

use std::sync::Arc;

use crate::access_log::{AccessLog, Refused};
use crate::id::Ids;
use crate::metrics::Metrics;
use crate::now::Clock;
use crate::policy::limit::Exceeded;
use crate::session::buffered::Buffered;
use crate::session::live::Registry;
use crate::spans::Spans;
use recent::Recent;

/// One gateway's books, shared by its threads.
pub struct Books {
    /// What time it is.
    pub clock: Clock,
    /// What Prometheus scrapes.
    pub metrics: Metrics,
    /// One line for each refusal and each end.
    pub log: AccessLog,
    /// The names of connections.
    pub ids: Ids,
    /// Who is connected.
    pub sessions: Registry,
    /// Where the spans of those that are recorded go.
    pub spans: Spans,
    /// What their receivers did not take yet.
    pub buffered: Arc<Buffered>,
    /// Who was refused last.
    pub recent: Recent,
}

impl Books {
    /// Writes down a refused handshake, for the log and for who looks at the page.
    pub fn refused(&self, refused: &Refused<'_>) {
        self.recent.note(refused);
        self.log.refused(refused);
    }

    /// Counts what exceeded a limit, and says of those in dry run, at most once a second each, what they would have done.
    pub fn exceeded(&self, all: &[Exceeded]) {
        for exceeded in all {
            self.exceeded_by(*exceeded, 1);
        }
    }

    /// The same of `count` things that exceeded one limit.
    pub fn exceeded_by(&self, exceeded: Exceeded, count: u64) {
        let Some(counted) = self.metrics.exceeded(exceeded, count) else { return };
        let limit = &counted.info;
        if limit.dry_run && counted.pace.may_be_said(self.clock.mono()) {
            let (route, zone, action) = (&*limit.route, &*limit.zone, exceeded.action.label());
            tracing::info!(route, limit = limit.what.label(), zone, action, "a limit in dry run would have acted");
        }
    }
}
