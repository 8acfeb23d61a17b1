//! The scripts beside what they are to be: the bucket and the zone of one process, verdict for verdict, on a real server.

use std::time::Duration;

use proptest::prelude::*;
use redis::{Connection, Script};

use super::*;
use crate::config::value::Rate;
use crate::policy::bucket::{self, Bucket, Limit, Verdict};
use crate::policy::remote::Remote;
use crate::policy::target::Transport;
use crate::policy::zone::{self, DryRun, Hit, Outcome, Zone};

#[path = "../../tests/it/harness/redis.rs"]
#[allow(dead_code, unreachable_pub, reason = "the integration tests use the rest of it")]
mod server;

use server::Server;

const CHARGE: &str =
    concat!(include_str!("lua/told.lua"), include_str!("lua/bucket.lua"), include_str!("lua/charge.lua"));
const LEASE: &str =
    concat!(include_str!("lua/told.lua"), include_str!("lua/bucket.lua"), include_str!("lua/lease.lua"));

/// Wall clocks are large numbers.
const EPOCH: u64 = 1_800_000_000_000;

/// The scripts on a server of the test's own, with the time as an argument. Nothing expires.
struct Told {
    _server: Server,
    connection: Connection,
    redis: Redis,
    charge: Script,
    lease: Script,
}

impl Told {
    fn new() -> Self {
        let server = Server::start();
        let connection = ::redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let remote = Remote {
            servers: vec![Transport::Unix("/nowhere".into())],
            sentinel: None,
            database: 0,
            username: None,
            prefix: "told".to_owned(),
            timeout: Duration::from_secs(1),
            on_error: OnError::Local,
        };
        let settings = Settings { remote, password: None, tls: None, channels: Vec::new(), pace: Pace::default() };
        let redis = Redis::new(settings, Clock::system());
        Self { _server: server, connection, redis, charge: Script::new(CHARGE), lease: Script::new(LEASE) }
    }

    fn forget(&mut self) {
        ::redis::cmd("FLUSHALL").query::<()>(&mut self.connection).unwrap();
    }

    fn charge(&mut self, hits: &[RemoteHit<'_>], now: u64) -> Outcome {
        let mut call = self.charge.arg(now);
        self.redis.write(&mut call, hits);
        let answer: Vec<u64> = call.invoke(&mut self.connection).unwrap();
        charge::read(&answer, hits.len()).unwrap()
    }

    fn lease(&mut self, budget: &RemoteBudget<'_>, want: u64, debt: u64, now: u64) -> (u64, u64) {
        let (units, retry_ms, _) = self.lease_and_return(budget, [want, debt, 0], now);
        (units, retry_ms)
    }

    /// Wanted, owed, given back; and the excess too.
    fn lease_and_return(&mut self, budget: &RemoteBudget<'_>, asked: [u64; 3], now: u64) -> (u64, u64, u64) {
        let mut call = self.lease.arg(now);
        let [want, debt, back] = asked;
        self.redis.write_lease(&mut call, budget, want, debt, back);
        call.invoke(&mut self.connection).unwrap()
    }
}

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

/// One hit that costs one.
fn one(rate: Rate, burst: u64, delay: u64) -> RemoteHit<'static> {
    RemoteHit { zone: "z", key: Key::shared(b"a"), rate, burst, delay, cost: Rate::ONE, dry_run: false }
}

