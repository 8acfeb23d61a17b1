//! A handshake's slots, once the policy gave them: whose places they were, and what is said of caps that are nearly full.

mod shared;

use crate::access_log::Said;
use crate::gateway::Shared;
use crate::policy::limit::Exceeded;
use crate::policy::route::Route;
use crate::policy::{Admission, Ask, Decision, Denial};
use shared::SharedCap;

/// Asks for a slot of each cap that several gateways share. Then it is sure that it is let in: those whose places it took
/// are told to leave.
///
/// # Errors
/// The first cap that has none; `store_unavailable`.
pub(crate) async fn settle(
    shared: &Shared,
    route: &Route,
    ask: &Ask<'_>,
    admission: &mut Admission,
    exceeded: &mut Vec<Exceeded>,
) -> Result<(), Denial> {
    if let Some(redis) = shared.redis.as_ref().filter(|_| route.caps.are_shared()) {
        let facts = route.facts(ask, Some(&admission.identity));
        let caps = SharedCap::of(&route.caps, &facts, &admission.captures);
        // Boxed, for few routes ask it, and every handshake would have room for its question.
        Box::pin(shared::take(redis, caps, &mut admission.permits, exceeded)).await?;
    }
    admission.permits.confirm();
    Ok(())
}

/// Whether it still has its places: a newer handshake may have taken them meanwhile.
///
/// # Errors
/// The cap's own reason.
pub(super) fn check_still(admission: &Admission) -> Result<(), Denial> {
    match admission.permits.lost() {
        Some(deny) => Err(Denial { retry_after: Some(1), ..Denial::new(deny, "a newer one took its place") }),
        None => Ok(()),
    }
}

/// Says which caps just came near their limit.
pub(crate) fn warn_of(shared: &Shared, decision: &Decision) {
    let Some(route) = &decision.route else { return };
    for (near, cap) in [(decision.near.total, "total"), (decision.near.route, "route")] {
        if near {
            shared.books.metrics.cap_warned();
            tracing::warn!(cap, route = &*route.name, "connections are near their cap");
        }
    }
    for &index in &decision.near.keyed {
        shared.books.metrics.cap_warned();
        warn_of_key(shared, route, index, decision.subject.as_deref());
    }
}

/// One of many keys that may come near at once: it is an example, and only a subject is one that a log may name.
fn warn_of_key(shared: &Shared, route: &Route, index: usize, subject: Option<&str>) {
    let Some(limit) = route.caps.keyed.get(index).filter(|limit| limit.pace.may_be_said(shared.books.clock.mono()))
    else {
        return;
    };
    let (route, zone, keys) = (&*route.name, &*limit.zone, limit.keys_near());
    let subject = subject.filter(|_| limit.key.is_subject()).map(Said::new);
    let (cap, max, subject) = (limit.scope.label(), limit.max, subject.as_ref().map(AsRef::as_ref));
    tracing::warn!(cap, route, zone, max, keys, subject, "keys are near their cap of connections");
}
