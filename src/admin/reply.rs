//! The form of every answer: its type, and that nobody keeps it or guesses at it.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

/// What every answer tells a browser: keep nothing, guess nothing, load nothing, show it in no frame, and hand it to no
/// page of another site. The operator's page alone may load more.
const ALWAYS: [(HeaderName, &str); 6] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer with this body.
pub(super) fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(ALWAYS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"wsgate admin\""));
    }
    response
}

/// One line that says what was wrong.
pub(super) fn refuse(status: StatusCode, why: &str) -> Response<Full<Bytes>> {
    page(status, TEXT, format!("{why}\n"))
}

/// A method that the page does not have.
pub(super) fn not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("only {allow} are answered here\n"));
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    refused
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(json) => page(status, "application/json", json),
        // Numbers and texts always have a JSON form; if not, it is said rather than hidden.
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}
