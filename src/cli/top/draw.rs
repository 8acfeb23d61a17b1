//! From what is looked at to the lines of a frame: pure. Nothing that somebody else chose reaches a terminal as it is.

mod gauges;
mod tables;

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::view::{Mode, Tab, View};

/// A terminal's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// How a line looks; the later ones stand out more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// Lines that a table has at least, its title among them: what is above it gives way.
const TABLE: usize = 4;

/// Caps and zones above the table.
const BARS: usize = 3;

const HELP: [&str; 12] = [
    "q  Ctrl-C     leave",
    "Tab  1 2 3 4  connections, the last refusals, upstreams, caps and zones",
    "j k  arrows   choose a connection, or move in the table; Page Up, Page Down, g, G",
    "s             sort by the next column; r turns the order around",
    "/             filter by id, route, subject or address; Enter keeps it, Escape clears it",
    "x             close the chosen connection, after a question: both sides get 1008, kicked",
    "p             stand still, and go on",
    "?             this",
    "",
    "up is what clients sent to the upstream, down what they got; a rate is of the time since the look before",
    "",
    "any key goes back",
];

/// The frame, at most as many lines as fit, each cut to the width.
pub(super) fn frame(view: &View, size: Size) -> Vec<Line> {
    let mut lines = head(view);
    if view.mode == Mode::Help {
        lines.extend(HELP.map(|text| plain(text.to_owned())));
    } else if !view.status.is_null() {
        lines.extend(gauges::health(&view.status));
        lines.extend(gauges::bars(&view.status, BARS));
        lines.push(plain(refusals(view)));
        // The foot, and the line of the tables' names.
        lines.truncate(size.rows.saturating_sub(TABLE + 2).max(1));
        lines.push(tabs(view));
        let room = size.rows.saturating_sub(lines.len() + 1);
        lines.extend(tables::of(view, view.tab, room, size.columns));
    }
    lines.truncate(size.rows.saturating_sub(1));
    lines.push(foot(view));
    cut(&mut lines, size.columns);
    lines
}

/// All of it, one table below the other, each with so many lines at most: for who does not look at a terminal.
pub(super) fn whole(view: &View, size: Size) -> Vec<Line> {
    let mut lines = head(view);
    lines.extend(gauges::health(&view.status));
    lines.push(plain(refusals(view)));
    for tab in Tab::ALL {
        lines.push(plain(String::new()));
        lines.push(plain(format!("{}:", tab.label())));
        lines.extend(tables::of(view, tab, size.rows, size.columns));
    }
    cut(&mut lines, size.columns);
    lines
}

fn cut(lines: &mut [Line], columns: usize) {
    for line in lines {
        line.text = clean(&line.text).chars().take(columns).collect();
    }
}

/// Without what a terminal obeys, or what hides the rest or turns it around: a subject is what its owner chose.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || disguises(c) { '\u{fffd}' } else { c }).collect()
}

/// Those without a shape of their own: Unicode's `Default_Ignorable_Code_Point`, and what ends a line or turns it around.
fn disguises(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn plain(text: String) -> Line {
    Line { text, style: Style::Plain }
}

fn text<'a>(of: &'a Json, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_default()
}

fn number(of: &Json, key: &str) -> u64 {
    of[key].as_u64().unwrap_or_default()
}

fn list<'a>(of: &'a Json, key: &str) -> &'a [Json] {
    of[key].as_array().map(Vec::as_slice).unwrap_or_default()
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
    let mut sums = format!(
        "sessions {}   handshakes under way {}",
        number(status, "sessions"),
        number(status, "handshakes_in_flight")
    );
    let mut flow = String::new();
    if let Some(rates) = &view.rates {
        let refused: f64 = rates.refused.values().sum();
        let _ = write!(sums, "   admitted {}/s   refused {}/s", short(rates.admitted), short(refused));
        let [up, down] = rates.messages.map(short);
        let [up_bytes, down_bytes] = rates.bytes.map(short);
        flow = format!("up {up} messages/s, {up_bytes}B/s   down {down} messages/s, {down_bytes}B/s");
    }
    vec![Line { text: title, style }, plain(sums), plain(flow)]
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

fn tabs(view: &View) -> Line {
    let one = |(at, tab): (usize, Tab)| {
        let name = format!("{} {}", at + 1, tab.label());
        if tab == view.tab { format!("[{name}]") } else { format!(" {name} ") }
    };
    let all: Vec<String> = Tab::ALL.into_iter().enumerate().map(one).collect();
    Line { text: all.join(" "), style: Style::Dim }
}

fn foot(view: &View) -> Line {
    let (text, style) = match &view.mode {
        Mode::Confirm(id) => {
            let whose = view.rows().into_iter().find(|row| row.id == *id);
            let whose = whose.map_or(String::new(), |row| {
                let subject = if row.subject.is_empty() { "nobody" } else { &row.subject };
                format!(", {subject} from {}", row.client)
            });
            (format!("close {id}{whose}? y: yes, any other key: no"), Style::Warned)
        }
        Mode::Filter => (format!("filter: {}_", view.wanted.filter), Style::Title),
        Mode::Table | Mode::Help => {
            let said = if view.said.is_empty() { String::new() } else { format!("{}   ", view.said) };
            let shown = if view.tab == Tab::Connections { connections(view) } else { String::new() };
            let keys = match view.tab {
                Tab::Connections => "q leave  Tab  s sort  / filter  x close  p pause  ? help",
                Tab::Refusals | Tab::Upstreams | Tab::Limits => "q leave  Tab  p pause  ? help",
            };
            (format!("{said}{shown}{keys}"), Style::Dim)
        }
    };
    Line { text, style }
}

/// How many of them are listed, and which.
fn connections(view: &View) -> String {
    let (shown, wanted) = (view.rows().len(), &view.wanted);
    let match_it = if (shown as u64) < view.matching && !wanted.filter.is_empty() {
        format!(" ({} match)", view.matching)
    } else {
        String::new()
    };
    let filter = if wanted.filter.is_empty() {
        String::new()
    } else {
        format!(", filter {:?}, Escape clears it", wanted.filter)
    };
    let all = number(&view.status, "sessions");
    format!("{shown}{match_it} of {all} connections, by {}{filter}   ", wanted.sort.label())
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
