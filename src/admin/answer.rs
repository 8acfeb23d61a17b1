//! One request to the operator's listener, and its answer. No socket here.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::AdminState;
use crate::session::live::Query;

const TEXT: &str = "text/plain; charset=utf-8";

const INDEX: &str = "\
wsgate

/metrics      what is counted, for Prometheus
/healthz      200 while the process lives
/readyz       200 while new sessions are taken, 503 and why while not
/connections  live sessions as JSON, the oldest first; ?limit=N (1000, at most 100000), ?route=NAME, ?subject=SUB
";

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 100_000;

/// The answer; of a HEAD request too, whose body hyper leaves out.
pub(super) fn answer<B>(state: &AdminState, peer: IpAddr, request: &Request<B>) -> Response<Full<Bytes>> {
    if let Err(why) = no_browser_sent_it(peer, request.headers()) {
        return page(StatusCode::FORBIDDEN, TEXT, why);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are answered here\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/" => page(StatusCode::OK, TEXT, INDEX),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let rendered = state.books.metrics.render(accept);
            page(StatusCode::OK, rendered.content_type, rendered.body)
        }
        "/healthz" => page(StatusCode::OK, TEXT, "ok"),
        "/readyz" => match (state.ready)() {
            Ok(()) => page(StatusCode::OK, TEXT, "ready"),
            Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
        },
        "/connections" => connections(state, request.uri().query().unwrap_or_default()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "there is no such page: / lists them\n"),
    }
}

fn connections(state: &AdminState, query: &str) -> Response<Full<Bytes>> {
    let query = match parse(query) {
        Ok(query) => query,
        Err(wrong) => return page(StatusCode::BAD_REQUEST, TEXT, wrong),
    };
    let snapshot = state.books.sessions.snapshot(&query, state.books.clock.now());
    match serde_json::to_vec(&snapshot) {
        Ok(json) => page(StatusCode::OK, "application/json", json),
        // Numbers and texts always have a JSON form; if not, it is said rather than hidden.
        Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
    }
}

fn parse(query: &str) -> Result<Query, String> {
    let mut parsed = Query { limit: DEFAULT_LIMIT, route: None, subject: None };
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
                parsed.limit = limit.ok_or(format!("limit is a whole number from 1 to {MAX_LIMIT}\n"))?;
            }
            "route" => parsed.route = Some(value.into_owned()),
            "subject" => parsed.subject = Some(value.into_owned()),
            _ => return Err("there is no such parameter: limit, route and subject are known\n".to_owned()),
        }
    }
    Ok(parsed)
}

/// Whether no page in a browser made this request, which would read subjects and addresses over its user's shoulder.
///
/// A page of another site may send requests to a loopback address, and may read the answers too once its own name
/// resolves to that address (DNS rebinding). Its `Host` then is that name, and so a request from this machine must
/// name an address or `localhost`. Requests from elsewhere may use any name: scrapers do, and loopback isn't what they
/// reach.
fn no_browser_sent_it(peer: IpAddr, headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(ORIGIN) {
        return Err("no web page is answered here: the request has an Origin\n");
    }
    if peer.to_canonical().is_loopback() && !headers.get_all(HOST).iter().all(names_this_machine) {
        return Err("name this listener by its address or as localhost: the Host is another name\n");
    }
    Ok(())
}

fn names_this_machine(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
