//! From what is looked at to the lines of a frame: pure. Nothing that somebody else chose reaches a terminal as it is.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::view::{Mode, Row, Sort, View};

/// A terminal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As any text.
    Plain,
    /// Bold.
    Title,
    /// Where the cursor is: reversed.
    Chosen,
    /// Of less weight.
    Dim,
    /// Yellow.
    Warned,
    /// Red.
    Bad,
}

/// One line, of printable characters alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// Most lines that are given to caps, to zones.
const MOST_BARS: usize = 4;

const HELP: [&str; 10] = [
    "q  Ctrl-C     leave",
    "j k  arrows   choose a connection; Page Up, Page Down, g, G",
    "s             sort by the next column; r turns the order around",
    "/             filter by id, route, subject or address; Enter keeps it, Escape clears it",
    "x             close the chosen connection, after a question: both sides get 1008, kicked",
    "p             stand still, and go on",
    "?             this",
    "",
    "to upstream is what clients sent, to client what they got; a rate is of the time since the look before",
    "any key goes back",
];

/// The frame, at most as many lines as fit, each cut to the width.
pub(super) fn frame(view: &View, size: Size) -> Vec<Line> {
    let mut lines = head(view);
    if view.mode == Mode::Help {
        lines.extend(HELP.map(|text| plain(text.to_owned())));
    } else {
        lines.extend(gauges(&view.status));
        lines.push(plain(refusals(view)));
        let left = size.rows.saturating_sub(lines.len() + 2);
        lines.extend(table(view, left, size.columns));
    }
    lines.truncate(size.rows.saturating_sub(1));
    lines.push(foot(view));
    for line in &mut lines {
        line.text = clean(&line.text).chars().take(size.columns).collect();
    }
    lines
}

/// Without what a terminal obeys, or what hides the rest: a subject is what its owner chose.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || disguises(c) { '\u{fffd}' } else { c }).collect()
}

