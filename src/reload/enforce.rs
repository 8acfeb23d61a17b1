//! Sessions of routes with `on_reload = "enforce"`, judged by the config that has just been published: those that it would not let
//! in are closed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::deny::Deny;
use crate::gateway::{Edition, Shared};
use crate::now::Now;
use crate::policy::again::Judged;
use crate::session::live::Live;
use crate::session::live::ending;
use crate::session::live::order::Order;

/// Sessions that are judged in one go: a signature each, some milliseconds together.
const GROUP: usize = 32;

/// Between two groups.
const REST: Duration = Duration::from_millis(3);

/// Until those are looked at again whose keys were not there.
const AGAIN: Duration = Duration::from_secs(1);

/// Judges all that remember their handshake, for as long as this edition is the one that is obeyed. Needs a local runtime.
pub(super) async fn run(shared: Arc<Shared>, edition: Arc<Edition>) {
    let mut open = shared.books.sessions.all();
    open.retain(|live| live.holder.asked.is_some());
    let mut closed = 0;
    while !open.is_empty() {
        let mut unknown = Vec::new();
        for group in open.chunks(GROUP) {
            if !Arc::ptr_eq(&edition, &shared.edition()) {
                return;
            }
            let now = shared.books.clock.now();
            let mut goes = Vec::new();
            for live in group {
                match judge(&edition, live, now) {
                    Some(Judged::Goes(_)) => goes.push(live.clone()),
                    Some(Judged::Unknown) => unknown.push(live.clone()),
                    Some(Judged::Stays) | None => {}
                }
            }
            closed += ending::end(goes, &Order::from(Deny::PolicyChanged));
            sleep(REST).await;
        }
        if !unknown.is_empty() {
            sleep(AGAIN).await;
        }
        open = unknown;
    }
    if closed > 0 {
        tracing::info!(sessions = closed, "the new config does not allow some sessions: they are closed");
    }
}

/// What an edition says of a session; none if it is not asked, or has begun to end.
fn judge(edition: &Edition, live: &Live, now: Now) -> Option<Judged> {
    let asked = live.holder.asked.as_ref().filter(|_| live.ordered().is_none())?;
    Some(edition.policy.judge_again(asked, now))
}

/// To be called of a session once it is listed: its handshake was judged by this edition, and one that came meanwhile did not see
/// the session.
pub fn end_if_changed(shared: &Shared, edition: &Arc<Edition>, live: &Live) {
    if live.holder.asked.is_none() {
        return;
    }
    let current = shared.edition();
    if !Arc::ptr_eq(edition, &current)
        && matches!(judge(&current, live, shared.books.clock.now()), Some(Judged::Goes(_)))
    {
        live.order(Deny::PolicyChanged);
    }
}
