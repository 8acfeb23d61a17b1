//! A token that names a key which is not there: its issuer's keys may be newer than ours, so they may be fetched, once,
//! and the token is looked at again.

use super::draining;
use crate::gateway::{Phase, Shared};
use crate::policy::{Ask, Decision, Denial};

/// The policy's decision. It waits at most a second, and only where a newer key set could make a difference.
pub(super) async fn admit(shared: &Shared, ask: &Ask<'_>) -> Decision {
    let clock = &shared.books.clock;
    let mut decision = shared.policy.admit(ask, clock.now());
    let Err(denial) = &decision.verdict else { return decision };
    match is_worth_another_look(shared, denial).await {
        Ok(true) => shared.policy.admit_again(ask, decision, clock.now()),
        Ok(false) => decision,
        Err(denial) => {
            decision.verdict = Err(denial);
            decision
        }
    }
}

/// Whether a newer key set than the one behind this denial is there, now or after a wait.
///
/// The handshake keeps its place meanwhile, and with it its address's share: how many wait is bounded by a part of all
/// places, so that the others go on being heard.
pub(super) async fn is_worth_another_look(shared: &Shared, denial: &Denial) -> Result<bool, Denial> {
    let Some(behind) = denial.behind else { return Ok(false) };
    let mut phase = shared.phase.subscribe();
    tokio::select! {
        newer = shared.keysets.newer(behind, &shared.books.clock) => Ok(newer),
        _ = phase.wait_for(|phase| *phase != Phase::Running) => Err(draining()),
    }
}
