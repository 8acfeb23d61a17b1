//! What `/status` shows of traffic: the last minutes, and who was refused or ended, and why.

use serde::Serialize;

/// Samples of the counters, column by column, the oldest first.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct HistoryStatus {
    pub span_seconds: u64,
    pub time_ms: Vec<u64>,
    pub sessions: Vec<u64>,
    pub messages_to_upstream: Vec<u64>,
    pub messages_to_client: Vec<u64>,
    pub bytes_to_upstream: Vec<u64>,
    pub bytes_to_client: Vec<u64>,
    pub admitted: Vec<u64>,
    pub refused: Vec<u64>,
}

/// The refusals of one reason.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct RefusedStatus {
    pub reason: &'static str,
    pub fault: String,
    pub meaning: &'static str,
    pub count: u64,
    pub recent: u64,
    pub routes: Vec<RefusedOnRoute>,
}

/// Those of one route.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct RefusedOnRoute {
    pub route: String,
    pub count: u64,
}

/// Sessions that ended for one reason.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct EndedStatus {
    pub reason: &'static str,
    pub side: &'static str,
    pub count: u64,
}

/// One route.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct RouteStatus {
    pub route: String,
    pub sessions: u64,
}
