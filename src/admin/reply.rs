//! The form of every answer: its type, and that nobody keeps it or guesses at it.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// An answer with this body.
pub(super) fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
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
