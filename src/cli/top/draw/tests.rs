//! Frames, line by line, of gateways that are well, ill, gone and hostile.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::sample::{Sample, Totals};
use crate::cli::top::view::Act;

const SIZE: Size = Size { columns: 120, rows: 30 };

fn connection(id: u64, subject: &str, seconds: f64, messages: u64) -> Json {
    json!({
        "id": format!("{id:016x}"), "route": "chat", "subject": subject, "client": "192.0.2.7", "duration_seconds": seconds,
        "messages_to_upstream": messages, "messages_to_client": 1, "bytes_to_upstream": 12_345, "bytes_to_client": 9,
    })
}

#[allow(clippy::disallowed_methods, reason = "a test of the command's own clock")]
fn sample(connections: &[Json], messages: f64, seconds: u64) -> Sample {
    let status = json!({
        "version": "0.1.0", "uptime_seconds": 3725, "phase": "running", "sessions": connections.len(),
        "handshakes_in_flight": 3,
        "caps": [
            { "scope": "total", "used": 10, "limit": 1000, "warned": false },
            { "scope": "route", "route": "chat", "used": 95, "limit": 100, "warned": true },
            { "scope": "ip", "route": "chat", "used": 9, "limit": 5, "warned": true, "keys": 4, "keys_near_limit": 1 },
        ],
        "zones": [{ "zone": "logins", "entries": 50, "capacity": 100, "full": 0 }],
        "workers": [{ "lag_ms": 0, "pace": "keeps" }, { "lag_ms": 2, "pace": "keeps" }],
        "buffered": { "bytes": 0, "limit": 67_108_864 },
        "redis": { "breaker": "closed" },
    });
    let totals = Totals {
        messages: [messages, 0.0],
        bytes: [messages * 100.0, 0.0],
        admitted: 1.0,
        refused: [("origin_forbidden".to_owned(), messages), ("no_route".to_owned(), 0.0)].into(),
    };
    let connections = json!({ "connections": connections, "total": connections.len() + 7 });
    Sample { status, connections, totals, at: Instant::now() + Duration::from_secs(seconds) }
}

fn seen(connections: &[Json]) -> View {
    let mut view = View::new("http://127.0.0.1:9100".to_owned());
    view.take(sample(connections, 100.0, 0));
    view.take(sample(connections, 120.0, 10));
    view
}

fn three() -> View {
    seen(&[connection(1, "alice", 10.0, 5), connection(2, "bob", 4000.0, 7), connection(3, "carol", 90.0, 6)])
}

fn text(view: &View, size: Size) -> Vec<String> {
    frame(view, size).into_iter().map(|line| line.text.trim_end().to_owned()).collect()
}

/// The subjects in the order of the table.
fn order(view: &View) -> Vec<String> {
    view.rows().into_iter().map(|row| row.subject.clone()).collect()
}

#[test]
fn a_frame_says_how_a_gateway_is() {
    let lines = text(&three(), SIZE);
    assert_eq!(lines[0], "wsgate 0.1.0 at http://127.0.0.1:9100  running  up 1h02m");
    assert!(lines[1].starts_with("sessions 3   handshakes under way 3   admitted 0/s   refused 2"), "{}", lines[1]);
    assert!(lines[2].starts_with("to upstream 2"), "{}", lines[2]);
    assert!(lines[2].ends_with("to client 0 messages/s, 0B/s"), "{}", lines[2]);
    assert_eq!(lines[3], "workers late by 0 2 ms   kept for receivers 0B of 67.1MB   redis closed");
    // The fullest first.
    assert_eq!(lines[4], "cap route chat               [###################.] 95 of 100");
    assert_eq!(lines[5], "cap ip chat                  [#####...............] 1 of 4 keys near it");
    assert_eq!(lines[6], "cap total                    [....................] 10 of 1000");
    assert_eq!(lines[7], "zone logins                  [##########..........] 50 of 100");
    assert!(lines[8].starts_with("refused now: origin_forbidden 2"), "{}", lines[8]);
    assert!(lines[9].starts_with("ID               ROUTE        SUBJECT"), "{}", lines[9]);
    assert!(lines[10].starts_with("0000000000000002 chat         bob"), "{}", lines[10]);
    assert!(lines[10].contains("1h06m") && lines[10].ends_with("7         1     12.3k         9"), "{}", lines[10]);
    assert_eq!(lines[13], "3 of 10 connections, by age   q leave  s sort  / filter  x close  p pause  ? help");
    assert_eq!(lines.len(), 14);
    let styles: Vec<Style> = frame(&three(), SIZE).iter().map(|line| line.style).collect();
    assert_eq!((styles[0], styles[3], styles[4]), (Style::Title, Style::Plain, Style::Warned));
}

