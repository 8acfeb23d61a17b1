//! A handshake's slots, once the policy gave them: whose places they were, and what is said of caps that are nearly full.

use crate::access_log::Said;
use crate::gateway::Shared;
use crate::policy::route::Route;
use crate::policy::{Admission, Decision, Denial};

/// It is let in: those whose places it took are told to leave.
pub(super) fn confirm(admission: &mut Admission) {
    admission.permits.confirm();
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
pub(super) fn warn_of(shared: &Shared, decision: &Decision) {
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
