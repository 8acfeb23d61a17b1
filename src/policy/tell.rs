//! Refusals that a browser can read: which handshakes are completed only to be closed, and how many.
//!
//! A browser's script learns nothing of a refused handshake but 1006; of a Close it reads code and reason. But a handshake
//! that is completed holds its socket until the client's own Close, so telling has a rate of its own, beyond which a refusal
//! is an HTTP answer as on every other route.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{self, HeaderMap, HeaderValue};

use super::forward::name_origin;
use super::key::Key;
use super::route::Route;
use super::token::subprotocol;
use super::zone::{self, Hit, Zone};
use crate::config::DenyBy;
use crate::config::value::Rate;
use crate::deny::Deny;

/// One address: some tabs and phones behind it that reconnect at once, and then more often than a person notices.
const BY_ADDRESS: (u64, u64) = (5, 10);

/// All addresses together. A socket that is told is held for a second at most, so these are 300 places among the handshakes
/// under way, of 1024 by default, however many addresses take part.
const OVER_ALL: (u64, u64) = (100, 200);

/// Only what both rates let in is remembered, each address for the 2.2 s in which its burst drains: 420 at most.
const ADDRESSES: usize = 1024;

/// The rate of refusals that are told by a Close, over the whole gateway.
#[derive(Debug)]
pub struct Telling {
    by_address: Zone,
    over_all: Zone,
}

impl Default for Telling {
    fn default() -> Self {
        let rate = |(per_second, _): (u64, u64)| Rate { units: per_second * Rate::ONE, period_ms: 1000 };
        Self {
            by_address: Zone::new("told by address", rate(BY_ADDRESS), ADDRESSES),
            over_all: Zone::new("told", rate(OVER_ALL), 1),
        }
    }
}

impl Telling {
    /// Whether this client may be told by a Close now. Both rates are charged, or none is.
    #[must_use]
    pub fn admit(&self, client: IpAddr, now_ms: u64) -> bool {
        let hit = |zone, key, (_, burst): (u64, u64)| {
            let burst = burst * Rate::ONE;
            Hit { zone, key, burst, delay: u64::MAX, cost: Rate::ONE, dry_run: false }
        };
        let everybody = Key::of_ip(Ipv4Addr::UNSPECIFIED.into());
        let hits = [hit(&self.by_address, Key::of_ip(client), BY_ADDRESS), hit(&self.over_all, everybody, OVER_ALL)];
        zone::admit(&hits, now_ms).answer.is_ok()
    }
}

/// The code of the Close by which a route tells this refusal; none where it answers in HTTP.
#[must_use]
pub fn code(route: &Route, deny: Deny) -> Option<u16> {
    match route.deny {
        DenyBy::Http => None,
        DenyBy::Close => deny.row().close,
    }
}

/// The headers of the 101 that comes before the Close, but for `Sec-WebSocket-Accept`. No extension is agreed on.
#[must_use]
pub fn answer(route: &Route, client: &HeaderMap, allow_origin: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let from = route.token.as_ref().map_or(&[][..], |rule| &rule.from);
    if let Some(subprotocol) = subprotocol::of_our_own(from, client) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    if let Some(origin) = allow_origin {
        name_origin(&mut headers, origin);
    }
    headers
}

#[cfg(test)]
mod tests;
