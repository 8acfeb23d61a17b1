//! The worked tables of docs/limits.md: each row is put into a config and played, handshake by handshake or frame by frame.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};
use wsgate::config::value::{Algorithm, Rate};
use wsgate::deny::Direction;
use wsgate::now::Now;
use wsgate::policy::bucket::{self, Limit, Verdict};
use wsgate::policy::request::Opening;
use wsgate::policy::token::mint;
use wsgate::policy::{Ask, Decision, Policy};
use wsgate::session::judge::{Judge, Mode, Tally, Then};

use super::{SECRET, blocks, completed, material, read, secrets};

/// The accounts' clock does not begin at 0.
const START: u64 = 1_000_000;

/// The cells of the rows of a table of the page, those of its head left out.
fn table(name: &str) -> Vec<Vec<String>> {
    let page = read("docs/limits.md");
    let text = page.split(&format!("<!-- {name}: begin -->\n")).nth(1).expect(name);
    let text = text.split(&format!("<!-- {name}: end -->")).next().unwrap();
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> = text.lines().skip(2).map(cells).collect();
    assert!(rows.len() > 4, "{rows:?}");
    rows
}

/// `0, 5 x3` is 0 and three times 5.
fn repeated(cell: &str) -> Vec<String> {
    let one = |item: &str| {
        let (item, count) = item.split_once(" x").unwrap_or((item, "1"));
        vec![item.to_owned(); count.parse().unwrap()]
    };
    cell.split(", ").flat_map(one).collect()
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn compiled(fragment: &str) -> Policy {
    let text = completed(fragment);
    let loaded = wsgate::load::text(&text, "example", material().path(), &secrets);
    loaded.unwrap_or_else(|report| panic!("{report}\n{text}")).policy
}

/// A policy whose one route has this limit.
fn with(key: &str, limit: &str) -> Policy {
    let limit = limit.trim_matches('`');
    compiled(&format!("[[route]]\nupstream = \"http://127.0.0.1:8000\"\n{key} = {{ {limit} }}\n"))
}

fn decide(policy: &Policy, path: &str, headers: &HeaderMap, at: u64) -> Decision {
    let opening = Opening { host: "test".into(), path: path.into() };
    let client = Ipv4Addr::LOCALHOST.into();
    let ask = Ask { opening: &opening, query: None, headers, client, certificate: None };
    policy.admit(&ask, Now { mono: START + at, wall: START + at })
}

/// What judges the frames of a client that got in by this decision.
fn judge(decision: Decision) -> Judge {
    let (route, [meter, _]) = (decision.route.unwrap(), decision.verdict.unwrap().meters);
    let fragments = route.flow.fragments[Direction::ToUpstream.index()];
    Judge::new(Direction::ToUpstream, false, 1 << 20, meter, fragments)
}

/// A client's message in one frame of so many bytes, its header among them.
fn frame(wire: usize) -> Vec<u8> {
    let sizes = [(6, 125), (8, 65_535), (14, usize::MAX)];
    let (head, _) = *sizes.iter().find(|(head, most)| wire - head <= *most).unwrap();
    let payload = wire - head;
    let len = match head {
        6 => vec![0x80 | payload as u8],
        8 => [&[0x80 | 126][..], &(payload as u16).to_be_bytes()].concat(),
        _ => [&[0x80 | 127][..], &(payload as u64).to_be_bytes()].concat(),
    };
    [&[0x82][..], &len, &[1, 2, 3, 4], &vec![7; payload]].concat()
}

/// When each of these frames passes, given when each comes; a frame is looked at when the one before it has passed.
fn play(judge: &mut Judge, frames: &[(u64, usize)]) -> Vec<String> {
    let mut now = START;
    let mut played = Vec::new();
    for &(at, wire) in frames {
        now = now.max(START + at);
        let said = pass(judge, &frame(wire), &mut now);
        played.push(said);
        if played.last().is_some_and(|said| said == "END") {
            break;
        }
    }
    played
}

fn pass(judge: &mut Judge, frame: &[u8], now: &mut u64) -> String {
    let (mut at, mut lost) = (0, false);
    while at < frame.len() {
        let (passed, then) = judge.judge(&frame[at..], *now, Mode::Open, &mut Tally::default());
        at += passed;
        match then {
            Then::More => assert_eq!(at, frame.len()),
            Then::Wait => *now = judge.waits_until().unwrap(),
            Then::Skip(len) => (at, lost) = (at + len, true),
            Then::Violation(_) => return "END".to_owned(),
            other => panic!("{other:?}"),
        }
    }
    if lost { "lost".to_owned() } else { (*now - START).to_string() }
}

#[test]
fn an_account_goes_step_by_step_as_the_page_has_it() {
    let limit = Limit { rate: "2r/s".parse().unwrap(), burst: 3 * Rate::ONE, delay: u64::MAX };
    assert!(read("docs/limits.md").contains("`rate = \"2r/s\", burst = 3, nodelay = true`"));
    let (mut bucket, mut excess, mut last) = (None, 0.0, 0);
    for row in table("steps") {
        let at = number(&row[0]);
        let drained = 2.0 * (at - last) as f64 / 1000.0;
        let next = if row[1].is_empty() { 0.0 } else { f64::max(0.0, excess - drained + 1.0) };
        let same = |cell: &str, value: f64| (cell.parse::<f64>().unwrap() - value).abs() < 1e-9;
        assert!(row[1].is_empty() || same(&row[1], drained), "{row:?}: {drained} drained");
        assert!(same(&row[2], next), "{row:?}: {next}");
        let verdict = bucket::hit(&mut bucket, &limit, Rate::ONE, START + at);
        assert_eq!(verdict == Verdict::Pass, row[3].starts_with("in"), "{row:?}: {verdict:?}");
        if verdict == Verdict::Pass {
            (excess, last) = (next, at);
        }
    }
}

#[test]
fn handshakes_go_on_when_the_page_says() {
    for row in table("handshakes") {
        let policy = with("handshakes", &row[0]);
        let go_on = |at: &String| {
            let at = number(at);
            match decide(&policy, "/", &HeaderMap::new(), at).verdict {
                Ok(admission) => (at + admission.wait_ms).to_string(),
                Err(denial) => denial.status.to_string(),
            }
        };
        let said: Vec<String> = repeated(&row[1]).iter().map(go_on).collect();
        assert_eq!(said, repeated(&row[2]), "{row:?}");
    }
}

#[test]
fn messages_and_bytes_pass_when_the_page_says() {
    for (key, size) in [("messages", Some(10)), ("bytes", None)] {
        for row in table(key) {
            let policy = with(key, &row[0]);
            let frames = repeated(&row[1]);
            let frames = frames.iter().map(|frame| match (size, frame.split_once(':')) {
                (Some(size), None) => (number(frame), size),
                (None, Some((at, wire))) => (number(at), number(wire) as usize),
                (Some(_), Some(_)) | (None, None) => panic!("{row:?}"),
            });
            let mut judge = judge(decide(&policy, "/", &HeaderMap::new(), 0));
            assert_eq!(play(&mut judge, &frames.collect::<Vec<_>>()), repeated(&row[2]), "{row:?}");
        }
    }
}

#[test]
fn what_stands_beside_nginx_s_lines_compiles() {
    let page = read("docs/limits.md");
    let text = page.split("\n## nginx's lines beside ours\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let keys = ["handshakes", "bytes", "connections", "max_message_size", "send_timeout"];
    let mut looked = 0;
    for span in
        text.lines().filter_map(|row| row.rsplit(" | ").next()).flat_map(|cell| cell.split('`').skip(1).step_by(2))
    {
        let (key, _) = span.split_once(" = ").unwrap_or_default();
        let fragment = match key {
            "key" => format!("[zone.x]\n{span}\nrate = \"1r/s\"\n"),
            key if keys.contains(&key) => format!("[[route]]\nupstream = \"http://127.0.0.1:8000\"\n{span}\n"),
            _ => continue,
        };
        let zones = span.split("zone = \"").skip(1).map(|zone| zone.split('"').next().unwrap());
        let zones: BTreeSet<&str> = zones.collect();
        let zones: String = zones.iter().map(|zone| format!("[zone.{zone}]\nrate = \"20r/s\"\n")).collect();
        compiled(&(zones + &fragment));
        looked += 1;
    }
    assert!(looked > 12, "{looked}");
}

#[test]
fn the_recipe_by_claim_gives_free_users_ten_messages_a_minute_and_others_more() {
    let recipes = blocks(&read("docs/limits.md"), "toml fragment");
    let policy = compiled(recipes.iter().find(|recipe| recipe.contains("[zone.free]")).unwrap());
    let headers = |plan: &str| {
        let claims = json!({ "sub": plan, "exp": 10_000, "plan": plan });
        let claims: Map<String, Value> = claims.as_object().unwrap().clone();
        let key = mint::encoding_key(Algorithm::HS256, SECRET.as_bytes()).unwrap();
        let token = mint::mint(Algorithm::HS256, &key, None, &claims).unwrap();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        HeaderMap::from_iter([
            (header::AUTHORIZATION, bearer),
            (header::ORIGIN, HeaderValue::from_static("https://app.example.com")),
        ])
    };
    for (plan, at_once, a_minute_later) in [("free", 10, 10), ("paid", 100, 100), ("other", 100, 100)] {
        let sent = |at: u64| {
            let mut judge = judge(decide(&policy, "/ws", &headers(plan), at));
            let passed = play(&mut judge, &vec![(at, 10); 1000]);
            passed.iter().filter(|said| *said != "END").count()
        };
        assert_eq!(sent(0), at_once, "{plan}");
        assert_eq!(sent(0), 0, "{plan}: a second session has the same account");
        assert_eq!(sent(60_000), a_minute_later, "{plan}");
    }
}
