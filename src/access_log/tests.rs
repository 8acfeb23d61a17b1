use std::net::Ipv4Addr;
use std::sync::{Arc, mpsc};

use parking_lot::Mutex;

use super::*;

/// A place that keeps what is written.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn written(format: Format, log: impl FnOnce(&AccessLog)) -> String {
    let kept = Kept::default();
    let (access_log, guard) = AccessLog::new(format, kept.clone());
    log(&access_log);
    drop(guard);
    String::from_utf8(kept.0.lock().clone()).unwrap()
}

fn refused() -> Refused<'static> {
    Refused {
        time: Timestamp(1_709_251_199_007),
        connection_id: Id(0x1234_0000_0000),
        listener: "0.0.0.0:8443",
        route: Some("chat"),
        client: Ipv4Addr::new(203, 0, 113, 7).into(),
        host: Some(Said::new("chat.example.com")),
        path: Some(Said::path("/ws?access_token=secret")),
        origin: Some(Said::new("https://evil.example")),
        subject: None,
        upstream: None,
        reason: Deny::OriginForbidden,
        status: Some(403),
        close_code: None,
        duration_ms: 2,
        why: None,
    }
}

fn ended() -> Ended<'static> {
    Ended {
        time: Timestamp(1_709_251_199_007),
        connection_id: Id(0x1234_0000_0001),
        listener: "0.0.0.0:8443",
        route: "chat",
        client: Ipv4Addr::LOCALHOST.into(),
        subject: Some(Said::new("auth0|a b")),
        upstream: "10.0.0.1:8000",
        duration_ms: 90_000,
        messages_to_upstream: 3,
        bytes_to_upstream: 30,
        messages_to_client: 4,
        bytes_to_client: 40,
        close_code: Some(4001),
        side: Side::Gateway,
        reason: Some(Deny::TokenExpired),
    }
}

