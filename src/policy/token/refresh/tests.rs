//! When a set is due, to the millisecond; and that no token, nor a thousand, has it fetched more often than a cooldown.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110 s5.6.7.
const WALL: u64 = 784_111_777_000;
const TIMING: Timing = Timing { refresh: 300_000, max_stale: 86_400_000, cooldown: 30_000 };

fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
    all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

fn fresh(all: &[(&'static str, &'static str)]) -> Option<u64> {
    lifetime(&headers(all), WALL)
}

#[test]
fn max_age_says_how_long_less_what_a_cache_kept_it() {
    assert_eq!(fresh(&[("cache-control", "public, max-age=600, must-revalidate")]), Some(600_000));
    assert_eq!(fresh(&[("cache-control", "Max-Age=\"600\"")]), Some(600_000));
    assert_eq!(fresh(&[("cache-control", "max-age=600"), ("age", "100")]), Some(500_000));
    assert_eq!(fresh(&[("cache-control", "max-age=600"), ("cache-control", "max-age=60")]), Some(60_000));
    assert_eq!(fresh(&[("cache-control", "max-age=18446744073709551615")]), Some(u64::MAX));
}

#[test]
fn expires_counts_from_the_servers_own_date_and_only_without_max_age() {
    let expires = ("expires", "Sun, 06 Nov 1994 08:59:37 GMT");
    assert_eq!(fresh(&[expires]), Some(600_000));
    assert_eq!(fresh(&[expires, ("date", "Sun, 06 Nov 1994 08:58:37 GMT")]), Some(60_000));
    assert_eq!(fresh(&[expires, ("cache-control", "max-age=5")]), Some(5_000));
}

#[test]
fn a_server_that_forbids_caching_or_speaks_nonsense_says_nothing() {
    let says_nothing: [&[(&str, &str)]; 10] = [
        &[],
        &[("cache-control", "no-cache")],
        &[("cache-control", "max-age=600, no-store")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "max-age=600"), ("age", "601")],
        &[("cache-control", "max-age=-1")],
        &[("cache-control", "s-maxage=600, public")],
        &[("expires", "0")],
        &[("expires", "Sun, 06 Nov 1994 08:00:00 GMT")],
        &[("expires", "soon")],
    ];
    for headers in says_nothing {
        assert_eq!(fresh(headers), None, "{headers:?}");
    }
}

#[test]
fn the_next_fetch_is_due_when_the_server_says_within_bounds_and_up_to_a_tenth_earlier() {
    let due = |lifetime, dice| after_success(&TIMING, lifetime, dice);
    assert_eq!(due(None, 0), 300_000);
    assert_eq!(due(None, u32::MAX), 270_001);
    assert_eq!(due(Some(600_000), 0), 600_000);
    assert_eq!(due(Some(1), 0), LEAST);
    assert_eq!(due(Some(LEAST), u32::MAX), LEAST, "no earlier than the least");
    // Not the whole of `max_stale`: one failure more, and the set would be too old.
    assert_eq!(due(Some(u64::MAX), 0), TIMING.max_stale / 2);
    let patient = Timing { max_stale: u64::MAX, ..TIMING };
    assert_eq!(after_success(&patient, Some(u64::MAX), 0), MOST);
    let hasty = Timing { refresh: LEAST, max_stale: LEAST, cooldown: 1000 };
    assert_eq!(after_success(&hasty, None, 7), LEAST);
}

#[test]
fn failures_back_off_to_a_minute() {
    let after: Vec<u64> = [1, 2, 3, 6, 7, 8, 100, u32::MAX].map(|failures| after_failure(failures, 0)).into();
    assert_eq!(after, [1000, 2000, 4000, 32_000, 60_000, 60_000, 60_000, 60_000]);
    assert_eq!(after_failure(1, u32::MAX), 901);
}

#[test]
fn a_fetch_is_due_at_once_and_then_when_it_was_said() {
    let mut plan = Plan::default();
    assert!(plan.begin(0));
    plan.failed(5, 0);
    assert!(!plan.begin(1004));
    assert!(plan.begin(1005));
    plan.failed(1005, 0);
    assert_eq!(plan.due(), 3005);
    assert!(plan.begin(3005));
    plan.succeeded(3010, 300_000);
    assert!(!plan.begin(303_009));
    assert!(plan.begin(303_010));
    plan.failed(303_010, 0);
    assert_eq!(plan.due(), 304_010, "a success forgets the failures before it");
}

#[test]
fn a_token_has_one_fetched_joins_the_one_under_way_and_then_waits_for_the_cooldown() {
    let mut plan = Plan::default();
    assert!(plan.begin(0));
    assert_eq!(plan.ask(&TIMING, 1), Asked::Join, "one that began by itself is not the token's");
    plan.succeeded(10, 300_000);
    assert_eq!(plan.ask(&TIMING, 20), Asked::Begin);
    assert_eq!(plan.ask(&TIMING, 20), Asked::Join, "before anybody has begun");
    assert!(plan.begin(21), "although none is due");
    assert_eq!(plan.ask(&TIMING, 25), Asked::Join);
    plan.succeeded(30, 300_000);
    assert!(!plan.begin(30), "once for all that asked");
    assert_eq!(plan.ask(&TIMING, 30_019), Asked::Refused);
    assert_eq!(plan.ask(&TIMING, 30_020), Asked::Begin);
}

proptest! {
    #[test]
    fn whatever_tokens_ask_one_fetch_in_a_cooldown_is_theirs_and_never_two_run(
        steps in prop::collection::vec((0_u64..20_000, 0_u8..4, any::<bool>()), 1..200),
    ) {
        let mut plan = Plan::default();
        let (mut now, mut running, mut theirs) = (0, false, Vec::new());
        for (passed, what, good) in steps {
            now += passed;
            match what {
                0 | 1 => {
                    if plan.ask(&TIMING, now) == Asked::Begin {
                        prop_assert!(!running);
                        theirs.push(now);
                    }
                }
                2 => {
                    // The task asks only between its fetches.
                    if !running {
                        running = plan.begin(now);
                    }
                }
                _ => {
                    if running {
                        running = false;
                        if good { plan.succeeded(now, 300_000) } else { plan.failed(now, 1) }
                        prop_assert!(plan.due() > now);
                    }
                }
            }
        }
        prop_assert!(theirs.windows(2).all(|pair| pair[1] - pair[0] >= TIMING.cooldown), "{theirs:?}");
    }

    #[test]
    fn whatever_a_server_says_the_next_fetch_is_within_bounds(
        lifetime in prop::option::of(any::<u64>()),
        (refresh, max_stale) in (LEAST..=MOST, 60_000_u64..=3_153_600_000_000),
        dice in any::<u32>(),
    ) {
        let due = after_success(&Timing { refresh, max_stale, cooldown: 1000 }, lifetime, dice);
        prop_assert!((LEAST..=MOST).contains(&due));
        prop_assert!(due <= (max_stale / 2).max(LEAST), "a failure must not be the end");
    }
}
