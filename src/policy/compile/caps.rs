//! How many sessions there may be at once: of a route, and by the keys of zones.

use std::sync::Arc;

use super::limits::{OfRoute, when, zone_named};
use super::{Findings, Named, certificates};
use crate::config::limits::{Connections, PerZone};
use crate::config::value::KeyPart;
use crate::config::{self, Config, OnError, OnFull, Store};
use crate::policy::cap::keyed::{self, Full, MAX_MARKS};
use crate::policy::cap::{Cap, KeyedCap};
use crate::policy::key::rule::KeyRule;
use crate::policy::limit::{Action, LimitInfo, Pace, What};
use crate::policy::require::Require;
use crate::policy::slots::{Caps, KeyedLimit, Scope, TotalLimit};

/// The slots of a zone's keys, which all caps that name it share.
#[derive(Clone, Debug)]
pub(super) struct ZoneSlots {
    counts: Arc<KeyedCap>,
    bounds: Arc<[(usize, f64)]>,
    ordered: bool,
}

/// The slots of a zone; none where no cap names it. `previous` are those that it has now.
pub(super) fn of_zone(
    config: &Config,
    name: &str,
    previous: Option<&ZoneSlots>,
    found: &mut Findings,
) -> Option<ZoneSlots> {
    let connections = config.route.iter().filter_map(|route| route.connections.as_ref());
    let caps = connections.flat_map(|all| all.per_zone.iter().map(move |cap| (cap, all.warn_at)));
    let caps: Vec<(&PerZone, f64)> = caps.filter(|(cap, _)| cap.zone == name).collect();
    let mut bounds: Vec<(usize, f64)> = Vec::new();
    for bound in caps.iter().map(|(cap, warn_at)| (cap.max, *warn_at)) {
        if !bounds.contains(&bound) {
            bounds.push(bound);
        }
    }
    if bounds.len() > MAX_MARKS {
        let message = format!("its sessions are capped in {} different ways", bounds.len());
        let help = format!("at most {MAX_MARKS}: give some of the caps the same `max` and `warn_at`, or another zone");
        found.wrong(format!("zone.{name}"), message, &help);
    }
    let ordered = caps.iter().any(|(cap, _)| cap.on_full == OnFull::CloseOldest && !cap.dry_run);
    (!caps.is_empty()).then(|| {
        let counts = found.counts(previous.map(|known| &known.counts), &bounds);
        ZoneSlots { counts, bounds: bounds.into(), ordered }
    })
}

/// The caps of one route.
pub(super) fn of_route(route: &OfRoute<'_>, named: &Named<'_>, found: &mut Findings) -> Caps {
    let Some(typed) = &route.typed.connections else { return Caps::default() };
    let at = format!("{}.connections", route.at);
    check(route, typed, &at, found);
    if typed.store == Store::Redis && !named.has_redis {
        found.problems.push(config::Redis::missing(format!("{at}.store")));
    }
    // A route keeps its counts by its name.
    let known = named.previous.and_then(|previous| previous.of_name(route.name)).map(|known| &known.caps);
    let shared = |what: &str| (typed.store == Store::Redis).then(|| format!("route/{}/{what}", route.name).into());
    let total = typed.total.map(|total| TotalLimit {
        id: found.limit(info(route, "", OnFull::Refuse, typed.dry_run)),
        cap: match full(OnFull::Refuse, typed.dry_run, typed.store, Scope::Ip, named) {
            Full::Ignore => Cap::dry_run(total, typed.warn_at),
            Full::Refuse | Full::CloseOldest(_) => Cap::new(total, typed.warn_at),
        }
        .following(known.and_then(|known| known.total.as_ref()).map(|known| &*known.cap)),
        dry_run: typed.dry_run,
        shared: shared("total"),
    });
    let own = [(Scope::Ip, KeyPart::Ip, typed.per_ip), (Scope::Subject, KeyPart::Subject, typed.per_subject)];
    let own = own.into_iter().filter_map(|(scope, part, max)| Some((scope, part, max?)));
    let mut keyed: Vec<KeyedLimit> = own
        .map(|(scope, part, max)| {
            let known = known.and_then(|known| known.keyed.iter().find(|limit| limit.scope == scope));
            let bounds = [(max, typed.warn_at)];
            KeyedLimit {
                id: found.limit(info(route, "", typed.on_full, typed.dry_run)),
                scope,
                zone: "".into(),
                mark: keyed::mark(&bounds, max, typed.warn_at),
                counts: found.counts(known.map(|known| &known.counts), &bounds),
                key: Arc::new(KeyRule::new(&[part], typed.store, &named.hasher)),
                when: Require::default(),
                max,
                on_full: typed.on_full,
                full: full(typed.on_full, typed.dry_run, typed.store, scope, named),
                shared: shared(scope.label()),
                dry_run: typed.dry_run,
                ordered: typed.on_full == OnFull::CloseOldest && !typed.dry_run,
                pace: Pace::default(),
            }
        })
        .collect();
    for (index, cap) in typed.per_zone.iter().enumerate() {
        let at = format!("{at}.per_zone[{index}]");
        let before = typed.per_zone[..index].iter().find(|other| other.zone == cap.zone && other.when.0.is_empty());
        if before.is_some() {
            let message = format!("an entry before it counts everybody in zone `{}`", cap.zone);
            found.wrong(&at, message, "the first whose `when` holds counts: put the one without `when` last");
        }
        keyed.extend(per_zone(route, cap, typed.warn_at, &at, named, found));
    }
    Caps { total, keyed }
}

