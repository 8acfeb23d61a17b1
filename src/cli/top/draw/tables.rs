//! The tables of a frame. Where a terminal is narrow, columns give way instead of running out of it.

use serde_json::Value as Json;

use super::super::connections::{Row, Sort};
use super::super::view::{Mode, Tab, View};
use super::gauges;
use super::{Line, Style, clean, list, number, short, span, text};

/// A table in at most so many lines.
pub(super) fn of(view: &View, tab: Tab, room: usize, columns: usize) -> Vec<Line> {
    match tab {
        Tab::Connections => connections(view, room, columns),
        Tab::Refusals => below(title(REFUSALS, columns), refusals(&view.status, columns), view.above, room),
        Tab::Upstreams => below(title(SERVERS, columns), servers(&view.status, columns), view.above, room),
        Tab::Limits => below(Vec::new(), gauges::bars(&view.status, usize::MAX), view.above, room),
    }
}

fn below(title: Vec<Line>, lines: Vec<Line>, above: usize, room: usize) -> Vec<Line> {
    let left = room.saturating_sub(title.len());
    // The last line is never alone on a screen.
    let above = above.min(lines.len().saturating_sub(left.max(1)));
    title.into_iter().chain(lines.into_iter().skip(above).take(left)).collect()
}

/// A text in so many columns.
fn cell(text: &str, width: usize) -> String {
    format!("{:<width$}", clean(text).chars().take(width).collect::<String>())
}

