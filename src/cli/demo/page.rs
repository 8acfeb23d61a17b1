//! The page from which a person tries the gateway, and what its script asks for. No socket here.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::setup::{LONG, Places, SHORT, Signer};
use crate::deny::Deny;
use crate::gateway::{Phase, Shared};
use crate::metrics::totals::Totals;
use crate::session::live::Query;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// Live sessions that the page lists; it counts them all.
const SHOWN: usize = 12;

/// Whose tokens the page gets.
const SUBJECT: &str = "browser";

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers the page's requests.
pub(super) struct Page {
    places: Places,
    signer: Signer,
    shared: Arc<Shared>,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new(places: Places, signer: Signer, shared: Arc<Shared>) -> Self {
        Self { policy: content_policy(&places), places, signer, shared }
    }

    /// How far the gateway is.
    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.shared.phase.subscribe()
    }

    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = self.choose(request);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        response
    }

    fn choose<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !is_asked_by_name(request.headers(), self.places.page.port()) {
            return body(
                StatusCode::MISDIRECTED_REQUEST,
                TEXT,
                "this is 127.0.0.1 or localhost, and the Host says else\n",
            );
        }
        if *request.method() != Method::GET {
            let mut refused = body(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET is answered here\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        match request.uri().path() {
            "/" => body(StatusCode::OK, HTML, include_str!("page.html")),
            "/page.css" => body(StatusCode::OK, CSS, include_str!("page.css")),
            "/page.js" => body(StatusCode::OK, SCRIPT, include_str!("page.js")),
            "/icon.svg" => body(StatusCode::OK, SVG, include_str!("icon.svg")),
            "/setup" => body(StatusCode::OK, JSON, self.places.json().to_string()),
            "/status" => body(StatusCode::OK, JSON, self.status().to_string()),
            "/token/long" => self.token(LONG),
            "/token/short" => self.token(SHORT),
            _ => body(StatusCode::NOT_FOUND, TEXT, "there is no such page\n"),
        }
    }

    fn token(&self, seconds: u64) -> Response<Full<Bytes>> {
        match self.signer.token(SUBJECT, seconds) {
            Ok(token) => body(StatusCode::OK, TEXT, token),
            Err(error) => body(StatusCode::INTERNAL_SERVER_ERROR, TEXT, error),
        }
    }

    fn status(&self) -> Value {
        let books = &self.shared.books;
        let live = books.sessions.snapshot(&Query::first(SHOWN), books.clock.now());
        let connections = live.connections().collect::<Vec<_>>();
        status(&books.metrics.totals(), &json!(connections), self.shared.is_draining())
    }
}

fn status(totals: &Totals, connections: &Value, draining: bool) -> Value {
    let refused = |(deny, count): &(Deny, u64)| json!({ "reason": deny.label(), "count": count });
    let ended = totals.ended.iter().map(|(side, reason, count)| {
        json!({ "side": side.label(), "reason": reason.map_or("closed", Deny::label), "count": count })
    });
    json!({
        "draining": draining,
        "sessions": totals.sessions,
        "admitted": totals.admitted,
        "messages_to_upstream": totals.messages[0],
        "messages_to_client": totals.messages[1],
        "delayed": totals.delayed,
        "dropped": totals.dropped,
        "refused": totals.refused.iter().map(refused).collect::<Vec<_>>(),
        "ended": ended.collect::<Vec<_>>(),
        "connections": connections,
    })
}

/// The page's own files, and the gateway's two listeners: nothing else is loaded or connected to.
fn content_policy(places: &Places) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self' ws://{} wss://{}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        places.plain, places.tls
    );
    // Of words and addresses alone, so it is always a header's value; without it, nothing at all would be allowed.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A page elsewhere whose own name was made to point here (DNS rebinding) has that name as its `Host`, and would read
/// tokens.
fn is_asked_by_name(headers: &HeaderMap, port: u16) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let names = [format!("127.0.0.1:{port}"), format!("localhost:{port}")];
    let known = hosts.next().is_some_and(|host| names.iter().any(|name| host.as_bytes() == name.as_bytes()));
    known && hosts.next().is_none()
}

fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::loopback;
    use crate::deny::Side;

    fn headers(hosts: &[&'static str]) -> HeaderMap {
        hosts.iter().map(|host| (HOST, HeaderValue::from_static(host))).collect()
    }

    #[test]
    fn only_this_machines_names_with_the_right_port_are_answered() {
        assert!(is_asked_by_name(&headers(&["127.0.0.1:8000"]), 8000));
        assert!(is_asked_by_name(&headers(&["localhost:8000"]), 8000));
        for wrong in [&["rebound.example:8000"][..], &["localhost"], &["localhost:8001"], &[], &["localhost:8000", "a"]]
        {
            assert!(!is_asked_by_name(&headers(wrong), 8000), "{wrong:?}");
        }
    }

    #[test]
    fn the_page_may_connect_to_the_gateway_and_load_nothing_from_elsewhere() {
        let places = Places { plain: loopback(1), tls: loopback(2), admin: None, page: loopback(3) };
        let policy = content_policy(&places);
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(policy.contains("connect-src 'self' ws://127.0.0.1:1 wss://127.0.0.1:2;"), "{policy}");
        for file in [include_str!("page.html"), include_str!("page.css"), include_str!("page.js")] {
            assert!(!file.contains("http://") && !file.contains("https://"), "something from elsewhere");
        }
    }

    #[test]
    fn the_status_names_reasons_by_their_labels() {
        let totals = Totals {
            sessions: 2,
            refused: vec![(Deny::SubjectCap, 1)],
            ended: vec![(Side::Client, None, 3), (Side::Gateway, Some(Deny::TokenExpired), 1)],
            ..Totals::default()
        };
        let status = status(&totals, &json!([]), false);
        assert_eq!(status["refused"], json!([{ "reason": "subject_cap", "count": 1 }]));
        assert_eq!(status["ended"][0], json!({ "side": "client", "reason": "closed", "count": 3 }));
        assert_eq!(status["ended"][1]["reason"], "token_expired");
    }
}
