//! What is looked at, and what a key does to it. Time and terminals are elsewhere.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::keys::Key;
use super::sample::{Sample, Totals};

/// Lines that Page Up and Page Down move by.
const PAGE: isize = 10;

/// Characters of a filter.
const LONGEST_FILTER: usize = 64;

/// What has to be done that is not a matter of looking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Nothing.
    Nothing,
    /// It is enough.
    Quit,
    /// The connection of this id is to end.
    Close(String),
}

/// What keys mean at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move in the table.
    Table,
    /// They are the filter's text.
    Filter,
    /// `y` closes the connection of this id.
    Confirm(String),
    /// Any one goes back.
    Help,
}

/// By what the connections are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// The oldest first.
    Age,
    /// The most first, both ways.
    Messages,
    /// Likewise.
    Bytes,
    /// By the alphabet.
    Subject,
    /// Likewise.
    Route,
    /// Likewise.
    Client,
}

impl Sort {
    pub(super) const ALL: [Self; 6] =
        [Self::Age, Self::Messages, Self::Bytes, Self::Subject, Self::Route, Self::Client];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Subject => "subject",
            Self::Route => "route",
            Self::Client => "client",
        }
    }
}

/// One connection, as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) route: String,
    pub(super) subject: String,
    pub(super) client: String,
    pub(super) seconds: f64,
    /// To the upstream, to the client.
    pub(super) messages: [u64; 2],
    /// Likewise.
    pub(super) bytes: [u64; 2],
}

impl Row {
    fn read(one: &Json) -> Self {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let each_way =
            |what: &str| ["upstream", "client"].map(|to| one[format!("{what}_to_{to}")].as_u64().unwrap_or_default());
        Self {
            id: text("id"),
            route: text("route"),
            subject: text("subject"),
            client: text("client"),
            seconds: one["duration_seconds"].as_f64().unwrap_or_default(),
            messages: each_way("messages"),
            bytes: each_way("bytes"),
        }
    }

    fn has(&self, filter: &str) -> bool {
        let texts = [&self.id, &self.route, &self.subject, &self.client];
        texts.into_iter().any(|text| text.to_lowercase().contains(filter))
    }
}

/// The whole of it.
pub(super) struct View {
    /// Whom is looked at.
    pub(super) url: String,
    pub(super) status: Json,
    pub(super) rates: Option<Totals>,
    pub(super) totals: Totals,
    /// How many connections there are, of which some may not be listed.
    pub(super) connections: u64,
    listed: Vec<Row>,
    last: Option<Sample>,
    /// Why nothing new is seen.
    pub(super) gone: Option<String>,
    pub(super) paused: bool,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    pub(super) reversed: bool,
    pub(super) filter: String,
    /// The id of the chosen one; it stays chosen wherever it moves.
    pub(super) chosen: Option<String>,
    /// What came of the last thing that was done.
    pub(super) said: String,
}

impl View {
    /// Before anything was seen.
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            status: Json::Null,
            rates: None,
            totals: Totals::default(),
            connections: 0,
            listed: Vec::new(),
            last: None,
            gone: None,
            paused: false,
            mode: Mode::Table,
            sort: Sort::Age,
            reversed: false,
            filter: String::new(),
            chosen: None,
            said: String::new(),
        }
    }

    /// Something new was seen.
    pub(super) fn take(&mut self, sample: Sample) {
        if self.gone.take().is_some() {
            self.said = "it answers again".to_owned();
        }
        self.rates = self.last.as_ref().map(|before| {
            sample.totals.rates(&before.totals, sample.at.saturating_duration_since(before.at).as_secs_f64())
        });
        self.totals = sample.totals.clone();
        self.status = sample.status.clone();
        self.listed = sample.connections["connections"].as_array().into_iter().flatten().map(Row::read).collect();
        self.connections = sample.connections["total"].as_u64().unwrap_or(self.listed.len() as u64);
        self.last = Some(sample);
    }

    /// There was no answer: what was seen last stays, and is said to be old.
    pub(super) fn lost(&mut self, wrong: String) {
        self.gone = Some(wrong);
        // Of the time in between nobody knows.
        (self.last, self.rates) = (None, None);
    }

    /// The connections that the filter leaves, in their order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        let filter = self.filter.to_lowercase();
        let mut rows: Vec<&Row> = self.listed.iter().filter(|row| row.has(&filter)).collect();
        rows.sort_by(|one, other| {
            let most = |now: [u64; 2]| now[0].saturating_add(now[1]);
            let order = match self.sort {
                Sort::Age => other.seconds.total_cmp(&one.seconds),
                Sort::Messages => most(other.messages).cmp(&most(one.messages)),
                Sort::Bytes => most(other.bytes).cmp(&most(one.bytes)),
                Sort::Subject => one.subject.cmp(&other.subject),
                Sort::Route => one.route.cmp(&other.route),
                Sort::Client => one.client.cmp(&other.client),
            };
            let order = if self.reversed { order.reverse() } else { order };
            // By the id where they are equal, so that they do not jump.
            if order == Ordering::Equal { one.id.cmp(&other.id) } else { order }
        });
        rows
    }

    /// Which row is chosen.
    pub(super) fn place(&self) -> usize {
        self.rows().iter().position(|row| Some(&row.id) == self.chosen.as_ref()).unwrap_or_default()
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: Key) -> Act {
        if key == Key::Interrupt {
            return Act::Quit;
        }
        self.said.clear();
        match self.mode.clone() {
            Mode::Table => return self.key_in_table(key),
            Mode::Help => self.mode = Mode::Table,
            Mode::Confirm(id) => {
                self.mode = Mode::Table;
                if key == Key::Char('y') {
                    return Act::Close(id);
                }
                self.said = "not closed".to_owned();
            }
            Mode::Filter => match key {
                Key::Enter => self.mode = Mode::Table,
                Key::Escape => (self.mode, self.filter) = (Mode::Table, String::new()),
                Key::Backspace => drop(self.filter.pop()),
                Key::Char(c) if self.filter.chars().count() < LONGEST_FILTER => self.filter.push(c),
                _ => {}
            },
        }
        Act::Nothing
    }

    fn key_in_table(&mut self, key: Key) -> Act {
        match key {
            Key::Char('q') => return Act::Quit,
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-PAGE),
            Key::PageDown => self.step(PAGE),
            Key::Home | Key::Char('g') => self.step(isize::MIN),
            Key::End | Key::Char('G') => self.step(isize::MAX),
            Key::Char('s') => {
                let at = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or_default();
                (self.sort, self.reversed) = (Sort::ALL[(at + 1) % Sort::ALL.len()], false);
            }
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Escape => self.filter.clear(),
            Key::Char('p') => self.paused = !self.paused,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('x') => match self.rows().get(self.place()) {
                Some(row) => self.mode = Mode::Confirm(row.id.clone()),
                None => self.said = "there is no connection to close".to_owned(),
            },
            _ => {}
        }
        Act::Nothing
    }

    fn step(&mut self, by: isize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self.place().saturating_add_signed(by).min(last);
        self.chosen = rows.get(to).map(|row| row.id.clone());
    }
}