/// One column: its name, its width, and the width of a terminal that it needs at least. A width of 0 is for the rest.
type Column = (&'static str, usize, usize);

const REFUSALS: &[Column] = &[
    ("TIME", 8, 0),
    ("REASON", 19, 0),
    ("STATUS", 6, 60),
    ("ROUTE", 12, 75),
    ("CLIENT", 20, 50),
    ("SUBJECT", 16, 140),
    ("PATH", 24, 110),
    ("WHY", 0, 90),
];

const SERVERS: &[Column] = &[("UPSTREAM", 40, 0), ("STATE", 10, 0), ("SESSIONS", 20, 0), ("WAITING", 0, 80)];

fn title(columns: &[Column], width: usize) -> Vec<Line> {
    let names: Vec<&str> = columns.iter().map(|(name, ..)| *name).collect();
    vec![Line { text: row(columns, &names, width), style: Style::Title }]
}

fn row(columns: &[Column], texts: &[&str], width: usize) -> String {
    let seen = columns.iter().zip(texts).filter(|((.., least), _)| width >= *least);
    let cells: Vec<String> =
        seen.map(|((_, width, _), text)| if *width == 0 { clean(text) } else { cell(text, *width) }).collect();
    cells.join(" ")
}

/// The last refusals, the newest first.
fn refusals(status: &Json, width: usize) -> Vec<Line> {
    let line = |refusal: &Json| {
        let status = refusal["status"].as_u64().map_or("-".to_owned(), |status| status.to_string());
        // Of `2026-11-29T23:15:22.622Z`.
        let time = text(refusal, "time").get(11..19).unwrap_or_default();
        let [reason, route, client, subject, path, why] =
            ["reason", "route", "client", "subject", "path", "why"].map(|key| text(refusal, key));
        let said = row(REFUSALS, &[time, reason, &status, route, client, subject, path, why], width);
        let style = if matches!(text(refusal, "fault"), "upstream" | "gateway") { Style::Warned } else { Style::Plain };
        Line { text: said, style }
    };
    list(status, "refusals").iter().map(line).collect()
}

fn servers(status: &Json, width: usize) -> Vec<Line> {
    let line = |upstream: &Json, server: &Json| {
        let (state, sessions) = (text(server, "state"), number(server, "sessions"));
        let limit = server["limit"].as_u64().map_or(String::new(), |limit| format!(" of {limit}"));
        let waiting = number(upstream, "queue").to_string();
        let texts = [&*gauges::name(upstream, server), state, &format!("{sessions}{limit}"), &waiting];
        Line { text: row(SERVERS, &texts, width), style: gauges::style_of(state) }
    };
    let upstreams = list(status, "upstreams").iter();
    upstreams.flat_map(|upstream| list(upstream, "servers").iter().map(move |server| line(upstream, server))).collect()
}

/// How the connections' columns are laid out.
#[derive(Clone, Copy)]
struct Layout {
    id: usize,
    route: usize,
    subject: usize,
    client: usize,
    upstream: usize,
    /// Messages and bytes each way; or their sums.
    each_way: bool,
}

const AGE: usize = 8;
const NUMBER: usize = 9;

impl Layout {
    fn of(columns: usize) -> Self {
        let each_way = columns >= 100;
        let (id, route) = (if columns >= 90 { 16 } else { 0 }, if columns >= 75 { 12 } else { 0 });
        let upstream = if columns >= 130 { 20 } else { 0 };
        let numbers = NUMBER * if each_way { 4 } else { 2 };
        let gaps = [id, route, upstream].into_iter().filter(|width| *width > 0).count() + 1;
        let left = columns.saturating_sub(id + route + upstream + gaps + AGE + numbers).max(4);
        // An address of version 4 is at most 15 long and one of version 6 39, and most are shorter than a subject.
        let client = (left * 2 / 5).max(15.min(left / 2)).min(39);
        Self { id, route, subject: left - client, client, upstream, each_way }
    }

    /// The texts in the order of [`Layout`]'s fields.
    fn row(self, texts: [&str; 5], age: &str, [up, down, bytes_up, bytes_down]: [&str; 4]) -> String {
        let widths = [self.id, self.route, self.subject, self.client, self.upstream];
        let seen = widths.into_iter().zip(texts).filter(|(width, _)| *width > 0);
        let cells: Vec<String> = seen.map(|(width, text)| cell(text, width)).collect();
        let numbers: &[&str] = if self.each_way { &[up, down, bytes_up, bytes_down] } else { &[up, bytes_up] };
        let numbers: String = numbers.iter().map(|number| format!("{number:>NUMBER$}")).collect();
        format!("{}{age:>AGE$}{numbers}", cells.join(" "))
    }
}

fn connections(view: &View, room: usize, columns: usize) -> Vec<Line> {
    let rows = view.rows();
    let layout = Layout::of(columns);
    let wanted = &view.wanted;
    let mark = |sort: &[Sort], text: &str| {
        let order = if wanted.reversed { "^" } else { "v" };
        if sort.contains(&wanted.sort) { format!("{text}{order}") } else { text.to_owned() }
    };
    let names = [
        "ID",
        &mark(&[Sort::Route], "ROUTE"),
        &mark(&[Sort::Subject], "SUBJECT"),
        &mark(&[Sort::Client], "CLIENT"),
        "UPSTREAM",
    ];
    let age = mark(&[Sort::Age], "AGE");
    let title = if layout.each_way {
        let [up, down] = [0, 1].map(|way| mark(&[Sort::Messages(way)], ["msg up", "msg down"][way]));
        let [bytes_up, bytes_down] = [0, 1].map(|way| mark(&[Sort::Bytes(way)], ["B up", "B down"][way]));
        layout.row(names, &age, [&up, &down, &bytes_up, &bytes_down])
    } else {
        let messages = mark(&[Sort::Messages(0), Sort::Messages(1)], "msg");
        layout.row(names, &age, [&messages, "", &mark(&[Sort::Bytes(0), Sort::Bytes(1)], "B"), ""])
    };
    let mut lines = vec![Line { text: title, style: Style::Title }];
    let chosen = view.place();
    let room = room.saturating_sub(1).max(1);
    // So much is above that the chosen one is seen.
    let first = (chosen + 1).saturating_sub(room);
    let is_chosen = view.chosen.is_some() || matches!(view.mode, Mode::Confirm(_));
    for (at, row) in rows.iter().enumerate().skip(first).take(room) {
        let style = if at == chosen && is_chosen { Style::Chosen } else { Style::Plain };
        lines.push(Line { text: connection(row, layout), style });
    }
    lines
}

fn connection(row: &Row, layout: Layout) -> String {
    let Row { id, route, subject, client, upstream, seconds, messages, bytes } = row;
    let sum = |[up, down]: [u64; 2]| if layout.each_way { [up, down] } else { [up.saturating_add(down), 0] };
    let ([up, down], [bytes_up, bytes_down]) = (sum(*messages), sum(*bytes));
    let numbers = [up, down, bytes_up, bytes_down].map(|number| short(number as f64));
    let numbers = numbers.each_ref().map(String::as_str);
    layout.row([id, route, subject, client, upstream], &span(*seconds as f64), numbers)
}
