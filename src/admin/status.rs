//! `/status`: how the gateway is, in one look, as JSON. What stands in it is described in `docs/operations.md`.

mod traffic;

use serde::Serialize;

use crate::books::recent::Refusal;
use crate::gateway::Phase;
use crate::metrics::{CapFill, ZoneFill};
use crate::policy::overload::Pace;
use crate::pool::drain::UpstreamStatus;
use crate::store::State;

pub use traffic::{EndedStatus, HistoryStatus, RefusedOnRoute, RefusedStatus, RouteStatus};

/// The page. To add to it: a field here, its value in `gateway/status.rs`, and its row in the docs.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct Status {
    pub version: &'static str,
    pub uptime_seconds: u64,
    pub phase: Phase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_ready: Option<Vec<String>>,
    pub sessions: u64,
    pub handshakes_in_flight: u64,
    pub history: HistoryStatus,
    pub refused: Vec<RefusedStatus>,
    pub refusals: Vec<Refusal>,
    pub refusals_left_out: u64,
    pub ended: Vec<EndedStatus>,
    pub routes: Vec<RouteStatus>,
    pub caps: Vec<CapFill>,
    pub zones: Vec<ZoneFill>,
    pub workers: Vec<WorkerStatus>,
    pub buffered: BufferedStatus,
    pub upstreams: Vec<UpstreamStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisStatus>,
    pub config: ConfigStatus,
}

/// How far a gateway is that leaves.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct DrainStatus {
    pub left: u64,
    pub deadline_seconds: u64,
}

/// One worker.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct WorkerStatus {
    pub lag_ms: u64,
    pub pace: Pace,
}

/// Which config is obeyed, and how the last reload went.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct ConfigStatus {
    pub hash: String,
    pub taken_at: f64,
    pub last_reload_successful: bool,
    pub error: Option<String>,
}

/// What sessions keep for receivers that are slow.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct BufferedStatus {
    pub bytes: u64,
    pub limit: u64,
}

/// The store that several gateways share.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct RedisStatus {
    pub breaker: State,
}
