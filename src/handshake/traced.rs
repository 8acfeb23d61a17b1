//! The spans of one handshake: its own, and within it that of the upstream's. They are made when it is over, and only of one
//! that is recorded.

use http::header::HeaderMap;
use http::uri::Authority;

use super::record::Attempt;
use crate::deny::Deny;
use crate::policy::target::Transport;
use crate::policy::trace::{Context, Plan, Sampling};
use crate::spans::{Kind, Span, Spans, Value, fresh};

/// What is kept of a handshake for its spans.
pub(super) struct Traced {
    plan: Plan,
    /// Whether they name the subject.
    subject: bool,
    method: &'static str,
    scheme: &'static str,
    dial: Option<Dial>,
}

/// The upstream's handshake, in the clock's monotonic milliseconds.
struct Dial {
    began: u64,
    ended: u64,
    server: Option<(String, Option<u16>)>,
    result: Result<(), Deny>,
}

/// How a handshake ended.
pub(super) struct Outcome {
    /// As the client sees it; none where nothing was answered.
    pub(super) status: Option<u16>,
    /// Why it was refused, if it was.
    pub(super) reason: Option<Deny>,
}

impl Traced {
    /// The place of a handshake among traces.
    pub(super) fn begin(
        sampling: &Sampling,
        parts: &http::request::Parts,
        trusted: bool,
        secure: bool,
    ) -> Option<Box<Self>> {
        let plan = sampling.plan(&parts.headers, trusted, fresh()?);
        // What is not known is not repeated: names are to be few.
        let known = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
        let method = known.into_iter().find(|known| *known == parts.method).unwrap_or("_OTHER");
        let scheme = if secure { "https" } else { "http" };
        Some(Box::new(Self { plan, subject: sampling.subject, method, scheme, dial: None }))
    }

    /// Makes the upstream's request a part of it.
    pub(super) fn join(&self, headers: &mut HeaderMap) {
        self.plan.set(headers);
    }

    /// The upstream's handshake took from `began` to `ended`.
    pub(super) fn dialed(&mut self, began: u64, ended: u64, transport: &Transport, result: Result<(), Deny>) {
        if !self.plan.context.sampled {
            return;
        }
        let server = match transport {
            Transport::Tcp { host, port, .. } => Some((host.clone(), Some(*port))),
            Transport::Unix(path) => path.to_str().map(|path| (path.to_owned(), None)),
        };
        self.dial = Some(Dial { began, ended, server, result });
    }

    /// Puts its spans in, if it is recorded, and says how they are called: for what is to name them later.
    pub(super) fn over(self, spans: &Spans, attempt: &Attempt, outcome: &Outcome) -> Option<Box<Context>> {
        let context = self.plan.context;
        if !context.sampled {
            return None;
        }
        let now = attempt.now();
        let wall = |mono: u64| now.wall.saturating_sub(now.mono.saturating_sub(mono));
        if let Some(dial) = &self.dial {
            spans.push(self.dial_span(dial, wall));
        }
        // A 4xx is the client's doing, and no failure of the server's.
        let failed = outcome.reason.filter(|_| outcome.status.is_some_and(|status| status >= 500));
        let mut attributes = self.attributes(attempt);
        attributes.extend(outcome.status.map(|status| ("http.response.status_code", u64::from(status).into())));
        attributes.extend(outcome.reason.map(|reason| ("wsgate.reason", reason.label().into())));
        attributes.extend(failed.map(|reason| ("error.type", reason.label().into())));
        let name =
            attempt.route().map_or_else(|| self.method.to_owned(), |route| format!("{} {}", self.method, route.name));
        spans.push(Span {
            context,
            parent: self.plan.parent,
            link: self.plan.link,
            name,
            kind: Kind::Server,
            start: wall(attempt.accepted()),
            end: now.wall,
            attributes,
            failed: failed.map(Deny::label),
        });
        Some(Box::new(context))
    }

    fn dial_span(&self, dial: &Dial, wall: impl Fn(u64) -> u64) -> Span {
        let mut attributes: Vec<(&'static str, Value)> = vec![("http.request.method", "GET".into())];
        if let Some((address, port)) = &dial.server {
            attributes.push(("server.address", address.as_str().into()));
            attributes.extend(port.map(|port| ("server.port", u64::from(port).into())));
        }
        match dial.result {
            Ok(()) => attributes.push(("http.response.status_code", 101.into())),
            Err(deny) => attributes.push(("error.type", deny.label().into())),
        }
        Span {
            context: self.plan.dial,
            parent: Some(self.plan.context.span),
            link: None,
            name: "GET".to_owned(),
            kind: Kind::Client,
            start: wall(dial.began),
            end: wall(dial.ended),
            attributes,
            failed: dial.result.err().map(Deny::label),
        }
    }

    /// Those of OpenTelemetry's semantic conventions for an HTTP server, and the gateway's own. Never the query.
    fn attributes(&self, attempt: &Attempt) -> Vec<(&'static str, Value)> {
        let mut all: Vec<(&'static str, Value)> = vec![
            ("http.request.method", self.method.into()),
            ("url.scheme", self.scheme.into()),
            ("client.address", attempt.client().to_canonical().to_string().into()),
        ];
        all.extend(attempt.path().map(|path| ("url.path", path.trim_end_matches('?').into())));
        let authority = attempt.host().and_then(|host| Authority::try_from(host).ok());
        if let Some(authority) = &authority {
            all.push(("server.address", authority.host().into()));
            all.extend(authority.port_u16().map(|port| ("server.port", u64::from(port).into())));
        }
        all.push(("wsgate.connection_id", attempt.id().to_string().into()));
        all.extend(attempt.route().map(|route| ("wsgate.route", (*route.name).into())));
        let subject = attempt.subject().filter(|_| self.subject);
        all.extend(subject.map(|subject| ("user.id", (*subject).into())));
        all
    }
}
