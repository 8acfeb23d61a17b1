//! Ordinary requests beside WebSockets: judged as handshakes are, passed on to the same upstream, and their answers passed
//! back as they come, without being held whole anywhere.
//!
//! Nothing is decided here that `policy` could decide. Every request leaves through [`record::Record`], once.

mod download;
mod events;
mod exchange;
mod record;
mod reply;
mod upload;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};

use crate::gateway::{Phase, Shared};
use crate::handshake::dial::{self, Reached};
use crate::handshake::{Handshake, admission, draining, overloaded, refusal, slots};
use crate::policy::forward::Caller;
use crate::policy::overload::Pace;
use crate::policy::raw::bad;
use crate::policy::relay::cors::{self, Cors};
use crate::policy::relay::{self as terms, Relay, headers, site};
use crate::policy::request::{Opening, connection_tokens};
use crate::policy::route::Route;
use crate::policy::stages::Known;
use crate::policy::{Ask, Decision, Denial, identity, proxy_protocol};
use crate::pool::reach::{Tried, Unreached};
use crate::pool::{Lease, Server, Trial};
use crate::{deny::Deny, now::Now};
use download::Download;
use events::Events;
use exchange::{Driver, exchange};
use record::Record;
use upload::Upload;

pub use download::Cut;
pub use reply::Reply;

/// What the upstream has said, as far as it is here.
struct Answered {
    response: Response<Incoming>,
    driver: Driver,
    events: Option<Events>,
}