#[test]
fn keys_choose_sort_filter_and_close_one_only_after_a_question() {
    let mut view = three();
    assert_eq!(order(&view), ["bob", "carol", "alice"]);
    assert_eq!(view.key(Key::Down), Act::Nothing);
    assert_eq!(view.chosen.as_deref(), Some("0000000000000003"));
    // The chosen one stays chosen where it moves.
    view.key(Key::Char('s'));
    assert_eq!((order(&view), view.place()), (vec!["bob".into(), "carol".into(), "alice".into()], 1));
    view.key(Key::Char('r'));
    assert_eq!(order(&view), ["alice", "carol", "bob"]);
    for key in [Key::Char('x'), Key::Char('n')] {
        assert_eq!(view.key(key), Act::Nothing);
    }
    assert_eq!((view.said.as_str(), &view.mode), ("not closed", &Mode::Table));
    view.key(Key::Char('x'));
    assert_eq!(text(&view, SIZE).last().unwrap(), "close 0000000000000003? y: yes, any other key: no");
    assert_eq!(view.key(Key::Char('y')), Act::Close("0000000000000003".to_owned()));
    for key in [Key::Char('/'), Key::Char('A'), Key::Char('q'), Key::Backspace, Key::Char('l'), Key::Enter] {
        assert_eq!(view.key(key), Act::Nothing);
    }
    assert_eq!((order(&view), view.filter.as_str()), (vec!["alice".to_owned()], "Al"));
    view.key(Key::Escape);
    assert_eq!(order(&view).len(), 3);
    for key in [Key::End, Key::PageDown, Key::Down, Key::Char('j')] {
        view.key(key);
        assert_eq!(view.place(), 2);
    }
    for key in [Key::Home, Key::PageUp, Key::Up, Key::Char('k')] {
        view.key(key);
        assert_eq!(view.place(), 0);
    }
    view.key(Key::Char('?'));
    assert!(text(&view, SIZE).iter().any(|line| line.starts_with("x             close the chosen")));
    view.key(Key::Char('z'));
    assert_eq!(view.mode, Mode::Table);
    assert_eq!((view.key(Key::Char('q')), three().key(Key::Interrupt)), (Act::Quit, Act::Quit));
    view.key(Key::Char('/'));
    assert_eq!(view.key(Key::Interrupt), Act::Quit, "wherever one is");
}

#[test]
fn a_gateway_that_is_gone_is_said_to_be_and_comes_back() {
    let mut view = View::new("http://127.0.0.1:9100".to_owned());
    view.lost("no connection: refused".to_owned());
    assert_eq!(text(&view, SIZE)[..2], ["wsgate at http://127.0.0.1:9100", "no connection: refused"]);
    let mut view = three();
    view.lost("no connection: refused".to_owned());
    let lines = frame(&view, SIZE);
    assert!(lines[0].text.ends_with("GONE: no connection: refused"), "{}", lines[0].text);
    assert_eq!(lines[0].style, Style::Bad);
    assert_eq!(order(&view).len(), 3, "what was seen last stays");
    assert!(!lines[1].text.contains("/s"), "there is no rate over a gap");
    view.take(sample(&[], 130.0, 20));
    let lines = text(&view, SIZE);
    assert!(!lines[0].contains("GONE") && lines.last().unwrap().contains("it answers again"), "{lines:?}");
    assert_eq!(view.key(Key::Char('x')), Act::Nothing);
    assert!(view.said.contains("no connection to close"));
}

#[test]
fn what_is_wrong_stands_out() {
    let mut view = three();
    view.status["workers"][1]["pace"] = "behind".into();
    view.status["phase"] = "draining".into();
    view.status["caps"][0]["used"] = 1000.into();
    let lines = frame(&view, SIZE);
    assert_eq!([lines[0].style, lines[3].style, lines[4].style], [Style::Warned, Style::Warned, Style::Bad]);
}

#[test]
fn a_small_terminal_shows_the_chosen_one_and_never_more_than_it_has() {
    let many: Vec<Json> = (1..=100).map(|id| connection(id, &format!("user{id}"), id as f64, id)).collect();
    let mut view = seen(&many);
    for size in [SIZE, Size { columns: 40, rows: 13 }, Size { columns: 1, rows: 1 }, Size { columns: 0, rows: 0 }] {
        view.key(Key::Home);
        for step in 0..100 {
            let lines = frame(&view, size);
            assert!(lines.len() <= size.rows.max(1));
            assert!(lines.iter().all(|line| line.text.chars().count() <= size.columns), "{size:?}");
            if size.rows > 12 && step > 0 {
                assert_eq!(lines.iter().filter(|line| line.style == Style::Chosen).count(), 1, "{size:?} {step}");
            }
            view.key(Key::Down);
        }
    }
}

#[test]
fn nothing_that_a_terminal_obeys_is_drawn() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\r\nx";
    let mut view = seen(&[connection(1, evil, 1.0, 1)]);
    view.lost(evil.to_owned());
    view.said = evil.to_owned();
    view.status["version"] = evil.into();
    view.status["zones"][0]["zone"] = evil.into();
    for line in frame(&view, SIZE) {
        assert!(!line.text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{:?}", line.text);
    }
    assert!(text(&view, SIZE).iter().any(|line| line.contains("]0;owned")));
}

#[test]
fn numbers_and_times_are_short() {
    let numbers = [0.0, 0.31, 9.96, 99.94, 999.0, 1000.0, 12_345.0, 999_999.0, 1.5e9, 2e16];
    let said = ["0", "0.3", "10", "99.9", "999", "1k", "12.3k", "1M", "1.5G", "20000T"];
    assert_eq!(numbers.map(short), said);
    let times = [0.0, 59.9, 60.0, 3599.0, 3600.0, 86_399.0, 86_400.0, 1e15];
    assert_eq!(times.map(span), ["0s", "59s", "1m00s", "59m59s", "1h00m", "23h59m", "1d00h", "49710d06h"]);
}

proptest! {
    #[test]
    fn any_answer_makes_a_frame(text in ".{0,40}", number: f64, rows in 0_usize..40, columns in 0_usize..200) {
        let mut view = View::new(text.clone());
        let one = json!({ "id": text, "subject": text, "duration_seconds": number, "messages_to_client": number });
        let mut sample = sample(&[one, json!(text), json!(null)], number, 1);
        sample.status["caps"] = json!([{ "used": number, "limit": number, "scope": text }, text]);
        sample.status["uptime_seconds"] = json!(number);
        view.take(sample);
        for line in frame(&view, Size { columns, rows }) {
            prop_assert!(line.text.chars().count() <= columns && !line.text.contains(char::is_control));
        }
    }
}
