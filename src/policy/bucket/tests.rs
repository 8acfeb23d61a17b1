//! nginx's vectors, and what must hold for any limit and any hits, against a model in wide integers.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const NODELAY: u64 = u64::MAX;

fn limit(rate: &str, burst: u64, delay: u64) -> Limit {
    Limit {
        rate: rate.parse().unwrap(),
        burst: burst * Rate::ONE,
        delay: if delay == NODELAY { NODELAY } else { delay * Rate::ONE },
    }
}

/// Walks rows `t verdict excess`, where the excess of a rejected hit is the one that was too much.
fn walk(limit: &Limit, rows: &str) {
    let mut bucket: Option<Bucket> = None;
    let mut walked = 0;
    for row in rows.split(';') {
        let words: Vec<&str> = row.split_whitespace().collect();
        let now: u64 = words[0].parse().unwrap();
        let tried = bucket.map_or(0, |b| b.excess_after(limit.rate, Rate::ONE, elapsed(b.last, now)));
        let verdict = hit(&mut bucket, limit, Rate::ONE, now);
        assert_eq!(matches!(verdict, Verdict::Reject { .. }), words[1] == "R", "at `{row}`: {verdict:?}");
        if let Some(excess) = words.get(2) {
            assert_eq!(tried, excess.parse::<u64>().unwrap(), "at `{row}`");
        }
        walked += 1;
    }
    assert!(walked >= 4);
}

fn waits(limit: &Limit, hits: usize) -> Vec<Option<u64>> {
    let mut bucket = None;
    let wait = |verdict| match verdict {
        Verdict::Pass => Some(0),
        Verdict::Wait(ms) => Some(ms),
        Verdict::Reject { .. } => None,
    };
    (0..hits).map(|_| wait(hit(&mut bucket, limit, Rate::ONE, 0))).collect()
}

#[test]
fn one_a_second_without_burst_as_nginx() {
    walk(&limit("1r/s", 0, 0), "0 P 0; 0 R 1000; 500 R 500; 999 R 1; 1000 P 0; 1500 R 500; 2000 P 0");
    walk(&limit("10r/s", 0, 0), "0 P; 99 R 10; 100 P 0; 200 P 0; 299 R 10; 300 P 0");
}

#[test]
fn one_a_minute_is_sixteen_thousandths_a_second_as_nginx() {
    walk(&limit("1r/m", 0, 0), "0 P; 60000 R 40; 62499 R 1; 62500 P");
}

#[test]
fn a_minute_in_other_words_is_not_truncated() {
    walk(&limit("1/minute", 0, 0), "0 P; 59940 R 1; 59999 R 1; 60000 P 0");
    walk(&limit("100/hour", 0, 0), "0 P; 35964 R 1; 35999 R 1; 36000 P 0");
}

#[test]
fn nodelay_lets_the_burst_through_at_once_and_refills_at_the_rate() {
    let rows = "0 P 0; 0 P 1000; 0 P 2000; 0 P 3000; 0 P 4000; 0 P 5000; 0 R 6000; \
                1000 P 5000; 1000 R 6000; 1999 R 5001; 2000 P 5000";
    walk(&limit("1r/s", 5, NODELAY), rows);
}

#[test]
fn a_plain_burst_spaces_and_delay_lets_its_part_through_at_once() {
    let (z, r) = (Some(0), None);
    let s = |seconds: u64| Some(seconds * 1000);
    assert_eq!(waits(&limit("1r/s", 5, 0), 7), [z, s(1), s(2), s(3), s(4), s(5), r]);
    assert_eq!(waits(&limit("1r/s", 5, 2), 7), [z, z, z, s(1), s(2), s(3), r]);
}

#[test]
fn a_clock_that_goes_back_is_clamped_as_nginx_does() {
    let rows = "100000 P 0; 99000 P 1000; 99500 R 2000; 101000 P 1000; 30000 R 1999";
    walk(&limit("1r/s", 1, NODELAY), rows);
}

#[test]
fn a_hit_each_millisecond_for_ten_seconds_is_admitted_up_to_the_bound() {
    let limit = limit("10r/s", 20, NODELAY);
    let mut bucket = None;
    let admitted = (0..10_000).filter(|now| hit(&mut bucket, &limit, Rate::ONE, *now) == Verdict::Pass).count();
    assert_eq!(admitted, 120);
}

#[test]
fn a_session_that_delays_rejects_nothing_and_keeps_the_rate() {
    // What `on_excess = "delay"` does: each hit is waited out before the next one is read.
    let limit = Limit { burst: u64::MAX, delay: 0, ..limit("10/minute", 0, 0) };
    let (mut bucket, mut now) = (None, 0);
    for _ in 0..=600 {
        match hit(&mut bucket, &limit, Rate::ONE, now) {
            Verdict::Pass => {}
            Verdict::Wait(ms) => now += ms,
            Verdict::Reject { .. } => panic!("nothing is rejected"),
        }
    }
    assert_eq!(now, 3_600_000, "600 after the first, at 10 a minute, take an hour");
}

