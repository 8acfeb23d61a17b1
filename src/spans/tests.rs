//! The queue, what is written, and a collector that takes, refuses, is busy, or hangs.

use std::net::SocketAddr;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::value::Endpoint;
use crate::outward;

fn span(name: &str) -> Span {
    let context = Context { trace: [0xab; 16], span: [0xcd; 8], sampled: true };
    Span {
        context,
        parent: None,
        link: None,
        name: name.to_owned(),
        kind: Kind::Server,
        start: 1_700_000_000_000,
        end: 1_700_000_000_250,
        attributes: vec![("url.path", "/a\"\u{1b}".into()), ("http.response.status_code", 101.into())],
        failed: None,
    }
}

fn settings(address: SocketAddr) -> Settings {
    let Endpoint(url) = format!("http://{address}/base/").parse().unwrap();
    let headers = vec![(http::header::AUTHORIZATION, http::HeaderValue::from_static("Bearer x"))];
    Settings { url, headers, tls: None, service_name: "edge".to_owned(), timeout: Duration::from_secs(20) }
}

/// A collector that gives these answers, one to each connection, and hands out what it was sent.
async fn collector(answers: &'static [&'static str]) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Json)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (got, gets) = mpsc::unbounded_channel();
    tokio::task::spawn_local(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            let request = loop {
                socket.read_buf(&mut read).await.unwrap();
                let text = String::from_utf8_lossy(&read).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if body.len() == length.parse::<usize>().unwrap() {
                    break (head.to_owned(), serde_json::from_str(body).unwrap());
                }
            };
            got.send(request).unwrap();
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, gets)
}

/// Runs `test` where tasks can be spawned.
fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("it hangs") });
}

fn counts(spans: &Spans) -> Vec<u64> {
    spans.counts.results().map(|(_, count)| count).collect()
}

#[test]
fn a_span_is_written_as_otlp_says() {
    let link = Some(Context { trace: [1; 16], span: [2; 8], sampled: false });
    let one = Span { parent: Some([3; 8]), link, failed: Some("upstream_connect"), ..span("GET chat") };
    let written: Json = serde_json::from_slice(&otlp::body("edge", &[one, span("other")])).unwrap();
    let inside = &written["resourceSpans"][0];
    assert_eq!(
        inside["resource"]["attributes"][0],
        json!({ "key": "service.name", "value": { "stringValue": "edge" } })
    );
    assert_eq!(
        inside["scopeSpans"][0]["spans"][0],
        json!({
            "traceId": "ab".repeat(16),
            "spanId": "cd".repeat(8),
            "parentSpanId": "03".repeat(8),
            "name": "GET chat",
            "kind": 2,
            "startTimeUnixNano": "1700000000000000000",
            "endTimeUnixNano": "1700000000250000000",
            "attributes": [
                { "key": "url.path", "value": { "stringValue": "/a\"\u{1b}" } },
                { "key": "http.response.status_code", "value": { "intValue": "101" } },
            ],
            "flags": 1,
            "links": [{ "traceId": "01".repeat(16), "spanId": "02".repeat(8), "flags": 0 }],
            "status": { "code": 2, "message": "upstream_connect" },
        })
    );
    let second = &inside["scopeSpans"][0]["spans"][1];
    assert!(second.get("parentSpanId").or(second.get("links")).or(second.get("status")).is_none(), "{second}");
}

