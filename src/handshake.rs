//! From a request's head to an answer: admission, the wait for one's turn, the upstream, and the 101 or the refusal.
//!
//! Nothing is decided here that `policy` could decide. Every handshake leaves through [`record::Attempt`], once.

pub(crate) mod admission;
pub(crate) mod dial;
pub mod record;
mod renew;
pub(crate) mod slots;
pub mod told;
pub(crate) mod traced;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;

use crate::connection::Turn;
use crate::deny::Deny;
use crate::gateway::{Carries, Edition, Listening, Place, Worker};
use crate::id::Id;
use crate::policy::certificate::Certificate;
use crate::policy::forward::{self, Caller};
use crate::policy::identity::{self, Identity};
use crate::policy::overload::Pace;
use crate::policy::proxy_protocol::{self, Ends};
use crate::policy::request::Opening;
use crate::policy::route::Route;
use crate::policy::upward::Vouched;
use crate::policy::{Admission, Ask, Denial};
use crate::pool::Lease;
use crate::relay::{self, Reply};
use crate::upstream::{Answered, Question};
use record::Attempt;
use told::Told;

/// One request of a connection, as hyper asks for its answer: a handshake, or what else comes beside it.
pub struct Handshake {
    /// The thread's share of the gateway.
    pub worker: Rc<Worker>,
    /// The connection's name.
    pub id: Id,
    /// The config that judges it.
    pub edition: Arc<Edition>,
    /// Which listener it came through.
    pub listener: usize,
    /// Whose socket it is.
    pub peer: IpAddr,
    /// The same with ports, and what the client connected to.
    pub ends: Ends,
    /// Whether it came over TLS.
    pub secure: bool,
    /// The client's certificate, if it presented one; or why it can't be read.
    pub certificate: Rc<Option<Result<Certificate, &'static str>>>,
    /// When the socket was accepted, or this request began on a socket that had carried another, in
    /// [`crate::now::Now::mono`].
    pub accepted: u64,
    /// How far the request is.
    pub turn: Rc<Turn>,
    /// Whether the connection may carry another request.
    pub may_keep: bool,
    /// The connection's place among those that carry ordinary requests.
    pub carrying: Rc<Cell<Option<Carries>>>,
    /// Its place among the handshakes under way, and its address's share of them, until it has to wait.
    pub place: Cell<Option<Place>>,
    /// What a yes hands over to the connection once the 101 is out.
    pub opened: RefCell<Option<Handover>>,
    /// The Close that is to follow the 101 of a refused handshake.
    pub told: Cell<Option<Told>>,
}

/// A handshake that went well, up to the writing of the 101.
pub struct Handover {
    /// Not yet written down: the client may still be lost.
    pub attempt: Attempt,
    /// The route.
    pub route: Arc<Route>,
    /// What is held, and until when.
    pub admission: Admission,
    /// The other socket.
    pub upstream: Answered,
    /// The place on its server.
    pub lease: Lease,
}

type Answer = Response<Full<Bytes>>;

impl hyper::service::Service<Request<Incoming>> for SharedHandshake {
    type Response = Response<Reply>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Reply>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let this = self.0.clone();
        this.turn.head_seen.set(true);
        Box::pin(async move { Ok(this.handle(request).await) })
    }
}

/// One [`Handshake`], held by hyper and by the connection.
#[derive(Clone)]
pub struct SharedHandshake(pub Rc<Handshake>);

