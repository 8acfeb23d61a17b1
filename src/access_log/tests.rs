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
        r#"route=chat client=127.0.0.1 subject="auth0|a b" duration_ms=90000 messages_to_upstream=3 "#,
        "bytes_to_upstream=30 messages_to_client=4 bytes_to_client=40 close_code=4001 side=gateway ",
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
    let (log, guard) = AccessLog::with_room(Format::Json, Stuck { reached, go }, 2);
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
