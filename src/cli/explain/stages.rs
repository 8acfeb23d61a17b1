//! The stages of a handshake, each with what it looked at. What decides is the policy's own functions; here they are called
//! one by one, and what they went by is said.

use std::fmt::Write as _;

use http::header::ORIGIN;

use super::{End, Request, words};
use crate::cli::check::upstreams;
use crate::deny::Direction;
use crate::id::Id;
use crate::now::Now;
use crate::policy::client_ip::Forwarded;
use crate::policy::forward::{self, Caller};
use crate::policy::identity::Identity;
use crate::policy::limit::Action;
use crate::policy::origin::Origins;
use crate::policy::route::{HandshakeLimit, Route, Stage};
use crate::policy::{Admission, Ask, Decision, Denial, Policy, rates, tell};
use words::span;

/// One handshake under way, and the text about it.
pub(super) struct Course<'a> {
    policy: &'a Policy,
    pub(super) now: Now,
    pub(super) found: Decision,
    text: String,
    steps: usize,
}

impl<'a> Course<'a> {
    pub(super) fn new(policy: &'a Policy, now: Now) -> Self {
        Self { policy, now, found: Decision::undecided(), text: String::new(), steps: 0 }
    }

    /// All of it, up to the stage that refuses.
    pub(super) fn run(&mut self, ask: &Ask<'_>, request: &Request) -> End {
        self.stages(ask, request).map_or_else(|end| end, |()| End::Admitted)
    }

