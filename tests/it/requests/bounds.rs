//! What one client can hold, and for how long.

use std::time::Duration;

use serde_json::json;

use super::{FORWARD, HELLO, denial, exchange, forwarded, forwarding, refused, request};
use crate::harness::{Backend, Gate, Setup, until};

#[tokio::test]
async fn a_body_over_max_body_size_is_refused_before_or_when_it_is() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "max_body_size = 10");
    let mut client = gate.client().await;
    client.send(request("POST", "/app", &["Content-Length: 11"])).await;
    denial(&mut client, 413, "body_too_big").await;
    refused(&mut gate, 413, "body_too_big").await;
    backend.saw_nobody();
    let mut client = gate.client().await;
    client.send(request("POST", "/app", &["Transfer-Encoding: chunked"]) + "a\r\n0123456789\r\n").await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    assert_eq!(upstream.bytes(15).await, b"A\r\n0123456789\r\n");
    client.send("1\r\nx\r\n").await;
    denial(&mut client, 413, "body_too_big").await;
    assert_eq!(refused(&mut gate, 413, "body_too_big").await["bytes_to_upstream"], json!(10));
    upstream.ended().await;
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_504_and_a_body_that_does_not_come_408() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "read_timeout = \"1m\"\nbody_timeout = \"200ms\"");
    let mut client = gate.client().await;
    client.send(request("POST", "/app", &["Content-Length: 9"]) + "abc").await;
    let mut upstream = backend.accept().await;
    denial(&mut client, 408, "handshake_timeout").await;
    refused(&mut gate, 408, "handshake_timeout").await;
    upstream.rest().await;
    gate.finish().await;
    let mut gate = forwarding(&backend.url(), "read_timeout = \"200ms\"");
    let mut client = gate.client().await;
    client.send(request("POST", "/app", &["Content-Length: 3"]) + "abc").await;
    let mut upstream = backend.accept().await;
    denial(&mut client, 504, "upstream_timeout").await;
    refused(&mut gate, 504, "upstream_timeout").await;
    upstream.rest().await;
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_or_speaks_no_http_is_502() {
    let backend = Backend::new().await;
    let mut gate = forwarding("http://127.0.0.1:1", "");
    let mut client = gate.client().await;
    client.send(request("GET", "/app", &[])).await;
    denial(&mut client, 502, "upstream_connect").await;
    refused(&mut gate, 502, "upstream_connect").await;
    gate.finish().await;
    let mut gate = forwarding(&backend.url(), "");
    let switches = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n";
    for answer in ["SSH-2.0-x\r\n\r\n", switches, ""] {
        let mut client = gate.client().await;
        client.send(request("GET", "/app", &[])).await;
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(answer).await;
        drop(upstream);
        denial(&mut client, 502, "upstream_refused").await;
        refused(&mut gate, 502, "upstream_refused").await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn a_head_has_its_deadline_each_time_and_a_connection_waits_no_longer_than_it_may() {
    let backend = Backend::new().await;
    let setup = Setup::new().listener("handshake_timeout = \"300ms\"\nkeepalive_timeout = \"1h\"");
    let mut gate = setup.route("/app", &backend.url(), FORWARD).start();
    let mut slow = gate.client().await;
    exchange(&mut slow, &backend, &request("GET", "/app", &[]), HELLO).await;
    forwarded(&mut gate, 200).await;
    slow.send("GET /app HTTP/1.1\r\nHo").await;
    denial(&mut slow, 408, "handshake_timeout").await;
    gate.refused("handshake_timeout").await;
    gate.finish().await;
    let setup = Setup::new().listener("keepalive_timeout = \"100ms\"\nkeepalive_requests = 2");
    let mut gate = setup.route("/app", &backend.url(), FORWARD).start();
    let mut idle = gate.client().await;
    exchange(&mut idle, &backend, &request("GET", "/app", &[]), HELLO).await;
    forwarded(&mut gate, 200).await;
    idle.ended().await;
    let mut busy = gate.client().await;
    busy.send(request("GET", "/app", &[]).repeat(3)).await;
    for said in [None, Some("close")] {
        let mut upstream = backend.accept().await;
        upstream.head().await;
        upstream.send(HELLO).await;
        assert_eq!(busy.head().await.one("connection"), said);
        forwarded(&mut gate, 200).await;
    }
    busy.ended().await;
    gate.finish().await;
}

#[tokio::test]
async fn connections_that_carry_requests_are_counted_in_all_and_by_address_until_they_end() {
    let backend = Backend::new().await;
    for (bound, status, reason) in [("total = 2", 503, "total_cap"), ("per_ip = 2", 429, "ip_cap")] {
        let setup = Setup::new().server(&format!("http_connections = {{ {bound} }}"));
        let mut gate = setup.route("/app", &backend.url(), FORWARD).start();
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = gate.client().await;
            exchange(&mut client, &backend, &request("GET", "/app", &[]), HELLO).await;
            forwarded(&mut gate, 200).await;
            held.push(client);
        }
        assert_eq!(gate.count("wsgate_http_connections"), 2.0);
        let mut third = gate.client().await;
        third.send(request("GET", "/app", &[])).await;
        denial(&mut third, status, reason).await;
        refused(&mut gate, status, reason).await;
        // Who is in may ask again, and no handshake's place is held meanwhile.
        exchange(&mut held[0], &backend, &request("GET", "/app", &[]), HELLO).await;
        forwarded(&mut gate, 200).await;
        until("no handshake under way", || gate.shared().handshakes_under_way() == 0).await;
        held.clear();
        until("all given back", || gate.shared().carrying.used() == 0).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn requests_are_charged_as_handshakes_are_unless_they_have_rates_of_their_own() {
    let backend = Backend::new().await;
    let mut gate = forwarding(&backend.url(), "handshakes = { rate = \"1r/m\" }");
    let mut client = gate.client().await;
    exchange(&mut client, &backend, &request("GET", "/app", &[]), HELLO).await;
    forwarded(&mut gate, 200).await;
    client.send(request("GET", "/app", &[])).await;
    let head = denial(&mut client, 429, "handshake_rate").await;
    assert!(head.one("retry-after").is_some());
    refused(&mut gate, 429, "handshake_rate").await;
    let refused_by = |gate: &Gate, limit: &str| {
        gate.count(&format!(
            "wsgate_limit_exceeded_total{{route=\"app\",limit=\"{limit}\",action=\"refuse\",dry_run=\"false\"}}"
        ))
    };
    assert_eq!(refused_by(&gate, "handshakes"), 1.0);
    gate.finish().await;
    let terms =
        "handshakes = { rate = \"1r/m\" }\nrequests = { rate = \"2r/m\", burst = 1, nodelay = true, status = 420 }";
    let mut gate = forwarding(&backend.url(), terms);
    let mut client = gate.client().await;
    for _ in 0..2 {
        exchange(&mut client, &backend, &request("GET", "/app", &[]), HELLO).await;
        forwarded(&mut gate, 200).await;
    }
    client.send(request("GET", "/app", &[])).await;
    denial(&mut client, 420, "handshake_rate").await;
    refused(&mut gate, 420, "handshake_rate").await;
    assert_eq!((refused_by(&gate, "requests"), refused_by(&gate, "handshakes")), (1.0, 0.0));
    gate.finish().await;
}

#[tokio::test]
async fn a_drain_ends_what_waits_and_lets_what_is_under_way_come_to_its_end() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().server("drain_timeout = \"1m\"").route("/app", &backend.url(), FORWARD).start();
    let mut idle = gate.client().await;
    exchange(&mut idle, &backend, &request("GET", "/app", &[]), HELLO).await;
    forwarded(&mut gate, 200).await;
    let mut busy = gate.client().await;
    busy.send(request("GET", "/app", &[])).await;
    let mut upstream = backend.accept().await;
    upstream.head().await;
    gate.gateway().drain();
    idle.ended().await;
    upstream.send(HELLO).await;
    let head = busy.head().await;
    assert_eq!((head.status(), &*head.body, head.one("connection")), (200, "hello", Some("close")));
    busy.ended().await;
    forwarded(&mut gate, 200).await;
    gate.drain().await;
}

#[tokio::test]
async fn while_the_gateway_leaves_a_connection_that_waited_has_one_request_more_and_is_told_so() {
    let backend = Backend::new().await;
    let server = "drain_delay = \"1h\"";
    let mut gate = Setup::new().server(server).route("/app", &backend.url(), FORWARD).start();
    let (mut early, mut late) = (gate.client().await, gate.client().await);
    for client in [&mut early, &mut late] {
        let (_, head) = exchange(client, &backend, &request("GET", "/app", &[]), HELLO).await;
        assert_eq!(head.one("connection"), None);
        forwarded(&mut gate, 200).await;
    }
    gate.gateway().drain();
    let (_, head) = exchange(&mut early, &backend, &request("GET", "/app", &[]), HELLO).await;
    assert_eq!((head.status(), head.one("connection")), (200, Some("close")));
    early.ended().await;
    forwarded(&mut gate, 200).await;
    // Nobody is let in any more: then nothing is to be waited for.
    gate.clock.advance(Duration::from_secs(3601));
    late.ended().await;
    gate.drain().await;
}
