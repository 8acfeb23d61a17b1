//! Frames, line by line, of gateways that are well, ill, gone and hostile.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cli::top::keys::Key;
use crate::cli::top::sample::{Sample, Totals};
use crate::cli::top::view::Act;

const SIZE: Size = Size { columns: 120, rows: 30 };

fn connection(id: u64, subject: &str, seconds: u64, messages: u64) -> Json {
    json!({
        "id": format!("{id:016x}"), "route": "chat", "subject": subject, "client": "192.0.2.7", "duration_seconds": seconds,
        "upstream": "10.0.0.1:80",
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
            { "scope": "ip", "route": "chat", "used": 9, "limit": 5, "warned": false, "keys": 4, "keys_near_limit": 1 },
        ],
        "zones": [{ "zone": "logins", "entries": 50, "capacity": 100, "full": 0 }],
        "workers": [{ "lag_ms": 0, "pace": "keeps" }, { "lag_ms": 2, "pace": "keeps" }],
        "buffered": { "bytes": 0, "limit": 67_108_864 },
        "redis": { "breaker": "closed" },
        "config": { "hash": "9e2f0c6a51b7d384", "taken_at": 1_795_994_122.5, "last_reload_successful": true, "error": null },
        "upstreams": [
            { "upstream": "pool", "queue": 0, "servers": [
                { "server": "10.0.0.1:80", "state": "up", "sessions": 2, "limit": 9 },
                { "server": "10.0.0.2:80", "state": "up", "sessions": 1 },
            ] },
            { "upstream": "http://10.0.0.3:80", "queue": 0, "servers": [
                { "server": "10.0.0.3:80", "state": "up", "sessions": 0 },
            ] },
        ],
        "refusals": [
            { "time": "2026-11-29T23:15:22.622Z", "reason": "origin_forbidden", "fault": "client", "status": 403,
              "route": "chat", "client": "192.0.2.9", "path": "/chat", "why": "not on the list" },
            { "time": "2026-11-29T23:15:21.000Z", "reason": "upstream_connect", "fault": "upstream", "client": "192.0.2.8" },
        ],
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

fn new() -> View {
    View::new("http://127.0.0.1:9100".to_owned(), Duration::from_secs(2))
}

fn seen(connections: &[Json]) -> View {
    let mut view = new();
    view.take(sample(connections, 100.0, 0));
    view.take(sample(connections, 120.0, 10));
    view
}

fn three() -> View {
    seen(&[connection(1, "alice", 10, 5), connection(2, "bob", 4000, 7), connection(3, "carol", 90, 6)])
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
    assert!(lines[2].starts_with("up 2"), "{}", lines[2]);
    assert!(lines[2].ends_with("down 0 messages/s, 0B/s"), "{}", lines[2]);
    assert_eq!(lines[3], "workers late by 0 2 ms   kept for receivers 0B of 67.1MB   redis closed");
    assert_eq!(lines[4], "config 9e2f0c6a since 2026-11-29T23:15:22Z");
    assert_eq!(lines[5], "upstreams: 3 of 3 servers up");
    // The fullest first, after those that are warned of.
    assert_eq!(lines[6], "cap route chat               [###################.] 95 of 100");
    assert_eq!(lines[7], "zone logins                  [##########..........] 50 of 100 keys");
    assert_eq!(lines[8], "cap ip chat                  [#####...............] 1 of 4 keys near it");
    assert!(lines[9].starts_with("refused now: origin_forbidden 2"), "{}", lines[9]);
    assert_eq!(lines[10], "[1 connections]  2 refusals   3 upstreams   4 caps and zones");
    assert!(lines[11].starts_with("ID               ROUTE        SUBJECT"), "{}", lines[11]);
    assert!(lines[12].starts_with("0000000000000002 chat         bob"), "{}", lines[12]);
    assert!(lines[12].contains("1h06m") && lines[12].ends_with("7        1    12.3k        9"), "{}", lines[12]);
    assert_eq!(lines[15], "3 of 3 connections, by age   q leave  Tab  s sort  / filter  x close  p pause  ? help");
    assert_eq!(lines.len(), 16);
    let styles: Vec<Style> = frame(&three(), SIZE).iter().map(|line| line.style).collect();
    assert_eq!((styles[0], styles[3], styles[5], styles[6]), (Style::Title, Style::Plain, Style::Plain, Style::Warned));
}

#[test]
fn keys_choose_sort_filter_and_close_one_only_after_a_question() {
    let mut view = three();
    assert_eq!(order(&view), ["bob", "carol", "alice"]);
    assert_eq!(view.key(Key::Down), Act::Nothing);
    assert_eq!(view.chosen.as_deref(), Some("0000000000000003"));
    // The chosen one stays chosen where it moves.
    assert_eq!(view.key(Key::Char('s')), Act::Ask);
    assert_eq!((order(&view), view.place()), (vec!["bob".into(), "carol".into(), "alice".into()], 1));
    assert_eq!(view.key(Key::Char('r')), Act::Ask);
    assert_eq!(order(&view), ["alice", "carol", "bob"]);
    for key in [Key::Char('x'), Key::Char('n')] {
        assert_eq!(view.key(key), Act::Nothing);
    }
    assert_eq!((view.said.as_str(), &view.mode), ("not closed", &Mode::Table));
    view.key(Key::Char('x'));
    assert_eq!(
        text(&view, SIZE).last().unwrap(),
        "close 0000000000000003, carol from 192.0.2.7? y: yes, any other key: no"
    );
    assert_eq!(view.key(Key::Char('y')), Act::Close("0000000000000003".to_owned()));
    let acts = [Key::Char('/'), Key::Char('A'), Key::Char('q'), Key::Backspace, Key::Char('l'), Key::Enter];
    let acts = acts.map(|key| view.key(key));
    assert_eq!(acts, [Act::Nothing, Act::Ask, Act::Ask, Act::Ask, Act::Ask, Act::Nothing]);
    assert_eq!((order(&view), view.wanted.filter.as_str()), (vec!["alice".to_owned()], "Al"));
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
    let mut view = new();
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
    assert_eq!([lines[0].style, lines[3].style], [Style::Warned, Style::Warned]);
    let total = |view: &View| frame(view, SIZE).into_iter().find(|line| line.text.starts_with("cap total"));
    assert_eq!(total(&view).unwrap().style, Style::Bad);
    view.status["config"] = json!({ "hash": "1", "last_reload_successful": false, "error": "\nno such key\nand more" });
    view.status["drain"] = json!({ "left": 7, "deadline_seconds": 30 });
    view.status["not_ready"] = json!(["no keys of `main`"]);
    view.status["upstreams"][0]["queue"] = 5.into();
    view.status["upstreams"][0]["servers"][1]["state"] = "ejected".into();
    let lines = frame(&view, SIZE);
    let said: Vec<(&str, Style)> = lines[4..8].iter().map(|line| (line.text.as_str(), line.style)).collect();
    assert_eq!(
        said,
        [
            ("config 1 since 1970-01-01T00:00:00Z; A NEWER ONE WAS REFUSED: no such key", Style::Bad),
            ("upstreams: 2 of 3 servers up   5 wait for one   pool 10.0.0.2:80 ejected", Style::Bad),
            ("leaving: 7 sessions and handshakes are left, and are cut in 30 s at the latest", Style::Warned),
            ("not ready: no keys of `main`", Style::Bad),
        ]
    );
}

#[test]
fn the_other_tables_are_a_key_away() {
    let mut view = three();
    assert_eq!(view.key(Key::Tab), Act::Nothing);
    let table = |view: &View| text(view, SIZE).into_iter().skip_while(|line| !line.contains('[')).collect::<Vec<_>>();
    let after = |view: &View| {
        let lines = text(view, SIZE);
        let at = lines.iter().position(|line| line.contains("3 upstreams")).unwrap();
        lines[at..].to_vec()
    };
    let lines = after(&view);
    assert_eq!(lines[0], " 1 connections  [2 refusals]  3 upstreams   4 caps and zones");
    assert!(lines[1].starts_with("TIME     REASON"), "{}", lines[1]);
    assert!(lines[2].starts_with("23:15:22 origin_forbidden    403    chat         192.0.2.9"), "{}", lines[2]);
    assert!(lines[2].ends_with("/chat                    not on the list"), "{}", lines[2]);
    assert!(lines[3].starts_with("23:15:21 upstream_connect    -"), "{}", lines[3]);
    // Moved down, so that the last one alone is left; what is chosen elsewhere stays as it is.
    let small = Size { rows: 7, ..SIZE };
    view.key(Key::End);
    assert!(text(&view, small).iter().any(|line| line.starts_with("23:15:21")), "{:?}", text(&view, small));
    assert_eq!(view.chosen, None);
    for key in [Key::Char('x'), Key::Char('s'), Key::Char('/')] {
        assert_eq!((view.key(key), &view.mode), (Act::Nothing, &Mode::Table), "{key:?} is of the connections alone");
    }
    view.key(Key::Char('3'));
    let lines = after(&view);
    assert_eq!(lines[2].trim_end(), format!("{:<40} up         {:<20} 0", "pool 10.0.0.1:80", "2 of 9"));
    assert!(lines[4].starts_with("http://10.0.0.3:80  "), "{}", lines[4]);
    view.key(Key::Char('4'));
    assert_eq!(after(&view).iter().filter(|line| line.starts_with("cap ")).count(), 3);
    view.key(Key::Char('1'));
    assert!(table(&view).iter().any(|line| line.contains("alice")));
    let all: Vec<String> = whole(&view, SIZE).into_iter().map(|line| line.text).collect();
    for part in ["alice", "23:15:21 upstream_connect", "pool 10.0.0.2:80", "cap total", "zone logins"] {
        assert!(all.iter().any(|line| line.contains(part)), "{part}: {all:#?}");
    }
}

#[test]
fn a_narrow_terminal_shows_fewer_columns_and_whole_ones() {
    let table = |columns: usize| {
        let lines = text(&three(), Size { columns, rows: 30 });
        let at = lines.iter().position(|line| line.contains("SUBJECT")).unwrap();
        (lines[at].clone(), lines[at + 1].clone())
    };
    let (title, row) = table(160);
    assert!(title.contains("UPSTREAM") && row.contains("10.0.0.1:80") && title.ends_with("B down"), "{title}");
    let (title, row) = table(100);
    assert!(
        title.starts_with("ID ") && !title.contains("UPSTREAM") && title.ends_with("B down") && row.ends_with("9"),
        "{title}"
    );
    // Both ways together.
    let (title, row) = table(80);
    assert!(
        title.starts_with("ROUTE") && title.ends_with("msg        B") && row.ends_with("8    12.4k"),
        "{title} {row}"
    );
    assert!(row.contains(" 192.0.2.7 "), "{row}");
    let (title, row) = table(40);
    assert!(title.starts_with("SUBJECT") && row.starts_with("bob") && row.ends_with("12.4k"), "{title} {row}");
}

#[test]
fn what_a_key_asks_for_too_soon_makes_no_rate() {
    let mut view = three();
    view.take(sample(&[], 1120.0, 10));
    assert_eq!(view.rates.as_ref().unwrap().messages[0].round(), 2.0, "of the ten seconds before");
    view.take(sample(&[], 1320.0, 20));
    assert_eq!(view.rates.as_ref().unwrap().messages[0].round(), 120.0);
}

#[test]
fn a_small_terminal_shows_the_chosen_one_and_never_more_than_it_has() {
    let many: Vec<Json> = (1..=100).map(|id| connection(id, &format!("user{id}"), id, id)).collect();
    let mut view = seen(&many);
    for size in [SIZE, Size { columns: 40, rows: 7 }, Size { columns: 1, rows: 1 }, Size { columns: 0, rows: 0 }] {
        view.key(Key::Home);
        for step in 0..100 {
            let lines = frame(&view, size);
            assert!(lines.len() <= size.rows.max(1));
            assert!(lines.iter().all(|line| line.text.chars().count() <= size.columns), "{size:?}");
            if size.rows > 6 && step > 0 {
                assert_eq!(lines.iter().filter(|line| line.style == Style::Chosen).count(), 1, "{size:?} {step}");
            }
            view.key(Key::Down);
        }
    }
}

#[test]
fn nothing_that_a_terminal_obeys_is_drawn() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\u{202e}\u{61c}\u{e0041}\r\nx";
    let mut view = seen(&[connection(1, evil, 1, 1)]);
    view.lost(evil.to_owned());
    view.said = evil.to_owned();
    view.status["version"] = evil.into();
    view.status["zones"][0]["zone"] = evil.into();
    view.status["config"] = json!({ "hash": evil, "last_reload_successful": false, "error": evil });
    view.status["upstreams"][0]["servers"][0] = json!({ "server": evil, "state": evil });
    for key in ["time", "reason", "route", "client", "subject", "path", "why"] {
        view.status["refusals"][0][key] = evil.into();
    }
    view.wanted.filter = "owned".to_owned();
    let obeyed = |c: char| c.is_control() || ['\u{202e}', '\u{61c}', '\u{e0041}'].contains(&c);
    for key in ['1', '2', '3', '4', 'x', 'n', '?'] {
        for line in frame(&view, SIZE).iter().chain(&whole(&view, SIZE)) {
            assert!(!line.text.contains(obeyed), "{:?}", line.text);
        }
        view.key(Key::Char(key));
    }
    view.key(Key::Char('1'));
    view.key(Key::Char('1'));
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
        let mut view = View::new(text.clone(), Duration::from_secs(2));
        let one = json!({ "id": text, "subject": text, "duration_seconds": number, "messages_to_client": number });
        let mut sample = sample(&[one, json!(text), json!(null)], number, 1);
        sample.status["caps"] = json!([{ "used": number, "limit": number, "scope": text }, text]);
        sample.status["uptime_seconds"] = json!(number);
        sample.status["refusals"] = json!([{ "time": text, "why": text, "status": number }, text]);
        sample.status["upstreams"] = json!([{ "upstream": text, "servers": [{ "state": text }, number] }, text]);
        sample.status["config"] = json!({ "taken_at": number, "hash": text, "error": text });
        view.take(sample);
        let size = Size { columns, rows };
        for tab in ['1', '2', '3', '4'] {
            view.key(Key::Char(tab));
            for line in frame(&view, size).iter().chain(&whole(&view, size)) {
                prop_assert!(line.text.chars().count() <= columns && !line.text.contains(char::is_control));
            }
        }
    }
}
