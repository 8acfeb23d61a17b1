//! The answers to a renewal and to its preflight, which a page of an allowed Origin may read (Fetch s3.3).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::super::{Answer, refusal};
use crate::now::Timestamp;
use crate::policy::Denial;
use crate::policy::forward::name_origin;
use crate::policy::route::Route;

/// Seconds for which a browser need not ask again. Chromium's own bound is two hours.
const MAX_AGE: &str = "600";

const METHODS: &str = "POST, OPTIONS";

/// The request's Origin, if the route's own list has it.
pub(super) fn allowed_origin(route: &Route, headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(header::ORIGIN).filter(|origin| route.names_origin(origin)).cloned()
}

/// Says what a page may send.
pub(super) fn preflight(route: &Route, allowed: Option<&HeaderValue>) -> Answer {
    let mut answer = with(StatusCode::NO_CONTENT, String::new(), allowed);
    let mut set = |name: HeaderName, value: &str| {
        // The names in it parsed as names of headers.
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(name, value);
        }
    };
    set(header::ALLOW, METHODS);
    if allowed.is_some() {
        let names: Vec<&str> = route.renew.iter().flat_map(|renew| renew.headers()).collect();
        set(header::ACCESS_CONTROL_ALLOW_METHODS, "POST");
        set(header::ACCESS_CONTROL_ALLOW_HEADERS, &names.join(", "));
        set(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
    answer
}

/// Says how many sessions live by the new token, and until when the token is good; `null` is without end.
pub(super) fn renewed(sessions: usize, expires: Option<u64>, allowed: Option<&HeaderValue>) -> Answer {
    let text = serde_json::json!({ "renewed": sessions, "expires": expires.map(Timestamp) });
    let mut answer = with(StatusCode::OK, format!("{text}\n"), allowed);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The answer of a refused handshake.
pub(super) fn refused(denial: &Denial, allowed: Option<&HeaderValue>) -> Answer {
    let mut answer = refusal(denial, allowed, true);
    if allowed.is_some() {
        allow_credentials(answer.headers_mut());
    }
    if denial.status == 405 {
        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(METHODS));
    }
    answer
}

fn with(status: StatusCode, body: String, allowed: Option<&HeaderValue>) -> Answer {
    let mut answer = Response::new(Full::from(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    match allowed {
        Some(origin) => {
            name_origin(headers, origin);
            allow_credentials(headers);
        }
        None => {
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
    answer
}

/// So that a page may send its cookies, one of which may be the token.
fn allow_credentials(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
}
