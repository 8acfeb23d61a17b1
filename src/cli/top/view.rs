//! What is looked at, and what a key does to it. Time and terminals are elsewhere.

use std::time::Duration;

use serde_json::Value as Json;

use super::connections::{Row, Sort, Wanted};
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
    /// Other connections are wanted than those that are listed.
    Ask,
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

/// Which table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Connections,
    Refusals,
    Upstreams,
    Limits,
}

impl Tab {
    pub(super) const ALL: [Self; 4] = [Self::Connections, Self::Refusals, Self::Upstreams, Self::Limits];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Refusals => "refusals",
            Self::Upstreams => "upstreams",
            Self::Limits => "caps and zones",
        }
    }

    /// Where its lines stand in `/status`; connections are listed elsewhere.
    fn lines(self, status: &Json) -> usize {
        let length = |key: &str| status[key].as_array().map_or(0, Vec::len);
        match self {
            Self::Connections => 0,
            Self::Refusals => length("refusals"),
            Self::Upstreams => {
                let all = status["upstreams"].as_array().into_iter().flatten();
                all.map(|upstream| upstream["servers"].as_array().map_or(0, Vec::len)).sum()
            }
            Self::Limits => length("caps") + length("zones"),
        }
    }
}

/// The whole of it.
pub(super) struct View {
    /// Whom is looked at.
    pub(super) url: String,
    /// Between two looks of which there is a rate, at least.
    between: Duration,
    pub(super) status: Json,
    pub(super) rates: Option<Totals>,
    pub(super) totals: Totals,
    /// How many connections the filter leaves, of which some may not be listed.
    pub(super) matching: u64,
    listed: Vec<Row>,
    last: Option<Sample>,
    /// Why nothing new is seen.
    pub(super) gone: Option<String>,
    pub(super) paused: bool,
    pub(super) mode: Mode,
    pub(super) tab: Tab,
    /// Lines of a table without a choice that are above.
    pub(super) above: usize,
    pub(super) wanted: Wanted,
    /// The id of the chosen one; it stays chosen wherever it moves.
    pub(super) chosen: Option<String>,
    /// What came of the last thing that was done.
    pub(super) said: String,
}

impl View {
    /// Before anything was seen.
    pub(super) fn new(url: String, interval: Duration) -> Self {
        Self {
            url,
            between: interval / 2,
            status: Json::Null,
            rates: None,
            totals: Totals::default(),
            matching: 0,
            listed: Vec::new(),
            last: None,
            gone: None,
            paused: false,
            mode: Mode::Table,
            tab: Tab::Connections,
            above: 0,
            wanted: Wanted { sort: Sort::Age, reversed: false, filter: String::new() },
            chosen: None,
            said: String::new(),
        }
    }

    /// Something new was seen.
    pub(super) fn take(&mut self, sample: Sample) {
        if self.gone.take().is_some() {
            self.said = "it answers again".to_owned();
        }
        self.status = sample.status.clone();
        self.listed = sample.connections["connections"].as_array().into_iter().flatten().map(Row::read).collect();
        self.matching = sample.connections["total"].as_u64().unwrap_or(self.listed.len() as u64);
        self.totals = sample.totals.clone();
        self.above = self.above.min(self.tab.lines(&self.status).saturating_sub(1));
        // One that a key asked for comes too soon to say how often something happens.
        let passed = self.last.as_ref().map(|before| sample.at.saturating_duration_since(before.at));
        if passed.is_none_or(|passed| passed >= self.between) {
            self.rates = self
                .last
                .as_ref()
                .zip(passed)
                .map(|(before, passed)| sample.totals.rates(&before.totals, passed.as_secs_f64()));
            self.last = Some(sample);
        }
    }

    /// There was no answer: what was seen last stays, and is said to be old.
    pub(super) fn lost(&mut self, wrong: String) {
        self.gone = Some(wrong);
        // Of the time in between nobody knows.
        (self.last, self.rates) = (None, None);
    }

    /// The connections that the filter leaves, in their order.
    pub(super) fn rows(&self) -> Vec<&Row> {
        self.wanted.order(&self.listed)
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
        let before = self.wanted.clone();
        let act = match self.mode.clone() {
            Mode::Table => self.key_in_table(key),
            Mode::Help => {
                self.mode = Mode::Table;
                Act::Nothing
            }
            Mode::Confirm(id) => {
                self.mode = Mode::Table;
                if key == Key::Char('y') {
                    return Act::Close(id);
                }
                self.said = "not closed".to_owned();
                Act::Nothing
            }
            Mode::Filter => {
                self.key_in_filter(key);
                Act::Nothing
            }
        };
        if act == Act::Nothing && self.wanted != before { Act::Ask } else { act }
    }

    fn key_in_filter(&mut self, key: Key) {
        let filter = &mut self.wanted.filter;
        match key {
            Key::Enter => self.mode = Mode::Table,
            Key::Escape => {
                self.mode = Mode::Table;
                filter.clear();
            }
            Key::Backspace => drop(filter.pop()),
            Key::Char(c) if filter.chars().count() < LONGEST_FILTER => filter.push(c),
            _ => {}
        }
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
            Key::Tab => {
                let at = Tab::ALL.iter().position(|tab| *tab == self.tab).unwrap_or_default();
                self.turn_to(Tab::ALL[(at + 1) % Tab::ALL.len()]);
            }
            Key::Char(digit @ '1'..='4') => self.turn_to(Tab::ALL[digit as usize - '1' as usize]),
            Key::Char('p') => self.paused = !self.paused,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            key if self.tab == Tab::Connections => self.key_of_connections(key),
            _ => {}
        }
        Act::Nothing
    }

    fn key_of_connections(&mut self, key: Key) {
        match key {
            Key::Char('s') => {
                let at = Sort::ALL.iter().position(|sort| *sort == self.wanted.sort).unwrap_or_default();
                (self.wanted.sort, self.wanted.reversed) = (Sort::ALL[(at + 1) % Sort::ALL.len()], false);
            }
            Key::Char('r') => self.wanted.reversed = !self.wanted.reversed,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Escape => self.wanted.filter.clear(),
            Key::Char('x') => match self.rows().get(self.place()) {
                Some(row) => self.mode = Mode::Confirm(row.id.clone()),
                None => self.said = "there is no connection to close".to_owned(),
            },
            _ => {}
        }
    }

    fn turn_to(&mut self, tab: Tab) {
        (self.tab, self.above) = (tab, 0);
    }

    fn step(&mut self, by: isize) {
        if self.tab != Tab::Connections {
            let last = self.tab.lines(&self.status).saturating_sub(1);
            self.above = self.above.saturating_add_signed(by).min(last);
            return;
        }
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        let to = self.place().saturating_add_signed(by).min(last);
        self.chosen = rows.get(to).map(|row| row.id.clone());
    }
}