fn disguises(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn plain(text: String) -> Line {
    Line { text, style: Style::Plain }
}

fn head(view: &View) -> Vec<Line> {
    let status = &view.status;
    if status.is_null() {
        let text = format!("wsgate at {}", view.url);
        let style = if view.gone.is_some() { Style::Bad } else { Style::Title };
        let wrong = view.gone.as_deref().unwrap_or("asking ..");
        return vec![Line { text, style: Style::Title }, Line { text: wrong.to_owned(), style }];
    }
    let phase = status["phase"].as_str().unwrap_or("?");
    let version = status["version"].as_str().unwrap_or("?");
    let up = span(status["uptime_seconds"].as_f64().unwrap_or_default());
    let state = match &view.gone {
        Some(wrong) => format!("GONE: {wrong}"),
        None if view.paused => "PAUSED".to_owned(),
        None => String::new(),
    };
    let style = match (&view.gone, phase) {
        (Some(_), _) => Style::Bad,
        (None, "running") => Style::Title,
        (None, _) => Style::Warned,
    };
    let title = format!("wsgate {version} at {}  {phase}  up {up}  {state}", view.url);
    let number = |key: &str| status[key].as_u64().unwrap_or_default();
    let mut sums = format!("sessions {}   handshakes under way {}", number("sessions"), number("handshakes_in_flight"));
    let mut flow = String::new();
    if let Some(rates) = &view.rates {
        let refused: f64 = rates.refused.values().sum();
        let _ = write!(sums, "   admitted {}/s   refused {}/s", short(rates.admitted), short(refused));
        let [up, down] = rates.messages.map(short);
        let [up_bytes, down_bytes] = rates.bytes.map(short);
        flow = format!("to upstream {up} messages/s, {up_bytes}B/s   to client {down} messages/s, {down_bytes}B/s");
    }
    vec![Line { text: title, style }, plain(sums), plain(flow)]
}

/// Workers, memory, Redis, caps, zones, each where it is.
fn gauges(status: &Json) -> Vec<Line> {
    if status.is_null() {
        return Vec::new();
    }
    let workers = status["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let late = workers.iter().any(|worker| worker["pace"] != "keeps");
    let lags: Vec<String> =
        workers.iter().map(|worker| format!("{}", worker["lag_ms"].as_u64().unwrap_or(0))).collect();
    let mut text = format!("workers late by {} ms", lags.join(" "));
    let (bytes, limit) = (status["buffered"]["bytes"].as_f64(), status["buffered"]["limit"].as_f64());
    let (bytes, limit) = (bytes.unwrap_or_default(), limit.unwrap_or_default());
    let _ = write!(text, "   kept for receivers {}B of {}B", short(bytes), short(limit));
    let breaker = status["redis"]["breaker"].as_str();
    if let Some(breaker) = breaker {
        let _ = write!(text, "   redis {breaker}");
    }
    let bad = late || breaker.is_some_and(|breaker| breaker != "closed") || bytes > limit / 2.0;
    let mut lines = vec![Line { text, style: if bad { Style::Warned } else { Style::Plain } }];
    lines.extend(bars("cap", &status["caps"], |cap| {
        let name = ["scope", "route", "zone"].map(|key| cap[key].as_str().unwrap_or_default()).join(" ");
        // Of a cap by key the limit is each key's.
        if let (Some(keys), Some(near)) = (cap["keys"].as_u64(), cap["keys_near_limit"].as_u64()) {
            let (used, limit) = (near as f64, keys as f64);
            return (keys > 0).then_some(Bar { name, used, limit, what: "keys near it" });
        }
        Some(Bar { name, used: cap["used"].as_f64()?, limit: cap["limit"].as_f64()?, what: "" })
    }));
    lines.extend(bars("zone", &status["zones"], |zone| {
        let name = zone["zone"].as_str().unwrap_or_default().to_owned();
        Some(Bar { name, used: zone["entries"].as_f64()?, limit: zone["capacity"].as_f64()?, what: "" })
    }));
    lines
}

/// How full something is.
struct Bar {
    name: String,
    used: f64,
    limit: f64,
    what: &'static str,
}

impl Bar {
    fn share(&self) -> f64 {
        if self.limit > 0.0 { (self.used / self.limit).clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// The fullest.
fn bars(kind: &str, all: &Json, read: impl Fn(&Json) -> Option<Bar>) -> Vec<Line> {
    let mut bars: Vec<Bar> = all.as_array().into_iter().flatten().filter_map(read).collect();
    bars.sort_by(|one, other| other.share().total_cmp(&one.share()));
    let line = |bar: &Bar| {
        let share = bar.share();
        let filled = (share * 20.0).round() as usize;
        let (hashes, dots) = ("#".repeat(filled), ".".repeat(20 - filled));
        let Bar { name, used, limit, what } = bar;
        let text = format!("{:<28} [{hashes}{dots}] {used} of {limit} {what}", format!("{kind} {}", name.trim()));
        let style = match share {
            share if share >= 0.98 => Style::Bad,
            share if share >= 0.9 => Style::Warned,
            _ => Style::Plain,
        };
        Line { text, style }
    };
    bars.iter().take(MOST_BARS).map(line).collect()
}

/// The reasons that are most frequent now, and since the start where nothing is refused now.
fn refusals(view: &View) -> String {
    let now = view.rates.as_ref().map(|rates| &rates.refused).filter(|now| now.values().any(|rate| *rate > 0.0));
    let (what, unit, all) = match now {
        Some(now) => ("refused now", "/s", now),
        None => ("refused since the start", "", &view.totals.refused),
    };
    let mut all: Vec<(&String, &f64)> = all.iter().filter(|(_, count)| **count > 0.0).collect();
    all.sort_by(|one, other| other.1.total_cmp(one.1));
    let said: Vec<String> =
        all.iter().take(6).map(|(reason, count)| format!("{reason} {}{unit}", short(**count))).collect();
    if said.is_empty() { "nothing refused since the start".to_owned() } else { format!("{what}: {}", said.join("   ")) }
}

fn table(view: &View, room: usize, columns: usize) -> Vec<Line> {
    let rows = view.rows();
    let mark = |sort: Sort, text: &str| {
        let order = if view.reversed { "^" } else { "v" };
        if view.sort == sort { format!("{text}{order}") } else { text.to_owned() }
    };
    let wide = columns.saturating_sub(16 + 1 + 12 + 1 + 1 + 9 + 4 * 10).max(24);
    // The subject gets more of what is left than the address.
    let (of_subject, of_client) = (wide - wide * 2 / 5, wide * 2 / 5);
    let cells = |id: &str, route: &str, subject: &str, client: &str, age: &str, numbers: [String; 4]| {
        let cut = |text: &str, width: usize| format!("{:<width$}", clean(text).chars().take(width).collect::<String>());
        let numbers: String = numbers.iter().map(|number| format!("{number:>10}")).collect();
        let (route, subject, client) = (cut(route, 12), cut(subject, of_subject), cut(client, of_client));
        format!("{} {route} {subject} {client}{age:>9}{numbers}", cut(id, 16))
    };
    let numbers =
        [mark(Sort::Messages, "msg up"), "msg down".to_owned(), mark(Sort::Bytes, "B up"), "B down".to_owned()];
    let (route, subject) = (mark(Sort::Route, "ROUTE"), mark(Sort::Subject, "SUBJECT"));
    let title = cells("ID", &route, &subject, &mark(Sort::Client, "CLIENT"), &mark(Sort::Age, "AGE"), numbers);
    let mut lines = vec![Line { text: title, style: Style::Title }];
    let chosen = view.place();
    let room = room.saturating_sub(1).max(1);
    // So much is above that the chosen one is seen.
    let first = (chosen + 1).saturating_sub(room);
    for (at, row) in rows.iter().enumerate().skip(first).take(room) {
        let Row { id, route, subject, client, seconds, messages, bytes } = row;
        let numbers = [messages[0], messages[1], bytes[0], bytes[1]].map(|number| short(number as f64));
        let style = if at == chosen && view.chosen.is_some() { Style::Chosen } else { Style::Plain };
        lines.push(Line { text: cells(id, route, subject, client, &span(*seconds), numbers), style });
    }
    lines
}

fn foot(view: &View) -> Line {
    let (text, style) = match &view.mode {
        Mode::Confirm(id) => (format!("close {id}? y: yes, any other key: no"), Style::Warned),
        Mode::Filter => (format!("filter: {}_", view.filter), Style::Title),
        Mode::Table | Mode::Help => {
            let shown = view.rows().len();
            let filter = if view.filter.is_empty() {
                String::new()
            } else {
                format!("   filter {:?}, Escape clears it", view.filter)
            };
            let said = if view.said.is_empty() { String::new() } else { format!("   {}", view.said) };
            let of = format!("{shown} of {} connections, by {}", view.connections, view.sort.label());
            (format!("{of}{filter}{said}   q leave  s sort  / filter  x close  p pause  ? help"), Style::Dim)
        }
    };
    Line { text, style }
}

/// A number in at most five characters and its unit: `999`, `1.2k`, `34M`.
pub(super) fn short(number: f64) -> String {
    let mut rest = number;
    for unit in ["", "k", "M", "G", "T"] {
        if rest < 999.5 || unit == "T" {
            let said = if rest >= 99.95 { format!("{rest:.0}") } else { format!("{rest:.1}") };
            return format!("{}{unit}", said.trim_end_matches(".0"));
        }
        rest /= 1000.0;
    }
    String::new()
}

/// A time in at most eight characters: `59s`, `12m05s`, `3h20m`, `12d03h`.
pub(super) fn span(seconds: f64) -> String {
    // Cut at some 136 years, and at 0.
    let seconds = seconds as u32;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

#[cfg(test)]
mod tests;
