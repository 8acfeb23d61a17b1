//! One direction's rules against a model that keeps whole books, and many sessions on one account.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::policy::bucket::Verdict;
use crate::policy::key::Key;
use crate::policy::limit::LimitId;
use crate::policy::zone::{self, Hit, Zone};

const NODELAY: u64 = u64::MAX;
const MESSAGE: Charge = Charge { part: Part::Begin, wire: 10 };

/// A rule of its own rate, as `policy::compile` makes it.
pub(crate) fn rule(what: What, limit: Limit, on_excess: OnExcess) -> Rule {
    Rule { id: LimitId(0), what, limit, on_excess, dry_run: false, shared: None, when: Arc::default() }
}

/// A meter of rules that each have an account of the session's own.
pub(crate) fn own(rules: Vec<Rule>) -> Box<Meter> {
    let rules = rules.into_iter().map(|rule| (Owner::Own(None), Arc::new(rule)));
    Box::new(Meter::new(rules.collect()).unwrap())
}

fn limit(rate: &str, burst: u64, delay: u64) -> Limit {
    let units = |count: u64| count.saturating_mul(Rate::ONE);
    Limit { rate: rate.parse().unwrap(), burst: units(burst), delay: units(delay) }
}

fn key(n: u32) -> Key {
    Key::of_ip(IpAddr::V4(Ipv4Addr::from_bits(n)))
}

fn told(meter: &mut Meter) -> Vec<(usize, Action, u64)> {
    let mut told = vec![];
    meter.take_exceeded(|exceeded, count| told.push((exceeded.limit.0, exceeded.action, count)));
    told.sort_by_key(|(id, action, _)| (*id, action.index()));
    told
}

fn named(id: usize, rule: Rule) -> Rule {
    Rule { id: LimitId(id), ..rule }
}

fn dry(rule: Rule) -> Rule {
    Rule { dry_run: true, ..rule }
}

/// The answers to these frames at one moment.
fn answers(meter: &mut Meter, frames: &[(Part, u64)]) -> Vec<Answer> {
    frames.iter().map(|&(part, wire)| meter.charge(Charge { part, wire }, 0)).collect()
}

#[test]
fn each_kind_of_rule_counts_its_own_frames_and_each_has_its_reason() {
    let rates = || [(What::Messages, 1), (What::Control, 1), (What::Bytes, 10)];
    for (what, burst) in rates() {
        let mut meter = own(vec![rule(what, limit("1/h", burst, NODELAY), OnExcess::Close)]);
        let frames = [(Part::Begin, 10), (Part::Control, 10), (Part::Continuation, 10), (Part::Begin, 10)];
        let (said, pass) = (answers(&mut meter, &frames.repeat(2)), Answer::Pass);
        let closed = match what {
            // The first two of either kind pass.
            What::Messages => (Answer::Close(Deny::MessageRate), vec![4, 7]),
            What::Control => (Answer::Close(Deny::ControlRate), vec![]),
            _ => (Answer::Close(Deny::ByteRate), vec![2, 3, 4, 5, 6, 7]),
        };
        for (at, said) in said.into_iter().enumerate() {
            assert_eq!(said, if closed.1.contains(&at) { closed.0 } else { pass }, "{what:?} at {at}");
        }
    }
}

#[test]
fn if_one_rule_refuses_none_is_charged_and_the_first_of_the_file_is_named() {
    let close = |what, burst| rule(what, limit("1/h", burst, NODELAY), OnExcess::Close);
    let rules = vec![named(0, close(What::Messages, 3)), named(1, close(What::Bytes, 10))];
    let mut meter = own(rules);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 10); 2]), [Answer::Pass; 2]);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 10); 9]), [Answer::Close(Deny::ByteRate); 9]);
    assert_eq!(told(&mut meter), [(1, Action::Close, 9)]);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 0); 2]), [Answer::Pass; 2], "no message was charged meanwhile");
    assert_eq!(answers(&mut meter, &[(Part::Begin, 10)]), [Answer::Close(Deny::MessageRate)]);
    assert_eq!(told(&mut meter), [(0, Action::Close, 1)]);
    assert_eq!(told(&mut meter), [], "each is told once");
}

