use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;

use super::answer::answer;
use super::*;
use crate::access_log::{AccessLog, Format};
use crate::books::recent::Recent;
use crate::deny::{Deny, Side};
use crate::id::Ids;
use crate::metrics::{Example, Metrics, Sources};
use crate::now::Clock;
use crate::policy::identity::Identity;
use crate::policy::revocation::{Revocations, Settings};
use crate::policy::roll::Roll;
use crate::revoking::Revoking;
use crate::session::buffered::Buffered;
use crate::session::live::holder::Holder;
use crate::session::live::{Live, Registry};
use crate::spans::Spans;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

mod crowd;
mod writes;

fn state() -> Arc<AdminState> {
    state_with(None, HERE)
}

/// With this token, on a listener of this address.
fn state_with(token: Option<&str>, address: IpAddr) -> Arc<AdminState> {
    let clock = Clock::system();
    let metrics = Metrics::new(&Roll::of(["chat"]), 1, &["0.0.0.0:80".to_owned()], clock.now(), Sources::default());
    let (log, _) = AccessLog::new(Format::Off, std::io::sink());
    let books = Books {
        clock,
        metrics,
        log,
        ids: Ids::default(),
        sessions: Registry::new(1),
        spans: Spans::new(None),
        buffered: Buffered::new(u64::MAX),
        recent: Recent::default(),
    };
    let settings = Settings { entries: 2, ttl: 60_000, claims: vec![], issuers: vec!["main".into()] };
    let token = token.map(|token| AdminToken::new(token.into()).unwrap());
    let books = Arc::new(books);
    let guard = Arc::new(Guard::new(token, Some(address)));
    Arc::new(AdminState {
        revoking: Arc::new(Revoking::new(books.clone(), Arc::new(Revocations::new(settings)), None, None)),
        books,
        ready: Box::new(|| Ok(())),
        status: Box::new(|| panic!("the gateway's own")),
        drain: Box::new(|window| {
            Some(DrainStatus { left: 2, deadline_seconds: window.map_or(20, |window| window.as_secs()) })
        }),
        guard: Box::new(move || guard.clone()),
        reload: Box::new(|| panic!("the gateway's own")),
        pools: Arc::new(crate::pool::Pools::new(Clock::system(), crate::pool::keep::system())),
        drain_timeout: Box::new(|| 0),
    })
}

fn get(target: &str) -> Request<Empty<Bytes>> {
    Request::get(target).body(Empty::new()).unwrap()
}

/// The answer to what can only be read, which is there at once.
fn read(state: &Arc<AdminState>, peer: IpAddr, request: Request<Empty<Bytes>>) -> Response<Full<Bytes>> {
    let mut answer = std::pin::pin!(answer(state.clone(), (peer, 50_000).into(), request));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(response) = Future::poll(answer.as_mut(), &mut context) else { panic!("not ready") };
    response
}

fn status(state: &Arc<AdminState>, peer: IpAddr, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = Request::get("/connections");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read(state, peer, request.body(Empty::new()).unwrap()).status()
}

/// Status and body.
fn page(state: &Arc<AdminState>, target: &str) -> (u16, String) {
    body(read(state, HERE, get(target)))
}

fn body(response: Response<Full<Bytes>>) -> (u16, String) {
    let status = response.status().as_u16();
    let mut whole = std::pin::pin!(response.into_body().collect());
    // The body is whole in memory, so it is ready at once.
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(body)) = Future::poll(whole.as_mut(), &mut context) else { panic!("not ready") };
    (status, String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

#[test]
fn health_and_readiness_say_so_in_a_word() {
    let mut state = state();
    assert_eq!(page(&state, "/healthz"), (200, "ok".into()));
    assert_eq!(page(&state, "/readyz"), (200, "ready".into()));
    Arc::get_mut(&mut state).unwrap().ready = Box::new(|| Err("draining".into()));
    assert_eq!(page(&state, "/readyz"), (503, "draining".into()));
    assert_eq!(page(&state, "/healthz").0, 200);
}

#[test]
fn only_get_and_head_of_known_pages_are_answered() {
    let state = state();
    assert_eq!(page(&state, "/metricsx").0, 404);
    assert_eq!(page(&state, "/").0, 200);
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder().method(method).uri("/metrics").body(Empty::new()).unwrap();
        let refused = read(&state, HERE, request);
        assert_eq!(refused.status(), 405);
        assert_eq!(refused.headers()["allow"], "GET, HEAD");
    }
}

