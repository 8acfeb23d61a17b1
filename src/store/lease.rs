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
    /// Units of excess in the bucket now, those granted among them.
    pub excess: u64,
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
    /// What was granted and is not spent is lost to everybody until it is given back ([`Redis::give_back`]).
    ///
    /// # Errors
    /// There is no answer; it may have been charged all the same.
    pub async fn lease(&self, budget: &RemoteBudget<'_>, want: u64, debt: u64) -> Result<Granted, Unavailable> {
        let mut call = script::LEASE.prepare_invoke();
        self.write_lease(&mut call, budget, want, debt, 0);
        let (units, retry_ms, excess) = self.script(Operation::Lease, &call).await?;
        Ok(Granted { units, retry_ms, excess })
    }

    /// Gives back what was granted and not spent, as if it had not been granted; and charges what is owed.
    ///
    /// # Errors
    /// There is no answer; it may have been done all the same.
    pub async fn give_back(&self, budget: &RemoteBudget<'_>, units: u64, debt: u64) -> Result<(), Unavailable> {
        let mut call = script::LEASE.prepare_invoke();
        self.write_lease(&mut call, budget, 0, debt, units);
        let _: (u64, u64, u64) = self.script(Operation::Lease, &call).await?;
        Ok(())
    }

    pub(super) fn write_lease(
        &self,
        call: &mut redis::ScriptInvocation<'_>,
        budget: &RemoteBudget<'_>,
        want: u64,
        debt: u64,
        back: u64,
    ) {
        call.key(self.key(&["zone", budget.zone, &budget.key.to_hex()]));
        script::rate(call, budget.rate);
        // Whole ones only: a part of a message is of no use to anybody.
        let want = want / Rate::ONE * Rate::ONE;
        call.arg(script::units(budget.burst))
            .arg(script::units(want))
            .arg(script::units(debt))
            .arg(script::units(back));
    }
}
