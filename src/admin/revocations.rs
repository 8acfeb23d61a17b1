//! `/revocations`: tokens that no longer hold. What is revoked here ends live sessions too, and is on the disk, and known to
//! other gateways that share the list, before it is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use serde::Serialize;
use tokio::time::timeout;

use super::reply::{self, refuse};
use super::{AdminState, query};
use crate::policy::revocation::entry::Entry;
use crate::revoking::{Done, Lifted, Refused};

/// Bytes. One revocation takes two or three thousand at most.
const MAX_BODY: usize = 16 * 1024;

/// For the whole of it.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Said while another process takes over.
const FROZEN: &str = "a new process is taking over, and nothing was changed: ask again in a second";

/// The page for those who look.
pub(super) fn list(state: &AdminState, query: &str) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Page {
        revocations: Vec<Entry>,
        total: usize,
        truncated: bool,
        capacity: usize,
    }
    let mut limit = query::DEFAULT_LIMIT;
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*key, query::limit(&value)) {
            ("limit", Ok(wanted)) => limit = wanted,
            ("limit", Err(wrong)) => return refuse(StatusCode::BAD_REQUEST, &wrong),
            _ => return refuse(StatusCode::BAD_REQUEST, "there is no such parameter: limit is known"),
        }
    }
    let (revocations, total) = state.revoking.list().entries(limit, state.books.clock.now().wall);
    let page =
        Page { truncated: revocations.len() < total, revocations, total, capacity: state.revoking.list().capacity() };
    reply::json(StatusCode::OK, &page)
}

/// Reads a revocation and takes it in.
pub(super) async fn post<B>(state: Arc<AdminState>, peer: SocketAddr, request: Request<B>) -> Response<Full<Bytes>>
where
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static>,
{
    if !is_json(request.headers()) {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a body of JSON is wanted: Content-Type: application/json");
    }
    let body = match timeout(BODY_TIMEOUT, Limited::new(request.into_body(), MAX_BODY).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is longer than 16 KiB");
        }
        Ok(Err(_)) => return refuse(StatusCode::BAD_REQUEST, "the body ended before its end"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took longer than 5 s"),
    };
    to_its_end(async move { revoke(&state, peer, &body).await }).await
}

/// RFC 9110 s8.3: parameters may follow, and upper and lower case mean the same.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = |value: &HeaderValue| {
        let text = value.to_str().unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    };
    headers.get(CONTENT_TYPE).is_some_and(essence)
}

/// Runs what changes something in a task of its own: a client that leaves must not stop it between the list and the disk.
async fn to_its_end(act: impl Future<Output = Response<Full<Bytes>>> + 'static) -> Response<Full<Bytes>> {
    tokio::task::spawn_local(act)
        .await
        .unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "it failed half-way: this is a bug"))
}

async fn revoke(state: &AdminState, peer: SocketAddr, body: &[u8]) -> Response<Full<Bytes>> {
    let list = state.revoking.list();
    let wanted = match list.read(body, state.books.clock.now().wall) {
        Ok(wanted) => wanted,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    let done = match state.revoking.revoke(wanted).await {
        Ok(done) => done,
        Err(Refused::Frozen) => return refuse(StatusCode::SERVICE_UNAVAILABLE, FROZEN),
        Err(Refused::Full) => {
            let message = format!(
                "there are {} revocations already, as many as `entries` of [revocation] allows: nothing was revoked\n\
                 lift some, raise it, or revoke a subject instead of its tokens one by one",
                list.len()
            );
            tracing::error!(%peer, "a revocation was refused: there is no room");
            return refuse(StatusCode::INSUFFICIENT_STORAGE, &message);
        }
    };
    let (id, kind) = (done.entry.id, done.entry.what.label());
    tracing::info!(%peer, %id, kind, sessions = done.sessions, "tokens were revoked");
    if done.published == Some(false) {
        tracing::warn!(%peer, %id, "Redis does not answer: other gateways hear of this revocation when it does");
    }
    taken_in(done)
}

fn taken_in(done: Done) -> Response<Full<Bytes>> {
    #[derive(Serialize)]
    struct Page {
        #[serde(flatten)]
        entry: Entry,
        /// Live sessions that are being ended for it here.
        sessions: usize,
        /// None where no file is configured.
        #[serde(skip_serializing_if = "Option::is_none")]
        saved: Option<bool>,
        /// None where each gateway has a list of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        published: Option<bool>,
    }
    let Done { entry, is_new, sessions, saved, published } = done;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let place = HeaderValue::try_from(format!("/revocations/{}", entry.id));
    let mut answer = reply::json(status, &Page { entry, sessions, saved, published });
    if let Ok(place) = place {
        answer.headers_mut().insert(LOCATION, place);
    }
    answer
}

/// Lifts a revocation: tokens that it alone revoked hold again.
pub(super) async fn lift(state: Arc<AdminState>, peer: SocketAddr, id: String) -> Response<Full<Bytes>> {
    const UNKNOWN: &str = "there is no revocation of this id: /revocations lists them";
    let Ok(id) = id.parse() else { return refuse(StatusCode::NOT_FOUND, UNKNOWN) };
    to_its_end(async move {
        let lifted = state.revoking.lift(id).await;
        if matches!(lifted, Lifted::Done | Lifted::NotSaved) {
            tracing::info!(%peer, %id, "a revocation was lifted");
        }
        match lifted {
            Lifted::Done => {
                let mut done = refuse(StatusCode::NO_CONTENT, "");
                *done.body_mut() = Full::default();
                done.headers_mut().remove(CONTENT_TYPE);
                done
            }
            Lifted::Unknown => refuse(StatusCode::NOT_FOUND, UNKNOWN),
            Lifted::NotSaved => refuse(
                StatusCode::INTERNAL_SERVER_ERROR,
                "it is lifted, but the file can't be written: after a restart it counts again",
            ),
            Lifted::Frozen => refuse(StatusCode::SERVICE_UNAVAILABLE, FROZEN),
            Lifted::NotShared => refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "Redis does not answer, and a revocation is lifted at all gateways or at none: try again",
            ),
        }
    })
    .await
}
