//! What is printed of handshakes that are admitted, refused and undecided, to the letter.

use std::path::Path;

use super::*;
use crate::load;
use serde_json::json;

const SECRET: &str = "a secret of at least 32 bytes for tests";
const NOW: Now = Now { mono: 5_000, wall: 1_800_000_000_000 };

const CONFIG: &str = r#"
[[listen]]
address = "127.0.0.1:0"

[jwt.main]
algorithms = ["HS256"]
secret = "env:SECRET"
issuer = "https://id.example.com/"

[jwt.away]
algorithms = ["RS256"]
jwks = "http://127.0.0.1:9/keys"

[zone.logins]
key = ["ip", "header:x-device"]
rate = "30r/m"

[zone.people]
key = "subject"
rate = "10r/s"

[[route]]
name = "room"
host = "chat.example.com"
path = "/rooms/{room}"
upstream = "http://127.0.0.1:8000/v1"
jwt = "main"
origins = ["https://app.example.com"]
require = { room = "{room}", scope = "chat" }
handshakes = [
    { rate = "20r/s", burst = 30, nodelay = true },
    { zone = "logins", burst = 5, delay = 2 },
    { zone = "people", burst = 3 },
    { rate = "1r/m", when = { plan = "free" }, status = 503 },
]
connections = { total = 100, per_ip = 20, per_subject = 5 }
max_lifetime = "8h"

[[route]]
name = "away"
path = "/away"
upstream = "http://127.0.0.1:9000"
jwt = "away"
token_from = ["query:t"]
deny = "close"

[[route]]
name = "strict"
path = "/strict"
exact = true
upstream = "http://127.0.0.1:9000"
origins = ["https://app.example.com"]
deny = "close"
handshakes = [{ zone = "logins" }, { zone = "logins" }]
"#;

fn loaded() -> Loaded {
    let env = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    load::text(CONFIG, "test.toml", Path::new("."), &env).unwrap_or_else(|report| panic!("{report}"))
}

#[derive(clap::Parser)]
struct Line {
    /// What `check` has beside.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    options: Asked,
}

/// What is printed for these options, and a token of these claims.
fn explained(options: &[&str], claims: Option<serde_json::Value>) -> String {
    use clap::Parser as _;
    let line = Line::try_parse_from(["check", "--explain"].iter().chain(options)).unwrap();
    assert!(line.explain);
    let token = claims.map(|claims| sign(&claims));
    let loaded = loaded();
    let request = request(&loaded, &line.options, token.clone()).unwrap();
    let (text, _) = explain(&loaded, &request, NOW);
    assert!(token.is_none_or(|token| !text.contains(&token)) && !text.contains(SECRET), "{text}");
    text
}

fn sign(claims: &serde_json::Value) -> String {
    use crate::config::value::Algorithm;
    use crate::policy::token::mint;
    let key = mint::encoding_key(Algorithm::HS256, SECRET.as_bytes()).unwrap();
    mint::mint(Algorithm::HS256, &key, None, claims.as_object().unwrap()).unwrap()
}

fn ann(change: &[(&str, serde_json::Value)]) -> Option<serde_json::Value> {
    let exp = NOW.wall / 1000 + 3570;
    let mut claims = json!({ "sub": "ann", "iss": "https://id.example.com/", "exp": exp, "room": 42, "scope": "chat", "plan": "paid" });
    for (name, value) in change {
        claims[name] = value.clone();
    }
    Some(claims)
}

const TO_ROOM: [&str; 6] = [
    "--host=chat.example.com",
    "--path=/rooms/42/7?x=1",
    "--origin=https://app.example.com",
    "--ip=2001:db8:1:2::7",
    "--header",
    "X-Device: d1",
];

