//! A token that names a key which is not there: its issuer's keys may be newer than ours, so they may be fetched, once,
//! and the token is looked at again.

use super::draining;
use crate::gateway::{Phase, Shared};
use crate::policy::{Ask, Decision};

/// The policy's decision. It waits at most a second, and only where a newer key set could make a difference.
///
/// The handshake keeps its place meanwhile, and with it its address's share: how many wait is bounded by a part of all
/// places, so that the others go on being heard.
pub(super) async fn admit(shared: &Shared, ask: &Ask<'_>) -> Decision {
    let clock = &shared.books.clock;
    let mut decision = shared.policy.admit(ask, clock.now());
    let Err(denial) = &decision.verdict else { return decision };
    let Some(behind) = denial.behind else { return decision };
    let mut phase = shared.phase.subscribe();
    tokio::select! {
        newer = shared.keysets.newer(behind, clock) => {
            if newer { shared.policy.admit_again(ask, decision, clock.now()) } else { decision }
        }
        _ = phase.wait_for(|phase| *phase != Phase::Running) => {
            decision.verdict = Err(draining());
            decision
        }
    }
}