/// Answers an ordinary request on a route that passes them on.
pub(crate) async fn serve(
    handshake: &Handshake,
    opening: Opening,
    route: Arc<Route>,
    parts: Parts,
    body: Incoming,
) -> Response<Reply> {
    let client = handshake.edition.policy.client(handshake.peer, &parts.headers);
    let mut record = Record::new(handshake, route.clone(), client, &parts);
    let turn = handshake.turn.clone();
    // It has `relay`: or this would not have been asked.
    let cors = route.relay.as_ref().and_then(|relay| relay.cors.as_ref());
    let result = match cors.filter(|_| cors::is_preflight(&parts)) {
        Some(cors) => preflight(handshake, cors, &route, client, &parts, &mut record).map(|()| None),
        None => pass(handshake, &opening, &route, &parts, body, &mut record).await.map(Some),
    };
    // Who comes again while this gateway leaves is to come to another.
    let runs = *handshake.worker.shared.phase.borrow() == Phase::Running;
    let stays = handshake.may_keep && stays(&parts) && runs;
    let mut answer = match (result, cors) {
        (Ok(None), cors) => {
            record.preflight();
            let mut answer = Response::new(Reply::own(Full::default(), turn.clone()));
            if let Some(cors) = cors {
                (*answer.status_mut(), *answer.headers_mut()) = cors.preflight(&route, &parts.headers);
            }
            turn.keep.set(stays);
            answer
        }
        (Ok(Some(Answered { response, driver, events })), _) => {
            let (answered, incoming) = response.into_parts();
            record.answered(answered.status.as_u16());
            if events.is_some() {
                record.streams();
            }
            turn.keep.set(stays);
            turn.send_timeout.set(Duration::from_millis(route.terms.send_timeout));
            let read_timeout = route.relay.as_ref().map_or(0, |relay| relay.read_timeout);
            let silence = if events.is_some() { route.terms.idle_timeout } else { read_timeout };
            let download = Download::new(incoming, driver, record, silence, events);
            let mut answer = Response::new(Reply::upstream(download, turn.clone()));
            *answer.status_mut() = answered.status;
            *answer.headers_mut() = headers::answer(&route, &parts, &answered.headers);
            answer
        }
        (Err(denial), cors) => {
            record.refused(&denial);
            let (mut head, text) = refusal(&denial, None, route.token.is_some()).into_parts();
            if let Some(cors) = cors.filter(|_| denial.deny != Deny::PreflightRefused) {
                head.headers.remove(header::VARY);
                cors.answer(&route, &parts.headers, &mut head.headers);
            }
            return Response::from_parts(head, Reply::own(text, turn));
        }
    };
    if !stays {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Whether a page may send what its browser asks for. The connection may wait for the request itself, so it takes a place.
fn preflight(
    handshake: &Handshake,
    cors: &Cors,
    route: &Route,
    client: IpAddr,
    parts: &Parts,
    record: &mut Record,
) -> Result<(), Denial> {
    cors.check_preflight(route, &parts.headers)?;
    record.share = hold(handshake, client)?;
    Ok(())
}

/// Whether the client would send another request on the same connection.
fn stays(parts: &Parts) -> bool {
    let closes = connection_tokens(&parts.headers).any(|token| token.eq_ignore_ascii_case(b"close"));
    parts.version == Version::HTTP_11 && !closes
}

/// Judges it, and asks the upstream.
async fn pass(
    handshake: &Handshake,
    opening: &Opening,
    route: &Arc<Route>,
    parts: &Parts,
    body: Incoming,
    record: &mut Record,
) -> Result<Answered, Denial> {
    let (shared, edition) = (&handshake.worker.shared, &*handshake.edition);
    if shared.is_draining() {
        return Err(draining());
    }
    let relay = route.relay.as_ref().ok_or(Denial::new(Deny::Internal, "a request on a route that passes on none"))?;
    terms::check_form(parts, relay, body.size_hint().exact())?;
    if handshake.worker.pace(edition) != Pace::Keeps {
        return Err(overloaded());
    }
    let unreadable = |why: &&'static str| bad(why);
    let certificate = (*handshake.certificate).as_ref().map(|read| read.as_ref().map_err(unreadable)).transpose()?;
    let client = edition.policy.client(handshake.peer, &parts.headers);
    let ask = Ask { opening, query: parts.uri.query(), headers: &parts.headers, client, certificate };
    let mut found = Decision::undecided();
    site::check(route, parts)?;
    let known = admission::admit_request(shared, edition, route, &ask, &mut found).await;
    shared.books.exceeded(&found.exceeded);
    record.subject.clone_from(&found.subject);
    let mut known = known?;
    record.share = hold(handshake, client)?;
    let wait_ms = found.wait_ms(shared.books.clock.mono());
    if wait_ms > 0 {
        handshake.rest(wait_ms).await?;
        identity::check_known(route, &known.identity, shared.revoking.list(), shared.books.clock.now())?;
    }
    // What an upstream takes to answer is not the handshakes' to bear: a long poll is open for half a minute.
    drop(handshake.place.take());
    let hash = route.target.upstream.hash.as_ref();
    let key = hash.and_then(|rule| rule.key_if_there(&route.facts(&ask, Some(&known.identity))));
    let first = dial::place(handshake, route, key).await?;
    if first.waited {
        identity::check_known(route, &known.identity, shared.revoking.list(), shared.books.clock.now())?;
    }
    let request = request(handshake, route, relay, parts, body, &mut known, record)?;
    let max_head = edition.max_head;
    let preamble = route.proxy_protocol.map(|version| proxy_protocol::header(version, Some(handshake.ends_of(client))));
    let reached = dial::connect(handshake, route, first, &preamble.unwrap_or_default()).await;
    let Reached { stream, trial, since, .. } = reached.map_err(|Unreached { denial, tried }| {
        record.at(tried);
        record.dialed(Err(denial.deny));
        denial
    })?;
    record.at(trial.server().map(|server| Tried { server: server.clone(), since }));
    let clock = &shared.books.clock;
    let exchanged = exchange(stream, request, &record.progress, max_head, relay.read_timeout, clock).await;
    record.dialed(exchanged.as_ref().map(|(response, _)| response.status().as_u16()).map_err(|denial| denial.deny));
    let lease = settle(trial, exchanged.as_ref().map(|(response, _)| response.status()));
    let (response, driver) = exchanged?;
    let lease = lease.ok_or(Denial::new(Deny::Internal, "a place that was given back"))?;
    let server = lease.server().clone();
    record.lease = Some(lease);
    let events = if headers::is_event_stream(response.headers()) {
        Some(seat(handshake, route, &ask, known, &mut found, server).await?)
    } else {
        None
    };
    Ok(Answered { response, driver, events })
}

/// What an answer, or none, says of the server; its place, where there is one to keep.
fn settle(trial: Trial, answered: Result<StatusCode, &Denial>) -> Option<Lease> {
    match answered {
        // A 5xx is the application's own: it leaves nobody out, and brings nobody back.
        Ok(status) if status.is_server_error() => trial.served(),
        Ok(_) => trial.succeeded(),
        Err(denial) => {
            // What is wrong with the request itself says nothing of the server.
            if matches!(denial.deny, Deny::UpstreamRefused | Deny::UpstreamTimeout) {
                trial.failed(denial.deny, true);
            }
            None
        }
    }
}

/// What goes to the upstream.
fn request(
    handshake: &Handshake,
    route: &Route,
    relay: &Relay,
    parts: &Parts,
    body: Incoming,
    known: &mut Known,
    record: &Record,
) -> Result<Request<Upload>, Denial> {
    let clock = &handshake.worker.shared.books.clock;
    let mut vouched = std::mem::take(&mut known.vouched);
    handshake.sign(&mut vouched, route, &known.identity)?;
    let forwarded = handshake.edition.policy.forwarded(handshake.peer, &parts.headers);
    let caller = Caller {
        id: handshake.id,
        peer: handshake.peer,
        trusted: handshake.edition.policy.is_trusted_proxy(handshake.peer),
        believed: handshake.edition.policy.forwarded_header,
        forwarded: &forwarded,
        secure: handshake.secure,
        vouched: &vouched,
    };
    let (mut headers, target) = headers::request(route, parts, &caller);
    record.join(&mut headers);
    let upload = Upload::new(body, relay, clock.clone(), record.progress.clone(), handshake.turn.clone());
    let mut request = Request::new(upload);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target.parse().map_err(|_| bad("a malformed target"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A place for the connection, for as long as it carries requests; and one of the client's address for this request, where
/// the connection is a proxy's that speaks for many.
fn hold(handshake: &Handshake, client: IpAddr) -> Result<Option<crate::policy::cap::KeyedPermit>, Denial> {
    let (shared, edition) = (&handshake.worker.shared, &*handshake.edition);
    let held = handshake.carrying.take();
    let held = match held {
        Some(held) => held,
        None => shared.carrying.take(edition, handshake.peer)?,
    };
    let share = if held.is_of_an_address() { None } else { Some(shared.carrying.share(edition, client)?) };
    handshake.carrying.set(Some(held));
    Ok(share)
}

/// The slots of a stream of events, which is counted as a session is.
async fn seat(
    handshake: &Handshake,
    route: &Arc<Route>,
    ask: &Ask<'_>,
    known: Known,
    found: &mut Decision,
    server: Arc<Server>,
) -> Result<Events, Denial> {
    let shared: &Arc<Shared> = &handshake.worker.shared;
    let now: Now = shared.books.clock.now();
    found.exceeded.clear();
    let seated = handshake.edition.policy.seat(route, ask, known, now, found);
    let settled = match seated {
        Ok(mut admission) => {
            let settled = slots::settle(shared, route, ask, &mut admission, &mut found.exceeded).await;
            settled.map(|()| admission)
        }
        Err(denial) => Err(denial),
    };
    shared.books.exceeded(&found.exceeded);
    slots::warn_of(shared, found);
    let id = handshake.id;
    let events = Events::begin(shared, handshake.worker.index, id, ask.client, route, settled?, server);
    crate::reload::end_if_changed(shared, &handshake.edition, events.live());
    Ok(events)
}
