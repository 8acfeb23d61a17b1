//! Charges that are given back, since somebody else who had to be asked refused.

use super::{Charge, Zone};
use crate::policy::bucket::Bucket;
use crate::policy::key::Key;

/// What one handshake was charged. Dropped, it stays charged.
#[derive(Debug, Default)]
#[must_use]
pub struct Refund<'a>(Vec<Charged<'a>>);

/// One account.
#[derive(Debug)]
struct Charged<'a> {
    zone: &'a Zone,
    key: Key,
    before: Option<Bucket>,
    after: Bucket,
    cost: u64,
}

impl<'a> Refund<'a> {
    pub(super) fn add(&mut self, charge: Charge<'a>, before: Option<Bucket>) {
        let Charge { zone, key, bucket: after, cost, .. } = charge;
        self.0.push(Charged { zone, key, before, after, cost });
    }

    /// Gives it back. An account that nobody touched since is as it was before; from any other the units go that this
    /// handshake put there, and nobody else's debt with them.
    pub fn give_back(self) {
        for Charged { zone, key, before, after, cost } in self.0 {
            // Nothing to correct: drained and dropped meanwhile, so nothing is owed.
            let correct = |now: Bucket| if now == after { before } else { Some(now.without(cost)) };
            zone.place(key).0.lock().correct(key, correct);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Rate;
    use crate::policy::zone::{self, Hit, admit_for_now};
    use proptest::collection::vec;
    use proptest::prelude::*;

    const CLIENT: u32 = 7;

    fn hit(zone: &Zone, client: u32, burst: u64) -> Hit<'_> {
        let key = Key::of_ip(std::net::Ipv4Addr::from_bits(client).into());
        Hit { zone, key, burst: burst * Rate::ONE, delay: u64::MAX, cost: Rate::ONE, dry_run: false }
    }

    fn zone() -> Zone {
        Zone::new("test", "1r/s".parse().unwrap(), 100)
    }

    /// How many more are let in at one moment.
    fn left(zone: &Zone, burst: u64, now_ms: u64) -> usize {
        (0..).take_while(|_| zone::admit(&[hit(zone, CLIENT, burst)], now_ms).answer.is_ok()).count()
    }

    #[test]
    fn an_account_that_was_new_is_gone_again() {
        let zone = zone();
        let (outcome, refund) = admit_for_now(&[hit(&zone, CLIENT, 3)], 0);
        assert_eq!((outcome.answer, zone.len()), (Ok(0), 1));
        refund.give_back();
        assert!(zone.is_empty());
        assert_eq!(left(&zone, 3, 0), 4);
    }

    #[test]
    fn an_account_that_nobody_touched_since_is_as_it_was_to_the_millisecond() {
        let (zone, untouched) = (zone(), zone());
        for zone in [&zone, &untouched] {
            assert_eq!(left(zone, 2, 0), 3);
        }
        let (outcome, refund) = admit_for_now(&[hit(&zone, CLIENT, 2)], 1001);
        assert_eq!(outcome.answer, Ok(0));
        refund.give_back();
        for now_ms in [1001, 1999, 2000, 2001] {
            assert_eq!(left(&zone, 2, now_ms), left(&untouched, 2, now_ms), "at {now_ms}");
        }
    }

    #[test]
    fn what_others_were_charged_since_stays_charged() {
        let zone = zone();
        let (_, refund) = admit_for_now(&[hit(&zone, CLIENT, 5)], 0);
        for _ in 0..3 {
            assert_eq!(zone::admit(&[hit(&zone, CLIENT, 5)], 0).answer, Ok(0));
        }
        refund.give_back();
        assert_eq!(left(&zone, 5, 0), 3, "of 1 + 5, three are spent");
    }

    #[test]
    fn two_limits_of_one_account_give_back_what_both_took() {
        let zone = zone();
        let (_, refund) = admit_for_now(&[hit(&zone, CLIENT, 5), hit(&zone, CLIENT, 5)], 0);
        assert_eq!(zone::admit(&[hit(&zone, CLIENT, 5)], 0).answer, Ok(0));
        refund.give_back();
        assert_eq!(left(&zone, 5, 0), 5);
    }

    #[test]
    fn a_refusal_gives_nothing_back_since_nothing_was_charged() {
        let zone = zone();
        assert_eq!(left(&zone, 0, 0), 1);
        let (outcome, refund) = admit_for_now(&[hit(&zone, 1, 0), hit(&zone, CLIENT, 0)], 0);
        assert!(outcome.answer.is_err());
        refund.give_back();
        assert_eq!((zone.len(), left(&zone, 0, 999)), (1, 0));
    }

    #[test]
    fn an_account_that_was_drained_and_dropped_meanwhile_is_left_alone() {
        let zone = Zone::new("test", "1r/s".parse().unwrap(), 1);
        let (_, refund) = admit_for_now(&[hit(&zone, CLIENT, 0)], 0);
        assert_eq!(zone::admit(&[hit(&zone, 8, 0)], 1000).answer, Ok(0));
        refund.give_back();
        assert_eq!((zone.len(), left(&zone, 0, 1000)), (1, 0), "the other's debt fills the zone");
    }

    proptest! {
        /// Whatever came before and after it, less than one hit is between what is owed and what would be, had that
        /// handshake not been: by the free first one, which another's was meanwhile.
        #[test]
        fn a_charge_that_was_given_back_leaves_what_the_others_owe(
            before in vec(0..3000_u64, 0..6), gap in 0..3000_u64, after in vec(0..3000_u64, 0..6),
        ) {
            let (zone, without) = (zone(), zone());
            let mut now_ms = 0;
            let all = |now_ms| {
                for zone in [&zone, &without] {
                    assert_eq!(zone::admit(&[hit(zone, CLIENT, 1000)], now_ms).answer, Ok(0));
                }
            };
            for step in before {
                now_ms += step;
                all(now_ms);
            }
            now_ms += gap;
            let (outcome, refund) = admit_for_now(&[hit(&zone, CLIENT, 1000)], now_ms);
            prop_assert_eq!(outcome.answer, Ok(0));
            for step in after {
                now_ms += step;
                all(now_ms);
            }
            refund.give_back();
            let (given_back, never_charged) = (left(&zone, 20, now_ms), left(&without, 20, now_ms));
            prop_assert!(given_back.abs_diff(never_charged) <= 1, "{given_back} {never_charged}");
        }
    }
}
