//! `/status`: how the gateway is, in one look, as JSON. What stands in it is described in `docs/operations.md`.

use serde::Serialize;

use crate::gateway::Phase;
use crate::metrics::{CapFill, ZoneFill};

/// The page. To add to it: a field here, its value in `gateway/status.rs`, and its row in the docs.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct Status {
    pub version: &'static str,
    pub uptime_seconds: u64,
    pub phase: Phase,
    pub sessions: u64,
    pub handshakes_in_flight: u64,
    pub caps: Vec<CapFill>,
    pub zones: Vec<ZoneFill>,
}
