//! Leases beside a model of Redis: one bucket that is never wrong, and answers that come late, out of order, or never.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// The bucket on the server, in numbers that can't overflow: `lease.lua`, written another way.
struct Server {
    rate: Rate,
    burst: i128,
    owes: Option<(i128, u64)>,
}

impl Server {
    fn answers(&mut self, question: Question, now: u64) -> Told {
        let one = i128::from(Rate::ONE);
        let drained =
            |since: u64| i128::from(self.rate.units) * i128::from(now - since) / i128::from(self.rate.period_ms);
        if let Some((excess, _)) = &mut self.owes {
            *excess = (*excess - i128::from(question.back)).max(0);
        }
        let base = self.owes.map_or(-one, |(excess, last)| (excess - drained(last)).max(-one));
        let base = base + i128::from(question.debt);
        let units = ((self.burst - base).div_euclid(one) * one).clamp(0, i128::from(question.want));
        if units > 0 || question.debt > 0 {
            self.owes = Some(((base + units).max(0), now));
        }
        let due = base + units + one - self.burst;
        let ms = (due.max(0) * i128::from(self.rate.period_ms)).div_euclid(i128::from(self.rate.units)) + 1;
        let retry_ms = if units < i128::from(question.want) { u64::try_from(ms).unwrap() } else { 0 };
        Told { units: u64::try_from(units).unwrap(), retry_ms, excess: u64::try_from((base + units).max(0)).unwrap() }
    }
}

/// Several gateways, one server, and what is on the way between them.
struct World {
    server: Server,
    terms: Terms,
    limit: Limit,
    leases: Vec<Lease>,
    /// Which gateway's question, and when it reaches the server.
    asked: VecDeque<(usize, Question, u64)>,
    /// Which gateway's answer, and when it is there; none: it was lost.
    answers: Vec<(usize, Option<Told>, u64)>,
    now: u64,
    /// What passed, when: in units.
    passed: Vec<(u64, u64)>,
    /// The largest cost of a hit so far.
    largest: u64,
}

const TIMEOUT_MS: u64 = 50;

impl World {
    fn new(gateways: usize, limit: Limit, on_error: OnError) -> Self {
        let narrow = limit.burst.min(limit.delay);
        let terms = Terms::new(limit.rate, narrow, on_error);
        let server = Server { rate: limit.rate, burst: narrow.into(), owes: None };
        let leases = vec![Lease::default(); gateways];
        let (asked, answers) = (VecDeque::new(), Vec::new());
        Self { server, terms, limit, leases, asked, answers, now: 1000, passed: Vec::new(), largest: 0 }
    }

    /// `way`: milliseconds there and back; `lost`: the question or its answer never arrives.
    fn hit(&mut self, gateway: usize, cost: u64, way: (u64, u64), lost: Lost) -> Ruling {
        self.largest = self.largest.max(cost);
        let lease = &mut self.leases[gateway];
        let ruling = lease.hit(&self.terms, &self.limit, cost, self.now);
        match ruling {
            Ruling::Pass => self.passed.push((self.now, cost)),
            Ruling::Wait(ms) => self.passed.push((self.now + ms, cost)),
            Ruling::Reject | Ruling::Away => {}
            Ruling::Again => lease.outrun(),
        }
        assert!(lease.credit <= self.terms.most && (lease.credit == 0 || lease.debt == 0), "{lease:?}");
        if !matches!(ruling, Ruling::Wait(_)) && self.limit.delay == u64::MAX {
            assert!(lease.debt + lease.told <= self.terms.chunk.max(self.largest), "{lease:?}");
        }
        if lease.asks(&self.terms, self.now) {
            let question = lease.question(&self.terms);
            match lost {
                Lost::Question => self.answers.push((gateway, None, self.now + TIMEOUT_MS)),
                Lost::Nothing | Lost::Answer => self.asked.push_back((gateway, question, self.now + way.0)),
            }
            if let Some((_, _, due)) = self.asked.back().filter(|_| lost != Lost::Question) {
                let (due, answer) = (*due, if lost == Lost::Answer { u64::MAX } else { way.1 });
                // What the server will say is known when it is asked there.
                self.answers.push((gateway, Some(Told { units: answer, retry_ms: due, excess: u64::MAX }), u64::MAX));
            }
        }
        ruling
    }

