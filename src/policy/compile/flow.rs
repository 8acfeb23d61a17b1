//! What may flow on a route's sessions: messages, bytes, control frames, and the frames of one message.

use std::sync::Arc;

use super::limits::{self, Account, OfRoute};
use super::{Findings, Named};
use crate::config::limits::{Bytes, From, Messages};
use crate::config::value::{KeyPart, Rate, Size};
use crate::config::{OnExcess, Require};
use crate::deny::Direction;
use crate::policy::bucket::Limit;
use crate::policy::flow::{Flow, Fragments, Rule, Shared};
use crate::policy::limit::{Action, LimitInfo, What};

/// The longest header (RFC 6455 s5.2): the largest frame of a client is this and the largest message.
const HEADER: u64 = 14;

/// One table of `messages`, `control` or `bytes`, with its counts in units.
struct Typed<'a> {
    what: What,
    rate: Option<Rate>,
    zone: Option<&'a String>,
    burst: u64,
    delay: Option<u64>,
    nodelay: bool,
    on_excess: OnExcess,
    dry_run: bool,
    from: From,
    when: &'a Require,
}

impl<'a> Typed<'a> {
    fn messages(what: What, typed: &'a Messages) -> Self {
        let units = |count: u32| u64::from(count) * Rate::ONE;
        Self {
            what,
            rate: typed.rate,
            zone: typed.zone.as_ref(),
            burst: units(typed.burst),
            delay: typed.delay.map(units),
            nodelay: typed.nodelay,
            on_excess: typed.on_excess,
            dry_run: typed.dry_run,
            from: typed.from,
            when: &typed.when,
        }
    }

    fn bytes(typed: &'a Bytes) -> Self {
        let units = |size: Size| size.0.saturating_mul(Rate::ONE);
        Self {
            what: What::Bytes,
            rate: typed.rate,
            zone: typed.zone.as_ref(),
            burst: typed.burst.map_or(0, units),
            delay: typed.delay.map(units),
            nodelay: typed.nodelay,
            on_excess: typed.on_excess,
            dry_run: typed.dry_run,
            from: typed.from,
            when: &typed.when,
        }
    }

    /// `close` and `drop` judge as nginx's `nodelay` does unless a delay is given. `delay` spaces as a plain burst does, and
    /// what is beyond the burst waits too: the socket is not read meanwhile, so there is nothing to refuse.
    fn limit(&self, rate: Rate) -> Limit {
        match self.on_excess {
            OnExcess::Close | OnExcess::Drop => {
                Limit { rate, burst: self.burst, delay: self.delay.unwrap_or(u64::MAX) }
            }
            OnExcess::Delay => Limit { rate, burst: u64::MAX, delay: self.delay.unwrap_or(0) },
        }
    }

    fn actions(&self) -> &'static [Action] {
        match (self.on_excess, self.delay) {
            (OnExcess::Delay, _) => &[Action::Delay],
            (OnExcess::Close, None) => &[Action::Close],
            (OnExcess::Close, Some(_)) => &[Action::Close, Action::Delay],
            (OnExcess::Drop, None) => &[Action::Drop],
            (OnExcess::Drop, Some(_)) => &[Action::Drop, Action::Delay],
        }
    }
}

/// The rules of a route, in the order of the file; messages before bytes, and these before control frames.
pub(super) fn compile(route: &OfRoute<'_>, named: &Named<'_>, found: &mut Findings) -> Flow {
    let mut flow = Flow::default();
    let at = |key: &str| format!("{}.{key}", route.at);
    for (at, typed) in route.typed.messages.placed(&at("messages")) {
        rule(route, &Typed::messages(What::Messages, typed), &at, named, found, &mut flow);
    }
    for (at, typed) in route.typed.bytes.placed(&at("bytes")) {
        rule(route, &Typed::bytes(typed), &at, named, found, &mut flow);
    }
    for (at, typed) in route.typed.control.placed(&at("control")) {
        rule(route, &Typed::messages(What::Control, typed), &at, named, found, &mut flow);
    }
    let typed = &route.typed.fragments;
    for direction in directions(typed.from) {
        let id = found.limit(LimitInfo {
            route: route.name.clone(),
            what: What::Fragments,
            zone: "".into(),
            direction: Some(*direction),
            dry_run: typed.dry_run,
            actions: &[Action::Close],
        });
        flow.fragments[direction.index()] = Some(Fragments { id, max: typed.max, dry_run: typed.dry_run });
    }
    flow
}

fn rule(route: &OfRoute<'_>, typed: &Typed<'_>, at: &str, named: &Named<'_>, found: &mut Findings, flow: &mut Flow) {
    check_delay(typed, at, found);
    let account = limits::account(typed.rate, typed.zone, KeyPart::Connection, at, named, found);
    let Some(Account { name, key, leases, zone, rate, .. }) = account else { return };
    let when = Arc::new(limits::when(route, typed.when, &key, at, found));
    if let (What::Bytes, Some(zone)) = (typed.what, &zone) {
        zone.expect(route.typed.max_message_size.0.saturating_add(HEADER).saturating_mul(Rate::ONE));
    }
    let limit = typed.limit(rate);
    if let Some(leases) = &leases {
        leases.expect(limit.burst.min(limit.delay));
    }
    let shared = zone.map(|zone| Shared { zone, key, leases });
    for direction in directions(typed.from) {
        let id = found.limit(LimitInfo {
            route: route.name.clone(),
            what: typed.what,
            zone: name.clone(),
            direction: Some(*direction),
            dry_run: typed.dry_run,
            actions: typed.actions(),
        });
        flow.rules[direction.index()].push(Arc::new(Rule {
            id,
            what: typed.what,
            limit,
            on_excess: typed.on_excess,
            dry_run: typed.dry_run,
            shared: shared.clone(),
            when: when.clone(),
        }));
    }
}

fn check_delay(typed: &Typed<'_>, at: &str, found: &mut Findings) {
    if typed.on_excess == OnExcess::Delay && typed.burst > 0 {
        let help = "remove it, or say as `delay` how much passes at once";
        found.warn(
            format!("{at}.burst"),
            "with on_excess = \"delay\" nothing is beyond the burst: all of it waits",
            help,
        );
    }
    if !typed.nodelay {
        return;
    }
    if typed.on_excess == OnExcess::Delay {
        let message = "nodelay is the contrary of on_excess = \"delay\"";
        found.wrong(format!("{at}.nodelay"), message, "remove it, or have what exceeds the burst closed or dropped");
    } else if typed.delay.is_some() {
        let help = "nodelay is a delay without end; keep one";
        found.wrong(format!("{at}.delay"), "both delay and nodelay are given", help);
    }
}

const fn directions(from: From) -> &'static [Direction] {
    match from {
        From::Client => &[Direction::ToUpstream],
        From::Upstream => &[Direction::ToClient],
        From::Both => &Direction::ALL,
    }
}