/// What stands in the wrong place.
fn check(route: &OfRoute<'_>, typed: &Connections, at: &str, found: &mut Findings) {
    if typed.per_subject.is_some() && !certificates::has_identity(route.typed) {
        let message = "without `jwt` or `client_certificate` nobody has a subject";
        found.wrong(format!("{at}.per_subject"), message, "add one of them, or remove it");
    }
    if typed.on_full == OnFull::CloseOldest && typed.per_ip.is_none() && typed.per_subject.is_none() {
        let message = "it is for `per_ip` and `per_subject`, and there is neither";
        let help = "`total` always refuses, and an entry of `per_zone` has an `on_full` of its own";
        found.wrong(format!("{at}.on_full"), message, help);
    }
}

fn per_zone(
    route: &OfRoute<'_>,
    cap: &PerZone,
    warn_at: f64,
    at: &str,
    named: &Named<'_>,
    found: &mut Findings,
) -> Option<KeyedLimit> {
    let zone = zone_named(&cap.zone, at, named, found)?;
    if zone.key.is_per_connection() {
        let message = "the zone's key is the connection, and each is but one session";
        found.wrong(format!("{at}.zone"), message, "a zone with another key");
        return None;
    }
    let when = when(route, &cap.when, &zone.key, at, found);
    let ZoneSlots { counts, bounds, ordered } = zone.slots.clone()?;
    Some(KeyedLimit {
        id: found.limit(info(route, &cap.zone, cap.on_full, cap.dry_run)),
        scope: Scope::Zone,
        zone: cap.zone.as_str().into(),
        mark: keyed::mark(&bounds, cap.max, warn_at),
        counts,
        key: zone.key.clone(),
        when,
        max: cap.max,
        on_full: cap.on_full,
        full: full(cap.on_full, cap.dry_run, zone.store, Scope::Zone, named),
        shared: (zone.store == Store::Redis).then(|| format!("zone/{}", cap.zone).into()),
        dry_run: cap.dry_run,
        ordered,
        pace: Pace::default(),
    })
}

/// What this gateway does by itself where a key holds as many as it may. A key that does so here does so in all the more,
/// so that others need not be asked to refuse; but while they don't answer, `open` lets it through.
fn full(on_full: OnFull, dry_run: bool, store: Store, scope: Scope, named: &Named<'_>) -> Full {
    match (on_full, store) {
        _ if dry_run => Full::Ignore,
        (OnFull::CloseOldest, Store::Local) => Full::CloseOldest(scope.deny()),
        (OnFull::CloseOldest, Store::Redis) => Full::Ignore,
        (OnFull::Refuse, Store::Redis) if named.on_error == OnError::Open => Full::Ignore,
        (OnFull::Refuse, Store::Local | Store::Redis) => Full::Refuse,
    }
}

fn info(route: &OfRoute<'_>, zone: &str, on_full: OnFull, dry_run: bool) -> LimitInfo {
    let actions: &[Action] = match on_full {
        OnFull::Refuse => &[Action::Refuse],
        OnFull::CloseOldest => &[Action::CloseOldest],
    };
    LimitInfo {
        route: route.name.clone(),
        what: What::Connections,
        zone: zone.into(),
        direction: None,
        dry_run,
        actions,
    }
}