#[test]
fn what_a_collector_did_not_take_is_read_in_either_spelling() {
    for (answer, rejected) in [
        (r#"{"partialSuccess":{"rejectedSpans":"3"}}"#, 3),
        (r#"{"partialSuccess":{"rejectedSpans":2,"errorMessage":"no"}}"#, 2),
        (r#"{"partialSuccess":{}}"#, 0),
        ("{}", 0),
        ("", 0),
        ("<html>", 0),
    ] {
        assert_eq!(otlp::rejected(answer.as_bytes()), rejected, "{answer}");
    }
}

#[test]
fn a_queue_that_is_full_drops_and_counts() {
    let spans = Spans::new(Some(settings("127.0.0.1:1".parse().unwrap())));
    // As the docs have it.
    for _ in 0..2048 + 3 {
        spans.push(span("x"));
    }
    assert_eq!(counts(&spans), [0, 3, 0]);
}

#[test]
fn what_is_put_in_is_sent_and_the_rest_at_the_end() {
    local(async {
        const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        let (address, mut gets) = collector(&[TAKEN; 4]).await;
        let spans = Arc::new(Spans::new(Some(settings(address))));
        let (over, is_over) = watch::channel(false);
        let running = tokio::task::spawn_local({
            let spans = spans.clone();
            async move { spans.run(is_over).await }
        });
        spans.push(span("first"));
        let (head, body) = gets.recv().await.unwrap();
        assert!(head.starts_with("POST /base/v1/traces HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer x"), "{head}");
        assert_eq!(body["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"], "first");
        // More than one batch.
        for _ in 0..=BATCH {
            spans.push(span("later"));
        }
        over.send_replace(true);
        running.await.unwrap();
        let sent = |body: &Json| body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().len();
        let (one, other) = (gets.recv().await.unwrap().1, gets.recv().await.unwrap().1);
        assert_eq!((sent(&one), sent(&other)), (BATCH, 1));
        assert_eq!(counts(&spans), [2 + BATCH as u64, 0, 0]);
    });
}

#[test]
fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";
    const REFUSES: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    const PARTLY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}";
    for (answers, tries, expected) in [
        (&[BUSY, BUSY, PARTLY][..], 3, [1, 0, 1]),
        (&[REFUSES][..], 1, [0, 0, 2]),
        (&[BUSY, BUSY, BUSY, BUSY][..], 4, [0, 0, 2]),
        // Answers nothing, and ends the connection.
        (&["", "", "", ""][..1], 1, [0, 0, 2]),
    ] {
        local(async {
            let (address, mut gets) = collector(answers).await;
            let spans = Spans::new(Some(settings(address)));
            spans.push(span("one"));
            spans.push(span("other"));
            let (over, is_over) = watch::channel(false);
            let sending = spans.run(is_over);
            let watching = async {
                for _ in 0..tries {
                    gets.recv().await.unwrap();
                }
                // What is under way is finished, and no further one begun.
                over.send_replace(true);
            };
            tokio::join!(sending, watching);
            assert_eq!(counts(&spans), expected, "{answers:?}");
        });
    }
}

#[test]
fn a_new_config_has_what_waits_sent_to_its_collector_and_one_without_drops_it() {
    const DEAD: &str = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n";
    const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    local(async {
        let (old, mut of_old) = collector(&[DEAD; 2]).await;
        let (new, mut of_new) = collector(&[TAKEN]).await;
        let spans = Arc::new(Spans::new(None));
        // There is nobody to get it, so it is not lost either.
        spans.push(span("before"));
        spans.follow(Some(settings(old)));
        let (over, is_over) = watch::channel(false);
        let running = tokio::task::spawn_local({
            let spans = spans.clone();
            async move { spans.run(is_over).await }
        });
        spans.push(span("waits"));
        of_old.recv().await.unwrap();
        // It would be asked again in half a minute.
        spans.follow(Some(Settings { service_name: "other".to_owned(), ..settings(new) }));
        let (_, body) = of_new.recv().await.unwrap();
        let inside = &body["resourceSpans"][0];
        assert_eq!(inside["scopeSpans"][0]["spans"][0]["name"], "waits");
        assert_eq!(inside["resource"]["attributes"][0]["value"]["stringValue"], "other");
        spans.follow(Some(settings(old)));
        spans.push(span("too late"));
        of_old.recv().await.unwrap();
        spans.follow(None);
        let dropped = async {
            while counts(&spans) != [1, 1, 0] {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), dropped).await.expect("exported 1, dropped 1");
        over.send_replace(true);
        running.await.unwrap();
    });
}

#[test]
fn what_a_collector_wants_to_see_does_not_leave_this_machine_in_the_clear() {
    let mut settings = settings("127.0.0.1:4318".parse().unwrap());
    assert!(send::plain(&settings) == outward::Plain::Loopback, "whatever its name stands for");
    settings.headers.clear();
    assert!(send::plain(&settings) == outward::Plain::Anywhere);
}
