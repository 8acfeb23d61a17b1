//! What a route says of ordinary requests, which it passes on beside WebSockets: who may send one, what goes up and what
//! comes back.
//!
//! A request is judged as a handshake is, by the same stages. What differs stands here: a browser sends no Origin with most
//! of them, and they have bodies.

pub mod cors;
pub mod headers;
pub mod patience;
pub mod site;

use std::sync::Arc;

use http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN, UPGRADE};
use http::request::Parts;
use http::{Method, StatusCode};

use super::raw::bad;
use super::request::{Opening, connection_tokens, names_what_the_gateway_vouches_for};
use super::route::{HandshakeLimit, Route};
use super::{Denial, Policy};
use crate::deny::Deny;
use cors::Cors;

/// The terms of a route for ordinary requests.
#[derive(Debug)]
pub struct Relay {
    /// Rates of their own; none where each is charged as a handshake is.
    pub requests: Option<Vec<HandshakeLimit>>,
    /// Bytes of a body.
    pub max_body: u64,
    /// Milliseconds that a body may be waited for, see [`patience`].
    pub body_timeout: u64,
    /// Milliseconds of silence of an upstream that owes an answer.
    pub read_timeout: u64,
    /// What pages of other origins may do; none where that is the upstream's affair.
    pub cors: Option<Cors>,
}

impl Relay {
    /// The rates to which a request on this route is charged.
    #[must_use]
    pub fn rates(route: &Route) -> &[HandshakeLimit] {
        let own = route.relay.as_ref().and_then(|relay| relay.requests.as_deref());
        own.unwrap_or(&route.handshakes)
    }
}

impl Policy {
    /// The route that passes on a request; none if it is no ordinary one. Whatever so much as names a WebSocket is a handshake,
    /// and is judged as one, and so is what has no clear host and path.
    #[must_use]
    pub fn relayed(&self, parts: &Parts) -> Option<(Opening, Arc<Route>)> {
        let opening = Opening::target(&parts.uri, &parts.headers).ok()?;
        let route = self.route(&opening).filter(|route| route.relay.is_some() && !names_websocket(&parts.headers))?;
        Some((opening, route.clone()))
    }
}

fn names_websocket(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(UPGRADE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut names =
        protocols.map(|protocol| protocol.split(|byte| *byte == b'/').next().unwrap_or_default().trim_ascii());
    names.any(|name| name.eq_ignore_ascii_case(b"websocket"))
}

/// Whether the head is one that the upstream will read as it was judged here. `length` is the body's, where the head says it.
///
/// # Errors
/// `bad_handshake` or `body_too_big`.
pub fn check_form(parts: &Parts, relay: &Relay, length: Option<u64>) -> Result<(), Denial> {
    let doubled = [HOST, ORIGIN, AUTHORIZATION].iter().any(|name| parts.headers.get_all(name).iter().nth(1).is_some());
    if doubled {
        return Err(bad("two Host, Origin or Authorization headers"));
    }
    if connection_tokens(&parts.headers).any(names_what_the_gateway_vouches_for) {
        return Err(bad("Connection names a header that is not one connection's own"));
    }
    // RFC 9110 s9.3.8: TRACE sends back what it gets, cookies and tokens too.
    if matches!(parts.method, Method::TRACE | Method::CONNECT) {
        return Err(Denial { status: StatusCode::NOT_IMPLEMENTED.as_u16(), ..bad("a method that is not passed on") });
    }
    match length {
        Some(length) if length > relay.max_body => Err(too_big()),
        _ => Ok(()),
    }
}

/// A body that is larger than the route allows.
#[must_use]
pub fn too_big() -> Denial {
    Denial::new(Deny::BodyTooBig, "over max_body_size")
}

#[cfg(test)]
mod tests;