    fn stages(&mut self, ask: &Ask<'_>, request: &Request) -> Result<(), End> {
        self.asked(ask, request);
        let entered = self.policy.enter(ask, &mut self.found);
        self.route(ask);
        let Some(route) = self.found.route.clone() else { return entered.map(drop).map_err(End::Refused) };
        self.origin(&route, ask, entered.as_ref().err());
        entered.map_err(End::Refused)?;
        self.limits(&route, Stage::Address, ask, None).map_err(End::Refused)?;
        self.bearer(&route, ask, request)?;
        let known = self.policy.identify(&route, ask, self.now, &mut self.found);
        let known = known.inspect_err(|denial| self.no(denial.why)).map_err(End::Refused)?;
        self.limits(&route, Stage::Identity, ask, Some(&known.identity)).map_err(End::Refused)?;
        let facts = route.facts(ask, Some(&known.identity));
        let caps = words::caps(&route, &self.policy.total, &facts, &self.found.captures);
        self.step("caps");
        let seated = self.policy.seat(&route, ask, known, self.now, &mut self.found);
        let admission = seated.inspect_err(|denial| self.no(denial.why)).map_err(End::Refused)?;
        for cap in caps {
            self.ok(cap);
        }
        self.session(&route, ask, &admission);
        self.leads(&route, ask, request, &admission);
        Ok(())
    }

    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        let _ = writeln!(self.text, "{}. {title}", self.steps);
    }

    fn line(&mut self, mark: &str, said: &str) {
        let _ = writeln!(self.text, "   {mark:<4}{said}");
    }

    pub(super) fn ok(&mut self, said: impl AsRef<str>) {
        self.line("ok", said.as_ref());
    }

    pub(super) fn no(&mut self, said: impl AsRef<str>) {
        self.line("NO", said.as_ref());
    }

    pub(super) fn note(&mut self, said: impl AsRef<str>) {
        self.line("", said.as_ref());
    }

    fn asked(&mut self, ask: &Ask<'_>, request: &Request) {
        self.step("what is asked");
        let (host, path) = (&ask.opening.host, ask.opening.path.escape_debug());
        self.note(format!("{host}{path}, from {}", ask.client));
        if let Some(place) = &request.token {
            self.note(format!("with a token in {}", words::place(place)));
        }
    }

    fn route(&mut self, ask: &Ask<'_>) {
        self.step("route");
        for (matcher, route) in self.policy.places() {
            let Some(captures) = matcher.matches(&ask.opening.host, &ask.opening.path) else {
                self.line("-", &format!("`{}` at {matcher}", route.name));
                continue;
            };
            let mut said = format!("`{}` at {matcher}", route.name);
            for (name, value) in captures.iter() {
                let _ = write!(said, ", {{{name}}} is `{}`", value.escape_debug());
            }
            return self.ok(said);
        }
        self.no("no other is tried: none has this host and path");
    }

    fn origin(&mut self, route: &Route, ask: &Ask<'_>, denial: Option<&Denial>) {
        self.step("Origin");
        if let Some(denial) = denial {
            return self.no(denial.why);
        }
        match (&route.origins, ask.headers.contains_key(ORIGIN)) {
            (None, _) => self.ok("not looked at"),
            (Some(Origins::Any), _) => self.ok("any"),
            (Some(Origins::List { .. }), true) => self.ok("on the route's list"),
            (Some(Origins::List { .. }), false) => self.ok("none, which allow_missing_origin allows"),
        }
    }

    /// The limits of one stage, charged as the gateway would; what refuses is the last that was noted.
    fn limits(
        &mut self,
        route: &Route,
        stage: Stage,
        ask: &Ask<'_>,
        identity: Option<&Identity>,
    ) -> Result<(), Denial> {
        self.step(match stage {
            Stage::Address => "limits of handshakes, before the token",
            Stage::Identity => "limits of handshakes, after the token",
        });
        let captures = self.found.captures.clone();
        let counted = route.counted(stage, ask, identity, &captures);
        let charged = counted.admit(self.now.mono, &mut self.found.exceeded);
        let refusing =
            charged.as_ref().err().and_then(|_| self.found.exceeded.last()).filter(|e| e.action == Action::Refuse);
        let refusing = refusing.map(|exceeded| exceeded.limit);
        let mut none = true;
        for limit in route.handshakes.iter().filter(|limit| limit.stage == stage) {
            none = false;
            let name = self.name(limit);
            if !counted.limits.iter().any(|one| one.id == limit.id) {
                self.line("-", &format!("{name}: not for this client, `when` does not hold"));
                continue;
            }
            let mark = if refusing == Some(limit.id) { "NO" } else { "ok" };
            self.line(mark, &format!("{name}, by {}", limit.key.shown(&route.facts(ask, identity))));
            self.note(words::allowance(limit));
        }
        if none {
            self.note("none");
        }
        charged.map(drop)
    }

    fn name(&self, limit: &HandshakeLimit) -> String {
        words::account(self.policy.roll.limit(limit.id).map_or("", |info| &info.zone), limit.store)
    }

    /// What holds once it is open.
    fn session(&mut self, route: &Route, ask: &Ask<'_>, admission: &Admission) {
        self.step("what then counts");
        if admission.wait_ms > 0 {
            self.note(format!("it waits {} for its turn", span(admission.wait_ms)));
        }
        let facts = route.facts(ask, Some(&admission.identity));
        for direction in Direction::ALL {
            for rule in &route.flow.rules[direction.index()] {
                let info = self.policy.roll.limit(rule.id);
                let zone = info
                    .filter(|info| !info.zone.is_empty())
                    .map_or(String::new(), |info| format!(" of zone `{}`", info.zone));
                let name = format!("{} {}{zone}", rule.what.label(), direction.label());
                if rates::is_for(&rule.when, &facts, &admission.captures) {
                    self.note(format!("{name}: {}", words::flow(rule)));
                } else {
                    self.line("-", &format!("{name}: not for this client, `when` does not hold"));
                }
            }
            if let Some(fragments) = &route.flow.fragments[direction.index()] {
                self.note(format!("fragments {}: {} frames of one message", direction.label(), fragments.max));
            }
        }
        self.note(format!("a message of the client has {} bytes at most", route.terms.max_message_size));
        let mut ends = vec![format!("{} without a byte", span(route.terms.idle_timeout))];
        let left = |end: u64| span(end.saturating_sub(self.now.mono));
        ends.extend(admission.expires.map(|end| format!("{} with its token", left(end))));
        ends.extend(route.terms.expiry.max_lifetime.map(|most| format!("{} as max_lifetime says", span(most))));
        self.note(format!("it ends after {}", ends.join(", or ")));
    }

    fn leads(&mut self, route: &Route, ask: &Ask<'_>, request: &Request, admission: &Admission) {
        self.step("where it leads");
        // The target alone is looked at: any name would do.
        let caller = Caller {
            id: Id(0),
            peer: ask.client,
            trusted: false,
            believed: self.policy.forwarded_header,
            forwarded: &Forwarded { client: ask.client, proto: None, host: None },
            secure: false,
            vouched: &admission.vouched,
        };
        let path = request.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let (_, target) = forward::request(route, ask.headers, path, &caller);
        // A token may stand behind the `?`, where the route forwards it.
        let path = target.split('?').next().unwrap_or_default();
        let upstream = &route.target.upstream;
        if upstream.is_section() {
            self.note(format!("upstream.{}, with the path {path}", upstream.name));
            let facts = route.facts(ask, Some(&admission.identity));
            let key = upstream.hash.as_ref().and_then(|rule| rule.key_if_there(&facts));
            return self.note(upstreams::chosen(upstream, key));
        }
        let is_unix = upstream.servers.iter().any(|server| server.host.is_none());
        let by = if is_unix { ", with the path " } else { "" };
        self.note(format!("{}{by}{path}", upstreams::url(upstream)));
    }

    /// The text, with its last line.
    pub(super) fn finish(mut self, end: &End) -> String {
        let said = match end {
            End::Admitted => "admitted".to_owned(),
            End::Unknown(why) => format!("undecided: {why}"),
            End::Refused(denial) => {
                let code = self.found.route.as_ref().and_then(|route| tell::code(route, denial.deny));
                let told = code.map_or(format!("status {}", denial.status), |code| format!("a Close with {code}"));
                format!("refused: {}, {told} ({})", denial.deny, denial.why)
            }
        };
        let _ = writeln!(self.text, "{said}");
        self.text
    }
}
