//! Drives a handshake through the policy's stages, and asks others in between: the store that gateways share, for a rate; and
//! an issuer, for a key that a token names and that is not there.
//!
//! The handshake keeps its place meanwhile, and with it its address's share. It waits for the store for `[redis] timeout` at
//! most, once a stage, and for keys for a second.

use super::{draining, slots};
use crate::gateway::{Edition, Shared};
use crate::now::Clock;
use crate::policy::limit::Exceeded;
use crate::policy::rates::Counted;
use crate::policy::route::{Route, Stage};
use crate::policy::stages::Known;
use crate::policy::zone::{self, Hit, Outcome};
use crate::policy::{Admission, Ask, Decision, Denial};
use crate::store::{Redis, RemoteHit};

/// The policy's decision.
pub(crate) async fn admit(shared: &Shared, edition: &Edition, ask: &Ask<'_>) -> Decision {
    let mut found = Decision::undecided();
    found.verdict = decide(shared, edition, ask, &mut found).await;
    found
}

/// Whose an ordinary request is, if it may come and its rates allow it. It takes no slots, for it is no session.
///
/// # Errors
/// Those of the stages.
pub(crate) async fn admit_request(
    shared: &Shared,
    edition: &Edition,
    route: &Route,
    ask: &Ask<'_>,
    found: &mut Decision,
) -> Result<Known, Denial> {
    let (policy, clock) = (&edition.policy, &shared.books.clock);
    policy.arrive(ask, found)?;
    let limits = route.counted_of_request(Stage::Address, ask, None, &found.captures);
    let turn = charge(shared, limits, &mut found.exceeded).await?;
    found.wait_until(turn);
    let known = match policy.identify(route, ask, clock.now(), found) {
        Err(denial) if has_newer_keys(shared, edition, &denial).await? => {
            policy.identify(route, ask, clock.now(), found)?
        }
        first => first?,
    };
    let limits = route.counted_of_request(Stage::Identity, ask, Some(&known.identity), &found.captures);
    let turn = charge(shared, limits, &mut found.exceeded).await?;
    found.wait_until(turn);
    Ok(known)
}

async fn decide(shared: &Shared, edition: &Edition, ask: &Ask<'_>, found: &mut Decision) -> Result<Admission, Denial> {
    let (policy, clock) = (&edition.policy, &shared.books.clock);
    let route = policy.enter(ask, found)?;
    let limits = route.counted(Stage::Address, ask, None, &found.captures);
    let turn = charge(shared, limits, &mut found.exceeded).await?;
    found.wait_until(turn);
    let known = match policy.identify(&route, ask, clock.now(), found) {
        Err(denial) if has_newer_keys(shared, edition, &denial).await? => {
            policy.identify(&route, ask, clock.now(), found)?
        }
        first => first?,
    };
    let limits = route.counted(Stage::Identity, ask, Some(&known.identity), &found.captures);
    let turn = charge(shared, limits, &mut found.exceeded).await?;
    found.wait_until(turn);
    let mut admission = policy.seat(&route, ask, known, clock.now(), found)?;
    slots::settle(shared, &route, ask, &mut admission, &mut found.exceeded).await?;
    Ok(admission)
}

/// Charges all limits of a stage, or none; when the turn comes by them, in [`crate::now::Now::mono`].
///
/// # Errors
/// `handshake_rate`, `zone_full`, `store_unavailable`.
pub(crate) async fn charge(shared: &Shared, limits: Counted<'_>, exceeded: &mut Vec<Exceeded>) -> Result<u64, Denial> {
    match &shared.redis {
        // Boxed, for few routes ask it, and every handshake would have room for its question.
        Some(redis) if limits.is_shared() => Box::pin(charge_shared(shared, redis, limits, exceeded)).await,
        Some(_) | None => {
            let now = shared.books.clock.mono();
            Ok(now.saturating_add(limits.admit(now, exceeded)?))
        }
    }
}

/// The limits of this gateway are charged first, for that costs nothing; if the store then refuses, they get it back.
async fn charge_shared(
    shared: &Shared,
    redis: &Redis,
    limits: Counted<'_>,
    exceeded: &mut Vec<Exceeded>,
) -> Result<u64, Denial> {
    let clock = &shared.books.clock;
    let (here, there) = limits.parted();
    let now = clock.mono();
    let (mut ours, refund) = zone::admit_for_now(&here.hits, now);
    if ours.answer.is_ok() {
        let theirs = ask(redis, &there, clock).await;
        if !theirs.as_ref().is_ok_and(|theirs| theirs.answer.is_ok()) {
            refund.give_back();
            ours.delayed.clear();
        }
        let turn = now.saturating_add(here.answer(&ours, exceeded)?);
        let wait_ms = there.answer(&theirs?, exceeded)?;
        return Ok(turn.max(clock.mono().saturating_add(wait_ms)));
    }
    here.answer(&ours, exceeded)
}

/// What the store says of limits, or what is said in its place while it does not answer.
async fn ask(redis: &Redis, limits: &Counted<'_>, clock: &Clock) -> Result<Outcome, Denial> {
    let hits: Vec<RemoteHit<'_>> = limits.hits.iter().map(remote).collect();
    match redis.charge(&hits).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => {
            redis.fell_back();
            limits.without_store(redis.on_error(), clock.mono())
        }
    }
}

/// The same question, as it is put to the store.
fn remote<'a>(hit: &Hit<'a>) -> RemoteHit<'a> {
    let Hit { zone, key, burst, delay, cost, dry_run } = *hit;
    RemoteHit { zone: zone.name(), key, rate: zone.rate(), burst, delay, cost, dry_run }
}

/// Whether a newer key set than the one behind this denial is there, now or after a wait: then the token is worth another
/// look. How many wait is bounded by a part of all places, so that the others go on being heard.
pub(crate) async fn has_newer_keys(shared: &Shared, edition: &Edition, denial: &Denial) -> Result<bool, Denial> {
    let Some(behind) = denial.behind else { return Ok(false) };
    let mut phase = shared.phase.subscribe();
    tokio::select! {
        newer = edition.keysets.newer(behind, &shared.books.clock) => Ok(newer),
        _ = phase.wait_for(|phase| !phase.lets_in()) => Err(draining()),
    }
}