#[test]
fn the_longest_wait_counts_and_all_that_make_it_wait_are_told() {
    let delay = |id, rate| named(id, rule(What::Messages, limit(rate, u64::MAX, 0), OnExcess::Delay));
    let mut meter = own(vec![delay(0, "10r/s"), delay(1, "1r/s")]);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 1); 3]), [Answer::Pass, Answer::Wait(1000), Answer::Wait(2000)]);
    assert_eq!(told(&mut meter), [(0, Action::Delay, 2), (1, Action::Delay, 2)]);
}

#[test]
fn a_rule_in_dry_run_is_told_and_neither_refuses_nor_waits() {
    for on_excess in [OnExcess::Close, OnExcess::Drop, OnExcess::Delay] {
        let tried = match on_excess {
            OnExcess::Delay => limit("1/h", u64::MAX, 0),
            OnExcess::Close | OnExcess::Drop => limit("1/h", 0, NODELAY),
        };
        let mut meter = own(vec![dry(rule(What::Messages, tried, on_excess))]);
        assert_eq!(answers(&mut meter, &[(Part::Begin, 1); 5]), [Answer::Pass; 5]);
        let action = rule(What::Messages, tried, on_excess).action();
        assert_eq!(told(&mut meter), [(0, action, 4)]);
    }
}

#[test]
fn a_message_is_dropped_at_its_first_frame_or_not_at_all_and_pays_for_the_others() {
    let mut meter = own(vec![rule(What::Bytes, limit("1/s", 100, NODELAY), OnExcess::Drop)]);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 50), (Part::Continuation, 500)]), [Answer::Pass; 2]);
    assert_eq!(answers(&mut meter, &[(Part::Begin, 1)]), [Answer::Drop]);
    // 500 are owed, of which 100 may be.
    assert_eq!(meter.charge(Charge { part: Part::Begin, wire: 1 }, 400_000), Answer::Drop);
    assert_eq!(meter.charge(Charge { part: Part::Begin, wire: 1 }, 401_000), Answer::Pass);
}

#[test]
fn a_dry_run_that_would_drop_a_message_does_not_count_its_later_frames() {
    let mut meter = own(vec![dry(rule(What::Bytes, limit("1/s", 0, NODELAY), OnExcess::Drop))]);
    let message = [(Part::Begin, 10), (Part::Continuation, 1000)];
    assert_eq!(answers(&mut meter, &[(Part::Begin, 10)]), [Answer::Pass]);
    assert_eq!(answers(&mut meter, &message), [Answer::Pass; 2]);
    assert_eq!(told(&mut meter), [(0, Action::Drop, 1)]);
    assert_eq!(meter.charge(Charge { part: Part::Begin, wire: 10 }, 10_000), Answer::Pass);
    assert_eq!(told(&mut meter), [], "the thousand were not charged");
}

#[test]
fn a_frame_larger_than_the_burst_passes_after_so_long_a_silence_as_pays_for_the_rest() {
    let frame = |wire| Charge { part: Part::Begin, wire };
    let mut meter = own(vec![rule(What::Bytes, limit("100/s", 200, NODELAY), OnExcess::Close)]);
    assert_eq!(meter.charge(frame(1_000_000), 0), Answer::Pass, "the first is free");
    assert_eq!(meter.charge(frame(1000), 7999), Answer::Close(Deny::ByteRate));
    assert_eq!(meter.charge(frame(1000), 8000), Answer::Pass);
    assert_eq!(meter.charge(frame(1), 8000), Answer::Close(Deny::ByteRate), "it has spent the burst");
}

#[test]
fn costs_beyond_all_numbers_saturate() {
    let mut meter = own(vec![rule(What::Bytes, limit("1/s", u64::MAX, 0), OnExcess::Delay)]);
    assert_eq!(meter.charge(Charge { part: Part::Begin, wire: u64::MAX }, 0), Answer::Pass);
    let Answer::Wait(ms) = meter.charge(Charge { part: Part::Continuation, wire: u64::MAX }, 0) else {
        panic!("it passes")
    };
    assert!(ms > 1 << 50, "{ms}");
}

/// What the model is told of a rule: `account` below 2 is one of the two that sessions share.
#[derive(Clone, Debug)]
struct Typed {
    what: What,
    burst: u64,
    delay: Option<u64>,
    on_excess: OnExcess,
    dry_run: bool,
    account: usize,
}