/// The first table of limits.md: milliseconds, and what becomes of the hit.
#[test]
fn the_vectors_of_nginx_hold_on_the_server() {
    const P: Option<u64> = Some(0);
    const R: Option<u64> = None;
    /// Rate, burst, delay, and the hits: when, and how long it waits if it is let in.
    type Vector = (&'static str, u64, u64, &'static [(u64, Option<u64>)]);
    let vectors: [Vector; 7] = [
        ("1r/s", 0, 0, &[(0, P), (0, R), (500, R), (999, R), (1000, P), (1500, R), (2000, P)]),
        ("10r/s", 0, 0, &[(0, P), (99, R), (100, P), (200, P), (299, R), (300, P)]),
        (
            "1r/s",
            5,
            u64::MAX,
            &[(0, P), (0, P), (0, P), (0, P), (0, P), (0, P), (0, R), (1000, P), (1000, R), (1999, R), (2000, P)],
        ),
        (
            "1r/s",
            5,
            0,
            &[(0, P), (0, Some(1000)), (0, Some(2000)), (0, Some(3000)), (0, Some(4000)), (0, Some(5000)), (0, R)],
        ),
        ("1r/s", 5, 2, &[(0, P), (0, P), (0, P), (0, Some(1000)), (0, Some(2000)), (0, Some(3000)), (0, R)]),
        ("1r/m", 0, 0, &[(0, P), (60_000, R), (62_499, R), (62_500, P)]),
        ("1r/s", 1, u64::MAX, &[(100_000, P), (99_000, P), (99_500, R), (101_000, P), (30_000, R)]),
    ];
    let mut told = Told::new();
    for (text, burst, delay, hits) in vectors {
        told.forget();
        for (at, (ms, expected)) in hits.iter().enumerate() {
            let delay = if delay == u64::MAX { delay } else { delay * 1000 };
            let outcome = told.charge(&[one(rate(text), burst * 1000, delay)], EPOCH + ms);
            assert_eq!(outcome.answer.ok(), *expected, "{text} burst={burst} delay={delay}: hit {at} at {ms}");
        }
    }
    told.forget();
    let admitted =
        (0..10_000).filter(|ms| told.charge(&[one(rate("10r/s"), 20_000, u64::MAX)], EPOCH + ms).answer.is_ok());
    assert_eq!(admitted.count(), 120, "a hit each millisecond for 10 s at 10r/s, burst 20");
}

/// A limit as somebody may type it.
fn limits() -> impl Strategy<Value = (Rate, u64, u64)> {
    let rates = prop_oneof![
        (1..2000_u64).prop_map(|n| rate(&format!("{n}r/s"))),
        (1..100_000_u64).prop_map(|n| rate(&format!("{n}r/m"))),
        (1..1000_u64).prop_map(|n| rate(&format!("{n}/hour"))),
        (1..=1_000_000_000_u64).prop_map(|n| rate(&format!("{n}/day"))),
        Just(rate("1000000000r/s")),
    ];
    let bursts = prop_oneof![0..5000_u64, 0..1_000_000_u64, Just(u64::MAX)];
    let delays = prop_oneof![Just(0), 0..5000_u64, Just(u64::MAX)];
    (rates, bursts, delays)
}

/// Steps of the clock, back ones too.
fn steps() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0_i64), 4 => 0..50_i64, 4 => 0..5000_i64, 1 => 0..100_000_000_i64, 1 => -70_000..0_i64]
}

fn moved(now: u64, step: i64) -> u64 {
    now.saturating_add_signed(step).max(1)
}

/// Cases of a property that asks a server.
fn cases() -> ProptestConfig {
    ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() }
}

/// Hits of one handshake: which zone, whose, and whether in dry run.
type Asked = Vec<(u8, u8, bool)>;

/// Two zones, two keys, dry runs, twice the same key in one handshake, a clock that goes back.
#[test]
fn the_script_gives_the_verdicts_of_the_zone() {
    let told = Mutex::new(Told::new());
    let asked = prop::collection::vec((0..2_u8, 0..2_u8, prop::bool::weighted(0.2)), 1..4);
    // A zone forgets what is drained, and would let that in anew if the clock went back then.
    let forward = steps().prop_map(|step| step.max(0));
    let hits = prop::collection::vec((forward, asked), 1..60);
    proptest!(cases(), |(limits in [limits(), limits()], hits in hits)| {
        let mut told = told.lock();
        told.forget();
        let zones = [Zone::new("one", limits[0].0, 1024), Zone::new("two", limits[1].0, 1024)];
        let mut now = EPOCH;
        for (step, asked) in hits {
            now = moved(now, step);
            let (local, remote) = both(&zones, &limits, &asked);
            prop_assert_eq!(told.charge(&remote, now), zone::admit(&local, now), "at {}", now);
        }
    });
}

