//! The slots of one handshake: of every cap that counts it, in order, or of none.
//!
//! A cap that closes the oldest gives its place over at once, but the oldest is told only when it is sure that the new one
//! is let in: see [`Permits::confirm`]. Until then a drop gives every place back to whom it was taken from.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cap::keyed::{Bound, Full};
use super::cap::seat::{Elsewhere, Leave, Seat};
use super::cap::{Cap, KeyedCap, KeyedPermit, Permit, Taken};
use super::key::Key;
use super::key::rule::{Facts, KeyRule};
use super::limit::{Action, Exceeded, LimitId, Pace};
use super::require::Require;
use super::route::{Captures, Route};
use super::{Denial, Policy, rates};
use crate::config::OnFull;
use crate::deny::Deny;

/// The caps of a route.
#[derive(Debug, Default)]
pub struct Caps {
    /// Over all of its sessions.
    pub total: Option<TotalLimit>,
    /// By address, by subject, then by zones in the order of the file.
    pub keyed: Vec<KeyedLimit>,
}

/// `connections.total` of a route.
#[derive(Debug)]
pub struct TotalLimit {
    /// Its name in metrics and logs.
    pub id: LimitId,
    /// The count.
    pub cap: Arc<Cap>,
    /// Counted, never refused.
    pub dry_run: bool,
    /// Its name where several gateways count together.
    pub shared: Option<Arc<str>>,
}

/// What a cap by key counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Scope {
    Ip,
    Subject,
    Zone,
}

impl Scope {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Subject => "subject",
            Self::Zone => "zone",
        }
    }

    /// The route's key for it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Ip => "connections.per_ip",
            Self::Subject => "connections.per_subject",
            Self::Zone => "connections.per_zone",
        }
    }

    /// Why a handshake is refused, or the oldest session is closed.
    #[must_use]
    pub const fn deny(self) -> Deny {
        match self {
            Self::Ip => Deny::IpCap,
            Self::Subject => Deny::SubjectCap,
            Self::Zone => Deny::ZoneCap,
        }
    }
}

/// A cap by key.
#[derive(Debug)]
pub struct KeyedLimit {
    /// Its name in metrics and logs.
    pub id: LimitId,
    /// What it counts by.
    pub scope: Scope,
    /// The zone's name; empty for a cap of the route's own.
    pub zone: Arc<str>,
    /// The counts, which a zone's caps share.
    pub counts: Arc<KeyedCap>,
    /// Who is counted together.
    pub key: Arc<KeyRule>,
    /// Whom it is for; whoever it is not for is not counted.
    pub when: Require,
    /// Sessions of one key.
    pub max: usize,
    /// What happens to one more.
    pub on_full: OnFull,
    /// What this gateway does by itself then: nothing, where others have to be asked.
    pub full: Full,
    /// Its name where several gateways count together.
    pub shared: Option<Arc<str>>,
    /// Counted, never refused.
    pub dry_run: bool,
    /// Whether those who are counted stand in order, since some cap of these counts closes the oldest.
    pub ordered: bool,
    /// Whose keys are near their bound, see [`super::cap::keyed::mark()`].
    pub mark: Option<usize>,
    /// How often a warning may be said.
    pub pace: Pace,
}

/// A cap that counts a handshake.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Its place in [`Caps::keyed`].
    pub index: usize,
    /// The cap.
    pub limit: &'a KeyedLimit,
    /// Whose slot it takes.
    pub key: Key,
}

impl Caps {
    /// Whether some of them are counted by several gateways together.
    #[must_use]
    pub fn are_shared(&self) -> bool {
        self.total.iter().any(|limit| limit.shared.is_some()) || self.keyed.iter().any(|limit| limit.shared.is_some())
    }

    /// The caps by key that count a handshake: of several of one zone the first that is for it.
    #[must_use]
    pub fn counted(&self, facts: &Facts<'_>, captures: &Captures) -> Vec<Counted<'_>> {
        let mut counted: Vec<Counted<'_>> = Vec::new();
        for (index, limit) in self.keyed.iter().enumerate() {
            let before = counted.iter().any(|other| Arc::ptr_eq(&other.limit.counts, &limit.counts));
            if !before && limit.is_for(facts, captures) {
                counted.push(Counted { index, limit, key: limit.key.key(facts) });
            }
        }
        counted
    }
}

/// Caps that just came near their limit, each said once until it fell well below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Near {
    /// `connections.total` of `[server]`.
    pub total: bool,
    /// `connections.total` of the route.
    pub route: bool,
    /// Those by key, by their places in [`Caps::keyed`].
    pub keyed: Vec<usize>,
}

/// What the caps say of a handshake beside yes or no.
pub(super) struct Noted<'a> {
    pub(super) exceeded: &'a mut Vec<Exceeded>,
    pub(super) near: &'a mut Near,
}

/// The slots that one session holds, each given back by its own drop.
#[derive(Debug)]
pub struct Permits {
    _total: Permit,
    _route: Option<Permit>,
    keyed: Box<[KeyedPermit]>,
    /// What is held outside of this gateway, where no seat has it.
    elsewhere: Option<Box<dyn Elsewhere>>,
}

