//! The books of a gateway: its clock, its counters, its log, its list of live sessions. Every handshake and every session
//! is entered here once.

use std::sync::Arc;

use crate::access_log::AccessLog;
use crate::metrics::Metrics;
use crate::now::Clock;
use crate::session::buffered::Buffered;
use crate::session::live::Registry;

/// One gateway's books, shared by its threads.
pub struct Books {
    /// What time it is.
    pub clock: Clock,
    /// What Prometheus scrapes.
    pub metrics: Metrics,
    /// One line for each refusal and each end.
    pub log: AccessLog,
    /// Who is connected.
    pub sessions: Registry,
    /// What their receivers did not take yet.
    pub buffered: Arc<Buffered>,
}
