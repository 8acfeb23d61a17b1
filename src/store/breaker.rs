//! Whether the store is asked at all: the circuit breaker, as arithmetic.
//!
//! A store that fails must cost its callers nothing but the knowledge that it fails. After a few failures in a row nobody
//! asks it any more, until one probe, which no caller waits for, went well. No clock and no network here.

use serde::Serialize;

/// How many failures in a row open it. One may be an accident, and the third waits for nobody's answer.
pub const FAILURES: u32 = 3;

/// How long it stays open before the first probe, and at most, in milliseconds. It doubles from probe to probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// Before the first probe.
    pub first_ms: u64,
    /// Never longer than this.
    pub most_ms: u64,
}

/// What a caller, or a dashboard, sees of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The store is asked.
    Closed,
    /// It is not asked.
    Open,
    /// It is not asked but by one probe, which is under way.
    HalfOpen,
}

/// What the one who probes has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing: the store works.
    Needless,
    /// Probe, and say how it went. Until then nobody else is told to.
    Begin,
    /// Ask again at this moment.
    At(u64),
}

/// One store's breaker. Begins open, with a probe that is due: nobody knows yet whether the store is there.
#[derive(Clone, Debug)]
pub struct Breaker {
    back_off: BackOff,
    state: State,
    /// Failures in a row while closed.
    failures: u32,
    /// When the next probe is due while open.
    due: u64,
    /// How long it stays open after the next failure.
    wait_ms: u64,
}

impl Breaker {
    /// One that has to be probed first.
    #[must_use]
    pub fn new(back_off: BackOff) -> Self {
        Self { back_off, state: State::Open, failures: 0, due: 0, wait_ms: back_off.first_ms }
    }

    /// Open, closed or between.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether a caller may ask the store.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        self.state == State::Closed
    }

    /// A call went well. One that was on its way when it opened says nothing of the next one.
    pub fn succeeded(&mut self) {
        if self.state == State::Closed {
            self.failures = 0;
        }
    }

    /// A call failed at `now`. Whether that opened it.
    pub fn failed(&mut self, now: u64) -> bool {
        if self.state != State::Closed {
            return false;
        }
        self.failures += 1;
        self.failures >= FAILURES && self.open(now)
    }

    /// The probe ended at `now`.
    pub fn probed(&mut self, went_well: bool, now: u64) {
        if self.state != State::HalfOpen {
            return;
        }
        if went_well {
            self.state = State::Closed;
            self.failures = 0;
            self.wait_ms = self.back_off.first_ms;
        } else {
            self.open(now);
        }
    }

    /// The connection is gone at `now`: no more failures are needed. Whether that opened it.
    pub fn lost(&mut self, now: u64) -> bool {
        self.state != State::Open && self.open(now)
    }

    /// What there is to probe at `now`.
    pub fn probe(&mut self, now: u64) -> Probe {
        match self.state {
            State::Closed => Probe::Needless,
            State::Open if self.due <= now => {
                self.state = State::HalfOpen;
                Probe::Begin
            }
            State::Open | State::HalfOpen => Probe::At(self.due),
        }
    }

    /// Whether it was closed before.
    fn open(&mut self, now: u64) -> bool {
        let was_closed = self.state == State::Closed;
        self.state = State::Open;
        self.due = now.saturating_add(self.wait_ms);
        self.wait_ms = self.wait_ms.saturating_mul(2).min(self.back_off.most_ms);
        was_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACK_OFF: BackOff = BackOff { first_ms: 100, most_ms: 1000 };

    fn closed() -> Breaker {
        let mut breaker = Breaker::new(BACK_OFF);
        assert_eq!(breaker.probe(0), Probe::Begin);
        breaker.probed(true, 0);
        assert_eq!(breaker.state(), State::Closed);
        breaker
    }

    #[test]
    fn a_new_one_lets_nobody_through_until_its_first_probe_went_well() {
        let mut breaker = Breaker::new(BACK_OFF);
        assert!(!breaker.lets_through());
        assert_eq!(breaker.probe(0), Probe::Begin);
        assert!(!breaker.lets_through());
        breaker.succeeded();
        assert!(!breaker.lets_through(), "an old call's answer is no probe");
        breaker.probed(true, 0);
        assert!(breaker.lets_through());
        assert_eq!(breaker.probe(0), Probe::Needless);
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_forgets_them() {
        let mut breaker = closed();
        for _ in 0..10 {
            assert!(!breaker.failed(5) && !breaker.failed(5));
            breaker.succeeded();
        }
        assert_eq!([breaker.failed(5), breaker.failed(5), breaker.failed(5)], [false, false, true]);
        assert_eq!(breaker.state(), State::Open);
        // Calls that were under way fail too, and neither open it again nor put the probe off.
        assert!(!breaker.failed(90));
        assert_eq!(breaker.probe(104), Probe::At(105));
        assert_eq!(breaker.probe(105), Probe::Begin);
    }

    #[test]
    fn a_lost_connection_opens_it_at_once() {
        let mut breaker = closed();
        assert!(breaker.lost(7));
        assert!(!breaker.lost(8));
        assert_eq!(breaker.probe(8), Probe::At(107));
    }

    #[test]
    fn one_probe_is_under_way_at_a_time() {
        let mut breaker = Breaker::new(BACK_OFF);
        assert_eq!(breaker.probe(0), Probe::Begin);
        assert_ne!(breaker.probe(0), Probe::Begin);
        assert_ne!(breaker.probe(10_000), Probe::Begin);
    }

    #[test]
    fn it_waits_twice_as_long_after_each_probe_that_failed_up_to_a_bound() {
        let mut breaker = closed();
        breaker.lost(0);
        let mut waits = Vec::new();
        let mut now = 0;
        for _ in 0..6 {
            let Probe::At(due) = breaker.probe(now) else { panic!("due already") };
            waits.push(due - now);
            now = due;
            assert_eq!(breaker.probe(now), Probe::Begin);
            breaker.probed(false, now);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        /// Whatever happens, a caller gets through only after a probe that went well, and it always comes to a probe.
        #[test]
        fn nobody_gets_through_without_a_probe_that_went_well(steps in prop::collection::vec((0..6_u8, 0..500_u64), 0..200)) {
            let mut breaker = Breaker::new(BACK_OFF);
            let (mut now, mut probing, mut good) = (0, false, false);
            for (what, ms) in steps {
                now += ms;
                match what {
                    0 => if breaker.probe(now) == Probe::Begin {
                        prop_assert!(!probing && !good);
                        probing = true;
                    },
                    1 => breaker.succeeded(),
                    2 => good &= !breaker.failed(now),
                    3 => {
                        breaker.probed(true, now);
                        good |= probing;
                        probing = false;
                    }
                    4 => {
                        breaker.probed(false, now);
                        probing = false;
                    }
                    _ => {
                        prop_assert_eq!(breaker.lost(now), good);
                        (good, probing) = (false, false);
                    }
                }
                prop_assert_eq!(breaker.lets_through(), good);
            }
            if let Probe::At(due) = breaker.probe(now) {
                prop_assert!(probing || due <= now + BACK_OFF.most_ms);
            }
        }
    }
}
