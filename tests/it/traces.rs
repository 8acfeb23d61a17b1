//! What goes up as a trace, and what a collector is told of it: of handshakes, of ordinary requests, of pools, and through
//! reloads.

use serde_json::Value;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup, until};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

/// A collector, of which each span is read once.
struct Collector {
    backend: Backend,
    seen: Vec<Value>,
}

impl Collector {
    async fn new() -> Self {
        Self { backend: Backend::new().await, seen: Vec::new() }
    }

    fn section(&self, more: &str) -> String {
        format!("[tracing]\nendpoint = \"{}\"\nsample = 1.0\n{more}\n", self.backend.url())
    }

    /// The first span that `is` is true of, and is not read yet.
    async fn first(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.seen.iter().position(&is) {
                return self.seen.remove(at);
            }
            let mut asking = self.backend.accept().await;
            let request = asking.head().await;
            assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
            let body: Value = serde_json::from_str(&request.body).unwrap();
            self.seen.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().iter().cloned());
            asking.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await;
        }
    }

    async fn named(&mut self, name: &str) -> Value {
        self.first(|span| span["name"] == name).await
    }
}

/// An attribute's value, as text.
fn said(span: &Value, key: &str) -> Option<String> {
    let all = span["attributes"].as_array().unwrap();
    let value = &all.iter().find(|attribute| attribute["key"] == key)?["value"];
    value["stringValue"].as_str().or(value["intValue"].as_str()).map(str::to_owned)
}

/// A `traceparent` that names this span, and that it is recorded.
fn names(traceparent: Option<&str>, span: &Value) -> bool {
    let expected = format!("00-{}-{}-01", span["traceId"].as_str().unwrap(), span["spanId"].as_str().unwrap());
    traceparent == Some(&expected)
}

fn is_in(inner: &Value, outer: &Value) -> bool {
    (&inner["traceId"], &inner["parentSpanId"]) == (&outer["traceId"], &outer["spanId"])
}

async fn asks(gate: &Gate, backend: &Backend, request: &str, answer: &str) -> (Peer, Peer, Option<String>) {
    let mut client = gate.client().await;
    client.send(request).await;
    let mut upstream = backend.accept().await;
    let head = upstream.head().await;
    upstream.send(answer).await;
    client.head_alone().await;
    let parent = head.one("traceparent").map(str::to_owned);
    (client, upstream, parent)
}

#[tokio::test]
async fn the_server_of_a_pool_that_answered_is_in_the_span_and_in_the_trace_that_went_up() {
    let (mut collector, backend) = (Collector::new().await, Backend::new().await);
    // Nobody listens at the first, and it is not asked for anything.
    let dead = Backend::new().await.address();
    let pool = format!("[upstream.pool]\nservers = [\"{dead}\", \"{}\"]\n", backend.address());
    let gate = Setup::new().route("/ws", "pool", &(pool + &collector.section(""))).start();
    let mut client = gate.asking(&Ask::to("/ws").with("traceparent", PARENT)).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch("")).await;
    assert_eq!(client.head().await.status(), 101);
    let (dial, handshake) = (collector.named("GET").await, collector.named("GET ws").await);
    assert!(names(request.one("traceparent"), &dial) && is_in(&dial, &handshake), "{dial} {handshake}");
    assert_eq!(said(&dial, "server.port").unwrap(), backend.address().port().to_string());
    assert_eq!(said(&dial, "wsgate.upstream").as_deref(), Some("pool"));
    assert_eq!((&handshake["links"][0]["traceId"], handshake["traceId"] == TRACE), (&TRACE.into(), false));
    client.say(&Frame::close(1000, "")).await;
    upstream.frame().await;
    upstream.say(&Frame::close(1000, "")).await;
    client.frame().await;
    let ended = collector.named("session ended").await;
    assert_eq!(ended["links"][0]["spanId"], handshake["spanId"]);
    drop((client, upstream));
    gate.leave().await;
}

