//! A `POST` of a new token to a route's `renew`, and the preflight that a browser sends before it. Answered here; no upstream
//! learns of it.
//!
//! Nothing is decided here that `policy::renew` could decide. Every renewal leaves through [`record::Record`], once.

mod answer;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::{Answer, Handshake, admission, draining};
use crate::deny::Deny;
use crate::gateway::Shared;
use crate::policy::identity::Identity;
use crate::policy::renew::{self, Renewal, bad};
use crate::policy::request::Opening;
use crate::policy::route::{Captures, Route, Stage};
use crate::policy::stages::check_origin;
use crate::policy::{Ask, Denial, Policy};
use crate::session::live::Live;
use crate::session::live::holder::Token;
use record::Record;

/// Bytes of a body beyond the token's: a line end, as tools put one behind.
const LINE_END: u64 = 2;

/// A request to the path at which a route is renewed.
pub(super) struct Asked {
    route: Arc<Route>,
    opening: Opening,
}

/// Whether a request is one. What has no clear host and path is none, and is refused as a handshake.
pub(super) fn asked(policy: &Policy, parts: &Parts) -> Option<Asked> {
    if !policy.renews() {
        return None;
    }
    let opening = Opening::target(&parts.uri, &parts.headers).ok()?;
    let route = policy.renewal(&opening)?.clone();
    Some(Asked { route, opening })
}

/// Answers it.
pub(super) async fn serve(handshake: &Handshake, asked: Asked, parts: &Parts, body: Incoming) -> Answer {
    let policy = &handshake.edition.policy;
    let client = policy.client(handshake.peer, &parts.headers);
    let certificate = (*handshake.certificate).as_ref().and_then(|read| read.as_ref().ok());
    let ask = Ask { opening: &asked.opening, query: parts.uri.query(), headers: &parts.headers, client, certificate };
    let route = &asked.route;
    let allowed = answer::allowed_origin(route, &parts.headers);
    let mut record = Record::new(handshake, route.clone(), client, &parts.headers);
    let result = if parts.method == Method::OPTIONS {
        policy.check_preflight(route, parts.version, &parts.headers).map(|()| None)
    } else {
        renew(handshake, route, &ask, parts, body, &mut record).await.map(Some)
    };
    match result {
        Ok(None) => {
            record.forget();
            answer::preflight(route, allowed.as_ref())
        }
        Ok(Some((renewal, sessions))) => {
            record.renewed(sessions);
            answer::renewed(sessions, renewal.identity.expires, allowed.as_ref())
        }
        Err(denial) => {
            record.refused(&denial, true);
            answer::refused(&denial, allowed.as_ref())
        }
    }
}

/// What the token allows, and how many sessions now live by it: never none.
async fn renew(
    handshake: &Handshake,
    route: &Route,
    ask: &Ask<'_>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<(Renewal, usize), Denial> {
    let (shared, edition) = (&handshake.worker.shared, &*handshake.edition);
    if shared.is_draining() {
        return Err(draining());
    }
    renew::check_form(&parts.method, parts.version, &parts.headers)?;
    check_origin(route, &parts.headers)?;
    let turn = charge(shared, route, ask, None).await?;
    let body = read(handshake, route, parts, body).await?;
    let judge = || edition.policy.renew(route, ask, &body, shared.books.clock.now());
    let mut renewal = match judge() {
        Err(denial) if admission::has_newer_keys(shared, edition, &denial).await? => judge()?,
        first => first?,
    };
    record.subject.clone_from(&renewal.identity.subject);
    let turn = turn.max(charge(shared, route, ask, Some(&renewal.identity)).await?);
    let wait_ms = turn.saturating_sub(shared.books.clock.mono());
    if wait_ms > 0 {
        // Who waits has no place any more, and no slot of a session to be: only who could renew one may wait.
        sessions_of(handshake, route, &renewal)?;
        handshake.rest(wait_ms).await?;
        renewal = judge()?;
    }
    let sessions = move_sessions(handshake, route, &renewal)?;
    Ok((renewal, sessions))
}

/// Charges it to the limits of handshakes: those of the bearer, once that is known, and those of the address before. A
/// limit whose `when` asks for a `{name}` is for nobody here, for the sessions have that and not the renewal.
async fn charge(shared: &Shared, route: &Route, ask: &Ask<'_>, bearer: Option<&Identity>) -> Result<u64, Denial> {
    let stage = if bearer.is_some() { Stage::Identity } else { Stage::Address };
    let mut exceeded = Vec::new();
    let limits = route.counted(stage, ask, bearer, &Captures::default());
    let turn = admission::charge(shared, limits, &mut exceeded).await;
    shared.books.exceeded(&exceeded);
    turn
}

/// The body, whole and bounded, before the deadline of the handshake.
async fn read(handshake: &Handshake, route: &Route, parts: &Parts, body: Incoming) -> Result<Bytes, Denial> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    renew::check_type(&parts.headers)?;
    let shared = &handshake.worker.shared;
    let deadline: Instant = shared.books.clock.instant(handshake.accepted).into();
    let deadline = deadline + handshake.listening().handshake_timeout;
    let most = route.renew.as_ref().map_or(0, |renew| renew.max_body.saturating_add(LINE_END));
    let limited = Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX));
    match timeout_at(deadline, limited.collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(bad(StatusCode::PAYLOAD_TOO_LARGE, "a body over max_token_size"))
        }
        Ok(Err(_)) => Err(Denial::new(Deny::ClientLost, "the client left in the midst of the body")),
        Err(_) => Err(Denial::new(Deny::HandshakeTimeout, "the body took longer than handshake_timeout")),
    }
}

/// The sessions that the token may move, never none.
fn sessions_of(handshake: &Handshake, route: &Route, renewal: &Renewal) -> Result<Vec<Arc<Live>>, Denial> {
    let mut lives = handshake.worker.shared.books.sessions.of_lineage(&route.name, renewal.lineage);
    if lives.is_empty() {
        return Err(Denial::new(Deny::NoSession, "no session has a token of the same jwt, iss, sub and sid"));
    }
    lives.retain(|live| renewal.is_allowed(route, &live.holder.captures));
    if lives.is_empty() {
        return Err(Denial::new(Deny::TokenForbidden, "`require` does not hold for any of the sessions"));
    }
    Ok(lives)
}

/// Moves all sessions that the token may move.
fn move_sessions(handshake: &Handshake, route: &Route, renewal: &Renewal) -> Result<usize, Denial> {
    let shared = &handshake.worker.shared;
    let allowed = sessions_of(handshake, route, renewal)?;
    let token = Token::from(&renewal.identity);
    let moved = |live: &Arc<Live>| live.ordered().is_none() && live.renew(token.clone(), renewal.expires);
    let moved: Vec<Arc<Live>> = allowed.into_iter().filter(moved).collect();
    if moved.is_empty() {
        return Err(Denial::new(Deny::NoSession, "the sessions last longer as they are, or have begun to end"));
    }
    for live in &moved {
        if let (Some(asked), Some(token)) = (&live.holder.asked, &renewal.token) {
            asked.renewed(token);
        }
        shared.end_if_revoked(live);
    }
    Ok(moved.len())
}
