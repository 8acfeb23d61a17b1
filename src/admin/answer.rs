//! One request to the operator's listener, and its answer: who may ask, and which page it is. No socket here.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Body;
use serde_json::json;

use super::reply::{self, TEXT, not_allowed, refuse};
use super::{AdminState, connections, drain, page, revocations, upstreams};
use crate::reload::Outcome;

const INDEX: &str = "\
wsgate

/             this list; for a browser, the operator's page
/metrics      what is counted, for Prometheus
/healthz      200 while the process lives
/readyz       200 while new sessions are taken, 503 and why while not
/status       how the gateway is, as JSON: traffic, refusals, caps, zones

/reload       POST: reads the config again and obeys it, or says what is wrong with it

/connections  GET: live sessions as JSON, the oldest first; ?limit=N (1000, at most 100000), ?offset=N, ?route=NAME,
              ?subject=SUB, ?client=ADDRESS or NETWORK, ?search=TEXT, ?sort=FIELD, ?order=asc or desc
              DELETE: closes those of ?subject=SUB and ?route=NAME, or ?all=true; with ?code=N (1008), ?reason=TEXT (kicked)
/connections/ID
              DELETE: closes this one; code and reason likewise

/revocations  GET: tokens that were revoked, as JSON, the oldest first; ?limit=N
              POST: revokes, with a body as {\"jti\": \"..\"}, {\"subject\": \"..\"}, {\"subject\": \"..\", \"issued_before\": 1764000000}
              or {\"claim\": \"sid\", \"value\": \"..\"}; and \"expires_in\": \"2h\" or \"expires\", \"jwt\": NAME, \"note\": TEXT
/revocations/ID
              DELETE: lifts it

/upstreams    GET: the servers of every upstream as JSON
/upstreams/NAME/SERVER/drain
              POST: takes a server out: nothing new goes there, its sessions are closed with 1012;
              ?window=30s: over this time instead of drain_timeout
/upstreams/NAME/SERVER/undrain
              POST: lets it in again

/drain        POST: as SIGTERM does, lets nobody new in, closes the sessions one after the other, and ends;
              ?window=30s: over this time instead of drain_timeout
";

/// The answer; of a HEAD request too, whose body hyper leaves out.
pub(super) async fn answer<B>(state: Arc<AdminState>, peer: SocketAddr, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
{
    let (method, path) = (request.method(), request.uri().path());
    if let Err((status, why)) = (state.guard)().check(peer.ip(), path, request.headers()) {
        tracing::warn!(%peer, %method, path, status = status.as_u16(), "a request to the admin listener was refused");
        return refuse(status, why);
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let query = request.uri().query().unwrap_or_default();
    match (path, path.strip_prefix("/connections/"), path.strip_prefix("/revocations/")) {
        ("/connections", ..) if reads => connections::list(&state, query),
        ("/connections", ..) if method == Method::DELETE => connections::close_all(&state, peer, query),
        ("/connections", ..) => not_allowed("GET, HEAD, DELETE"),
        ("/reload", ..) if method == Method::POST => reload(&state).await,
        ("/reload", ..) => not_allowed("POST"),
        ("/revocations", ..) if reads => revocations::list(&state, query),
        ("/revocations", ..) if method == Method::POST => revocations::post(state, peer, request).await,
        ("/revocations", ..) => not_allowed("GET, HEAD, POST"),
        (_, Some(id), _) if method == Method::DELETE => connections::close_one(&state, peer, id, query),
        (_, _, Some(id)) if method == Method::DELETE => revocations::lift(state.clone(), peer, id.to_owned()).await,
        (_, Some(_), _) | (_, _, Some(_)) => not_allowed("DELETE"),
        ("/drain", ..) if method == Method::POST => drain::post(&state, peer, query),
        ("/drain", ..) => not_allowed("POST"),
        _ => match path.strip_prefix("/upstreams") {
            Some("") if reads => upstreams::list(&state),
            Some("") => not_allowed("GET, HEAD"),
            Some(rest) => upstream(&state, peer, rest, query, method == Method::POST),
            None => read(&state, path, &request, reads),
        },
    }
}

/// What is asked of one server of an upstream.
fn upstream(state: &AdminState, peer: SocketAddr, rest: &str, query: &str, posts: bool) -> Response<Full<Bytes>> {
    match rest.strip_prefix('/').and_then(upstreams::parse) {
        Some(asked) if posts => upstreams::act(state, peer, asked, query),
        Some(_) => not_allowed("POST"),
        None => refuse(StatusCode::NOT_FOUND, "there is no such page: / lists them"),
    }
}

/// Has the config read again: what became of it.
async fn reload(state: &AdminState) -> Response<Full<Bytes>> {
    match (state.reload)().await {
        Outcome::Taken { hash, warnings } => {
            let mut taken = json!({ "result": "ok", "hash": hash });
            if !warnings.is_empty() {
                taken["warnings"] = warnings.into();
            }
            reply::json(StatusCode::OK, &taken)
        }
        Outcome::Refused(report) => {
            reply::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "result": "failed", "error": report }))
        }
        Outcome::NotNow(why) => {
            reply::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "result": "not_now", "error": why }))
        }
    }
}

/// The pages that can only be read.
fn read<B>(state: &AdminState, path: &str, request: &Request<B>, reads: bool) -> Response<Full<Bytes>> {
    match path {
        "/" | "/metrics" | "/healthz" | "/readyz" | "/status" if !reads => not_allowed("GET, HEAD"),
        "/" => page::index(request.headers(), INDEX),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let rendered = state.books.metrics.render(accept);
            reply::page(StatusCode::OK, rendered.content_type, rendered.body)
        }
        "/healthz" => reply::page(StatusCode::OK, TEXT, "ok"),
        "/readyz" => match (state.ready)() {
            Ok(()) => reply::page(StatusCode::OK, TEXT, "ready"),
            Err(why) => reply::page(StatusCode::SERVICE_UNAVAILABLE, TEXT, why),
        },
        "/status" => reply::json(StatusCode::OK, &(state.status)()),
        _ => {
            let file = path.strip_prefix(page::FOLDER).filter(|_| reads).and_then(page::file);
            file.unwrap_or_else(|| refuse(StatusCode::NOT_FOUND, "there is no such page: / lists them"))
        }
    }
}