#[test]
fn a_refused_handshake_is_one_json_line() {
    let line = written(Format::Json, |log| log.refused(&refused()));
    let expected = concat!(
        r#"{"event":"handshake_refused","time":"2024-02-29T23:59:59.007Z","connection_id":"0000123400000000","#,
        r#""listener":"0.0.0.0:8443","route":"chat","#,
        r#""client":"203.0.113.7","host":"chat.example.com","path":"/ws?[redacted]","origin":"https://evil.example","#,
        r#""reason":"origin_forbidden","status":403,"duration_ms":2}"#,
        "\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn the_end_of_a_session_is_one_line_of_text() {
    let line = written(Format::Text, |log| log.ended(&ended()));
    let expected = concat!(
        "event=session_ended time=2024-02-29T23:59:59.007Z connection_id=0000123400000001 listener=0.0.0.0:8443 ",
        r#"route=chat client=127.0.0.1 subject="auth0|a b" upstream=10.0.0.1:8000 duration_ms=90000 "#,
        "messages_to_upstream=3 bytes_to_upstream=30 messages_to_client=4 bytes_to_client=40 close_code=4001 side=gateway ",
        "reason=token_expired\n"
    );
    assert_eq!(line, expected);
}

#[test]
fn a_close_is_told_as_closed() {
    let line = written(Format::Json, |log| log.ended(&Ended { reason: None, side: Side::Client, ..ended() }));
    assert!(line.ends_with("\"side\":\"client\",\"reason\":\"closed\"}\n"), "{line}");
}

#[test]
fn a_client_forges_no_line_and_no_field() {
    let forged = "a\r\n{\"event\":\"session_ended\"}\n reason=kicked \"\\ \u{1b}[31m\u{9b}2J\u{85}\u{2028}\0";
    for format in [Format::Json, Format::Text] {
        let refused = Refused {
            host: Some(Said::new(forged)),
            origin: Some(Said::bytes(forged.as_bytes())),
            subject: Some(Said::new(forged)),
            path: Some(Said::path(forged)),
            why: Some(Said::new(forged)),
            ..refused()
        };
        let line = written(format, |log| log.refused(&refused));
        assert_eq!(line.lines().count(), 1, "{line}");
        assert_eq!(line.chars().filter(|c| c.is_control()).count(), 1, "{line}");
        match format {
            Format::Json => {
                let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                assert_eq!(value["reason"], "origin_forbidden");
                assert!(value["host"].as_str().unwrap().starts_with("a\r\n{"));
            }
            Format::Text | Format::Off => {
                assert!(line.contains(r#" host="a\r\n{\"event\":\"session_ended\"}\n reason="#))
            }
        }
    }
}

#[test]
fn what_a_client_says_takes_at_most_256_characters() {
    let long = "x".repeat(100_000);
    let refused = Refused { host: Some(Said::new(&long)), origin: Some(Said::bytes(long.as_bytes())), ..refused() };
    let line = written(Format::Json, |log| log.refused(&refused));
    assert!(line.len() < 2 * MAX_CHARS + 400, "{}", line.len());
}

#[test]
fn off_writes_nothing() {
    assert_eq!(written(Format::Off, |log| log.refused(&refused())), "");
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_the_loss_is_counted() {
    /// Tells that it was called, and then waits until the sender of `go` is dropped.
    struct Stuck {
        reached: mpsc::Sender<()>,
        go: mpsc::Receiver<()>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.reached.send(());
            let _ = self.go.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (reached, is_reached) = mpsc::channel();
    let (let_go, go) = mpsc::channel();
    let outputs = Outputs::new(None, Arc::default()).writer(Format::Json, Stuck { reached, go });
    let (log, guard) = AccessLog::with_room(true, outputs, Arc::default(), 2);
    let dropped = log.dropped();
    log.refused(&refused());
    is_reached.recv().unwrap();
    // One is being written, two wait, three find no room.
    for _ in 0..5 {
        log.refused(&refused());
    }
    assert_eq!(dropped(), 3);
    drop(let_go);
    drop(guard);
}

fn read(path: &std::path::Path) -> String {
    String::from_utf8(std::fs::read(path).unwrap()).unwrap()
}

fn settings(folder: &std::path::Path, fields: Option<&[&str]>) -> Settings {
    Settings {
        format: LogFormat::Auto,
        stdout: true,
        files: vec![folder.join("access.log")],
        fields: fields.map(|fields| fields.iter().map(|&field| field.to_owned()).collect()),
        refusals: ("1/s".parse().unwrap(), 1),
    }
}

#[test]
fn each_place_has_its_own_form_and_all_have_the_fields_that_are_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::default();
    let wanted = settings(folder.path(), Some(&["reason", "client", "status", "sessions"]));
    let (log, guard) = AccessLog::start(&wanted, Format::Text, kept.clone()).unwrap();
    log.refused(&refused());
    log.ended(&ended());
    drop(guard);
    let file = read(&folder.path().join("access.log"));
    let expected = "{\"reason\":\"origin_forbidden\",\"client\":\"203.0.113.7\",\"status\":403}\n\
                    {\"reason\":\"token_expired\",\"client\":\"127.0.0.1\"}\n";
    assert_eq!(file, expected);
    let text = String::from_utf8(kept.0.lock().clone()).unwrap();
    assert_eq!(text, "reason=origin_forbidden client=203.0.113.7 status=403\nreason=token_expired client=127.0.0.1\n");
}

#[test]
fn every_field_of_every_line_can_be_asked_for() {
    let known = |line: &str| {
        let line: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        for field in line.keys() {
            let known = serde_json::from_value::<crate::config::LogField>(field.clone().into());
            assert!(known.is_ok(), "{field}");
        }
        line.len()
    };
    let whole = Refused {
        subject: Some(Said::new("ann")),
        upstream: Some("a:1"),
        why: Some(Said::new("why")),
        close_code: Some(4003),
        ..refused()
    };
    let sampled = serde_json::to_string(&Sampled { record: &whole, suppressed: 7 }).unwrap();
    assert!(sampled.ends_with(",\"suppressed\":7}"), "{sampled}");
    assert_eq!(known(&sampled), 17);
    assert_eq!(known(&serde_json::to_string(&ended()).unwrap()), 16);
    let (time, connection_id, client) = (Timestamp(0), Id(1), Ipv4Addr::LOCALHOST.into());
    let expired = Expired { time, connection_id, route: "a", client, subject: Some(Said::new("ann")) };
    assert_eq!(known(&serde_json::to_string(&expired).unwrap()), 6);
    let renewed = Renewed {
        time,
        connection_id,
        listener: "l",
        route: "a",
        client,
        origin: Some(Said::new("o")),
        subject: Some(Said::new("ann")),
        sessions: 1,
        reason: Some(Deny::NoSession),
        status: Some(404),
        duration_ms: 1,
        why: Some(Said::new("why")),
    };
    assert_eq!(known(&serde_json::to_string(&renewed).unwrap()), 13);
}

#[test]
fn a_file_that_was_moved_gets_what_was_said_before_and_a_new_one_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    std::fs::write(&path, "what stood there\n").unwrap();
    let (log, guard) =
        AccessLog::start(&settings(folder.path(), Some(&["event"])), Format::Json, Kept::default()).unwrap();
    log.ended(&ended());
    // Once it is in the file it is in the old one.
    let lines = || read(&path).lines().count();
    (0..20_000).take_while(|_| lines() < 2).for_each(|_| std::thread::sleep(std::time::Duration::from_millis(1)));
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    log.refused(&refused());
    // Where nothing can be opened, what is open stays.
    std::fs::rename(&path, folder.path().join("access.log.0")).unwrap();
    std::fs::create_dir(&path).unwrap();
    log.reopen();
    log.ended(&ended());
    drop(guard);
    assert_eq!(read(&moved), "what stood there\n{\"event\":\"session_ended\"}\n");
    let rest = read(&folder.path().join("access.log.0"));
    assert_eq!(rest, "{\"event\":\"handshake_refused\"}\n{\"event\":\"session_ended\"}\n");
}

#[test]
fn a_file_that_can_t_be_opened_stops_the_start_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let error = AccessLog::start(&settings(&gone, None), Format::Json, Kept::default()).unwrap_err();
    assert!(error.to_string().starts_with("access_log.output: "), "{error}");
    assert!(error.to_string().contains("access.log can't be opened"), "{error}");
}

#[test]
fn a_place_that_takes_nothing_is_counted_and_the_others_get_every_line() {
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let kept = Kept::default();
    let errors = Arc::default();
    let outputs = Outputs::new(None, Arc::clone(&errors)).writer(Format::Json, Full).writer(Format::Json, kept.clone());
    let (log, guard) = AccessLog::with_room(true, outputs, errors, 100);
    let failed = log.errors();
    log.ended(&ended());
    log.ended(&ended());
    drop(guard);
    assert!(failed() > 0);
    assert_eq!(String::from_utf8(kept.0.lock().clone()).unwrap().lines().count(), 2);
}

#[test]
fn refusals_of_a_flood_are_left_out_and_counted_and_ends_never() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::default();
    let (log, guard) = AccessLog::start(&settings(folder.path(), None), Format::Json, kept.clone()).unwrap();
    let suppressed = log.suppressed();
    for _ in 0..10 {
        log.refused(&refused());
        log.ended(&ended());
    }
    log.refused(&Refused { time: Timestamp(refused().time.0 + 60_000), ..refused() });
    drop(guard);
    let text = String::from_utf8(kept.0.lock().clone()).unwrap();
    let of = |event: &str| text.lines().filter(|line| line.contains(event)).count();
    assert_eq!((of("handshake_refused"), of("session_ended")), (3, 10));
    assert!(text.lines().last().unwrap().ends_with("\"suppressed\":8}"), "{text}");
    assert_eq!(suppressed().into_iter().find(|(_, count)| *count > 0), Some((Deny::OriginForbidden, 8)));
}