impl Handshake {
    /// The listener that it came through.
    pub(crate) fn listening(&self) -> &Listening {
        &self.edition.listeners[self.listener]
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Reply> {
        let (parts, body) = request.into_parts();
        let policy = &self.edition.policy;
        let own = |answer: Answer| answer.map(|text| Reply::own(text, self.turn.clone()));
        if let Some(asked) = renew::asked(policy, &parts) {
            return own(renew::serve(self, asked, &parts, body).await);
        }
        if let Some((opening, route)) = policy.relayed(&parts) {
            return Box::pin(relay::serve(self, opening, route, parts, body)).await;
        }
        own(self.shake(&parts).await)
    }

    /// Opens a session, or says why not.
    async fn shake(&self, parts: &http::request::Parts) -> Answer {
        let policy = &self.edition.policy;
        let client = policy.client(self.peer, &parts.headers);
        let mut attempt = Attempt::new(self, client, parts);
        let origin = parts.headers.get(header::ORIGIN).cloned();
        match self.open(parts, client, &mut attempt).await {
            Ok((route, admission, upstream, lease)) => {
                let allowed = origin.filter(|_| route.origins.is_some());
                let mut answer = Response::new(Full::default());
                *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
                *answer.headers_mut() = forward::answer(&route, &parts.headers, &upstream.headers, allowed.as_ref());
                self.turn.switching.set(true);
                self.opened.replace(Some(Handover { attempt, route, admission, upstream, lease }));
                answer
            }
            Err(denial) => {
                let allowed = origin.filter(|origin| attempt.route().is_some_and(|route| route.names_origin(origin)));
                if let Some(told) = told::plan(self, &attempt, &denial)
                    && let Some(answer) = told::answer(&attempt, &parts.headers, allowed.as_ref())
                {
                    self.turn.switching.set(true);
                    self.told.set(Some(told));
                    attempt.told(&denial, told.code);
                    return answer;
                }
                let challenge = attempt.route().is_some_and(|route| route.token.is_some());
                attempt.refused(&denial, true);
                refusal(&denial, allowed.as_ref(), challenge)
            }
        }
    }

    async fn open(
        &self,
        parts: &http::request::Parts,
        client: IpAddr,
        attempt: &mut Attempt,
    ) -> Result<(Arc<Route>, Admission, Answered, Lease), Denial> {
        let (shared, edition) = (&self.worker.shared, &*self.edition);
        if shared.is_draining() {
            return Err(draining());
        }
        let opening = Opening::parse(&parts.method, &parts.uri, parts.version, &parts.headers)
            .map_err(|flaw| Denial::new(flaw.deny, flaw.why))?;
        if self.worker.pace(edition) != Pace::Keeps
            && let Some(route) = edition.policy.route(&opening)
        {
            attempt.found(route);
            return Err(overloaded());
        }
        let unreadable = |why: &&'static str| Denial::new(Deny::BadHandshake, why);
        let certificate = (*self.certificate).as_ref().map(|read| read.as_ref().map_err(unreadable)).transpose()?;
        let ask = Ask { opening: &opening, query: parts.uri.query(), headers: &parts.headers, client, certificate };
        let decision = admission::admit(shared, edition, &ask).await;
        attempt.decided(&decision);
        slots::warn_of(shared, &decision);
        let mut admission = decision.verdict?;
        // A route is there wherever the verdict is a yes.
        let route = decision.route.ok_or(Denial::new(Deny::Internal, "admitted without a route"))?;
        self.wait_for_turn(&admission, &route).await?;
        let hash = route.target.upstream.hash.as_ref();
        let key = hash.and_then(|rule| rule.key_if_there(&route.facts(&ask, Some(&admission.identity))));
        let first = dial::place(self, &route, key).await?;
        if first.waited {
            self.check_still(&admission, &route)?;
        }
        let question = self.question(parts, client, &route, &mut admission, attempt)?;
        let (answered, lease) = Box::pin(dial::dial(self, &route, first, question, attempt)).await?;
        slots::check_still(&admission)?;
        Ok((route, admission, answered, lease))
    }

    /// What the upstream is asked.
    fn question(
        &self,
        parts: &http::request::Parts,
        client: IpAddr,
        route: &Route,
        admission: &mut Admission,
        attempt: &Attempt,
    ) -> Result<Question, Denial> {
        // Not before the waits, or it could be over when the upstream sees it.
        let mut vouched = std::mem::take(&mut admission.vouched);
        self.sign(&mut vouched, route, &admission.identity)?;
        let edition = &*self.edition;
        let forwarded = edition.policy.forwarded(self.peer, &parts.headers);
        let caller = Caller {
            id: self.id,
            peer: self.peer,
            trusted: edition.policy.is_trusted_proxy(self.peer),
            believed: edition.policy.forwarded_header,
            forwarded: &forwarded,
            secure: self.secure,
            vouched: &vouched,
        };
        let path_and_query = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let (mut headers, target) = forward::request(route, &parts.headers, path_and_query, &caller);
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = target.parse().map_err(|_| Denial::new(Deny::BadHandshake, "a malformed target"))?;
        attempt.join(&mut headers);
        *request.headers_mut() = headers;
        let preamble = route.proxy_protocol.map(|version| proxy_protocol::header(version, Some(self.ends_of(client))));
        Ok(Question { request, preamble: preamble.unwrap_or_default() })
    }

    /// Adds the route's assertion, if it has one.
    pub(crate) fn sign(&self, vouched: &mut Vouched, route: &Route, identity: &Identity) -> Result<(), Denial> {
        vouched.sign(&route.upward, identity, self.worker.shared.books.clock.now()).map_err(|error| {
            tracing::error!(connection_id = %self.id, route = &*route.name, error, "an assertion can't be signed");
            Denial::new(Deny::Internal, "an assertion can't be signed")
        })
    }

    /// Its ends as an upstream is to see them: a client behind a proxy has an address, and a port that nobody knows.
    pub(crate) fn ends_of(&self, client: IpAddr) -> Ends {
        let known = self.ends.source.ip() == client;
        let source = if known { self.ends.source } else { SocketAddr::new(client, 0) };
        Ends { source, ..self.ends }
    }

    /// Waits for its turn, without its place: or those who wait would keep everybody else from being heard.
    pub(crate) async fn rest(&self, wait_ms: u64) -> Result<(), Denial> {
        if wait_ms == 0 {
            return Ok(());
        }
        drop(self.place.take());
        let mut phase = self.worker.shared.phase.subscribe();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(wait_ms)) => Ok(()),
            _ = phase.wait_for(|phase| !phase.lets_in()) => Err(draining()),
        }
    }

    /// Its slots are held meanwhile, for who waits for a turn counts.
    async fn wait_for_turn(&self, admission: &Admission, route: &Route) -> Result<(), Denial> {
        if admission.wait_ms == 0 {
            return Ok(());
        }
        self.rest(admission.wait_ms).await?;
        self.check_still(admission, route)
    }

    /// Whether it has its slots and is who it was, after a wait.
    fn check_still(&self, admission: &Admission, route: &Route) -> Result<(), Denial> {
        let shared = &self.worker.shared;
        slots::check_still(admission)?;
        identity::check_still(route, admission, shared.revoking.list(), shared.books.clock.now())
    }
}

