//! Passive ejection: a server whose handshakes fail is left out for a while, longer each time in a row, and one handshake
//! tries it before it gets its share again.

/// The longest time out, in milliseconds, unless `fail_timeout` itself is longer.
const LONGEST: u64 = 300_000;

/// When a server is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Failures in a row; 0: never.
    pub max_fails: u32,
    /// Milliseconds that the first time lasts, and within which the next failure adds up.
    pub fail_timeout: u64,
}

/// Whether a server may have a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its share of them.
    In,
    /// None.
    Out,
    /// One, to see whether it is well again.
    Trial,
}

/// What one server's handshakes came to. Times are [`crate::now::Now::mono`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Ejection {
    fails: u32,
    failed_at: u64,
    /// Until when it is out; none where it is in.
    until: Option<u64>,
    /// Whether a handshake is on its way to see.
    on_trial: bool,
    /// How many times in a row it was left out, how long the last one was, and when that was over.
    times: u32,
    lasted: u64,
    returned: u64,
}

impl Ejection {
    /// Whether it may have a handshake now.
    #[must_use]
    pub fn standing(&self, now: u64) -> Standing {
        match self.until {
            None => Standing::In,
            Some(until) if now >= until && !self.on_trial => Standing::Trial,
            Some(_) => Standing::Out,
        }
    }

    /// One handshake is on its way to see.
    pub fn begin_trial(&mut self) {
        self.on_trial = true;
    }

    /// That handshake came to nothing that says anything of the server.
    pub fn end_trial(&mut self) {
        self.on_trial = false;
    }

    /// A handshake failed. `chance` is any number; `may_eject` is whether others are left. Present: how long it is out.
    pub fn fail(&mut self, terms: Terms, now: u64, chance: u64, may_eject: bool) -> Option<u64> {
        match self.until {
            // It began before the server was left out.
            Some(until) if now < until => return None,
            Some(_) => {
                self.on_trial = false;
                self.until = None;
            }
            None => {
                if now.saturating_sub(self.failed_at) > terms.fail_timeout {
                    self.fails = 0;
                }
                // It was well for as long as it had been out: what comes now is another story.
                if now.saturating_sub(self.returned) > self.lasted {
                    self.times = 0;
                }
                self.fails = self.fails.saturating_add(1);
                self.failed_at = now;
                if terms.max_fails == 0 || self.fails < terms.max_fails {
                    return None;
                }
            }
        }
        if terms.max_fails == 0 || !may_eject {
            return None;
        }
        self.times = self.times.saturating_add(1);
        self.fails = 0;
        self.lasted = lasts(terms.fail_timeout, self.times, chance);
        self.until = Some(now.saturating_add(self.lasted));
        Some(self.lasted)
    }

    /// A handshake went well. `tried` says that it was sent in spite of the ejection. True: the server is in again.
    pub fn succeed(&mut self, now: u64, tried: bool) -> bool {
        if self.until.is_some() && !tried {
            return false;
        }
        self.fails = 0;
        self.readmit(now)
    }

    /// Lets it in again. False: it was in.
    pub fn readmit(&mut self, now: u64) -> bool {
        self.on_trial = false;
        let was_out = self.until.take().is_some();
        if was_out {
            self.returned = now;
        }
        was_out
    }
}