#[test]
fn every_answer_forbids_caches_guesses_and_frames() {
    let state = state();
    for target in ["/", "/metrics", "/healthz", "/readyz", "/connections", "/connections?limit=x", "/nowhere"] {
        let response = read(&state, HERE, get(target));
        assert_eq!(response.headers()["cache-control"], "no-store", "{target}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{target}");
        assert_eq!(response.headers()["x-frame-options"], "DENY", "{target}");
        assert_eq!(response.headers()["cross-origin-resource-policy"], "same-origin", "{target}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
    }
}

#[test]
fn a_browser_gets_the_page_and_a_shell_the_list_and_what_runs_in_the_page_is_its_own() {
    let state = state();
    let asked =
        |accept: &str| read(&state, HERE, Request::get("/").header("accept", accept).body(Empty::new()).unwrap());
    let html = asked("text/html,application/xhtml+xml,*/*;q=0.8");
    assert_eq!(html.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(html.headers()["vary"], "Accept");
    let policy = html.headers()["content-security-policy"].to_str().unwrap().to_owned();
    for part in
        ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]
    {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(body(html).1.starts_with("<!doctype html>"));
    assert!(body(asked("*/*")).1.contains("/metrics "));
    let script = read(&state, HERE, get("/page/main.js"));
    assert_eq!(script.headers()["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(page(&state, "/page/nothing.js").0, 404);
    // A link from elsewhere may lead here; nothing else may be asked from there.
    let linked = |target: &str| {
        let request = Request::get(target).header("sec-fetch-site", "cross-site").body(Empty::new()).unwrap();
        read(&state, HERE, request).status()
    };
    assert_eq!(
        (linked("/"), linked("/page/main.js"), linked("/metrics")),
        (StatusCode::OK, StatusCode::FORBIDDEN, StatusCode::FORBIDDEN)
    );
}

#[test]
fn metrics_come_in_the_format_that_is_asked_for() {
    let state = state();
    let example = Example { id: state.books.ids.next(), wall: 0 };
    state.books.metrics.session_ended(0, (Side::Gateway, Some(Deny::TokenExpired)), 5, [1, 2], example);
    let asked = Request::get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0");
    let asked = asked.body(Empty::new()).unwrap();
    let content_type = |request| read(&state, HERE, request).headers()["content-type"].clone();
    assert_eq!(content_type(asked), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_eq!(content_type(get("/metrics")), "text/plain; version=0.0.4; charset=utf-8");
    let line = r#"wsgate_sessions_ended_total{route="chat",side="gateway",reason="token_expired"} 1"#;
    assert!(page(&state, "/metrics").1.lines().any(|l| l == line));
}

#[test]
fn connections_are_filtered_by_decoded_parameters() {
    let state = state();
    let now = state.books.clock.now();
    let _entries: Vec<_> = [("a b", "ann"), ("a b", "bob&c"), ("chat", "ann")]
        .into_iter()
        .map(|(route, subject)| {
            let holder = Holder::from(&Identity { subject: Some(subject.into()), ..Identity::default() });
            let live = Live::new(
                state.books.ids.next(),
                route.into(),
                crate::pool::Lease::of_nobody().server().clone(),
                holder,
                ELSEWHERE,
                now,
            );
            state.books.sessions.enter(0, live)
        })
        .collect();
    let subjects = |target: &str| {
        let page: serde_json::Value = serde_json::from_str(&page(&state, target).1).unwrap();
        let shown: Vec<String> = page["connections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|connection| connection["subject"].as_str().unwrap().to_owned())
            .collect();
        (shown.join(" "), page["total"].as_u64().unwrap(), page["truncated"].as_bool().unwrap())
    };
    assert_eq!(subjects("/connections"), ("ann bob&c ann".into(), 3, false));
    assert_eq!(subjects("/connections?limit=2"), ("ann bob&c".into(), 3, true));
    assert_eq!(subjects("/connections?route=a%20b"), ("ann bob&c".into(), 2, false));
    assert_eq!(subjects("/connections?route=a+b&subject=bob%26c"), ("bob&c".into(), 1, false));
    assert_eq!(subjects("/connections?subject=nobody"), (String::new(), 0, false));
    assert_eq!(subjects("/connections?search=BOB%26&client=10.0.0.0/8"), ("bob&c".into(), 1, false));
    assert_eq!(subjects("/connections?client=::ffff:10.0.0.9&limit=1"), ("ann".into(), 3, true));
    assert_eq!(subjects("/connections?client=10.0.0.10"), (String::new(), 0, false));
    assert_eq!(subjects("/connections?sort=subject&order=desc&limit=1&offset=1"), ("ann".into(), 3, true));
}

#[test]
fn a_wrong_parameter_is_said_and_not_ignored() {
    let state = state();
    for (query, said) in [
        ("limit=0", "limit"),
        ("limit=100001", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("user=ann", "limit"),
        ("offset=-1", "offset"),
        ("client=192.0.2", "client"),
        ("client=192.0.2.0/33", "client"),
        ("sort=age", "bytes_to_client"),
        ("order=down", "desc"),
    ] {
        let (status, body) = page(&state, &format!("/connections?{query}"));
        assert_eq!(status, 400, "{query}");
        assert!(body.contains(said), "{body}");
    }
    assert_eq!(page(&state, "/connections?limit=100000").0, 200);
}

#[test]
fn a_page_whose_name_was_rebound_to_loopback_is_refused() {
    let state = state();
    let mapped = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x7f00, 1));
    for peer in [HERE, mapped, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        for host in ["evil.example:9100", "localhost.evil.example", "127.0.0.1.evil.example", "localhost@evil", "", "["]
        {
            assert_eq!(status(&state, peer, &[("host", host)]), 403, "{host}");
        }
        assert_eq!(status(&state, peer, &[("host", "localhost"), ("host", "evil.example")]), 403);
        for host in ["127.0.0.1:9100", "localhost:9100", "LOCALHOST", "[::1]:9100", "10.0.0.9"] {
            assert_eq!(status(&state, peer, &[("host", host)]), 200, "{host}");
        }
    }
    assert_eq!(status(&state, HERE, &[]), 200);
}

#[test]
fn a_scraper_elsewhere_may_use_any_name_but_a_page_of_another_site_may_not_ask() {
    let elsewhere = state_with(Some(writes::TOKEN), ELSEWHERE);
    let bearer = ("authorization", "Bearer 0123456789abcdef");
    assert_eq!(status(&elsewhere, ELSEWHERE, &[("host", "gateway:9100"), bearer]), 200);
    for (state, peer) in [(&state(), HERE), (&elsewhere, ELSEWHERE)] {
        let asked =
            |more: &[(&str, &str)]| status(state, peer, &[&[("host", "127.0.0.1:9100"), bearer], more].concat());
        for origin in
            ["https://evil.example", "null", "http://127.0.0.1", "127.0.0.1:9100", "http://127.0.0.1:9100.evil"]
        {
            assert_eq!(asked(&[("origin", origin)]), 403, "{origin}");
            assert_eq!(asked(&[("origin", "http://127.0.0.1:9100"), ("origin", origin)]), 403, "{origin}");
        }
        for site in ["cross-site", "same-site", "", "SAME-ORIGIN"] {
            assert_eq!(asked(&[("sec-fetch-site", site)]), 403, "{site}");
            assert_eq!(asked(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", site)]), 403, "{site}");
        }
        // Its own page: by what the browser says, or by an Origin that is the Host.
        for own in [
            ("origin", "http://127.0.0.1:9100"),
            ("origin", "https://127.0.0.1:9100"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert_eq!(asked(&[own]), 200, "{own:?}");
        }
        // A proxy in front that ends TLS says another Host than the browser's Origin; the browser says that they are one.
        assert_eq!(asked(&[("origin", "https://admin.example.com"), ("sec-fetch-site", "same-origin")]), 200);
    }
    // Under a rebound name a page is of one origin with what it asks.
    let rebound = [("host", "evil.example"), ("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")];
    assert_eq!(status(&state(), HERE, &rebound), 403);
}

/// Runs the listener on a free port, and ends when `test` does.
fn served<T>(test: impl AsyncFnOnce(SocketAddr, watch::Sender<Phase>) -> T) -> T {
    served_over(None, test)
}

/// The same over TLS, if this is there.
fn served_over<T>(tls: Option<TlsAcceptor>, test: impl AsyncFnOnce(SocketAddr, watch::Sender<Phase>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(Phase::Running);
        let server = tokio::task::spawn_local(serve(listener, Rc::new(move || tls.clone()), state(), stopped));
        let result = test(address, stop).await;
        server.await.unwrap();
        result
    })
}

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn it_answers_over_a_socket_and_stops_when_told() {
    served(async |address, stop| {
        let answer = exchange(address, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let head = exchange(address, "HEAD /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(head.contains("content-length: 2\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        stop.send(Phase::Stopped).unwrap();
    });
}

#[test]
fn who_was_accepted_before_it_stopped_is_answered() {
    served(async |address, stop| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        // Each turn of the loop runs what is ready: it is accepted, and nothing of it can be read yet.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        stop.send(Phase::Stopped).unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    });
}

#[test]
fn it_stops_when_nobody_is_left_to_stop_it() {
    served(async |_, stop| drop(stop));
}

#[test]
fn idle_connections_beyond_the_bound_wait_and_are_answered_once_there_is_room() {
    served(async |address, stop| {
        let mut idle = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        // Each turn of the loop runs what is ready; the accepts are, the answer must not be.
        for _ in 0..10 * MAX_CONNECTIONS {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        assert_eq!(waiting.try_read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(idle.pop());
        let mut answer = String::new();
        waiting.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        stop.send(Phase::Stopped).unwrap();
    });
}

#[test]
fn an_oversized_head_is_refused() {
    served(async |address, stop| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(2 * MAX_HEAD));
        // The gateway may reset the connection before it has read all of it.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
        stop.send(Phase::Stopped).unwrap();
    });
}

#[test]
fn over_tls_it_answers_and_what_is_no_tls_gets_nothing() {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = crate::material::CertificateMaterial {
        chain: vec![pair.cert.der().clone()],
        key: rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap(),
        path_of_key: "admin.tls.key".to_owned(),
    };
    let server = crate::tls::server_config(&[certificate], None).unwrap();
    let client = crate::tls::client_config(Some(&[pair.cert.der().clone()]), None).unwrap();
    served_over(Some(server.into()), async |address, stop| {
        let plain = TcpStream::connect(address).await.unwrap();
        let mut plain = plain;
        plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        let _ = plain.read_to_end(&mut heard).await;
        assert!(!String::from_utf8_lossy(&heard).contains("HTTP"), "{heard:?}");
        let socket = TcpStream::connect(address).await.unwrap();
        let name = crate::tls::server_name("localhost").unwrap();
        let mut socket = tokio_rustls::TlsConnector::from(client).connect(name, socket).await.unwrap();
        socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        stop.send(Phase::Stopped).unwrap();
    });
}
