//! The stages of a handshake, in their order: its route and Origin, limits by what anybody can say of himself, whose it is,
//! limits by that, caps. Each is a function of what it is given; who drives them may ask others in between, such as a
//! shared store for a rate, or an issuer for newer keys.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::again::Asked;
use super::identity::{self, Identity};
use super::key::rule::Facts;
use super::meter::open::meters;
use super::rates::Counted;
use super::relay::Relay;
use super::request::Opening;
use super::route::{Captures, Matcher, Route, Stage};
use super::slots::Noted;
use super::upward::Vouched;
use super::{Admission, Ask, Decision, Denial, Policy};
use crate::deny::Deny;
use crate::now::Now;

/// Who asks, once that is known and allowed.
#[derive(Debug)]
pub struct Known {
    /// Whose session it will be.
    pub identity: Identity,
    /// What the upstream is told of that.
    pub vouched: Vouched,
}

impl Policy {
    /// Whether a session may be opened: all stages, one after the other, by what this gateway knows alone. Limits that
    /// several gateways share are counted here.
    #[must_use]
    pub fn admit(&self, ask: &Ask<'_>, now: Now) -> Decision {
        let mut found = Decision::undecided();
        found.verdict = self.enter(ask, &mut found).and_then(|route| {
            found.charge(&route.counted(Stage::Address, ask, None, &found.captures), now)?;
            let known = self.identify(&route, ask, now, &mut found)?;
            found.charge(&route.counted(Stage::Identity, ask, Some(&known.identity), &found.captures), now)?;
            self.seat(&route, ask, known, now, &mut found)
        });
        found
    }

    /// The places of all routes, in the order in which they are tried.
    pub fn places(&self) -> impl Iterator<Item = (&Matcher, &Arc<Route>)> {
        self.ranked.iter().map(|(matcher, route)| (matcher, route))
    }

    /// The route of a handshake, undecided.
    #[must_use]
    pub fn route(&self, opening: &Opening) -> Option<&Arc<Route>> {
        let Opening { host, path } = opening;
        self.places().find(|(matcher, _)| matcher.matches(host, path).is_some()).map(|(_, route)| route)
    }

    /// The route, if the page may connect to it.
    ///
    /// # Errors
    /// `no_route`, `origin_missing` or `origin_forbidden`.
    pub fn enter(&self, ask: &Ask<'_>, found: &mut Decision) -> Result<Arc<Route>, Denial> {
        let route = self.arrive(ask, found)?;
        check_origin(&route, ask.headers)?;
        Ok(route)
    }

    /// The route, whichever page it comes from.
    ///
    /// # Errors
    /// `no_route`.
    pub fn arrive(&self, ask: &Ask<'_>, found: &mut Decision) -> Result<Arc<Route>, Denial> {
        let Opening { host, path } = ask.opening;
        let place = self.places().find_map(|(matcher, route)| Some((matcher.matches(host, path)?, route)));
        let (captures, route) = place.ok_or(Denial::new(Deny::NoRoute, "no route matches host and path"))?;
        (found.route, found.captures) = (Some(route.clone()), captures);
        Ok(route.clone())
    }

    /// Whose handshake it is, if that allows the route.
    ///
    /// # Errors
    /// Those of certificates and tokens. One that a newer key set might not give says so: then it may be asked again.
    pub fn identify(&self, route: &Route, ask: &Ask<'_>, now: Now, found: &mut Decision) -> Result<Known, Denial> {
        let mut identity = identity::identify(route, ask, now)?;
        found.subject.clone_from(&identity.subject);
        identity::allow(route, &identity, &found.captures)?;
        identity::check_revoked(route, &mut identity, &self.revocations, now)?;
        let vouched = identity::vouch(route, &identity)?;
        Ok(Known { identity, vouched })
    }

    /// Makes what the session to be is measured by, and takes its slots.
    ///
    /// # Errors
    /// `zone_full`, and those of caps.
    pub fn seat(
        &self,
        route: &Route,
        ask: &Ask<'_>,
        known: Known,
        now: Now,
        found: &mut Decision,
    ) -> Result<Admission, Denial> {
        let Known { identity, vouched } = known;
        let facts = route.facts(ask, Some(&identity));
        let meters = meters(route, &facts, &found.captures, now.mono, &mut found.exceeded)?;
        let mut noted = Noted { exceeded: &mut found.exceeded, near: &mut found.near };
        let permits = self.take_slots(route, &facts, &found.captures, &mut noted)?;
        let mono = |wall: u64| now.mono.saturating_add(wall.saturating_sub(now.wall));
        let (expires, certificate_ends) = (identity.expires.map(mono), identity.certificate_ends.map(mono));
        let lineage = route.renew.as_ref().and_then(|_| self.lineage(&identity));
        let wait_ms = found.turn.saturating_sub(now.mono);
        let captures = found.captures.clone();
        let asked = Asked::of(route, ask);
        Ok(Admission {
            permits,
            meters,
            wait_ms,
            expires,
            certificate_ends,
            identity,
            vouched,
            lineage,
            captures,
            asked,
        })
    }
}

impl Route {
    /// What is known of a handshake when it is counted.
    #[must_use]
    pub fn facts<'a>(&'a self, ask: &Ask<'a>, identity: Option<&'a Identity>) -> Facts<'a> {
        Facts { client: ask.client, headers: ask.headers, host: &ask.opening.host, route: &self.name, identity }
    }

    /// The limits of one stage that count for a handshake.
    #[must_use]
    pub fn counted<'a>(
        &'a self,
        stage: Stage,
        ask: &Ask<'_>,
        identity: Option<&Identity>,
        captures: &Captures,
    ) -> Counted<'a> {
        Counted::of(&self.handshakes, stage, &self.facts(ask, identity), captures)
    }

    /// The same for an ordinary request.
    #[must_use]
    pub fn counted_of_request<'a>(
        &'a self,
        stage: Stage,
        ask: &Ask<'_>,
        identity: Option<&Identity>,
        captures: &Captures,
    ) -> Counted<'a> {
        Counted::of(Relay::rates(self), stage, &self.facts(ask, identity), captures)
    }
}

impl Decision {
    /// Charges these limits here, whatever their store.
    fn charge(&mut self, limits: &Counted<'_>, now: Now) -> Result<(), Denial> {
        let wait_ms = limits.admit(now.mono, &mut self.exceeded)?;
        self.wait_until(now.mono.saturating_add(wait_ms));
        Ok(())
    }

    /// Its turn comes no earlier.
    pub fn wait_until(&mut self, turn: u64) {
        self.turn = self.turn.max(turn);
    }
}

/// Whether the page may connect.
///
/// # Errors
/// `origin_missing` or `origin_forbidden`.
pub fn check_origin(route: &Route, headers: &HeaderMap) -> Result<(), Denial> {
    let Some(origins) = &route.origins else { return Ok(()) };
    let origin = headers.get(http::header::ORIGIN).map(HeaderValue::as_bytes);
    let why = if origin.is_some() { "not on the route's list" } else { "no Origin, and the route has a list" };
    origins.check(origin).map_err(|deny| Denial::new(deny, why))
}