fn rules() -> impl Strategy<Value = Vec<Typed>> {
    let what = prop_oneof![Just(What::Messages), Just(What::Bytes), Just(What::Control)];
    let on_excess = prop_oneof![Just(OnExcess::Close), Just(OnExcess::Drop), Just(OnExcess::Delay)];
    let one = (what, 0_u64..30, option::of(0_u64..20), on_excess, any::<bool>(), 0_usize..4);
    let typed = one.prop_map(|(what, burst, delay, on_excess, dry_run, account)| Typed {
        what,
        burst,
        delay,
        on_excess,
        dry_run,
        account,
    });
    vec(typed, 1..6)
}

impl Typed {
    fn rule(&self, id: usize) -> Rule {
        let (burst, delay) = match self.on_excess {
            OnExcess::Delay => (u64::MAX, self.delay.unwrap_or(0)),
            OnExcess::Close | OnExcess::Drop => (self.burst, self.delay.unwrap_or(NODELAY)),
        };
        let rule = rule(self.what, limit("5/s", burst, delay), self.on_excess);
        Rule { id: LimitId(id), dry_run: self.dry_run, ..rule }
    }
}

/// Flat books: every account by its name, and a copy of all of them for a refusal to go back to.
#[derive(Default)]
struct Model {
    accounts: HashMap<(usize, usize), Option<Bucket>>,
    skips: HashMap<(usize, usize), bool>,
    told: HashMap<(usize, usize), u64>,
}

impl Model {
    fn charge(&mut self, session: usize, rules: &[Typed], charge: Charge, now: u64) -> Answer {
        let (before, mut wait, mut delayed, mut refused) = (self.accounts.clone(), 0, vec![], None);
        for (id, typed) in rules.iter().enumerate() {
            let rule = typed.rule(id);
            let cost = match (typed.what, charge.part) {
                (What::Messages, Part::Begin) | (What::Control, Part::Control) => 1000,
                (What::Bytes, _) => charge.wire * 1000,
                _ => 0,
            };
            let goes_on = charge.part == Part::Continuation && typed.on_excess == OnExcess::Drop;
            if charge.part == Part::Begin {
                self.skips.insert((session, id), false);
            }
            if cost == 0 || (goes_on && self.skips.get(&(session, id)) == Some(&true)) {
                continue;
            }
            let place = if typed.account < 2 { (9, typed.account) } else { (session, 100 + id) };
            let burst = if goes_on { u64::MAX } else { rule.limit.burst };
            let owed = self.accounts.entry(place).or_default();
            match (bucket::hit(owed, &Limit { burst, ..rule.limit }, cost, now), typed.dry_run) {
                (Verdict::Pass, _) => {}
                (Verdict::Wait(ms), dry_run) => {
                    wait = if dry_run { wait } else { ms.max(wait) };
                    delayed.push(id);
                }
                (Verdict::Reject { .. }, true) => {
                    *self.told.entry((id, rule.action().index())).or_default() += 1;
                    if charge.part == Part::Begin && typed.on_excess == OnExcess::Drop {
                        self.skips.insert((session, id), true);
                    }
                }
                (Verdict::Reject { .. }, false) => refused = refused.or(Some(id)),
            }
        }
        let Some(id) = refused else {
            for id in delayed {
                *self.told.entry((id, Action::Delay.index())).or_default() += 1;
            }
            return if wait == 0 { Answer::Pass } else { Answer::Wait(wait) };
        };
        self.accounts = before;
        *self.told.entry((id, rules[id].rule(id).action().index())).or_default() += 1;
        match rules[id].on_excess {
            OnExcess::Drop => Answer::Drop,
            OnExcess::Close | OnExcess::Delay => Answer::Close(reason(rules[id].what)),
        }
    }
}

