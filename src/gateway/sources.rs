//! What the metrics ask a gateway for at each scrape: counts that something else keeps.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::edition::{Edition, Listening};
use super::lag::Lag;
use crate::metrics::{CapFill, CertificateEnd, KeysFill, Sources, UpstreamFill, ZoneFill};
use crate::now::Clock;
use crate::policy::Policy;
use crate::policy::cap::Cap;
use crate::policy::route::Route;
use crate::policy::slots::KeyedLimit;
use crate::policy::zone::Zone;
use crate::pool::Pools;
use crate::session::buffered::Buffered;

/// What is asked of the edition that is obeyed then.
pub(super) fn of(edition: &Arc<ArcSwap<Edition>>, clock: &Clock) -> Sources {
    let key_sets = {
        let clock = clock.clone();
        move |edition: &Edition| edition.keysets.fill(&clock)
    };
    let revocations = {
        let clock = clock.clone();
        move |edition: &Edition| {
            let revocations = &edition.policy.revocations;
            (revocations.entries(0, clock.now().wall).1 as u64, revocations.capacity() as u64)
        }
    };
    Sources {
        key_sets: ask(edition, key_sets),
        zones: ask(edition, |edition| zones_of(&edition.policy)),
        caps: ask(edition, |edition| caps_of(&edition.policy)),
        revocations: ask(edition, revocations),
        certificates: ask(edition, certificates_of),
        ..Sources::default()
    }
}

fn ask<T>(
    edition: &Arc<ArcSwap<Edition>>,
    question: impl Fn(&Edition) -> T + Send + Sync + 'static,
) -> Box<dyn Fn() -> T + Send + Sync> {
    let edition = edition.clone();
    Box::new(move || question(&edition.load()))
}

/// Handshakes under way, of so many places.
pub(super) fn in_flight(handshakes: &Arc<Semaphore>, places: usize) -> Box<dyn Fn() -> u64 + Send + Sync> {
    let handshakes = handshakes.clone();
    Box::new(move || places.saturating_sub(handshakes.available_permits()) as u64)
}

/// Bytes that all sessions keep, and how many they may.
pub(super) fn buffered(buffered: &Arc<Buffered>) -> Box<dyn Fn() -> (u64, u64) + Send + Sync> {
    let buffered = buffered.clone();
    Box::new(move || (buffered.bytes(), buffered.limit()))
}

/// How late each worker came to its last tick, in milliseconds.
pub(super) fn worker_lags(lags: &Arc<[Lag]>) -> Box<dyn Fn() -> Vec<u64> + Send + Sync> {
    let lags = lags.clone();
    Box::new(move || lags.iter().map(Lag::last_ms).collect())
}

/// When the listeners' certificates end.
fn certificates_of(edition: &Edition) -> Vec<CertificateEnd> {
    let of_listener = |listening: &Listening| {
        let end = |(file, not_after): (&PathBuf, &u64)| CertificateEnd {
            listener: listening.name.clone(),
            certificate: file.display().to_string(),
            not_after: *not_after,
        };
        listening.ends.iter().map(end).collect::<Vec<_>>()
    };
    edition.listeners.iter().flat_map(of_listener).collect()
}

/// How the upstreams stand.
pub(super) fn upstreams(pools: &Arc<Pools>) -> Box<dyn Fn() -> Vec<UpstreamFill> + Send + Sync> {
    let pools = pools.clone();
    Box::new(move || pools.all().iter().map(|pool| pool.fill()).collect())
}

/// How full the zones are, those of a single route too.
pub(super) fn zones_of(policy: &Policy) -> Vec<ZoneFill> {
    let fill = |zone: &Arc<Zone>| ZoneFill {
        zone: zone.name().into(),
        entries: zone.len() as u64,
        capacity: zone.capacity() as u64,
        full: zone.full_count(),
    };
    policy.zones.iter().map(fill).collect()
}

/// How full the caps are: the one over all routes, then route by route.
pub(super) fn caps_of(policy: &Policy) -> Vec<CapFill> {
    let whole = |scope, route: Option<&Arc<Route>>, cap: &Cap| CapFill {
        scope,
        route: route.map(|route| (*route.name).into()),
        zone: None,
        used: cap.used() as u64,
        limit: Some(cap.limit() as u64),
        warned: cap.is_warned(),
        keys: None,
    };
    let of_route = |route: &Arc<Route>| {
        let total = route.caps.total.iter().map(|limit| whole("route", Some(route), &limit.cap));
        total.chain(route.caps.keyed.iter().map(|limit| by_key(route, limit))).collect::<Vec<_>>()
    };
    std::iter::once(whole("total", None, &policy.total)).chain(policy.routes.iter().flat_map(of_route)).collect()
}

fn by_key(route: &Route, limit: &KeyedLimit) -> CapFill {
    let near = limit.keys_near() as u64;
    CapFill {
        scope: limit.scope.label(),
        route: Some((*route.name).into()),
        zone: (!limit.zone.is_empty()).then(|| (*limit.zone).into()),
        used: limit.counts.used() as u64,
        limit: Some(limit.max as u64),
        warned: near > 0,
        keys: Some(KeysFill { keys: limit.counts.keys() as u64, keys_near_limit: near }),
    }
}