    /// A millisecond goes by.
    fn tick(&mut self) {
        self.now += 1;
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) = self.asked.drain(..).partition(|(.., at)| *at <= now);
        self.asked = later.into();
        for (gateway, question, _) in due {
            let told = self.server.answers(question, now);
            let place = self.answers.iter_mut().find(|(of, _, at)| *of == gateway && *at == u64::MAX).unwrap();
            let back = place.1.unwrap().units;
            *place =
                if back == u64::MAX { (gateway, None, now + TIMEOUT_MS) } else { (gateway, Some(told), now + back) };
        }
        let (there, later): (Vec<_>, Vec<_>) = self.answers.drain(..).partition(|(.., at)| *at <= now);
        self.answers = later;
        for (gateway, told, _) in there {
            match told {
                Some(told) => self.leases[gateway].answered(&self.terms, told, now),
                None => self.leases[gateway].unanswered(now),
            }
        }
    }

    /// The bound of the module's documentation, over each span between two that passed.
    fn assert_bound(&self, late_ms: u64) {
        let mut passed = self.passed.clone();
        passed.sort_unstable();
        let ahead = self.terms.most + self.terms.chunk.max(self.largest);
        let fixed = Rate::ONE + self.terms.burst + ahead * self.leases.len() as u64;
        for from in 0..passed.len() {
            let mut units = 0;
            for (at, cost) in &passed[from..] {
                units += cost;
                let most = fixed + bucket::drained(self.limit.rate, at - passed[from].0 + late_ms + 1);
                assert!(units <= most, "{units} passed from {} to {at} ms, and {most} may", passed[from].0);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    Nothing,
    Question,
    Answer,
}

fn limits() -> impl Strategy<Value = Limit> {
    let rates = prop_oneof![
        (1..2000_u64).prop_map(|n| format!("{n}r/s")),
        (1..1000_u64).prop_map(|n| format!("{n}r/m")),
        (1..1000_u64).prop_map(|n| format!("{n}/hour")),
    ];
    (rates, 0..300_u64).prop_map(|(rate, burst)| Limit {
        rate: rate.parse().unwrap(),
        burst: burst * Rate::ONE,
        delay: u64::MAX,
    })
}

/// Idle milliseconds, gateway, hits, cost in thousands, the ways there and back, and what is lost.
type Step = (u64, usize, u32, u64, (u64, u64), Lost);

/// No question and its answer take longer together.
const ROUND_TRIP_MS: u64 = 50;

fn steps(gateways: usize, costs: impl Strategy<Value = u64>, losses: u32) -> impl Strategy<Value = Vec<Step>> {
    let lost = prop_oneof![
        20 => Just(Lost::Nothing),
        losses => Just(Lost::Question),
        losses => Just(Lost::Answer),
    ];
    let idle = prop_oneof![6 => 0..3_u64, 2 => 0..100_u64, 1 => 0..2000_u64];
    let hits = prop_oneof![2 => Just(1_u32), 2 => 1..20_u32, 1 => 1..400_u32];
    prop::collection::vec((idle, 0..gateways, hits, costs, (0..20_u64, 0..ROUND_TRIP_MS - 20), lost), 1..80)
}

fn play(world: &mut World, steps: &[Step]) {
    for &(idle, gateway, hits, cost, way, lost) in steps {
        for _ in 0..idle {
            world.tick();
        }
        for _ in 0..hits {
            let _ = world.hit(gateway, cost * Rate::ONE, way, lost);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes late, out of order, or never.
    #[test]
    fn no_schedule_passes_more_than_the_bound(limit in limits(), steps in steps(4, Just(1), 1)) {
        let mut world = World::new(4, limit, OnError::Closed);
        play(&mut world, &steps);
        world.assert_bound(TIMEOUT_MS);
    }

    #[test]
    fn frames_of_any_size_keep_the_bound_too(limit in limits(), steps in steps(3, 1..200_u64, 1)) {
        let mut world = World::new(3, limit, OnError::Closed);
        play(&mut world, &steps);
        world.assert_bound(TIMEOUT_MS);
    }

    /// A debt is charged late, by the answer that is under way and the question behind it, and what drains of it meanwhile is
    /// not counted: so a client is safe who stays one message, and what drains in that time, below its burst.
    #[test]
    fn whom_one_gateway_alone_would_let_in_is_not_refused(
        rate in (1..500_u64).prop_map(|n| n * 1000), burst in 0..300_u64, steps in steps(1, Just(1), 0)
    ) {
        let rate = Rate { units: rate, period_ms: 1000 };
        let limit = Limit { rate, burst: burst * Rate::ONE, delay: u64::MAX };
        let narrow = Limit { burst: limit.burst.saturating_sub(Rate::ONE + bucket::drained(rate, 2 * ROUND_TRIP_MS)), ..limit };
        let mut world = World::new(1, limit, OnError::Local);
        let mut alone = None;
        for (idle, _, hits, _, way, lost) in steps {
            (0..idle).for_each(|_| world.tick());
            for _ in 0..hits {
                let before: Option<Bucket> = alone;
                let safe = before.is_none_or(|bucket| bucket.judge(&narrow, Rate::ONE, world.now).0 == Verdict::Pass);
                let _ = bucket::hit(&mut alone, &Limit { burst: u64::MAX, ..limit }, Rate::ONE, world.now);
                let ruling = world.hit(0, Rate::ONE, way, lost);
                prop_assert!(!safe || ruling != Ruling::Reject, "{:?} at {}", before, world.now);
                if ruling != Ruling::Pass {
                    alone = before;
                }
            }
        }
    }
}

/// Each of three gateways is flooded, each millisecond, for a minute; answers take 3 ms.
fn flooded(text: &str, burst: u64) -> (World, u64) {
    let rate: Rate = text.parse().unwrap();
    let limit = Limit { rate, burst: burst * Rate::ONE, delay: u64::MAX };
    let mut world = World::new(3, limit, OnError::Closed);
    for _ in 0..60_000 {
        for gateway in 0..3 {
            let _ = world.hit(gateway, Rate::ONE, (1, 2), Lost::Nothing);
        }
        world.tick();
    }
    let passed = world.passed.iter().map(|(_, cost)| cost).sum();
    (world, passed)
}

/// Neither three budgets nor a part of one: what the rate gives in a minute, but for what is held.
#[test]
fn a_flood_on_three_gateways_gets_one_budget_and_all_of_it() {
    for (rate, burst) in [("10r/s", 20), ("100r/s", 0), ("600r/s", 400), ("30r/m", 5), ("7r/m", 0)] {
        let (world, passed) = flooded(rate, burst);
        let given = bucket::drained(world.limit.rate, 60_000);
        let held = 3 * (world.terms.most + world.terms.chunk);
        assert!(passed + held >= given + burst * Rate::ONE, "{rate} burst={burst}: {passed} of {given}");
        let most = Rate::ONE + burst * Rate::ONE + bucket::drained(world.limit.rate, 60_003) + held;
        assert!(passed <= most, "{rate} burst={burst}: {passed} of {given}");
    }
}

/// A session that waits for each of its messages, at each of three gateways: in the long run they come at the rate.
#[test]
fn on_delay_all_gateways_together_space_what_they_pass() {
    for (rate, delay) in [("10r/s", 0), ("50r/s", 20), ("30r/m", 2)] {
        let rate: Rate = rate.parse().unwrap();
        let limit = Limit { rate, burst: u64::MAX, delay: delay * Rate::ONE };
        let mut world = World::new(3, limit, OnError::Closed);
        let mut turns = [0_u64; 3];
        for _ in 0..120_000 {
            for (gateway, turn) in turns.iter_mut().enumerate() {
                while *turn <= world.now {
                    *turn = match world.hit(gateway, Rate::ONE, (1, 2), Lost::Nothing) {
                        Ruling::Pass => continue,
                        Ruling::Wait(ms) => world.now + ms.max(1),
                        Ruling::Again => world.now + 1,
                        refused => panic!("{refused:?}"),
                    };
                }
            }
            world.tick();
        }
        let end = world.now;
        world.passed.retain(|(at, _)| *at <= end);
        let passed: u64 = world.passed.iter().map(|(_, cost)| cost).sum();
        let given = bucket::drained(rate, 120_000);
        assert!(passed + 3 * (world.terms.most + world.terms.chunk) >= given, "{rate:?}: {passed} of {given}");
        let most = given + (delay + 1) * Rate::ONE + 3 * (world.terms.most + world.terms.chunk);
        assert!(passed <= most, "{rate:?}: {passed} of {most}");
    }
}

/// An answer that takes so long does not stop what is within the lease, nor a chunk ahead of it.
#[test]
fn what_is_within_the_lease_passes_while_the_answer_is_out() {
    let limit = Limit { rate: "10r/s".parse().unwrap(), burst: 39 * Rate::ONE, delay: u64::MAX };
    let mut world = World::new(1, limit, OnError::Closed);
    assert_eq!((world.terms.chunk, world.terms.most), (1000, 10_000));
    let far = (1000, 1000);
    assert_eq!(world.hit(0, Rate::ONE, far, Lost::Nothing), Ruling::Pass);
    // Ahead by a chunk: the next one would be a guess.
    assert_eq!(world.hit(0, Rate::ONE, far, Lost::Nothing), Ruling::Again);
    (0..2000).for_each(|_| world.tick());
    for _ in 0..2 {
        assert_eq!(world.hit(0, Rate::ONE, far, Lost::Nothing), Ruling::Pass);
    }
}

#[test]
fn while_nobody_answers_hits_get_what_on_error_says_and_no_second_question_is_asked_at_once() {
    let limit = Limit { rate: "1/hour".parse().unwrap(), burst: 2 * Rate::ONE, delay: u64::MAX };
    let local = [Ruling::Pass, Ruling::Pass, Ruling::Reject, Ruling::Reject];
    for (on_error, expected) in
        [(OnError::Local, local), (OnError::Open, [Ruling::Pass; 4]), (OnError::Closed, [Ruling::Away; 4])]
    {
        let mut world = World::new(1, limit, on_error);
        assert_eq!(world.hit(0, Rate::ONE, (1, 1), Lost::Question), Ruling::Pass, "it is not known yet");
        (0..TIMEOUT_MS).for_each(|_| world.tick());
        for ruling in expected {
            assert_eq!(world.hit(0, Rate::ONE, (1, 1), Lost::Question), ruling, "{on_error:?}");
        }
        assert!(world.answers.is_empty() && world.asked.is_empty(), "{on_error:?}: it is asked again too soon");
        (0..AWAY_MS).for_each(|_| world.tick());
        let _ = world.hit(0, Rate::ONE, (1, 1), Lost::Nothing);
        (0..2).for_each(|_| world.tick());
        // The one that passed ahead is charged now, and with it the budget of three is what it was.
        let passed = (0..9).filter(|_| {
            let ruling = world.hit(0, Rate::ONE, (1, 1), Lost::Nothing);
            (0..2).for_each(|_| world.tick());
            ruling == Ruling::Pass
        });
        assert_eq!(passed.count(), 2, "{on_error:?}");
    }
}

#[test]
fn what_is_left_is_given_back_and_what_is_owed_is_told() {
    let limit = Limit { rate: "1/hour".parse().unwrap(), burst: 7 * Rate::ONE, delay: u64::MAX };
    let mut world = World::new(2, limit, OnError::Closed);
    // One passes ahead, and brings a chunk.
    assert_eq!(world.hit(0, Rate::ONE, (1, 1), Lost::Nothing), Ruling::Pass);
    (0..3).for_each(|_| world.tick());
    let question = world.leases[0].last_question().unwrap();
    assert_eq!(question, Question { want: 0, debt: 0, back: Rate::ONE });
    let _ = world.server.answers(question, world.now);
    assert_eq!(world.leases[0].last_question(), None, "once");
    // So the other gateway finds seven of eight.
    let passed = (0..20).filter(|_| {
        let ruling = world.hit(1, Rate::ONE, (1, 1), Lost::Nothing);
        (0..2).for_each(|_| world.tick());
        ruling == Ruling::Pass
    });
    assert_eq!(passed.count(), 7);
    // And what passed ahead of its answer is owed by whoever is gone.
    let mut lease = Lease::default();
    assert_eq!(lease.hit(&world.terms, &limit, Rate::ONE, 0), Ruling::Pass);
    assert_eq!(lease.last_question(), Some(Question { want: 0, debt: Rate::ONE, back: 0 }));
}

/// A frame may say that it is 2^63 bytes long, and whoever is in Redis' place may say anything.
#[test]
fn no_cost_and_no_answer_is_too_large_to_be_counted() {
    let rate: Rate = "10r/s".parse().unwrap();
    let terms = Terms::new(rate, 20 * Rate::ONE, OnError::Local);
    let limit = Limit { rate, burst: u64::MAX, delay: 0 };
    let mut lease = Lease::default();
    for cost in [u64::MAX, Rate::ONE, u64::MAX, Rate::ONE] {
        let _ = lease.hit(&terms, &limit, cost, 0);
        if lease.asks(&terms, 0) {
            let _ = lease.question(&terms);
        }
    }
    for _ in 0..3 {
        lease.answered(&terms, Told { units: u64::MAX, retry_ms: u64::MAX, excess: u64::MAX }, 0);
        let _ = lease.asks(&terms, u64::MAX);
    }
    let mut lease = Lease::default();
    lease.answered(&terms, Told { units: u64::MAX, retry_ms: 0, excess: 0 }, 0);
    assert_eq!(lease.last_question().unwrap().back, terms.most(), "more than was asked for is not taken");
}
