//! `/status`: what stands there is what its documentation says.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Ask, Backend, Gate, Setup};

const DOCS: &str = include_str!("../../docs/operations.md");

async fn status(gate: &Gate) -> Value {
    let page = gate.page("/status").await;
    assert_eq!((page.status(), page.one("content-type")), (200, Some("application/json")));
    serde_json::from_str(&page.body).unwrap()
}

/// Every field by its path, as `caps[].scope`.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, inner) in map {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                fields(inner, &path, found);
            }
        }
        Value::Array(list) => {
            assert!(!list.is_empty(), "{at} has nothing to look at");
            found.insert(at.to_owned());
            let inner = list.iter().filter(|inner| inner.is_object() || inner.is_array());
            inner.for_each(|inner| fields(inner, &format!("{at}[]"), found));
        }
        _ => drop(found.insert(at.to_owned())),
    }
}

/// The first column of the table below this heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let (_, section) = DOCS.split_once(&format!("\n{heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let names = rows.filter_map(|row| row.strip_prefix("| `")?.split_once('`'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[tokio::test]
async fn the_page_has_the_fields_that_are_documented_and_no_other() {
    let backend = Backend::new().await;
    let terms = "handshakes = { zone = \"all\", burst = 9, nodelay = true }\nconnections = { total = 4, per_zone = [{ zone = \"all\", max = 2 }] }";
    let setup = Setup::new().jwt("[redis]\nurl = \"unix:/nowhere/redis.sock\"\n[zone.all]\nrate = \"100r/s\"\n").route(
        "/ws",
        &backend.url(),
        terms,
    );
    let bounded = "[upstream.chat]\nservers = [{ address = \"127.0.0.1:1\", max_connections = 3 }]";
    let mut gate = setup.admin(bounded).start();
    drop(gate.session_of(&backend, &Ask::to("/ws")).await);
    gate.ended("client", "client_lost").await;
    gate.seen_upward(&backend, &Ask::to("/ws")).await;
    gate.rests().await;
    let open = gate.session_of(&backend, &Ask::to("/ws")).await;
    let page = status(&gate).await;
    let mut there = BTreeSet::new();
    fields(&page, "", &mut there);
    // What is there of some refusals, of a gateway that is not ready, or of one that leaves.
    let at_times = ["not_ready", "refusals[].subject", "refusals[].origin", "refusals[].close_code"];
    there.extend(at_times.map(str::to_owned));
    there.extend(["drain.left", "drain.deadline_seconds"].map(str::to_owned));
    assert_eq!(there, documented("## Status"));
    let refused = json!({ "reason": "upstream_refused", "fault": "upstream", "count": 1, "recent": 1,
        "meaning": page["refused"][0]["meaning"], "routes": [{ "route": "ws", "count": 1 }] });
    assert_eq!(page["refused"], json!([refused]));
    assert_eq!(
        (&page["refusals"][0]["reason"], &page["refusals"][0]["route"]),
        (&json!("upstream_refused"), &json!("ws"))
    );
    assert_eq!(page["ended"], json!([{ "reason": "client_lost", "side": "client", "count": 1 }]));
    assert_eq!(page["routes"], json!([{ "route": "ws", "sessions": 1 }]));
    assert_eq!(
        page["history"]["time_ms"].as_array().unwrap().len(),
        page["history"]["refused"].as_array().unwrap().len()
    );
    assert_eq!((&page["phase"], &page["sessions"]), (&json!("running"), &json!(1)), "{page}");
    let by_zone = json!({ "scope": "zone", "route": "ws", "zone": "all", "used": 1, "limit": 2, "warned": false,
        "keys": 1, "keys_near_limit": 0 });
    assert_eq!(page["caps"][2], by_zone);
    assert_eq!(page["zones"][0], json!({ "zone": "all", "entries": 1, "capacity": 65536, "full": 0 }));
    assert!(page["workers"].as_array().unwrap().iter().all(|worker| worker["pace"] == "keeps"), "{page}");
    assert_eq!(page["redis"], json!({ "breaker": "open" }), "nobody is there");
    assert_eq!(page["buffered"], json!({ "bytes": 0, "limit": 64 << 20 }));
    drop(open);
    gate.ended("client", "client_lost").await;
    gate.finish().await;
}

#[tokio::test]
async fn it_is_guarded_as_the_other_pages_and_can_only_be_read() {
    let backend = Backend::new().await;
    let gate = Setup::new().route("/ws", &backend.url(), "").start();
    let refused = gate.operate("POST", "/status", "{}").await;
    assert_eq!((refused.status(), refused.one("allow")), (405, Some("GET, HEAD")));
    gate.finish().await;
    let setup = Setup::new();
    std::fs::write(setup.folder.path().join("token"), "0123456789abcdef").unwrap();
    let guarded = setup.admin("token = \"file:token\"").route("/ws", &backend.url(), "").start();
    assert_eq!(guarded.page("/status").await.status(), 401);
    guarded.finish().await;
}
