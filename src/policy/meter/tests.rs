//! One direction's rules against a model that keeps whole books, and many sessions on one account.

use super::*;
use crate::policy::limit::LimitId;

/// A rule of its own rate, as `policy::compile` makes it.
pub(crate) fn rule(what: What, limit: Limit, on_excess: OnExcess) -> Rule {
    Rule { id: LimitId(0), what, limit, on_excess, dry_run: false, shared: None, when: Arc::default() }
}

/// A meter of rules that each have an account of the session's own.
pub(crate) fn own(rules: Vec<Rule>) -> Box<Meter> {
    let rules = rules.into_iter().map(|rule| (Owner::Own(None), Arc::new(rule)));
    Box::new(Meter::new(rules.collect()).unwrap())
}
