//! The meters of a session to be, made when it is admitted: by then it is known whom each rule is for, and whose accounts it
//! charges.

use std::sync::Arc;

use super::{Counted, Meter, Owner, Purse};
use crate::deny::{Deny, Direction};
use crate::policy::Denial;
use crate::policy::account::{Account, Hold};
use crate::policy::flow::{Rule, Shared};
use crate::policy::key::rule::Facts;
use crate::policy::limit::Exceeded;
use crate::policy::rates::is_for;
use crate::policy::route::{Captures, Route};
use crate::policy::zone::Zone;

/// One for each direction that has rules, by [`Direction::index`].
pub type Meters = [Option<Box<Meter>>; Direction::ALL.len()];

/// The meters of one session. A rule in dry run that finds no room in its zone is left out, and noted.
///
/// # Errors
/// `zone_full`.
pub fn meters(
    route: &Route,
    facts: &Facts<'_>,
    captures: &Captures,
    now_ms: u64,
    exceeded: &mut Vec<Exceeded>,
) -> Result<Meters, Denial> {
    let mut meters = Meters::default();
    let mut within = Vec::new();
    for (rules, meter) in route.flow.rules.iter().zip(&mut meters) {
        let mut counted = Vec::new();
        for rule in rules.iter().filter(|rule| is_for(&rule.when, facts, captures)) {
            match owner(rule, facts, now_ms, &mut within) {
                Some(owner) => counted.push((owner, rule.clone())),
                None if rule.dry_run => exceeded.push(Exceeded { limit: rule.id, action: rule.action() }),
                None => {
                    let why = "the zone is full";
                    return Err(Denial { retry_after: Some(1), ..Denial::new(Deny::ZoneFull, why) });
                }
            }
        }
        *meter = Meter::new(counted).map(Box::new);
    }
    Ok(meters)
}

/// Whose account a rule charges; none if its zone has no room for it.
fn owner(rule: &Rule, facts: &Facts<'_>, now_ms: u64, within: &mut Vec<(Arc<Zone>, Arc<Account>)>) -> Option<Owner> {
    let Some(Shared { zone, key, leases }) = &rule.shared else { return Some(Owner::Own(None)) };
    if !key.is_per_connection() {
        let key = key.key(facts);
        return match leases {
            Some(leases) => Some(Owner::Leased(leases.hold(key, now_ms))),
            None => zone.hold(key, now_ms).map(Owner::Shared),
        };
    }
    let known = within.iter().find(|(of, _)| Arc::ptr_eq(of, zone)).map(|(_, account)| account.clone());
    let account = known.unwrap_or_else(|| {
        let account = Arc::new(Account::default());
        within.push((zone.clone(), account.clone()));
        account
    });
    Some(Owner::Shared(Hold::within_session(account)))
}

impl Meter {
    /// Of rules in the order of the file, each with whose account it charges. None without rules.
    pub(super) fn new(rules: Vec<(Owner, Arc<Rule>)>) -> Option<Self> {
        let mut purses: Vec<Purse> = Vec::with_capacity(rules.len());
        for (place, (owner, rule)) in rules.into_iter().enumerate() {
            let counted = Counted::new(rule, place);
            let same = |purse: &&mut Purse| owner.address() != 0 && purse.owner.address() == owner.address();
            match purses.iter_mut().find(same) {
                Some(purse) => purse.rules.push(counted),
                None => purses.push(Purse { owner, rules: vec![counted] }),
            }
        }
        purses.sort_by_key(|purse| purse.owner.address());
        (!purses.is_empty()).then(|| Self { purses: purses.into(), exceeded: false, held_for: Deny::MessageRate })
    }
}
