//! Rates that several gateways share: `zone::admit`, on the server.

use super::{Redis, Unavailable, script};
use crate::config::value::Rate;
use crate::metrics::Operation;
use crate::policy::key::Key;
use crate::policy::zone::{DryRun, Outcome, Refusal};

/// One limit that a handshake must satisfy, in a zone of `store = "redis"`; as [`crate::policy::zone::Hit`].
#[derive(Clone, Copy, Debug)]
pub struct RemoteHit<'a> {
    /// The zone's name. All gateways of one prefix share what they call by one name.
    pub zone: &'a str,
    /// Whose it is; the same on every gateway: [`Key::of_ip`] and [`Key::shared`].
    pub key: Key,
    /// What drains.
    pub rate: Rate,
    /// Units of excess that are let in; `u64::MAX`: nothing is rejected.
    pub burst: u64,
    /// Units of excess that pass at once; `u64::MAX`: nothing waits.
    pub delay: u64,
    /// Units of this hit.
    pub cost: u64,
    /// It is judged and counted, and never refuses nor waits.
    pub dry_run: bool,
}

impl Redis {
    /// Judges one handshake by several limits, as [`crate::policy::zone::admit`] does, by the server's clock. Other
    /// gateways see all of it or nothing. A key lives until its bucket is drained; a zone has no bound of entries here, so
    /// `zone_full` is never told.
    ///
    /// Dropped before it answers, it may have charged or not.
    ///
    /// # Errors
    /// There is no answer; it may have been charged all the same.
    pub async fn charge(&self, hits: &[RemoteHit<'_>]) -> Result<Outcome, Unavailable> {
        if hits.is_empty() {
            return Ok(Outcome { answer: Ok(0), dry_runs: Vec::new(), delayed: Vec::new() });
        }
        let mut call = script::CHARGE.prepare_invoke();
        self.write(&mut call, hits);
        let answer: Vec<u64> = self.script(Operation::Charge, &call).await?;
        read(&answer, hits.len()).ok_or_else(|| self.0.link.misunderstood(Operation::Charge))
    }

    pub(super) fn write(&self, call: &mut redis::ScriptInvocation<'_>, hits: &[RemoteHit<'_>]) {
        for hit in hits {
            call.key(self.key(&["zone", hit.zone, &hit.key.to_hex()]));
            script::rate(call, hit.rate);
            call.arg(script::units(hit.burst)).arg(script::units(hit.delay)).arg(script::units(hit.cost));
            call.arg(u8::from(hit.dry_run));
        }
    }
}

/// The script's answer about so many hits.
pub(super) fn read(answer: &[u64], hits: usize) -> Option<Outcome> {
    let index = |from_one: u64| usize::try_from(from_one).ok()?.checked_sub(1).filter(|index| *index < hits);
    let (head, told) = answer.split_at_checked(2)?;
    let (mut dry_runs, mut delayed) = (Vec::new(), Vec::new());
    for told in told.chunks(3) {
        let &[from_one, what, ms] = told else { return None };
        let index = index(from_one)?;
        match what {
            0 => dry_runs.push(DryRun::Delayed { index, wait_ms: ms }),
            1 => dry_runs.push(DryRun::Refused(Refusal { index, retry_ms: ms, zone_full: false })),
            2 => delayed.push(index),
            _ => return None,
        }
    }
    match head[0] {
        0 => Some(Outcome { answer: Ok(head[1]), dry_runs, delayed }),
        from_one => {
            let refusal = Refusal { index: index(from_one)?, retry_ms: head[1], zone_full: false };
            Some(Outcome { answer: Err(refusal), dry_runs, delayed: Vec::new() })
        }
    }
}