#[tokio::test]
async fn an_ordinary_request_is_a_span_too_and_a_strangers_trace_does_not_go_up_with_it() {
    let (mut collector, backend) = (Collector::new().await, Backend::new().await);
    let keys = "http = \"forward\"\n".to_owned() + &collector.section("");
    let gate = Setup::new().route("/app", &backend.url(), &keys).start();
    let lines = format!("Host: a\r\ntraceparent: {PARENT}\r\ntracestate: v=1\r\nContent-Length: 0\r\n\r\n");
    let request = format!("POST /app?secret=1 HTTP/1.1\r\n{lines}");
    let (client, upstream, parent) = asks(&gate, &backend, &request, HELLO).await;
    let (dial, whole) = (collector.named("POST").await, collector.named("POST app").await);
    assert!(names(parent.as_deref(), &dial) && is_in(&dial, &whole) && whole["traceId"] != TRACE, "{dial} {whole}");
    assert_eq!(whole["links"][0]["traceId"], TRACE);
    assert_eq!(said(&whole, "url.path").as_deref(), Some("/app"));
    assert_eq!(said(&whole, "http.response.status_code").as_deref(), Some("200"));
    assert!(whole.get("status").is_none() && dial.get("status").is_none());
    drop((client, upstream));
    // What the upstream says of itself is a failure of both.
    let failing = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
    let (client, upstream, _) = asks(&gate, &backend, "GET /app HTTP/1.1\r\nHost: a\r\n\r\n", failing).await;
    for span in [collector.named("GET").await, collector.named("GET app").await] {
        assert_eq!((&span["status"]["code"], said(&span, "error.type").as_deref()), (&2.into(), Some("503")), "{span}");
    }
    drop((client, upstream));
    gate.leave().await;
}

#[tokio::test]
async fn a_stream_of_events_is_told_of_when_it_begins() {
    let (mut collector, backend) = (Collector::new().await, Backend::new().await);
    let keys = "http = \"forward\"\n".to_owned() + &collector.section("");
    let gate = Setup::new().route("/app", &backend.url(), &keys).start();
    let events = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let open = asks(&gate, &backend, "GET /app HTTP/1.1\r\nHost: a\r\n\r\n", events).await;
    let whole = collector.named("GET app").await;
    assert_eq!((said(&whole, "http.response.status_code").as_deref(), gate.sessions()), (Some("200"), 1));
    drop(open);
    gate.leave().await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_upstream_thinks_leaves_both_spans() {
    let (mut collector, backend) = (Collector::new().await, Backend::new().await);
    let gate = Setup::new().route("/ws", &backend.url(), &collector.section("")).start();
    let client = gate.asking(&Ask::to("/ws")).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    drop(client);
    let (dial, handshake) = (collector.named("GET").await, collector.named("GET ws").await);
    assert!(names(request.one("traceparent"), &dial), "{dial}");
    assert_eq!(said(&dial, "error.type").as_deref(), Some("client_lost"));
    assert_eq!(said(&handshake, "wsgate.reason").as_deref(), Some("client_lost"));
    assert!(handshake.get("status").is_none(), "nobody failed: {handshake}");
    gate.leave().await;
}

#[tokio::test]
async fn a_reload_begins_moves_and_ends_it_and_no_session_notices() {
    let (mut one, mut other, backend) = (Collector::new().await, Collector::new().await, Backend::new().await);
    let gate = Setup::new().route("/ws", &backend.url(), "").start();
    let asking = Ask::to("/ws").with("traceparent", PARENT);
    let before = gate.session_of(&backend, &asking).await;
    let without = std::cell::RefCell::new(String::new());
    gate.reloaded(|text| {
        without.replace(text.clone());
        text + &one.section("")
    })
    .await;
    let first = gate.session_of(&backend, &asking).await;
    assert_eq!(one.named("GET ws").await["links"][0]["traceId"], TRACE);
    gate.reloaded(|_| without.borrow().clone() + &other.section("parents = \"all\"\nservice_name = \"edge\"")).await;
    let second = gate.session_of(&backend, &asking).await;
    assert_eq!(other.named("GET ws").await["traceId"], TRACE);
    // A session's end goes to the collector of its moment, and is none where it began before there was one.
    let ends = async |(mut client, mut upstream): (Peer, Peer)| {
        client.say(&Frame::close(1000, "")).await;
        assert_eq!(upstream.frame().await.as_close().0, 1000);
        upstream.say(&Frame::close(1000, "")).await;
        client.frame().await;
    };
    ends(before).await;
    ends(first).await;
    other.named("session ended").await;
    // A file that is broken moves nothing.
    assert_eq!(gate.reload(|_| without.borrow().clone() + "[tracing]\nendpoint = \"ftp://x\"\n").await.status(), 422);
    let third = gate.session_of(&backend, &asking).await;
    other.named("GET ws").await;
    let exported = || gate.count("wsgate_trace_spans_total{result=\"exported\"}");
    until("all of them to be counted", || exported() == 7.0).await;
    gate.reloaded(|_| without.borrow().clone()).await;
    ends(second).await;
    ends(third).await;
    let mut client = gate.asking(&asking).await;
    let mut upstream = backend.accept().await;
    assert_eq!(upstream.head().await.one("traceparent"), Some(PARENT), "as it came");
    upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    client.head().await;
    let lost = |result: &str| gate.count(&format!("wsgate_trace_spans_total{{result=\"{result}\"}}"));
    assert_eq!((exported(), lost("dropped"), lost("failed")), (7.0, 0.0, 0.0));
    drop(client);
    gate.leave().await;
}
