//! The end of a gateway: its sessions are told to go, one after the other over the drain time, so that their clients do not
//! all come to the next gateway at once.

use std::time::Duration;

use tokio::time::sleep;

use crate::deny::Deny;
use crate::gateway::Shared;

/// How often it is looked whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Returns once every session is over, or at the latest when the last one's Close has waited for its answer.
pub async fn run(shared: &Shared, drain_timeout: Duration) {
    let sessions = shared.books.sessions.all();
    tracing::info!(sessions = sessions.len(), "draining");
    let pace = drain_timeout / u32::try_from(sessions.len().max(1)).unwrap_or(u32::MAX);
    let count = sessions.len();
    for (index, session) in sessions.into_iter().enumerate() {
        session.order(Deny::Draining);
        drop(session);
        if index + 1 < count {
            pause(shared, pace).await;
        }
    }
    let patience = shared.policy.routes.iter().map(|route| route.terms.close_timeout).max().unwrap_or(0);
    let mut left = Duration::from_millis(patience) + Duration::from_secs(1);
    while !left.is_zero() && !is_quiet(shared) {
        // Those whose handshake was under way when the drain began.
        for session in shared.books.sessions.all() {
            session.order(Deny::Draining);
        }
        sleep(LOOK).await;
        left = left.saturating_sub(LOOK);
    }
    let cut = shared.books.sessions.len();
    if cut > 0 {
        tracing::warn!(sessions = cut, "cut at the end of the drain");
    }
}

/// Waits, unless everybody is gone before.
async fn pause(shared: &Shared, mut time: Duration) {
    while !time.is_zero() && !shared.books.sessions.is_empty() {
        let step = time.min(LOOK);
        sleep(step).await;
        time -= step;
    }
}

fn is_quiet(shared: &Shared) -> bool {
    shared.books.sessions.is_empty() && shared.handshakes_under_way() == 0
}