fn both<'a>(zones: &'a [Zone; 2], limits: &[(Rate, u64, u64); 2], asked: &Asked) -> (Vec<Hit<'a>>, Vec<RemoteHit<'a>>) {
    let one = |&(zone, key, dry_run): &(u8, u8, bool)| {
        let ((rate, burst, delay), zone) = (limits[usize::from(zone)], &zones[usize::from(zone)]);
        let key = Key::shared(&[key]);
        let local = Hit { zone, key, burst, delay, cost: Rate::ONE, dry_run };
        (local, RemoteHit { zone: zone.name(), key, rate, burst, delay, cost: Rate::ONE, dry_run })
    };
    asked.iter().map(one).unzip()
}

/// Any cost, beside the formula in whole numbers of any size.
#[test]
fn the_script_counts_any_cost_as_the_formula_does() {
    let told = Mutex::new(Told::new());
    let costs = prop_oneof![1..5_000_000_u64, Just(64 * 1024 * 1000)];
    let hits = prop::collection::vec((steps(), costs), 1..60);
    proptest!(cases(), |((rate, burst, delay) in limits(), hits in hits)| {
        let mut told = told.lock();
        told.forget();
        let (mut state, mut now) = (None, EPOCH);
        for (step, cost) in hits {
            now = moved(now, step);
            let expected = formula(&mut state, rate, burst, delay, cost, now);
            let outcome = told.charge(&[RemoteHit { cost, ..one(rate, burst, delay) }], now);
            prop_assert_eq!(outcome.answer.map_err(|refusal| refusal.retry_ms), expected, "cost {} at {}", cost, now);
        }
    });
}

/// A limit that refuses sooner or later.
fn bounded() -> impl Strategy<Value = (Rate, u64)> {
    (limits(), 0..1_000_000_u64).prop_map(|((rate, ..), burst)| (rate, burst))
}

/// What is leased is what single hits at the same instants would have got.
#[test]
fn a_lease_is_as_many_hits_at_one_instant() {
    let told = Mutex::new(Told::new());
    let leases = prop::collection::vec((steps(), 0..40_u64), 1..40);
    proptest!(cases(), |((rate, burst) in bounded(), leases in leases)| {
        let mut told = told.lock();
        told.forget();
        let limit = Limit { rate, burst, delay: u64::MAX };
        let budget = RemoteBudget { zone: "z", key: Key::shared(b"a"), rate, burst };
        let (mut bucket, mut now) = (None::<Bucket>, EPOCH);
        for (step, want) in leases {
            now = moved(now, step);
            let mut hit = || bucket::hit(&mut bucket, &limit, Rate::ONE, now) == Verdict::Pass;
            let hits = (0..want).take_while(|_| hit()).count() as u64;
            let (units, retry_ms) = told.lease(&budget, want * 1000, 0, now);
            prop_assert_eq!(units, hits * 1000);
            // When it says that there is room for one more, there is, and not before.
            let next = match bucket {
                Some(bucket) if hits < want => match bucket.judge(&limit, Rate::ONE, now).0 {
                    Verdict::Reject { retry_ms } => retry_ms.max(1),
                    passes => panic!("{passes:?}"),
                },
                _ => 0,
            };
            prop_assert_eq!(retry_ms, next);
        }
    });
}

/// A debt is charged whole, whatever the burst.
#[test]
fn a_debt_is_charged_beyond_the_burst() {
    let told = Mutex::new(Told::new());
    proptest!(cases(), |((rate, burst) in bounded(), debt in 1..1_000_000_u64)| {
        let mut told = told.lock();
        told.forget();
        let budget = RemoteBudget { zone: "z", key: Key::shared(b"a"), rate, burst };
        let (units, _) = told.lease(&budget, 1000, debt, EPOCH);
        prop_assert_eq!(units, if debt <= burst { 1000 } else { 0 });
        let left = (burst + 1000).saturating_sub(debt + units) / 1000 * 1000;
        prop_assert_eq!(told.lease(&budget, 1 << 40, 0, EPOCH).0, left);
    });
}

