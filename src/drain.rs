//! The end of a gateway: its sessions are told to go, one after the other over the drain time, so that their clients do not
//! all come to the next gateway at once.

use std::time::Duration;

use tokio::time::sleep;

use crate::deny::Deny;
use crate::gateway::Shared;
use crate::now::millis;

/// How often it is looked whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Returns once every session is over, or at the latest when the last one's Close has waited for its answer.
pub async fn run(shared: &Shared) {
    let edition = shared.edition();
    let clock = &shared.books.clock;
    let begun = clock.mono();
    let sessions = shared.books.sessions.all();
    let count = sessions.len();
    tracing::info!(sessions = count, "draining");
    for (told, session) in sessions.into_iter().enumerate() {
        // Several at a time where they are many, so that the rest between them does not add up to more than the drain time.
        while told >= due(count, clock.mono() - begun, edition.drain_timeout) && !shared.books.sessions.is_empty() {
            sleep(LOOK).await;
        }
        session.order(Deny::Draining);
    }
    let patience = edition.policy.routes.iter().map(|route| route.terms.close_timeout).max().unwrap_or(0);
    // Ordinary requests have all of the window to come to their end.
    let deadline = (clock.mono() + patience).max(begun + millis(edition.drain_timeout)) + 1000;
    while clock.mono() < deadline && !is_quiet(shared) {
        // Those whose handshake was under way when the drain began.
        for session in shared.books.sessions.all() {
            session.order(Deny::Draining);
        }
        sleep(LOOK).await;
    }
    let cut = shared.books.sessions.len();
    if cut > 0 {
        tracing::warn!(sessions = cut, "cut at the end of the drain");
    }
}

/// How many of `count` sessions are to be told `elapsed` milliseconds into the drain; the first at once.
fn due(count: usize, elapsed: u64, drain_timeout: Duration) -> usize {
    let window = millis(drain_timeout).max(1);
    let share = count as u64 * elapsed.min(window) / window;
    // No more than `count`, see above.
    (share as usize + 1).min(count)
}

fn is_quiet(shared: &Shared) -> bool {
    shared.books.sessions.is_empty() && shared.handshakes_under_way() == 0 && shared.carrying.used() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_told_evenly_over_the_drain_time_however_many_there_are() {
        let told = |count, elapsed| due(count, elapsed, Duration::from_secs(20));
        assert_eq!([0, 10_000, 19_999, 20_000, 60_000].map(|elapsed| told(4, elapsed)), [1, 3, 4, 4, 4]);
        assert_eq!([0, 20, 10_000, 20_000].map(|elapsed| told(100_000, elapsed)), [1, 101, 50_001, 100_000]);
        assert_eq!(due(3, 0, Duration::ZERO), 1);
        assert_eq!(due(3, 1, Duration::ZERO), 3);
    }
}
