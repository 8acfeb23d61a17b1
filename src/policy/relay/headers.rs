//! The headers of an ordinary request and of its answer, as they travel on.

use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;

use crate::policy::forward::{self, Caller};
use crate::policy::route::Route;

/// What says how a body ends: the gateway's own HTTP says that anew.
const FRAMING: [HeaderName; 2] = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

/// The headers and the target of what goes to the upstream. `Expect` is answered here (RFC 9110 s10.1.1), and what would ask
/// for another protocol stays here too.
#[must_use]
pub fn request(route: &Route, parts: &Parts, caller: &Caller<'_>) -> (HeaderMap, String) {
    let path_and_query = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let (mut headers, target) = forward::carried(route, &parts.headers, path_and_query, caller);
    for name in [header::EXPECT, HeaderName::from_static("http2-settings")] {
        headers.remove(name);
    }
    (headers, target)
}

/// The headers of the answer to the client. A length that the upstream announced is kept: with an answer to `HEAD`, or a 304,
/// it is of a body that does not come.
#[must_use]
pub fn answer(route: &Route, parts: &Parts, upstream: &HeaderMap) -> HeaderMap {
    let length = upstream.get(header::CONTENT_LENGTH).filter(|_| !upstream.contains_key(header::TRANSFER_ENCODING));
    let length = length.cloned();
    let mut headers = upstream.clone();
    forward::remove_hop_by_hop(&mut headers);
    for name in FRAMING {
        headers.remove(name);
    }
    headers.extend(length.map(|length| (header::CONTENT_LENGTH, length)));
    if let Some(cors) = route.relay.as_ref().and_then(|relay| relay.cors.as_ref()) {
        cors.answer(route, &parts.headers, &mut headers);
    }
    headers
}

/// Whether an answer is a stream of events, which has no end of its own (HTML s9.2).
#[must_use]
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"text/event-stream")
}
