//! Limits of handshakes by every kind of key, through the whole policy: nginx's vectors, a model, and memory that stays
//! as it is whoever comes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use http::HeaderMap;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;
use wsgate::config::value::Rate;
use wsgate::deny::Deny;
use wsgate::load;
use wsgate::now::Now;
use wsgate::policy::bucket::{self, Limit, Verdict};
use wsgate::policy::request::Opening;
use wsgate::policy::zone::Zone;
use wsgate::policy::{Ask, Policy};

use crate::harness::gate::{SECRET, sign_with};

const WALL: u64 = 1_800_000_000_000;

/// What a handshake may be told apart by.
const PARTS: [&str; 7] = ["ip", "subject", "claim:plan", "header:x-k", "cookie:s", "route", "host"];

/// Every part as the key of a zone, and some of them together.
const KEYS: [&[usize]; 10] = [&[0], &[1], &[2], &[3], &[4], &[5], &[6], &[0, 5], &[1, 3, 6], &[0, 1, 2, 3, 4, 5, 6]];

/// Which of two values each part has.
type Who = [bool; PARTS.len()];

fn policy(key: &[usize], rate: &str, limit: &str) -> Policy {
    let parts: Vec<&str> = key.iter().map(|part| PARTS[*part]).collect();
    let route = |path: &str| {
        format!(
            "[[route]]\npath = \"{path}\"\nupstream = \"http://127.0.0.1:1\"\njwt = \"main\"\n\
             handshakes = {{ zone = \"test\", {limit} }}\n"
        )
    };
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[jwt.main]\nalgorithms = [\"HS256\"]\nsecret = \"env:SECRET\"\n\
         [zone.test]\nkey = {parts:?}\nrate = \"{rate}\"\n{}{}",
        route("/no"),
        route("/yes"),
    );
    let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    load::text(&text, "test.toml", Path::new("."), &env).unwrap_or_else(|report| panic!("{report}")).policy
}

/// A handshake of this client. Told is how long it waits; or the reason, and after how many seconds to try again.
fn handshake(policy: &Policy, who: Who, mono: u64) -> Result<u64, (Deny, Option<u64>)> {
    let word = |part: usize| if who[part] { "yes" } else { "no" };
    let token = sign_with(SECRET, &json!({ "sub": word(1), "plan": word(2), "exp": WALL / 1000 + 60 }));
    let pairs = [
        ("authorization", format!("Bearer {token}")),
        ("x-k", word(3).to_owned()),
        ("cookie", format!("t=1; s={}", word(4))),
    ];
    let headers: HeaderMap =
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
    let opening = Opening { host: format!("{}.example.com", word(6)), path: format!("/{}", word(5)) };
    let client = IpAddr::from([192, 0, 2, u8::from(who[0])]);
    let ask = Ask { opening: &opening, query: None, headers: &headers, client, certificate: None };
    let decision = policy.admit(&ask, Now { mono, wall: WALL });
    decision.verdict.map(|admission| admission.wait_ms).map_err(|denial| (denial.deny, denial.retry_after))
}

/// nginx's vectors: rate, limit, and rows of milliseconds and verdict: passes, waits so long, is refused for so many seconds.
const VECTORS: [(&str, &str, &str); 8] = [
    ("1r/s", "burst = 0", "0 P; 0 R1; 500 R1; 999 R1; 1000 P; 1500 R1; 2000 P"),
    ("10r/s", "burst = 0", "0 P; 99 R1; 100 P; 200 P; 299 R1; 300 P"),
    ("1r/s", "burst = 5, nodelay = true", "0 P; 0 P; 0 P; 0 P; 0 P; 0 P; 0 R1; 1000 P; 1000 R1; 1999 R1; 2000 P"),
    ("1r/s", "burst = 5", "0 P; 0 W1000; 0 W2000; 0 W3000; 0 W4000; 0 W5000; 0 R1"),
    ("1r/s", "burst = 5, delay = 2", "0 P; 0 P; 0 P; 0 W1000; 0 W2000; 0 W3000; 0 R1"),
    ("1r/m", "burst = 0", "0 P; 0 R63; 60000 R3; 62499 R1; 62500 P"),
    ("1r/s", "burst = 1, nodelay = true", "100000 P; 99000 P; 99500 R1; 101000 P; 30000 R1"),
    ("2r/s", "burst = 1, dry_run = true", "0 P; 0 P; 0 P; 0 P"),
];

