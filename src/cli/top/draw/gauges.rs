//! What the gateway stands on, in a line each: its threads, its config, its upstreams, what it lacks; and how full it is.

use serde_json::Value as Json;

use super::{Line, Style, list, number, plain, short, text};
use crate::now::Timestamp;

/// Servers that are named, and reasons why it is not ready.
const NAMED: usize = 4;

/// Workers, memory and Redis; the config; the upstreams; and what is out of the ordinary.
pub(super) fn health(status: &Json) -> Vec<Line> {
    if status.is_null() {
        return Vec::new();
    }
    let mut lines = vec![machine(status), config(&status["config"])];
    lines.extend(upstreams(list(status, "upstreams")));
    if let Some(drain) = status.get("drain") {
        let (left, seconds) = (number(drain, "left"), number(drain, "deadline_seconds"));
        let text =
            format!("leaving: {left} sessions and handshakes are left, and are cut in {seconds} s at the latest");
        lines.push(Line { text, style: Style::Warned });
    }
    let lacks = list(status, "not_ready").iter().filter_map(Json::as_str).take(NAMED);
    lines.extend(lacks.map(|why| Line { text: format!("not ready: {why}"), style: Style::Bad }));
    lines
}

fn machine(status: &Json) -> Line {
    let workers = list(status, "workers");
    let late = workers.iter().any(|worker| worker["pace"] != "keeps");
    let lags: Vec<String> = workers.iter().map(|worker| number(worker, "lag_ms").to_string()).collect();
    let kept = &status["buffered"];
    let (bytes, limit) = (number(kept, "bytes") as f64, number(kept, "limit") as f64);
    let breaker = status["redis"]["breaker"].as_str();
    let redis = breaker.map_or(String::new(), |breaker| format!("   redis {breaker}"));
    let text = format!(
        "workers late by {} ms   kept for receivers {}B of {}B{redis}",
        lags.join(" "),
        short(bytes),
        short(limit)
    );
    let bad = late || breaker.is_some_and(|breaker| breaker != "closed") || bytes > limit / 2.0;
    Line { text, style: if bad { Style::Warned } else { Style::Plain } }
}

/// Which config is obeyed; where a newer one was refused, the first line of why.
fn config(config: &Json) -> Line {
    let hash: String = text(config, "hash").chars().take(8).collect();
    // In whole seconds since 1970, in a float that holds them.
    let taken = Timestamp((config["taken_at"].as_f64().unwrap_or_default() as u64).saturating_mul(1000)).to_string();
    let said = format!("config {hash} since {}", taken.replace(".000Z", "Z"));
    if config["last_reload_successful"] != false {
        return plain(said);
    }
    let why = config["error"].as_str().and_then(|error| error.lines().find(|line| !line.trim().is_empty()));
    Line { text: format!("{said}; A NEWER ONE WAS REFUSED: {}", why.unwrap_or("see /status")), style: Style::Bad }
}

/// How many servers are well, and which are not.
fn upstreams(all: &[Json]) -> Option<Line> {
    let servers =
        all.iter().flat_map(|upstream| list(upstream, "servers").iter().map(move |server| (upstream, server)));
    let servers: Vec<(&Json, &Json)> = servers.collect();
    let ill: Vec<String> = servers
        .iter()
        .filter(|(_, server)| text(server, "state") != "up")
        .map(|(upstream, server)| name(upstream, server) + " " + text(server, "state"))
        .collect();
    let waiting: u64 = all.iter().map(|upstream| number(upstream, "queue")).sum();
    let mut said = format!("upstreams: {} of {} servers up", servers.len() - ill.len(), servers.len());
    if waiting > 0 {
        said += &format!("   {waiting} wait for one");
    }
    if !ill.is_empty() {
        let more = if ill.len() > NAMED { ", .." } else { "" };
        said += &format!("   {}{more}", ill.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "));
    }
    let style = servers.iter().map(|(_, server)| style_of(text(server, "state"))).max();
    let style = style.unwrap_or(Style::Plain);
    let style = if style == Style::Plain && waiting > 0 { Style::Warned } else { style };
    (!servers.is_empty()).then_some(Line { text: said, style })
}

/// An upstream that is one URL is called as its server is.
pub(super) fn name(upstream: &Json, server: &Json) -> String {
    let (upstream, server) = (text(upstream, "upstream"), text(server, "server"));
    if upstream.ends_with(server) { upstream.to_owned() } else { format!("{upstream} {server}") }
}

/// How a server's state looks.
pub(super) fn style_of(state: &str) -> Style {
    match state {
        "up" => Style::Plain,
        "down" | "ejected" => Style::Bad,
        _ => Style::Warned,
    }
}

/// How full something is.
struct Bar {
    kind: &'static str,
    name: String,
    used: f64,
    limit: f64,
    what: &'static str,
    warned: bool,
}

impl Bar {
    fn cap(cap: &Json) -> Option<Self> {
        let name = ["scope", "route", "zone"].map(|key| text(cap, key)).join(" ").trim().to_owned();
        let warned = cap["warned"] == true;
        // Of a cap by key the limit is each key's.
        if let (Some(keys), Some(near)) = (cap["keys"].as_u64(), cap["keys_near_limit"].as_u64()) {
            let (used, limit) = (near as f64, keys as f64);
            return (keys > 0).then_some(Self { kind: "cap", name, used, limit, what: " keys near it", warned });
        }
        let (used, limit) = (cap["used"].as_f64()?, cap["limit"].as_f64()?);
        Some(Self { kind: "cap", name, used, limit, what: "", warned })
    }

    fn zone(zone: &Json) -> Option<Self> {
        let (used, limit) = (zone["entries"].as_f64()?, zone["capacity"].as_f64()?);
        let what = if number(zone, "full") > 0 { " keys, was full" } else { " keys" };
        Some(Self { kind: "zone", name: text(zone, "zone").to_owned(), used, limit, what, warned: used / limit >= 0.9 })
    }

    fn share(&self) -> f64 {
        if self.limit > 0.0 { (self.used / self.limit).clamp(0.0, 1.0) } else { 0.0 }
    }

    fn line(&self) -> Line {
        let share = self.share();
        let filled = (share * 20.0).round() as usize;
        let (hashes, dots) = ("#".repeat(filled), ".".repeat(20 - filled));
        let Self { kind, name, used, limit, what, warned } = self;
        let text = format!("{:<28} [{hashes}{dots}] {used} of {limit}{what}", format!("{kind} {name}"));
        let style = match share {
            share if share >= 0.98 => Style::Bad,
            _ if *warned => Style::Warned,
            _ => Style::Plain,
        };
        Line { text, style }
    }
}

/// The fullest, those that are warned of first.
pub(super) fn bars(status: &Json, most: usize) -> Vec<Line> {
    let caps = list(status, "caps").iter().filter_map(Bar::cap);
    let mut bars: Vec<Bar> = caps.chain(list(status, "zones").iter().filter_map(Bar::zone)).collect();
    bars.sort_by(|one, other| other.warned.cmp(&one.warned).then(other.share().total_cmp(&one.share())));
    bars.iter().take(most).map(Bar::line).collect()
}