impl Permits {
    /// It is let in: those whose places it took are told to leave.
    pub fn confirm(&mut self) {
        self.keyed.iter_mut().for_each(KeyedPermit::confirm);
    }

    /// Why a newer one has its place, if one has.
    #[must_use]
    pub fn lost(&self) -> Option<Deny> {
        self.seat().and_then(|seat| seat.told())
    }

    /// The handshake became this session, which is told when a newer one takes its place.
    pub fn begun(&self, session: &Arc<impl Leave + 'static>) {
        if let Some(seat) = self.seat() {
            seat.begun(session);
        }
    }

    /// Holds slots outside of this gateway too.
    pub fn hold(&mut self, slots: impl Elsewhere + 'static) {
        match self.seat() {
            Some(seat) => seat.hold(Box::new(slots)),
            None => self.elsewhere = Some(Box::new(slots)),
        }
    }

    /// That of all places which a newer one may take over.
    #[must_use]
    pub fn seat(&self) -> Option<&Arc<Seat>> {
        self.keyed.iter().find_map(KeyedPermit::seat)
    }
}

impl Policy {
    /// A slot of each cap that counts this handshake, the total ones first.
    ///
    /// # Errors
    /// The first cap that has none: `total_cap`, `route_cap`, `ip_cap`, `subject_cap` or `zone_cap`.
    pub(super) fn take_slots(
        &self,
        route: &Route,
        facts: &Facts<'_>,
        captures: &Captures,
        noted: &mut Noted<'_>,
    ) -> Result<Permits, Denial> {
        let total = self.total.take().ok_or(busy(Deny::TotalCap, "connections.total of [server]"))?;
        noted.near.total = total.near;
        let of_route = route.caps.total.as_ref().map(|limit| limit.take(noted)).transpose()?;
        let ordered = route.caps.keyed.iter().any(|limit| limit.ordered);
        let seat = ordered.then(|| Seat::new(self.admissions.fetch_add(1, Ordering::Relaxed)));
        let mut keyed = Vec::new();
        let mut closing = Vec::new();
        for Counted { index, limit, key } in route.caps.counted(facts, captures) {
            let Some(taken) = limit.counts.take(key, &limit.bound(), seat.as_ref().filter(|_| limit.ordered)) else {
                noted.exceeded.push(limit.exceeded(Action::Refuse));
                return Err(busy(limit.scope.deny(), limit.scope.key()));
            };
            match limit.on_full {
                // Of a shared one it is for the others to say.
                _ if !taken.was_full || limit.shared.is_some() => {}
                OnFull::CloseOldest if !limit.dry_run => closing.push(limit.exceeded(Action::CloseOldest)),
                OnFull::CloseOldest => noted.exceeded.push(limit.exceeded(Action::CloseOldest)),
                OnFull::Refuse => noted.exceeded.push(limit.exceeded(Action::Refuse)),
            }
            noted.near.keyed.extend(taken.near.then_some(index));
            keyed.push(taken.permit);
        }
        noted.exceeded.append(&mut closing);
        Ok(Permits { _total: total.permit, _route: of_route, keyed: keyed.into(), elsewhere: None })
    }
}

impl Policy {
    /// Closes the oldest session of this key for one on another gateway, which counts by the cap of this name.
    pub fn close_oldest(&self, shared: &str, key: Key) {
        let caps = self.routes.iter().flat_map(|route| &route.caps.keyed);
        let of_name = |limit: &&KeyedLimit| limit.shared.as_deref() == Some(shared) && limit.ordered;
        if let Some(limit) = { caps }.find(of_name) {
            limit.counts.close_oldest(key, limit.scope.deny(), None);
        }
    }
}

impl TotalLimit {
    fn take(&self, noted: &mut Noted<'_>) -> Result<Permit, Denial> {
        let taken = self.cap.take();
        let is_told = |taken: &Taken<Permit>| taken.was_full && self.shared.is_none();
        if taken.as_ref().is_none_or(is_told) {
            noted.exceeded.push(Exceeded { limit: self.id, action: Action::Refuse });
        }
        let taken = taken.ok_or(busy(Deny::RouteCap, "connections.total"))?;
        noted.near.route = taken.near;
        Ok(taken.permit)
    }
}

impl KeyedLimit {
    fn is_for(&self, facts: &Facts<'_>, captures: &Captures) -> bool {
        // In a zone all without a subject are counted together, and by a cap of the route's own not at all.
        let is_nobody = facts.identity.is_none_or(|identity| identity.subject.is_none());
        !(self.scope == Scope::Subject && is_nobody) && rates::is_for(&self.when, facts, captures)
    }

    fn bound(&self) -> Bound {
        Bound { max: self.max, full: self.full, mark: self.mark }
    }

    /// What is noted of one that exceeds it.
    #[must_use]
    pub fn exceeded(&self, action: Action) -> Exceeded {
        Exceeded { limit: self.id, action }
    }

    /// Keys that are so near the bound that a warning is due, and perhaps was given.
    #[must_use]
    pub fn keys_near(&self) -> usize {
        self.mark.map_or(0, |mark| self.counts.keys_near(mark))
    }
}

/// When a place becomes free nobody knows.
#[must_use]
pub fn busy(deny: Deny, why: &'static str) -> Denial {
    Denial { retry_after: Some(1), ..Denial::new(deny, why) }
}