/// limits.md, with a cost, in numbers that can't overflow: the wait, or the milliseconds until it is worth trying again.
fn formula(
    state: &mut Option<(i128, i128)>,
    rate: Rate,
    burst: u64,
    delay: u64,
    cost: u64,
    now: u64,
) -> Result<u64, u64> {
    let (units, period, now, cost) =
        (i128::from(rate.units), i128::from(rate.period_ms), i128::from(now), i128::from(cost));
    let Some((excess, last)) = *state else {
        *state = Some((0, now));
        return Ok(0);
    };
    let ms = match now - last {
        ms if ms < -60_000 => 1,
        ms => ms.max(0),
    };
    let charged = (excess - units * ms / period + cost).max(0);
    if charged > i128::from(burst) {
        let due = excess + cost - i128::from(burst);
        let mut wait = due * period / units;
        wait += i128::from(units * wait / period < due);
        return Err(u64::try_from((wait - ms).max(0)).unwrap());
    }
    *state = Some((charged, if ms == 0 { last } else { now }));
    Ok(u64::try_from((charged - i128::from(delay)).max(0) * period / units).unwrap())
}

#[test]
fn an_answer_that_makes_no_sense_is_none() {
    assert_eq!(charge::read(&[0, 7], 1), Some(Outcome { answer: Ok(7), dry_runs: Vec::new(), delayed: Vec::new() }));
    let delayed = DryRun::Delayed { index: 1, wait_ms: 3 };
    assert_eq!(
        charge::read(&[0, 3, 2, 0, 3, 1, 2, 3], 2),
        Some(Outcome { answer: Ok(3), dry_runs: vec![delayed], delayed: vec![0] })
    );
    for answer in [&[][..], &[0], &[2, 1], &[0, 0, 1], &[0, 0, 3, 0, 0], &[0, 0, 1, 3, 0]] {
        assert_eq!(charge::read(answer, 1), None, "{answer:?}");
    }
}

/// What becomes of the field "3 7 0" of one node.
fn stated(told: &mut Told, words: [&str; 4]) -> ((u64, u64), Option<String>) {
    let Told { connection, .. } = told;
    redis::cmd("HSET").arg("{told}:c").arg("n").arg("3 7 0").query::<()>(connection).unwrap();
    let answer = script::STATE.key("{told}:c").arg("n").arg(10_000).arg(&words[..]).invoke(connection).unwrap();
    (answer, redis::cmd("HGET").arg("{told}:c").arg("n").query(connection).unwrap())
}

#[test]
fn a_whole_count_is_taken_only_at_the_version_that_it_knows() {
    let mut told = Told::new();
    let (answer, field) = stated(&mut told, ["whole", "1", "6", "0"]);
    assert_eq!((answer, field.as_deref()), ((0, 7), Some("3 7 0")));
    let (answer, field) = stated(&mut told, ["whole", "1", "7", "0"]);
    assert_eq!((answer, field.is_some_and(|field| field.starts_with("1 8 "))), ((1, 8), true));
    assert_eq!(stated(&mut told, ["whole", "0", "7", "0"]), ((1, 8), None));
    // A change counts whatever was known, but where there is nothing to change.
    let (answer, field) = stated(&mut told, ["change", "-2", "0", "0"]);
    assert_eq!((answer, field.is_some_and(|field| field.starts_with("1 8 "))), ((1, 8), true));
    told.forget();
    let answer: (u64, u64) = script::STATE
        .key("{told}:c")
        .arg("n")
        .arg(10_000)
        .arg(&["change", "-1", "7", "0"])
        .invoke(&mut told.connection)
        .unwrap();
    assert_eq!(answer, (0, 0));
}

/// While nobody is asked, whoever makes up keys must not have each of them remembered until the server is back.
#[tokio::test]
async fn a_take_that_was_put_to_nobody_leaves_nothing_behind() {
    let redis = Told::new().redis;
    let cap: Arc<str> = "c".into();
    for who in 0..100_u32 {
        let slot = RemoteSlot { cap: &cap, key: Key::shared(&who.to_be_bytes()), limit: 1 };
        assert!(redis.take(&[slot]).await.is_err());
    }
    assert!(redis.0.table.lock().statements(usize::MAX, true, 0).is_empty());
    assert_eq!(redis.slots_held(), 0);
}
