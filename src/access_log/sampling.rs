//! Refusals under flood: of each reason so many lines a second are written, and the rest is counted. Ends of sessions are
//! never left out: there are no more of them than were let in.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::config::value::Rate;
use crate::deny::Deny;
use crate::policy::bucket::{self, Bucket, Limit, Verdict};

/// One reason's lines.
#[derive(Debug, Default)]
struct OfReason {
    bucket: Mutex<Option<Bucket>>,
    /// Left out, ever.
    suppressed: AtomicU64,
    /// As many of them as a line has told of.
    told: AtomicU64,
}

/// Decides which refusals have a line.
#[derive(Debug)]
pub(super) struct Sampling {
    limit: Limit,
    reasons: Vec<OfReason>,
}

impl Sampling {
    pub(super) fn new(rate: Rate, burst: u32) -> Self {
        let limit = Limit { rate, burst: u64::from(burst) * Rate::ONE, delay: u64::MAX };
        Self { limit, reasons: Deny::ALL.iter().map(|_| OfReason::default()).collect() }
    }

    /// How many of this reason were left out since its last line, if it may have one now.
    pub(super) fn admit(&self, reason: Deny, now_ms: u64) -> Option<u64> {
        let of = &self.reasons[reason.index()];
        let verdict = bucket::hit(&mut of.bucket.lock(), &self.limit, Rate::ONE, now_ms);
        if matches!(verdict, Verdict::Reject { .. }) {
            of.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let suppressed = of.suppressed.load(Ordering::Relaxed);
        Some(suppressed.saturating_sub(of.told.swap(suppressed, Ordering::Relaxed)))
    }

    /// How many were left out, ever, by reason.
    pub(super) fn suppressed(&self) -> Vec<(Deny, u64)> {
        let counts = self.reasons.iter().map(|of| of.suppressed.load(Ordering::Relaxed));
        Deny::ALL.iter().copied().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_flood_the_burst_and_then_the_rate_is_written_and_the_next_line_tells_of_the_rest() {
        let sampling = Sampling::new(Rate { units: 10 * Rate::ONE, period_ms: 1000 }, 3);
        let at = |now| sampling.admit(Deny::NoRoute, now);
        let first: Vec<_> = (0..10).map(|_| at(1000)).collect();
        assert_eq!(first, [[Some(0); 4].as_slice(), &[None; 6]].concat());
        assert_eq!(sampling.admit(Deny::IpCap, 1000), Some(0), "each reason has its own");
        assert_eq!((at(1100), at(1100)), (Some(6), None));
        assert_eq!((at(1200), at(60_000)), (Some(1), Some(0)));
        let counted: u64 = sampling.suppressed().iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 7);
        assert!(sampling.suppressed().contains(&(Deny::NoRoute, 7)));
    }
}
