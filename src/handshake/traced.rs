//! The spans of one handshake, or of one ordinary request: its own, and within it that of the upstream's. They are made when
//! it is over, and only of one that is recorded.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderMap;
use http::uri::Authority;

use super::Handshake;
use crate::config::value::ServerAddress;
use crate::deny::{Deny, Fault};
use crate::id::Id;
use crate::now::Now;
use crate::policy::trace::{Context, Plan};
use crate::pool::Server;
use crate::pool::reach::Tried;
use crate::spans::{Kind, Span, Spans, Value, fresh};

/// What is kept of a request for its spans.
pub(crate) struct Traced {
    plan: Plan,
    /// Whether they name the subject.
    subject: bool,
    method: &'static str,
    scheme: &'static str,
    dial: Option<Dial>,
}

/// The upstream's part of it, in the clock's monotonic milliseconds.
struct Dial {
    server: Arc<Server>,
    began: u64,
    /// When it answered, with which status, or why not; none while it is asked.
    ended: Option<(u64, Result<u16, Deny>)>,
}

/// A request that is over, as its spans tell of it.
pub(crate) struct Over<'a> {
    pub(crate) id: Id,
    pub(crate) client: IpAddr,
    /// When it began, in [`Now::mono`].
    pub(crate) begun: u64,
    pub(crate) now: Now,
    pub(crate) host: Option<&'a [u8]>,
    /// Without the query.
    pub(crate) path: Option<&'a str>,
    pub(crate) route: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    /// As the client sees it; none where nothing was answered.
    pub(crate) status: Option<u16>,
    /// Why it was refused, or its answer cut short, if it was.
    pub(crate) reason: Option<Deny>,
}

impl Traced {
    /// The place of a request among traces; none without `[tracing]`.
    pub(crate) fn begin(handshake: &Handshake, parts: &http::request::Parts) -> Option<Box<Self>> {
        let policy = &handshake.edition.policy;
        let sampling = policy.sampling.as_ref()?;
        let plan = sampling.plan(&parts.headers, policy.is_trusted_proxy(handshake.peer), fresh()?);
        // What is not known is not repeated: names are to be few.
        let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
        let method = known.into_iter().find(|known| *known == parts.method).unwrap_or("_OTHER");
        let scheme = if handshake.secure { "https" } else { "http" };
        Some(Box::new(Self { plan, subject: sampling.subject, method, scheme, dial: None }))
    }

    /// Makes the upstream's request a part of it.
    pub(crate) fn join(&self, headers: &mut HeaderMap) {
        self.plan.set(headers);
    }

    /// This server is asked.
    pub(crate) fn asks(&mut self, tried: &Tried) {
        if self.plan.context.sampled {
            self.dial = Some(Dial { server: tried.server.clone(), began: tried.since, ended: None });
        }
    }

    /// The server has answered with this status, or not.
    pub(crate) fn dialed(&mut self, now: u64, result: Result<u16, Deny>) {
        if let Some(dial) = &mut self.dial {
            dial.ended = Some((now, result));
        }
    }

    /// Puts its spans in, if it is recorded, and says how they are called: for what is to name them later.
    pub(crate) fn over(self, spans: &Spans, over: &Over<'_>) -> Option<Box<Context>> {
        let context = self.plan.context;
        if !context.sampled {
            return None;
        }
        if let Some(dial) = &self.dial {
            spans.push(self.dial_span(dial, over));
        }
        // A 4xx is the client's doing, and no failure of the server's; nor is a client that leaves.
        let failed = match over.reason {
            Some(reason) if over.status.is_some_and(|status| status >= 500) => Some(reason.label()),
            Some(reason) if over.status.is_some() && reason.row().fault == Fault::Upstream => Some(reason.label()),
            None if over.status.is_some_and(|status| status >= 500) => Some(""),
            Some(_) | None => None,
        };
        let mut attributes = self.attributes(over);
        attributes.extend(over.status.map(|status| ("http.response.status_code", u64::from(status).into())));
        attributes.extend(over.reason.map(|reason| ("wsgate.reason", reason.label().into())));
        attributes.extend(failed.map(|why| error_type(why, over.status)));
        let name = over.route.map_or_else(|| self.method.to_owned(), |route| format!("{} {route}", self.method));
        spans.push(Span {
            context,
            parent: self.plan.parent,
            link: self.plan.link,
            name,
            kind: Kind::Server,
            start: wall(over, over.begun),
            end: over.now.wall,
            attributes,
            failed,
        });
        Some(Box::new(context))
    }

    fn dial_span(&self, dial: &Dial, over: &Over<'_>) -> Span {
        let mut attributes: Vec<(&'static str, Value)> = vec![("http.request.method", self.method.into())];
        match dial.server.address() {
            ServerAddress::Tcp(host, port) => {
                attributes.push(("server.address", host.as_str().into()));
                attributes.push(("server.port", u64::from(*port).into()));
            }
            ServerAddress::Unix(path) => attributes.push(("server.address", path.display().to_string().into())),
        }
        attributes.push(("wsgate.upstream", (*dial.server.upstream).into()));
        // It is asked still where the whole ends before its answer.
        let (ended, result) = dial.ended.unwrap_or((over.now.mono, Err(over.reason.unwrap_or(Deny::ClientLost))));
        let status = result.ok();
        attributes.extend(status.map(|status| ("http.response.status_code", u64::from(status).into())));
        let failed = match result {
            Ok(status) if status >= 400 => Some(""),
            Ok(_) => None,
            Err(deny) => Some(deny.label()),
        };
        attributes.extend(failed.map(|why| error_type(why, status)));
        Span {
            context: self.plan.dial,
            parent: Some(self.plan.context.span),
            link: None,
            name: self.method.to_owned(),
            kind: Kind::Client,
            start: wall(over, dial.began),
            end: wall(over, ended),
            attributes,
            failed,
        }
    }

    /// Those of OpenTelemetry's semantic conventions for an HTTP server, and the gateway's own. Never the query.
    fn attributes(&self, over: &Over<'_>) -> Vec<(&'static str, Value)> {
        let mut all: Vec<(&'static str, Value)> = vec![
            ("http.request.method", self.method.into()),
            ("url.scheme", self.scheme.into()),
            ("client.address", over.client.to_canonical().to_string().into()),
        ];
        all.extend(over.path.map(|path| ("url.path", path.into())));
        let authority = over.host.and_then(|host| Authority::try_from(host).ok());
        if let Some(authority) = &authority {
            all.push(("server.address", authority.host().into()));
            all.extend(authority.port_u16().map(|port| ("server.port", u64::from(port).into())));
        }
        all.push(("wsgate.connection_id", over.id.to_string().into()));
        all.extend(over.route.map(|route| ("wsgate.route", route.into())));
        all.extend(over.subject.filter(|_| self.subject).map(|subject| ("user.id", subject.into())));
        all
    }
}

/// A moment of the monotonic clock in the wall clock's milliseconds.
fn wall(over: &Over<'_>, mono: u64) -> u64 {
    over.now.wall.saturating_sub(over.now.mono.saturating_sub(mono))
}

/// The reason; or the status itself, where an upstream chose it.
fn error_type(why: &'static str, status: Option<u16>) -> (&'static str, Value) {
    let value = match status.filter(|_| why.is_empty()) {
        Some(status) => status.to_string().into(),
        None => why.into(),
    };
    ("error.type", value)
}
