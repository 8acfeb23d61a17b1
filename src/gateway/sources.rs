//! What the metrics ask a gateway for at each scrape: counts that something else keeps.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::lag::Lag;
use crate::access_log::AccessLog;
use crate::keyset::Keysets;
use crate::metrics::{CapFill, Sources, ZoneFill};
use crate::now::Clock;
use crate::policy::Policy;
use crate::policy::cap::Cap;
use crate::policy::zone::Zone;
use crate::session::buffered::Buffered;
use crate::store::Redis;

/// What the metrics ask for at each scrape.
pub(super) fn of(
    policy: &Arc<Policy>,
    keysets: &Arc<Keysets>,
    clock: &Clock,
    handshakes: &Arc<Semaphore>,
    places: usize,
    log: &AccessLog,
    redis: Option<&Redis>,
) -> Sources {
    let handshakes = handshakes.clone();
    let revocations = {
        let (policy, clock) = (policy.clone(), clock.clone());
        move || {
            let revocations = &policy.revocations;
            (revocations.entries(0, clock.now().wall).1 as u64, revocations.capacity() as u64)
        }
    };
    let key_sets = {
        let (keysets, clock) = (keysets.clone(), clock.clone());
        move || keysets.fill(&clock)
    };
    Sources {
        limits: policy.limits.clone(),
        key_sets: Box::new(key_sets),
        zones: Box::new(zones(policy.clone())),
        caps: Box::new(caps(policy.clone())),
        in_flight: Box::new(move || places.saturating_sub(handshakes.available_permits()) as u64),
        revocations: Box::new(revocations),
        redis: redis.map(|redis| redis.counts().clone()),
        log_dropped: Box::new(log.dropped()),
        ..Sources::default()
    }
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

fn zones(policy: Arc<Policy>) -> impl Fn() -> Vec<ZoneFill> {
    let fill = |zone: &Arc<Zone>| ZoneFill {
        zone: zone.name().into(),
        entries: zone.len() as u64,
        capacity: zone.capacity() as u64,
        full: zone.full_count(),
    };
    move || policy.zones.iter().map(fill).collect()
}

fn caps(policy: Arc<Policy>) -> impl Fn() -> Vec<CapFill> {
    let fill = |route, cap: &Cap| CapFill { route, used: cap.used() as u64, limit: Some(cap.limit() as u64) };
    move || {
        let routes = policy.routes.iter();
        let capped = routes.filter_map(|route| Some(fill(Some(route.name.clone()), route.caps.total.as_ref()?)));
        std::iter::once(fill(None, &policy.total)).chain(capped).collect()
    }
}