#[test]
fn a_bucket_is_drained_when_its_hit_is_paid_and_no_earlier() {
    let rate = "1r/s".parse().unwrap();
    assert_eq!(
        [0, 999, 1000, 1001].map(|now| Bucket::new(0).is_drained(rate, Rate::ONE, now)),
        [false, false, true, true]
    );
}

#[test]
fn the_largest_burst_at_the_lowest_rate_waits_exactly() {
    let limit = limit("1/day", u64::from(u32::MAX), 0);
    let owing = Bucket { excess: limit.burst - 1000, last: 0 };
    let eleven_million_years = u64::from(u32::MAX) * 86_400_000;
    assert_eq!(owing.judge(&limit, Rate::ONE, 0).0, Verdict::Wait(eleven_million_years));
    assert_eq!(
        owing.judge(&limit, Rate::ONE, eleven_million_years / 2).0,
        Verdict::Wait(eleven_million_years.div_ceil(2))
    );
}

#[test]
fn a_bucket_is_two_words() {
    assert_eq!(size_of::<Bucket>(), 16);
}

/// limits.md's formula again, with a signed clock and integers that can't overflow.
#[derive(Clone, Copy, Default)]
struct Model(Option<(u128, u64)>);

impl Model {
    /// The wait, or none for a rejection.
    fn hit(&mut self, limit: &Limit, now: u64) -> Option<u128> {
        let Some((excess, last)) = self.0 else {
            self.0 = Some((0, now));
            return Some(0);
        };
        let ms = match i128::from(now) - i128::from(last) {
            ms if ms < -60_000 => 1,
            ms => u128::try_from(ms).unwrap_or(0),
        };
        let out = u128::from(limit.rate.units) * ms / u128::from(limit.rate.period_ms);
        let excess = (excess + 1000).saturating_sub(out);
        if excess > u128::from(limit.burst) {
            return None;
        }
        self.0 = Some((excess, if ms == 0 { last } else { now }));
        Some(
            excess.saturating_sub(limit.delay.into()) * u128::from(limit.rate.period_ms) / u128::from(limit.rate.units),
        )
    }
}

fn any_rate() -> impl Strategy<Value = Rate> {
    let typed = (1..2000_u64, prop::sample::select(vec!["r/s", "r/m", "/s", "/minute", "/hour", "/day"]))
        .prop_map(|(n, unit)| format!("{n}{unit}").parse().unwrap());
    let odd = (1..5000_u64, 1..5000_u64).prop_map(|(units, period_ms)| Rate { units, period_ms });
    prop_oneof![3 => typed, 1 => odd]
}

fn any_limit() -> impl Strategy<Value = Limit> {
    let delay = prop_oneof![Just(0), 0..6000_u64, Just(NODELAY)];
    (any_rate(), prop_oneof![Just(0), 0..9000_u64], delay).prop_map(|(rate, burst, delay)| Limit { rate, burst, delay })
}

/// Moments that never go back: many hits close together, now and then a long silence.
fn onward() -> impl Strategy<Value = Vec<u64>> {
    let step = prop_oneof![4 => Just(0), 8 => 0..20_u64, 4 => 0..2000_u64, 1 => 0..400_000_u64];
    vec(step, 1..120).prop_map(|steps| {
        let add = |now: &mut u64, step: u64| {
            *now += step;
            Some(*now)
        };
        steps.into_iter().scan(1_000_000, add).collect()
    })
}

/// The same as different workers read it: each is up to a second behind.
fn jittered() -> impl Strategy<Value = Vec<u64>> {
    (onward(), vec(0..1000_u64, 120)).prop_map(|(times, back)| times.iter().zip(back).map(|(t, b)| t - b).collect())
}

fn is_admitted(verdict: Verdict) -> bool {
    !matches!(verdict, Verdict::Reject { .. })
}

fn bound(limit: &Limit, window_ms: u64) -> u64 {
    1 + (limit.burst + limit.rate.units * window_ms / limit.rate.period_ms) / Rate::ONE
}