#[test]
fn nginx_s_vectors_hold_for_every_kind_of_key() {
    let mut walked = 0;
    for key in KEYS {
        let of_key = |part: usize| key.contains(&part);
        // Who has the same key, and nothing else in common.
        let same: Who = std::array::from_fn(|part| !of_key(part));
        for (rate, limit, rows) in VECTORS {
            let (policy, mut now) = (policy(key, rate, limit), 0);
            for (at, row) in rows.split("; ").enumerate() {
                let (ms, expected) = row.split_once(' ').unwrap();
                let who = if at % 2 == 0 { Who::default() } else { same };
                let told = match handshake(&policy, who, ms.parse().unwrap()) {
                    Ok(0) => "P".to_owned(),
                    Ok(wait_ms) => format!("W{wait_ms}"),
                    Err((Deny::HandshakeRate, Some(seconds))) => format!("R{seconds}"),
                    Err(other) => format!("{other:?}"),
                };
                assert_eq!(told, expected, "{key:?}: {rate}, {limit}, `{row}`");
                (walked, now) = (walked + 1, ms.parse().unwrap());
            }
            // Whoever differs in one part of the key alone has an account of his own.
            for part in key {
                let other: Who = std::array::from_fn(|one| one == *part);
                assert_eq!(handshake(&policy, other, now), Ok(0), "{key:?}");
            }
        }
    }
    assert!(walked > 400, "{walked}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever comes when: each key has what one bucket of its own would give it.
    #[test]
    fn every_kind_of_key_says_what_a_bucket_for_each_says(
        key in 0..KEYS.len(),
        burst in 0..4_u64,
        delay in 0..4_u64,
        handshakes in vec((0..1500_u64, prop::array::uniform7(any::<bool>())), 1..30),
    ) {
        let key = KEYS[key];
        let policy = policy(key, "1r/s", &format!("burst = {burst}, delay = {delay}"));
        let limit = Limit { rate: "1r/s".parse().unwrap(), burst: burst * Rate::ONE, delay: delay * Rate::ONE };
        let mut model = HashMap::new();
        let mut now = 0;
        for (step, who) in handshakes {
            now += step;
            let account: Vec<bool> = key.iter().map(|part| who[*part]).collect();
            let expected = match bucket::hit(model.entry(account).or_default(), &limit, Rate::ONE, now) {
                Verdict::Pass => Ok(0),
                Verdict::Wait(ms) => Ok(ms),
                Verdict::Reject { retry_ms } => Err((Deny::HandshakeRate, Some(retry_ms.div_ceil(1000)))),
            };
            prop_assert_eq!(handshake(&policy, who, now), expected);
        }
    }
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let status = String::from_utf8(std::fs::read("/proc/self/status").unwrap()).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    kib.unwrap().parse::<u64>().unwrap() * 1024
}

/// A policy with one zone by address, without tokens, and its zone.
fn by_address(entries: usize) -> (Policy, Arc<Zone>) {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[zone.test]\nrate = \"1r/s\"\nentries = {entries}\n\
         [[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n\
         handshakes = {{ zone = \"test\", burst = 1000, nodelay = true }}\n"
    );
    let loaded = load::text(&text, "test.toml", Path::new("."), &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let zone = loaded.policy.zones[0].clone();
    (loaded.policy, zone)
}

/// One after the other at these moments; what each was told.
fn flood(policy: &Policy, clients: impl Iterator<Item = (IpAddr, u64)>, mut told: impl FnMut(Result<(), Deny>)) {
    let opening = Opening { host: "test".into(), path: "/".into() };
    let headers = HeaderMap::new();
    for (client, mono) in clients {
        let ask = Ask { opening: &opening, query: None, headers: &headers, client, certificate: None };
        let decision = policy.admit(&ask, Now { mono, wall: WALL });
        told(decision.verdict.map(drop).map_err(|denial| denial.deny));
    }
}

const MILLION: u64 = 1_000_000;

/// More than a flood may grow the process by; a million buckets would take more than a hundred.
const FLAT: u64 = 48 * 1024 * 1024;

#[test]
fn a_million_sources_in_one_64_are_one_account() {
    let (policy, zone) = by_address(4096);
    let before = resident();
    let network = u128::from(0x2001_0db8_0001_0002_u64) << 64;
    let (mut let_in, mut refused) = (0, 0);
    flood(&policy, (0..MILLION).map(|n| (Ipv6Addr::from_bits(network | u128::from(n)).into(), 0)), |told| match told {
        Ok(()) => let_in += 1,
        Err(deny) => {
            assert_eq!(deny, Deny::HandshakeRate);
            refused += 1;
        }
    });
    assert_eq!((let_in, refused, zone.len()), (1001, MILLION - 1001, 1));
    assert!(resident().saturating_sub(before) < FLAT);
}

#[test]
fn a_million_64s_fill_a_zone_and_no_memory_and_erase_nobody_s_debt() {
    let (policy, zone) = by_address(4096);
    let debtor: IpAddr = Ipv4Addr::new(192, 0, 2, 1).into();
    let mut spent = 0;
    flood(&policy, std::iter::repeat_n((debtor, 0), 1002), |told| spent += u32::from(told.is_ok()));
    assert_eq!(spent, 1001);
    let before = resident();
    // Each network that is let in owes for a second, and in a second come a hundred times as many as there is room for.
    let half = |odd: u64| {
        let (mut let_in, mut full) = (0, 0);
        let networks = (odd..MILLION).step_by(2).map(|n| {
            let network = u128::from(0x2001_0db8_0000_0000 + n) << 64;
            (Ipv6Addr::from_bits(network | 7).into(), n / 400)
        });
        flood(&policy, networks, |told| match told {
            Ok(()) => let_in += 1,
            Err(deny) => {
                assert_eq!(deny, Deny::ZoneFull);
                full += 1;
            }
        });
        (let_in, full)
    };
    // By two workers, as it would come.
    let (one, other) = thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        (half(0), other.join().unwrap())
    });
    let (let_in, full) = (one.0 + other.0, one.1 + other.1);
    assert!(zone.len() <= zone.capacity(), "{}", zone.len());
    assert!(resident().saturating_sub(before) < FLAT);
    assert_eq!((let_in + full, zone.full_count()), (MILLION, full));
    assert!(let_in >= 4000 && full > MILLION / 2, "{let_in} let in, {full} found no room");
    let mut left = 0;
    flood(&policy, std::iter::repeat_n((debtor, 2500), 10), |told| left += u32::from(told.is_ok()));
    assert_eq!(left, 2, "of a thousand and one, what drained in two and a half seconds");
}