/// Twice as long each time, and up to a quarter more, so that servers that failed together are not tried together.
fn lasts(first: u64, times: u32, chance: u64) -> u64 {
    let doubled = first.saturating_mul(1 << (times - 1).min(32));
    let lasts = doubled.min(LONGEST.max(first));
    lasts + chance % (lasts / 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TERMS: Terms = Terms { max_fails: 3, fail_timeout: 10_000 };

    fn out(ejection: &mut Ejection, now: u64) -> Option<u64> {
        ejection.fail(TERMS, now, 0, true)
    }

    #[test]
    fn so_many_failures_in_a_row_eject_and_a_success_begins_anew() {
        let mut ejection = Ejection::default();
        assert_eq!([out(&mut ejection, 1), out(&mut ejection, 2)], [None, None]);
        assert!(!ejection.succeed(3, false));
        assert_eq!([out(&mut ejection, 4), out(&mut ejection, 5), out(&mut ejection, 6)], [None, None, Some(10_000)]);
        assert_eq!(ejection.standing(10_005), Standing::Out);
        assert_eq!(ejection.standing(10_006), Standing::Trial);
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let mut ejection = Ejection::default();
        for turn in 0..10 {
            assert_eq!(out(&mut ejection, turn * 10_001), None);
        }
        assert_eq!(out(&mut ejection, 90_010), None);
        assert_eq!(out(&mut ejection, 90_011), Some(10_000));
    }

    #[test]
    fn one_handshake_at_a_time_tries_a_server_and_its_failure_doubles_the_time() {
        let mut ejection = Ejection::default();
        let mut now = 0;
        let mut times = Vec::new();
        for _ in 0..3 {
            out(&mut ejection, now);
        }
        for _ in 0..7 {
            now = ejection.until.unwrap();
            assert_eq!(ejection.standing(now), Standing::Trial);
            ejection.begin_trial();
            assert_eq!(ejection.standing(now), Standing::Out);
            times.push(out(&mut ejection, now).unwrap());
        }
        assert_eq!(times, [20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
        ejection.begin_trial();
        ejection.end_trial();
        now = ejection.until.unwrap();
        assert_eq!(ejection.standing(now), Standing::Trial);
        assert!(ejection.succeed(now, true));
        assert_eq!(ejection.standing(now), Standing::In);
    }

    #[test]
    fn who_fails_again_soon_after_is_out_longer_and_who_was_well_for_long_is_not() {
        let eject = |ejection: &mut Ejection, now| (0..3).find_map(|_| ejection.fail(TERMS, now, 0, true));
        let mut ejection = Ejection::default();
        assert_eq!(eject(&mut ejection, 0), Some(10_000));
        assert!(ejection.succeed(10_000, true));
        assert_eq!(eject(&mut ejection, 15_000), Some(20_000));
        assert!(ejection.succeed(35_000, true));
        assert_eq!(eject(&mut ejection, 55_001), Some(10_000));
    }

    #[test]
    fn what_was_under_way_before_says_nothing_of_a_server_that_is_out() {
        let mut ejection = Ejection::default();
        for _ in 0..3 {
            out(&mut ejection, 0);
        }
        assert_eq!(out(&mut ejection, 1), None);
        assert!(!ejection.succeed(1, false));
        assert_eq!(ejection.standing(9_999), Standing::Out);
    }

    #[test]
    fn the_last_one_stays_and_max_fails_of_0_ejects_nobody() {
        let mut ejection = Ejection::default();
        for now in 0..100 {
            assert_eq!(ejection.fail(TERMS, now, 0, false), None);
            assert_eq!(ejection.standing(now), Standing::In);
        }
        assert_eq!(ejection.fail(TERMS, 100, 0, true), Some(10_000));
        let mut never = Ejection::default();
        assert!((0..100).all(|now| never.fail(Terms { max_fails: 0, ..TERMS }, now, 0, true).is_none()));
    }

    proptest! {
        #[test]
        fn a_time_out_is_bounded_and_at_most_a_quarter_more_than_its_doubling(
            first in 1_u64..10_000_000, times in 1_u32..1000, chance: u64,
        ) {
            let plain = lasts(first, times, 0);
            prop_assert!(plain >= first && plain <= LONGEST.max(first));
            prop_assert!(times == 1 || plain >= lasts(first, times - 1, 0));
            let with = lasts(first, times, chance);
            prop_assert!(with >= plain && with <= plain + plain / 4);
        }

        /// Whatever happens in whatever order: a server that is out comes up for trial, and a good trial lets it in.
        #[test]
        fn nobody_is_out_for_ever(events in prop::collection::vec((0_u64..20_000, 0_u8..5, any::<u64>()), 0..200)) {
            let (mut ejection, mut now) = (Ejection::default(), 0);
            for (later, what, chance) in events {
                now += later;
                match what {
                    0 | 1 => { ejection.fail(TERMS, now, chance, true); }
                    2 => { ejection.succeed(now, false); }
                    3 if ejection.standing(now) == Standing::Trial => ejection.begin_trial(),
                    _ => ejection.end_trial(),
                }
            }
            ejection.end_trial();
            let after = now + LONGEST + LONGEST / 4;
            prop_assert_ne!(ejection.standing(after), Standing::Out);
            ejection.succeed(after, true);
            prop_assert_eq!(ejection.standing(after), Standing::In);
        }
    }
}
