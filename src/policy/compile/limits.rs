//! How much a route takes: handshakes, what flows, sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::caps::{self, ZoneSlots};
use super::sections::DEFAULT_ENTRIES;
use super::{Findings, Named, certificates, nearest};
use crate::config::limits::Handshakes;
use crate::config::value::{KeyPart, Rate};
use crate::config::{self, Config, Store};
use crate::policy::Policy;
use crate::policy::key::KeyHasher;
use crate::policy::key::rule::KeyRule;
use crate::policy::lease::table::Leases;
use crate::policy::lease::wishes::Wishes;
use crate::policy::limit::{Action, LimitInfo, What};
use crate::policy::require::Require;
use crate::policy::route::{HandshakeLimit, Stage};
use crate::policy::zone::Zone;

/// One route, as its limits need it.
pub(super) struct OfRoute<'a> {
    pub(super) typed: &'a config::Route,
    pub(super) name: &'a Arc<str>,
    /// Its path in the file.
    pub(super) at: &'a str,
    /// The `{name}`s of its path and host.
    pub(super) captures: &'a [&'a str],
}

/// Where something is counted.
pub(super) struct Account {
    /// The zone's name; empty for a rate of the route's own.
    pub(super) name: Arc<str>,
    pub(super) key: Arc<KeyRule>,
    pub(super) store: Store,
    /// What this gateway holds of it, where it is shared with others.
    pub(super) leases: Option<Arc<Leases>>,
    /// None for a rate of the route's own, whose holder makes what it needs.
    pub(super) zone: Option<Arc<Zone>>,
    pub(super) rate: Rate,
}

/// The account that `rate` or `zone` names: one of them.
pub(super) fn account(
    rate: Option<Rate>,
    zone: Option<&String>,
    own_key: KeyPart,
    at: &str,
    named: &Named<'_>,
    found: &mut Findings,
) -> Option<Account> {
    match (rate, zone) {
        (Some(rate), None) => {
            let key = Arc::new(KeyRule::new(&[own_key], Store::Local, &named.hasher));
            Some(Account { name: "".into(), key, store: Store::Local, leases: None, zone: None, rate })
        }
        (None, Some(name)) => {
            let of_zone = zone_named(name, at, named, found)?;
            let Some(zone) = &of_zone.zone else {
                found.wrong(format!("{at}.zone"), format!("[zone.{name}] has no rate"), "give it a `rate`");
                return None;
            };
            let (key, store, leases) = (of_zone.key.clone(), of_zone.store, of_zone.leases.clone());
            let (name, rate) = (name.as_str().into(), zone.rate());
            Some(Account { name, key, store, leases, zone: Some(zone.clone()), rate })
        }
        (Some(_), Some(_)) => {
            found.wrong(format!("{at}.zone"), "both rate and zone are given", "a zone has its own rate; keep one");
            None
        }
        (None, None) => {
            found.wrong(
                at,
                "neither rate nor zone is given",
                "as { rate = \"20r/s\", burst = 30 } or { zone = \"NAME\", burst = 30 }",
            );
            None
        }
    }
}

/// The zone of this name.
pub(super) fn zone_named<'a>(
    name: &String,
    at: &str,
    named: &'a Named<'_>,
    found: &mut Findings,
) -> Option<&'a OfZone> {
    let zone = named.zones.get(name);
    if zone.is_none() && !named.typed_zones.contains(name) {
        found.wrong(
            format!("{at}.zone"),
            format!("there is no [zone.{name}]"),
            &nearest(name, named.typed_zones.iter()),
        );
    }
    zone
}

/// A `[zone.NAME]`, compiled.
#[derive(Clone, Debug)]
pub(super) struct OfZone {
    pub(super) key: Arc<KeyRule>,
    pub(super) store: Store,
    /// What this gateway holds of its budgets.
    pub(super) leases: Option<Arc<Leases>>,
    /// None for one without a rate.
    pub(super) zone: Option<Arc<Zone>>,
    /// None for one that no cap names.
    pub(super) slots: Option<ZoneSlots>,
}

/// The rates of handshakes: of zones, or of the route's own.
pub(super) fn handshakes(route: &OfRoute<'_>, named: &Named<'_>, found: &mut Findings) -> Vec<HandshakeLimit> {
    let placed = route.typed.handshakes.placed(&format!("{}.handshakes", route.at));
    // The route's own buckets are known by its name, and their order.
    let known = named.previous.and_then(|previous| previous.of_name(route.name));
    let mut own = known.iter().flat_map(|known| &known.handshakes).map(|limit| &*limit.zone);
    let mut own = own.by_ref().filter(|zone| zone.name() == own_name(route));
    placed
        .into_iter()
        .filter_map(|(at, typed)| handshake(route, What::Handshakes, typed, &at, &mut own, named, found))
        .collect()
}

/// The rates of ordinary requests, likewise.
pub(super) fn requests(route: &OfRoute<'_>, named: &Named<'_>, found: &mut Findings) -> Vec<HandshakeLimit> {
    let Some(typed) = &route.typed.requests else { return Vec::new() };
    let placed = typed.placed(&format!("{}.requests", route.at));
    let known = named.previous.and_then(|previous| previous.of_name(route.name));
    let known = known.and_then(|known| known.relay.as_ref()).and_then(|relay| relay.requests.as_ref());
    let own = known.into_iter().flatten().map(|limit| &*limit.zone);
    let mut own = own.filter(|zone| zone.name() == own_name(route));
    let each = |(at, typed): (String, _)| handshake(route, What::Requests, typed, &at, &mut own, named, found);
    placed.into_iter().filter_map(each).collect()
}