pub(crate) const fn draining() -> Denial {
    Denial { deny: Deny::Draining, status: 503, retry_after: Some(1), why: "the gateway is stopping", behind: None }
}

/// Those who are refused at one moment do not come back at one moment: after 1 to 10 s, each when chance says.
pub(crate) fn overloaded() -> Denial {
    let chance = RandomState::new().hash_one(()) % 10;
    Denial { retry_after: Some(1 + chance), ..Denial::new(Deny::Overloaded, "the worker's lag is over max_lag") }
}

/// The answer to a refused handshake: status, headers, and one line of text with the label in front.
pub(crate) fn refusal(denial: &Denial, allowed: Option<&HeaderValue>, challenge: bool) -> Answer {
    let row = denial.deny.row();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if denial.status == 426 {
        // RFC 6455 s4.4, RFC 9110 s15.5.22.
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade, close"));
    }
    if let Some(seconds) = denial.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if denial.status == 401 && challenge && denial.deny.about_token() {
        // RFC 6750 s3: no error code where there was no token.
        let error = if denial.deny == Deny::TokenMissing { "Bearer" } else { "Bearer error=\"invalid_token\"" };
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(error));
    }
    match allowed {
        Some(origin) => forward::name_origin(&mut headers, origin),
        None => {
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
    let mut answer = Response::new(Full::from(format!("{}: {}\n", row.label, row.sentence)));
    *answer.status_mut() = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *answer.headers_mut() = headers;
    answer
}
