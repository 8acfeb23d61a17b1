//! `/drain`: the operator's way to have the gateway leave without a signal.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;

use super::AdminState;
use super::reply::{self, refuse};
use crate::config::value::TimeText;
use crate::now::millis;

/// A longer one is a mistake.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Begins a drain, and says how it goes; a further request changes nothing and says it again.
pub(super) fn post(state: &AdminState, peer: SocketAddr, query: &str) -> Response<Full<Bytes>> {
    let window = match window(query) {
        Ok(window) => window,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    let status = (state.drain)(window);
    tracing::info!(%peer, window_ms = window.map(millis), "the operator has the gateway leave");
    reply::json(StatusCode::ACCEPTED, &status)
}

/// The time that a query chooses.
pub(super) fn window(query: &str) -> Result<Option<Duration>, String> {
    let mut window = None;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        if key != "window" {
            return Err("there is no such parameter: window is known".to_owned());
        }
        let time = value.parse().ok().map(|TimeText(time)| time).filter(|time| *time <= LONGEST);
        let time = time.ok_or("window is a time, as \"500ms\", \"30s\" or \"5m\", and 7d at the most")?;
        if window.replace(time).is_some() {
            return Err("window is given twice".to_owned());
        }
    }
    Ok(window)
}
