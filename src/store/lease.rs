//! Message budgets that several gateways share: each fetches a chunk at a time, so that no message waits for the network.

use super::{Redis, Unavailable, script};
use crate::config::value::Rate;
use crate::metrics::Operation;
use crate::policy::key::Key;

/// A budget in a zone of `store = "redis"`.
#[derive(Clone, Copy, Debug)]
pub struct RemoteBudget<'a> {
    /// The zone's name.
    pub zone: &'a str,
    /// Whose it is; the same on every gateway: [`Key::of_ip`] and [`Key::shared`].
    pub key: Key,
    /// What drains.
    pub rate: Rate,
    /// Units of excess that are let in.
    pub burst: u64,
}

/// What was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Units that may be spent, and are charged already: whole messages (or bytes) of [`Rate::ONE`], never more than wanted.
    pub units: u64,
    /// Milliseconds until there is room for one more; 0 where all that was wanted was granted.
    pub retry_ms: u64,
}

impl Redis {
    /// Takes a chunk of a budget, in the same bucket that [`Redis::charge`] charges under the same name.
    ///
    /// First `debt` units are charged, whatever the burst: what was let through ahead of this answer. Then as many of `want`
    /// units are granted as hits of [`Rate::ONE`] at this instant would be let in by nginx's arithmetic with `nodelay`: only
    /// the first finds what has drained since, and it is free for a new key. So a new key grants `burst` and one more, and
    /// what is granted by all gateways together in any T ms is at most `burst + rate * T` and one more. Where nothing is
    /// granted and nothing was owed, nothing is charged.
    ///
    /// What was granted and is not spent is lost to everybody: it can't be given back.
    ///
    /// # Errors
    /// There is no answer; it may have been charged all the same.
    pub async fn lease(&self, budget: &RemoteBudget<'_>, want: u64, debt: u64) -> Result<Granted, Unavailable> {
        let mut call = script::LEASE.prepare_invoke();
        self.write_lease(&mut call, budget, want, debt);
        let (units, retry_ms) = self.script(Operation::Lease, &call).await?;
        Ok(Granted { units, retry_ms })
    }

    pub(super) fn write_lease(
        &self,
        call: &mut redis::ScriptInvocation<'_>,
        budget: &RemoteBudget<'_>,
        want: u64,
        debt: u64,
    ) {
        call.key(self.key(&["zone", budget.zone, &budget.key.to_hex()]));
        script::rate(call, budget.rate);
        // Whole ones only: a part of a message is of no use to anybody.
        let want = want / Rate::ONE * Rate::ONE;
        call.arg(script::units(budget.burst)).arg(script::units(want)).arg(script::units(debt));
    }
}