fn handshake(
    route: &OfRoute<'_>,
    what: What,
    typed: &Handshakes,
    at: &str,
    known: &mut dyn Iterator<Item = &Zone>,
    named: &Named<'_>,
    found: &mut Findings,
) -> Option<HandshakeLimit> {
    if typed.nodelay && typed.delay > 0 {
        found.wrong(
            format!("{at}.delay"),
            "both delay and nodelay are given",
            "nodelay is a delay without end; keep one",
        );
    }
    let account = account(typed.rate, typed.zone.as_ref(), KeyPart::Ip, at, named, found)?;
    if account.key.is_per_connection() {
        let message = "the zone's key is the connection, and each has but one handshake";
        found.wrong(format!("{at}.zone"), message, "name a zone with another key");
        return None;
    }
    if account.key.parts().contains(&KeyPart::Host) && route.typed.host.is_none() {
        let message =
            "the zone counts by host, and this route takes any: a client that asks for another has another account";
        found.warn(format!("{at}.zone"), message, "name the route's hosts in `host`");
    }
    let when = when(route, &typed.when, &account.key, at, found);
    let of_identity = account.key.needs_identity() || !when.is_empty();
    let actions: &[Action] = if typed.nodelay { &[Action::Refuse] } else { &[Action::Refuse, Action::Delay] };
    let id = found.limit(LimitInfo {
        route: route.name.clone(),
        what,
        zone: account.name,
        direction: None,
        dry_run: typed.dry_run,
        actions,
    });
    let own = || {
        let (name, rate) = (own_name(route), account.rate);
        Arc::new(
            known
                .next()
                .map_or_else(|| Zone::new(&name, rate, DEFAULT_ENTRIES), |zone| zone.changed(rate, DEFAULT_ENTRIES)),
        )
    };
    Some(HandshakeLimit {
        id,
        zone: account.zone.unwrap_or_else(own),
        key: account.key,
        store: account.store,
        stage: if of_identity { Stage::Identity } else { Stage::Address },
        when,
        burst: u64::from(typed.burst) * Rate::ONE,
        delay: if typed.nodelay { u64::MAX } else { u64::from(typed.delay) * Rate::ONE },
        dry_run: typed.dry_run,
        status: typed.status,
    })
}

/// What the zone of a route's own rate is called.
fn own_name(route: &OfRoute<'_>) -> String {
    format!("route {}", route.name)
}

/// Whom a limit is for. Also whether the route can tell what the key and `when` ask for.
pub(super) fn when(
    route: &OfRoute<'_>,
    typed: &config::Require,
    key: &KeyRule,
    at: &str,
    found: &mut Findings,
) -> Require {
    if key.needs_identity() {
        let of_claim = key.parts().iter().any(|part| matches!(part, KeyPart::Claim(_)));
        let missing = if of_claim { route.typed.jwt.is_none() } else { !certificates::has_identity(route.typed) };
        if missing {
            let help =
                if of_claim { "add `jwt` to the route" } else { "add `jwt` or `client_certificate` to the route" };
            found.wrong(format!("{at}.zone"), "the zone counts by what this route never knows of a client", help);
        }
    }
    if !typed.0.is_empty() && route.typed.jwt.is_none() {
        found.wrong(format!("{at}.when"), "without `jwt` there are no claims", "add `jwt`, or remove it");
    }
    Require::compile(typed, route.captures).unwrap_or_else(|problems| {
        for (claim, message) in problems {
            let help = "\"{name}\" is a part of the route's `path` or `host`";
            found.wrong(format!("{at}.when.{claim}"), message, help);
        }
        Require::default()
    })
}

/// The zones, by name.
pub(super) fn zones(
    config: &Config,
    hasher: &KeyHasher,
    wishes: &Arc<Wishes>,
    previous: Option<&Policy>,
    found: &mut Findings,
) -> BTreeMap<String, OfZone> {
    let mut zones = BTreeMap::new();
    for (name, zone) in &config.zone {
        let Some(entries) = super::sections::entries(name, zone, found) else { continue };
        if zone.store == Store::Redis && config.redis.is_none() {
            found.problems.push(config::Redis::missing(format!("zone.{name}.store")));
        }
        let key = Arc::new(KeyRule::new(&zone.key.0, zone.store, hasher));
        let known = previous.and_then(|previous| previous.carried.zones.get(name));
        if known.is_some_and(|known| known.key.parts() != key.parts() || known.store != zone.store) {
            let message =
                "what a zone counts by, and where, can't be changed while the gateway runs: its keys would mean others";
            found.wrong(format!("zone.{name}"), message, "give it another name, or restart the gateway");
        }
        let of_rate = |rate| match known.and_then(|known| known.zone.as_ref()) {
            Some(known) => known.changed(rate, entries),
            None => Zone::new(name, rate, entries),
        };
        let counts = zone.rate.map(|rate| Arc::new(of_rate(rate)));
        let slots = caps::of_zone(config, name, known.and_then(|known| known.slots.as_ref()), found);
        let leases = match (zone.store, &counts, &config.redis) {
            (Store::Redis, Some(counts), Some(redis)) if !key.is_per_connection() => {
                let (zone, on_error) = (counts.clone(), redis.on_error);
                Some(Arc::new(match known.and_then(|known| known.leases.as_ref()) {
                    Some(known) => known.changed(zone, on_error),
                    None => Leases::new(zone, on_error, wishes.clone()),
                }))
            }
            _ => None,
        };
        if zone.store == Store::Redis && key.is_per_connection() {
            let message = "each connection has a key of its own, which no other gateway ever sees";
            found.warn(format!("zone.{name}.store"), message, "remove it: such a zone is counted here");
        }
        zones.insert(name.clone(), OfZone { key, store: zone.store, leases, zone: counts, slots });
    }
    zones
}