proptest! {
    #[test]
    fn every_verdict_is_the_models(limit in any_limit(), times in prop_oneof![jittered(), vec(0..300_000_u64, 1..80)]) {
        let (mut bucket, mut model) = (None, Model::default());
        for now in times {
            let wait = match hit(&mut bucket, &limit, Rate::ONE, now) {
                Verdict::Pass => Some(0),
                Verdict::Wait(ms) => { prop_assert!(ms > 0); Some(u128::from(ms)) }
                Verdict::Reject { .. } => None,
            };
            prop_assert_eq!(wait, model.hit(&limit, now));
            prop_assert_eq!(bucket.map(|b| (u128::from(b.excess), b.last)), model.0);
        }
    }

    #[test]
    fn no_number_is_too_large(
        (units, period_ms) in (1..u64::MAX, 1..u64::MAX),
        (burst, delay) in any::<(u64, u64)>(),
        times in vec(any::<u64>(), 1..20),
    ) {
        let limit = Limit { rate: Rate { units, period_ms }, burst, delay };
        let (mut bucket, mut model) = (None, Model::default());
        for now in times {
            prop_assert_eq!(is_admitted(hit(&mut bucket, &limit, Rate::ONE, now)), model.hit(&limit, now).is_some());
        }
    }

    #[test]
    fn no_window_admits_more_than_burst_and_rate_allow(limit in any_limit(), times in onward()) {
        let mut bucket = None;
        let admitted: Vec<u64> = times.into_iter().filter(|t| is_admitted(hit(&mut bucket, &limit, Rate::ONE, *t))).collect();
        for (i, from) in admitted.iter().enumerate() {
            for (count, to) in (1..).zip(&admitted[i..]) {
                prop_assert!(count <= bound(&limit, to - from), "{} in {} ms", count, to - from);
            }
        }
    }

    #[test]
    fn time_that_workers_read_differently_is_not_counted_twice(limit in any_limit(), times in jittered()) {
        let window = times.iter().max().unwrap() - times.iter().min().unwrap();
        let mut bucket = None;
        let admitted = times.iter().filter(|t| is_admitted(hit(&mut bucket, &limit, Rate::ONE, **t))).count() as u64;
        prop_assert!(admitted <= bound(&limit, window), "{} in {} ms", admitted, window);
    }

    #[test]
    fn a_flooded_bucket_loses_no_time(rate_ms in 1..50_u64, times in onward()) {
        // Whole units a millisecond, so that nothing is truncated; enough hits at each moment to keep the bucket full.
        let limit = Limit { rate: Rate { units: rate_ms * 1000, period_ms: 1000 }, burst: 9000, delay: NODELAY };
        let (mut bucket, mut admitted, mut unused) = (None::<Bucket>, 0, 0);
        for now in &times {
            unused += bucket.map_or(0, |b| (rate_ms * (now - b.last)).saturating_sub(b.excess + Rate::ONE));
            while is_admitted(hit(&mut bucket, &limit, Rate::ONE, *now)) {
                admitted += 1;
            }
        }
        let (bucket, end) = (bucket.unwrap(), times[times.len() - 1]);
        let (paid, to_come) = ((admitted - 1) * Rate::ONE - bucket.excess, rate_ms * (end - bucket.last));
        prop_assert_eq!(paid + unused + to_come, rate_ms * (end - times[0]));
    }

    #[test]
    fn a_refusal_costs_nothing(limit in any_limit(), times in jittered()) {
        let (mut bucket, mut spared) = (None, None);
        for now in times {
            let before = bucket;
            let verdict = hit(&mut bucket, &limit, Rate::ONE, now);
            if is_admitted(verdict) {
                prop_assert_eq!(hit(&mut spared, &limit, Rate::ONE, now), verdict);
            } else {
                prop_assert_eq!(bucket, before);
            }
        }
        prop_assert_eq!(bucket, spared);
    }

    #[test]
    fn a_rejected_hit_is_let_in_after_retry_ms_and_no_earlier(limit in any_limit(), times in onward()) {
        let mut bucket = None;
        for now in times {
            if let Verdict::Reject { retry_ms } = hit(&mut bucket, &limit, Rate::ONE, now) {
                let again = |ms| is_admitted(bucket.unwrap().judge(&limit, Rate::ONE, ms).0);
                prop_assert!(retry_ms > 0 && again(now + retry_ms) && !again(now + retry_ms - 1));
            }
        }
    }

    #[test]
    fn an_idle_bucket_equals_an_absent_one(limit in any_limit(), times in onward(), later in 0..100_000_u64) {
        let mut bucket = None;
        for now in &times {
            let _ = hit(&mut bucket, &limit, Rate::ONE, *now);
        }
        // (burst + 1) / rate, and a millisecond for what truncation left.
        let idle = (limit.burst + Rate::ONE) * limit.rate.period_ms / limit.rate.units + 1;
        let now = times[times.len() - 1] + idle;
        prop_assert!(bucket.unwrap().is_drained(limit.rate, Rate::ONE, now));
        let mut absent = None;
        for now in [now + later, now + later, now + later + 7] {
            prop_assert_eq!(hit(&mut bucket, &limit, Rate::ONE, now), hit(&mut absent, &limit, Rate::ONE, now));
            prop_assert_eq!(bucket, absent);
        }
    }

    #[test]
    fn a_bucket_that_is_not_drained_differs_from_an_absent_one(limit in any_limit(), times in onward(), later in 0..9000_u64) {
        let mut bucket = None;
        for now in &times {
            let _ = hit(&mut bucket, &limit, Rate::ONE, *now);
        }
        let now = times[times.len() - 1] + later;
        let known = bucket.unwrap();
        // Drained: a hit that may exceed nothing is let in, and leaves what a first hit leaves. A rejected one leaves the
        // bucket as it was, which a first hit at this very moment may have made, so the verdict counts too.
        let after = known.judge(&Limit { burst: 0, delay: 0, ..limit }, Rate::ONE, now);
        prop_assert_eq!(known.is_drained(limit.rate, Rate::ONE, now), after == (Verdict::Pass, Bucket::new(now)));
    }
}