proptest! {
    #[test]
    fn two_sessions_on_some_accounts_of_their_own_and_some_that_they_share_are_judged_as_flat_books_say(
        rules in rules(),
        steps in vec((0_usize..2, 0_usize..3, 1_u64..30, prop_oneof![Just(0_u64), 0_u64..3000]), 1..80),
    ) {
        let zone = Zone::new("test", "5/s".parse().unwrap(), 100);
        let mut meters: Vec<Meter> = (0..2)
            .map(|_| {
                let owner = |typed: &Typed| match typed.account {
                    shared @ 0..2 => Owner::Shared(zone.hold(key(shared as u32), 0).unwrap()),
                    _ => Owner::Own(None),
                };
                let rules = rules.iter().enumerate().map(|(id, typed)| (owner(typed), Arc::new(typed.rule(id))));
                Meter::new(rules.collect()).unwrap()
            })
            .collect();
        let (mut model, mut now, mut counted) = (Model::default(), 0, HashMap::new());
        for (session, part, wire, step) in steps {
            now += step;
            let charge = Charge { part: [Part::Begin, Part::Continuation, Part::Control][part], wire };
            prop_assert_eq!(meters[session].charge(charge, now), model.charge(session, &rules, charge, now));
            for (id, action, count) in told(&mut meters[session]) {
                *counted.entry((id, action.index())).or_default() += count;
            }
        }
        prop_assert_eq!(counted, model.told);
    }
}

/// A meter whose rules all close, each on the account of one key of a zone.
fn sharing(zones: &[(&Arc<Zone>, u32, u64)]) -> Meter {
    let rule = |(zone, n, burst): &(&Arc<Zone>, u32, u64)| {
        let limit = Limit { rate: zone.rate(), burst: burst * Rate::ONE, delay: NODELAY };
        (Owner::Shared(zone.hold(key(*n), 0).unwrap()), Arc::new(rule(What::Messages, limit, OnExcess::Close)))
    };
    Meter::new(zones.iter().map(rule).collect()).unwrap()
}

#[test]
fn sessions_of_one_subject_on_several_threads_get_no_more_than_the_bound_and_no_less() {
    const THREADS: u64 = 4;
    for (rate, burst) in [("1/h", 50), ("1000r/s", 10), ("30r/m", 0)] {
        let zone = Arc::new(Zone::new("test", rate.parse().unwrap(), 100));
        let (clock, start) = (AtomicU64::new(0), Barrier::new(THREADS as usize));
        let passed: u64 = thread::scope(|scope| {
            let sessions: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut meter = sharing(&[(&zone, 1, burst)]);
                        start.wait();
                        let hits =
                            (0..20_000).map(|_| meter.charge(MESSAGE, clock.fetch_add(1, Ordering::Relaxed) / 100));
                        hits.filter(|answer| *answer == Answer::Pass).count() as u64
                    })
                })
                .collect();
            sessions.into_iter().map(|session| session.join().unwrap()).sum()
        });
        let (rate, ms) = (zone.rate(), clock.into_inner() / 100);
        let bound = 1 + (burst * Rate::ONE + rate.units * ms / rate.period_ms) / Rate::ONE;
        assert!(passed <= bound, "{passed} of {bound}");
        // A clock that is read out of order costs a little at most.
        assert!(passed * 10 >= bound * 9, "{passed} of {bound}");
    }
}

#[test]
fn sessions_that_share_two_accounts_in_any_order_and_handshakes_on_both_never_block_each_other() {
    let zones = [(); 2].map(|()| Arc::new(Zone::new("test", "1/h".parse().unwrap(), 100)));
    let (one, other) = (&zones[0], &zones[1]);
    let start = Barrier::new(3);
    let run = |mut hit: Box<dyn FnMut() -> bool + Send>| {
        start.wait();
        (0..50_000).filter(|_| hit()).count()
    };
    let passed: usize = thread::scope(|scope| {
        let charge = |mut meter: Meter| move || meter.charge(MESSAGE, 0) == Answer::Pass;
        let (there, back) = (sharing(&[(one, 1, 30), (other, 1, 40)]), sharing(&[(other, 1, 40), (one, 1, 30)]));
        let hit = |zone, burst: u64| Hit {
            zone,
            key: key(1),
            burst: burst * Rate::ONE,
            delay: NODELAY,
            cost: Rate::ONE,
            dry_run: false,
        };
        let handshake = move || zone::admit(&[hit(other, 40), hit(one, 30)], 0).answer.is_ok();
        let all: [Box<dyn FnMut() -> bool + Send>; 3] =
            [Box::new(charge(there)), Box::new(charge(back)), Box::new(handshake)];
        let threads = all.map(|hit| scope.spawn(|| run(hit)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 31, "one and the burst of the narrower, over all three");
}
