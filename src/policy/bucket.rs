//! The leaky bucket: nginx's `limit_req` arithmetic for one key, verdict for verdict.
//!
//! Source: `ngx_http_limit_req_lookup` and `ngx_http_limit_req_account` of nginx 1.31. One request or message is 1000
//! units ([`Rate::ONE`]), time is whole milliseconds of a monotonic clock, divisions truncate. It runs once a message, so
//! it takes no lock, allocates nothing and divides 64-bit numbers. Who holds the buckets is `zone`'s business, or the session's.

use crate::config::value::Rate;

/// nginx's bound between another worker that is a little ahead and a clock that was really set back, in milliseconds.
const CLOCK_SET_BACK_MS: u64 = 60_000;

/// How much may come how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What drains.
    pub rate: Rate,
    /// Units of excess that are let in; more is rejected. `u64::MAX`: nothing is rejected.
    pub burst: u64,
    /// Units of excess that pass at once; the rest of the burst waits. `u64::MAX`: `nodelay`, nothing waits.
    pub delay: u64,
}

/// What becomes of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It passes at once.
    Pass,
    /// It passes after this many milliseconds, at least 1.
    Wait(u64),
    /// It exceeds the burst. It was not charged.
    Reject {
        /// Milliseconds until the same hit would be let in, if nothing else is charged meanwhile. At least 1.
        retry_ms: u64,
    },
}

/// What one key owes. No bucket at all is the same as a drained one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Units above the rate, as of `last`; the latest hit counts from 0, so the first one is free.
    excess: u64,
    /// Monotonic milliseconds up to which draining was counted.
    last: u64,
}

/// Charges one hit of this cost in units to a key that may be new, unless the verdict is [`Verdict::Reject`].
#[inline]
pub fn hit(bucket: &mut Option<Bucket>, limit: &Limit, cost: u64, now_ms: u64) -> Verdict {
    let Some(known) = bucket else {
        *bucket = Some(Bucket::new(now_ms));
        return Verdict::Pass;
    };
    known.hit(limit, cost, now_ms)
}

impl Bucket {
    /// The bucket of a key whose first hit is now. That hit is admitted whatever the limit, and is free.
    #[must_use]
    pub const fn new(now_ms: u64) -> Self {
        Self { excess: 0, last: now_ms }
    }

    /// One of which this excess is known.
    #[must_use]
    pub const fn owing(excess: u64, now_ms: u64) -> Self {
        Self { excess, last: now_ms }
    }

    /// Charges one hit, unless the verdict is [`Verdict::Reject`]: a refusal costs nothing.
    #[inline]
    pub fn hit(&mut self, limit: &Limit, cost: u64, now_ms: u64) -> Verdict {
        let (verdict, charged) = self.judge(limit, cost, now_ms);
        *self = charged;
        verdict
    }

    /// What one hit would get, and the bucket as it would be afterwards; unchanged by a rejection. nginx knows one cost,
    /// [`Rate::ONE`]; a hit of another is as free when the account is empty, and as much as it costs otherwise.
    #[inline]
    pub fn judge(self, limit: &Limit, cost: u64, now_ms: u64) -> (Verdict, Bucket) {
        let ms = elapsed(self.last, now_ms);
        let excess = self.excess_after(limit.rate, cost, ms);
        if excess > limit.burst {
            let retry_ms = self.ms_until_let_in(limit.rate, limit.burst, cost).saturating_sub(ms);
            return (Verdict::Reject { retry_ms }, self);
        }
        // Without elapsed time `last` stays, so that a hit from behind makes no millisecond count twice.
        let last = if ms == 0 { self.last } else { now_ms };
        let wait = scale(excess.saturating_sub(limit.delay), limit.rate.period_ms, limit.rate.units);
        let verdict = if wait == 0 { Verdict::Pass } else { Verdict::Wait(wait) };
        (verdict, Bucket { excess, last })
    }

    /// What it would owe had a hit of this cost not come. Of hits that came since none is forgotten: had that one been
    /// the free first, the next would have been it.
    #[must_use]
    pub const fn without(self, cost: u64) -> Self {
        Self { excess: self.excess.saturating_sub(cost), ..self }
    }

    /// The one of two that owes more, as of the later of both.
    #[must_use]
    pub fn or_more(self, other: Self, rate: Rate) -> Self {
        let now_ms = self.last.max(other.last);
        let owes = |bucket: Self| bucket.excess_after(rate, 0, elapsed(bucket.last, now_ms));
        if owes(other) > owes(self) { other } else { self }
    }

    /// Monotonic milliseconds up to which draining was counted.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Whether so little is owed that forgetting the bucket changes no later verdict on hits of at most this cost.
    #[must_use]
    pub fn is_drained(&self, rate: Rate, cost: u64, now_ms: u64) -> bool {
        self.excess_after(rate, cost, elapsed(self.last, now_ms)) == 0
    }

    /// The excess of a hit `ms` after `last`. Saturates only after 2^64 units, which is 10^16 hits.
    #[inline]
    fn excess_after(self, rate: Rate, cost: u64, ms: u64) -> u64 {
        self.excess.saturating_add(cost).saturating_sub(drained(rate, ms))
    }

    /// The least number of milliseconds after `last` at which a hit is within the burst; with a burst of 0, at which
    /// the bucket is drained.
    pub(super) fn ms_until_let_in(self, rate: Rate, burst: u64, cost: u64) -> u64 {
        let due = self.excess.saturating_add(cost).saturating_sub(burst);
        let floor = scale(due, rate.period_ms, rate.units);
        floor.saturating_add(u64::from(drained(rate, floor) < due))
    }
}

/// Milliseconds of draining between two readings of the clock, as nginx clamps them when the later one is the smaller.
#[inline]
fn elapsed(last: u64, now_ms: u64) -> u64 {
    match now_ms.checked_sub(last) {
        Some(ms) => ms,
        None => u64::from(last - now_ms > CLOCK_SET_BACK_MS),
    }
}

/// Units that drain in `ms`, truncated.
#[inline]
pub(super) fn drained(rate: Rate, ms: u64) -> u64 {
    scale(rate.units, ms, rate.period_ms)
}

/// Milliseconds in which so many units drain, truncated.
pub(super) fn time_of(rate: Rate, units: u64) -> u64 {
    scale(units, rate.period_ms, rate.units)
}

/// `floor(a * b / by)`, exact, or `u64::MAX` where it does not fit.
///
/// At 10^6 messages a second the product fits 64 bits for 200 days of silence: the wide division is there to be right,
/// not to run.
#[inline]
fn scale(a: u64, b: u64, by: u64) -> u64 {
    match a.checked_mul(b) {
        Some(product) => product / by,
        None => scale_wide(a, b, by),
    }
}

#[cold]
fn scale_wide(a: u64, b: u64, by: u64) -> u64 {
    u64::try_from(u128::from(a) * u128::from(b) / u128::from(by)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