#[test]
fn an_admission_is_told_to_the_last_number() {
    assert_eq!(explained(&TO_ROOM, ann(&[])), "\
1. what is asked
       chat.example.com/rooms/42/7, from 2001:db8:1:2::7
       with a token in Authorization
2. route
   ok  `room` at chat.example.com/rooms/{room}, {room} is `42`
3. Origin
   ok  on the route's list
4. limits of handshakes, before the token
   ok  the route's own rate, by ip (2001:db8:1:2::/64)
       one handshake each 50 ms, burst 30: a fresh account lets in 31 at one moment; beyond, 429
   ok  zone `logins`, by ip (2001:db8:1:2::/64), header:x-device (as it was sent)
       one handshake each 2 s, burst 5: a fresh account lets in 6 at one moment, of which 3 wait for their turn; beyond, 429
5. token
       looked for in Authorization
   ok  found in Authorization
       it names the algorithm HS256 and no `kid`
   ok  it holds by [jwt.main] and its one key: signature, iss, aud, times
   ok  exp 2027-01-15T08:59:30.000Z; with the leeway of 5 s, for 59 min 35 s yet
       subject `ann`
   ok  require `room` holds
   ok  require `scope` holds
6. limits of handshakes, after the token
   ok  zone `people`, by subject (ann)
       one handshake each 100 ms, burst 3: a fresh account lets in 4 at one moment, of which 3 wait for their turn; beyond, 429
   -   the route's own rate: not for this client, `when` does not hold
7. caps
   ok  connections.total of [server]: 10000
   ok  connections.total: 100
   ok  connections.per_ip: 20
   ok  connections.per_subject: 5
8. what then counts
       fragments to_upstream: 4096 frames of one message
       a message of the client has 1048576 bytes at most
       it ends after 10 min without a byte, or 59 min 35 s with its token, or 8 h as max_lifetime says
9. where it leads
       http://127.0.0.1:8000/v1/7
admitted
");
}

/// The lines of the step that refuses, and the last line.
fn refused(options: &[&str], claims: Option<serde_json::Value>) -> String {
    let text = explained(options, claims);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().rposition(|line| line.starts_with(|c: char| c.is_ascii_digit())).unwrap();
    lines[last..].join("\n")
}

#[test]
fn a_place_that_no_route_has_is_told_with_all_that_were_tried() {
    assert_eq!(
        refused(&["--path=/nowhere"], None),
        "\
2. route
   -   `room` at chat.example.com/rooms/{room}
   -   `strict` at /strict, exactly
   -   `away` at /away
   NO  no other is tried: none has this host and path
refused: no_route, status 404 (no route matches host and path)"
    );
}

#[test]
fn a_request_that_is_none_is_told_before_any_route() {
    let text = explained(&["--path=/a//b"], None);
    assert!(text.ends_with("(an ambiguous path)\n") && text.contains("refused: bad_handshake, status 400"), "{text}");
}

#[test]
fn an_origin_that_is_not_listed_is_told_with_the_code_of_its_close() {
    assert_eq!(
        refused(&["--path=/strict", "--origin=https://evil.example"], None),
        "\
3. Origin
   NO  not on the route's list
refused: origin_forbidden, a Close with 4003 (not on the route's list)"
    );
}

#[test]
fn a_limit_that_never_lets_anybody_in_is_told() {
    assert_eq!(
        refused(&["--path=/strict", "--origin=https://app.example.com"], None),
        "\
4. limits of handshakes, before the token
   ok  zone `logins`, by ip (127.0.0.1), header:x-device (none: one account for all that have none)
       one handshake each 2 s, burst 0: a fresh account lets in 1 at one moment; beyond, 429
   NO  zone `logins`, by ip (127.0.0.1), header:x-device (none: one account for all that have none)
       one handshake each 2 s, burst 0: a fresh account lets in 1 at one moment; beyond, 429
refused: handshake_rate, a Close with 4029 (over rate and burst)"
    );
}

#[test]
fn an_expired_token_is_told_with_how_long_it_is() {
    let exp = json!(NOW.wall / 1000 - 300);
    assert_eq!(
        refused(&TO_ROOM, ann(&[("exp", exp)])),
        "\
5. token
       looked for in Authorization
   ok  found in Authorization
       it names the algorithm HS256 and no `kid`
       exp 2027-01-15T07:55:00.000Z was 5 min ago; leeway 5 s
   NO  its exp and the leeway are over
refused: token_expired, status 403 (its exp and the leeway are over)"
    );
}

#[test]
fn a_claim_that_does_not_hold_is_told_among_those_that_do() {
    let text = refused(&TO_ROOM, ann(&[("room", json!("43"))]));
    assert!(text.contains("NO  require `room` does not hold\n   ok  require `scope` holds\n"), "{text}");
    assert!(text.ends_with("(a claim that `require` names does not hold what it asks for)"), "{text}");
}

#[test]
fn no_token_and_a_forged_one_are_told_apart() {
    let text = refused(&TO_ROOM, None);
    assert!(text.ends_with("refused: token_missing, status 403 (no token where the route looks for one)"), "{text}");
    let forged = format!("Authorization: Bearer {}x", sign(&ann(&[]).unwrap()));
    let text = refused(&[&TO_ROOM[..], &["--header", &forged]].concat(), None);
    assert!(text.contains("NO  its signature does not hold\nrefused: token_invalid, status 403"), "{text}");
}

#[test]
fn keys_that_would_have_to_be_fetched_leave_it_undecided() {
    let text = refused(&["--path=/away"], ann(&[]));
    assert!(text.contains("found in the query's t\n"), "{text}");
    assert!(
        text.contains("[jwt.away] has its keys from http://127.0.0.1:9/keys\n   NO  the token's keys are published"),
        "{text}"
    );
    assert!(text.contains("\nundecided: the token's keys are published by their issuer"), "{text}");
}

#[test]
fn a_limit_for_some_counts_for_those() {
    let text = explained(&TO_ROOM, ann(&[("plan", json!("free"))]));
    assert!(
        text.contains("   ok  the route's own rate, by ip (2001:db8:1:2::/64)\n       one handshake each 62.5 s"),
        "{text}"
    );
}

/// The trace and the gateway call the same stages, and come to the same end.
#[test]
fn what_is_told_is_what_the_policy_decides() {
    let expired = ann(&[("exp", json!(1))]);
    let mut compared = 0;
    for (options, claims) in [
        (&TO_ROOM[..], ann(&[])),
        (&TO_ROOM[..], expired),
        (&TO_ROOM[..], ann(&[("scope", json!("other"))])),
        (&TO_ROOM[..], None),
        (&["--path=/strict"][..], None),
        (&["--path=/strict", "--origin=https://app.example.com"][..], None),
        (&["--path=/"][..], None),
    ] {
        use clap::Parser as _;
        let line = Line::try_parse_from(["check", "--explain"].iter().chain(options)).unwrap();
        let told = loaded();
        let request = request(&told, &line.options, claims.map(|claims| sign(&claims))).unwrap();
        let (_, end) = explain(&told, &request, NOW);
        let opening = Opening::target(&request.uri, &request.headers).unwrap();
        let (query, client) = (request.uri.query(), request.client);
        let ask = Ask { opening: &opening, query, headers: &request.headers, client, certificate: None };
        let decided = loaded().policy.admit(&ask, NOW).verdict;
        match (end, decided) {
            (End::Admitted, Ok(_)) => {}
            (End::Refused(told), Err(denial)) => assert_eq!(told, denial),
            _ => panic!("{options:?}"),
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}
