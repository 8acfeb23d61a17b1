//! Where a token may stand, and all the places in which it must never be seen.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::harness::peer::Head;
use crate::harness::{Ask, Backend, Gate, Setup, until};

/// Every place there is, on one route. Its cap of one session has a warning logged for each.
const EVERYWHERE: &str = "jwt = \"main\"\norigins = \"any\"\nconnections = { total = 1 }\n\
    token_from = [\"header\", \"header:X-Api-Token\", \"cookie:t\", \"query:t\", \"subprotocol\", \"subprotocol:auth.\"]\n";

/// A request for each place and each spelling of it.
fn carriers(path: &str, token: &str) -> Vec<Ask> {
    let offer = |entry: String| Ask::to(path).with("Sec-WebSocket-Protocol", &format!("chat, {entry}"));
    let encoded = URL_SAFE_NO_PAD.encode(token);
    vec![
        Ask::to(path).bearer(token),
        Ask::to(path).with("X-Api-Token", token),
        Ask::to(path).with("X-Api-Token", &format!("Bearer {token}")),
        Ask::to(path).with("Cookie", &format!("a=b; t={token}; c=d")),
        Ask::to(path).with("Cookie", &format!("t=\"{token}\"")),
        Ask::to(&format!("{path}?x=1&t={token}&y=2")),
        Ask::to(&format!("{path}?%74={}", escaped(token))),
        offer(format!("bearer, bearer.{token}")),
        offer(format!("base64url.bearer.authorization, base64url.bearer.authorization.{encoded}")),
        offer(format!("base64url.bearer.authorization.k8s.io.{encoded}")),
        offer(format!("auth.{token}, auth")),
    ]
}

/// Every byte percent-encoded.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Every form in which a token could be told: whole and in parts, encoded and escaped.
fn forms(token: &str) -> Vec<String> {
    let mut forms = vec![token.to_owned()];
    // The first part is the same for all tokens of an algorithm, and a secret no more than its name.
    forms.extend(token.split('.').map(str::to_owned));
    forms.extend([URL_SAFE_NO_PAD.encode(token), STANDARD.encode(token)]);
    forms.extend([escaped(token), escaped(token).to_uppercase(), token.replace('.', "%2E"), token.replace('.', "%2e")]);
    forms
}

/// What the gateway itself says, at its most talkative.
#[derive(Clone, Default)]
struct Traced(Arc<Mutex<Vec<u8>>>);

impl Write for Traced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that was seen of one gateway, and all the tokens that must not be in it.
#[derive(Default)]
struct Watch {
    seen: Vec<(&'static str, String)>,
    tokens: Vec<String>,
}

impl Watch {
    fn saw(&mut self, what: &'static str, text: String) {
        self.seen.push((what, text));
    }

    fn saw_head(&mut self, what: &'static str, head: &Head) {
        let headers: Vec<_> =
            head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        self.saw(what, format!("{}\n{}\n{}", head.line, headers.join("\n"), head.body));
    }

    async fn saw_pages(&mut self, gate: &Gate) {
        for page in ["/metrics", "/connections", "/connections?subject=alice", "/readyz"] {
            self.saw_head(page, &gate.page(page).await);
        }
    }

    fn finds_no_token(&self) {
        assert!(!self.tokens.is_empty());
        for token in &self.tokens {
            for form in forms(token).iter().filter(|form| form.len() > 1) {
                for (what, text) in &self.seen {
                    assert!(!text.contains(form), "{what} has {form}:\n{text}");
                }
            }
        }
    }
}

/// A session with this request, whose upstream takes `chat` if it is offered, and everything that is said meanwhile.
async fn opened(gate: &mut Gate, backend: &Backend, ask: &Ask, watch: &mut Watch) {
    let mut client = gate.asking(ask).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    watch.saw_head("the upstream's request", &request);
    assert_eq!(request.one("x-auth-subject"), Some("alice"));
    assert!(request.one("sec-websocket-protocol").is_none_or(|offered| offered == "chat"), "{request:?}");
    let chosen = if request.one("sec-websocket-protocol").is_some() { "Sec-WebSocket-Protocol: chat\r\n" } else { "" };
    upstream.send(request.switch(chosen)).await;
    let answer = client.head().await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    watch.saw_head("the 101", &answer);
    until("the session", || gate.sessions() == 1).await;
    watch.saw_pages(gate).await;
    client.reset();
    upstream.ended().await;
    gate.ended("client", "client_lost").await;
    gate.rests().await;
}

/// Everything up to the end of a refused client's connection.
async fn refused(gate: &mut Gate, ask: &Ask, reason: &str, watch: &mut Watch) {
    let mut client = gate.asking(ask).await;
    let head = client.head().await;
    watch.saw_head("a refusal", &head);
    if head.status() == 101 {
        let close = client.frame().await;
        watch.saw("a Close", format!("{:?}", close.as_close()));
        client.say(&close).await;
    }
    client.ended().await;
    gate.refused(reason).await;
}

#[tokio::test]
async fn no_token_is_in_anything_that_is_said_wherever_it_stood_and_whatever_it_was() {
    let traced = Traced::default();
    let writer = traced.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    // Of the whole process: a gateway's threads are its own. Another test of it may have been first, where all share one.
    let listens = tracing::subscriber::set_global_default(subscriber.finish()).is_ok();
    let backend = Backend::new().await;
    let told = format!("{EVERYWHERE}deny = \"close\"");
    let mut gate = Setup::new().route("/ws", &backend.url(), EVERYWHERE).route("/told", &backend.url(), &told).start();
    let mut watch = Watch::default();

    let good = gate.token("alice", 9000);
    let expired = gate.sign(&json!({ "sub": "alice", "exp": 1_000_000 }));
    let other = gate.token("mallory", 9000);
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    watch.tokens = vec![good.clone(), expired.clone(), other.clone(), forged.clone()];
    for path in ["/ws", "/told"] {
        for ask in carriers(path, &good) {
            opened(&mut gate, &backend, &ask, &mut watch).await;
        }
        for (token, reason) in [(&expired, "token_expired"), (&forged, "token_invalid")] {
            for ask in carriers(path, token) {
                gate.advance(Duration::from_secs(1));
                refused(&mut gate, &ask, reason, &mut watch).await;
            }
        }
        for ask in carriers(path, &good) {
            gate.advance(Duration::from_secs(1));
            let disagreeing = ask.with("Cookie", &format!("t={other}"));
            refused(&mut gate, &disagreeing, "token_invalid", &mut watch).await;
        }
    }
    backend.saw_nobody();
    let closes = watch.seen.iter().filter(|(what, _)| *what == "a Close").count();
    assert_eq!(closes, 3 * carriers("/told", &good).len(), "each refusal of the second route was told by a Close");
    watch.saw_pages(&gate).await;
    watch.saw("the access log", gate.lines.all());
    gate.finish().await;
    let traces = String::from_utf8(traced.0.lock().unwrap().clone()).unwrap();
    assert!(!listens || traces.contains("connections are near their cap"), "the traces are there: {traces}");
    watch.saw("the traces", traces);
    watch.finds_no_token();
}

/// A search that would miss what it looks for proves nothing.
#[test]
fn the_search_would_find_a_token_in_any_of_its_forms() {
    let token = "aGVhZGVy.cGF5bG9hZA.c2lnbmF0dXJl";
    for said in [
        token.to_owned(),
        format!("\"{}\"", escaped(token)),
        format!("x.{}", URL_SAFE_NO_PAD.encode(token)),
        "cGF5bG9hZA".to_owned(),
    ] {
        let watch = Watch { seen: vec![("a line", said.clone())], tokens: vec![token.to_owned()] };
        assert!(std::panic::catch_unwind(|| watch.finds_no_token()).is_err(), "{said}");
    }
}

/// What the upstream is offered and the client is answered, for what the client offered and the upstream chose.
async fn settled(gate: &mut Gate, backend: &Backend, offered: &str, chosen: &str) -> (Option<String>, Option<String>) {
    let mut client = gate.asking(&Ask::to("/ws").with("Sec-WebSocket-Protocol", offered)).await;
    let mut upstream = backend.accept().await;
    let request = upstream.head().await;
    upstream.send(request.switch(chosen)).await;
    let answer = client.head().await;
    let named = |head: &Head| head.one("sec-websocket-protocol").map(str::to_owned);
    let found = (named(&request), named(&answer));
    if answer.status() == 101 {
        client.reset();
        upstream.ended().await;
        gate.ended("client", "client_lost").await;
    }
    found
}

#[tokio::test]
async fn the_marker_stays_here_and_answers_where_the_upstream_chose_nothing() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\ntoken_from = [\"subprotocol\"]");
    let token = gate.token("alice", 60);
    let chat = "Sec-WebSocket-Protocol: chat\r\n";
    for (offered, chosen, up, down) in [
        ("bearer, bearer.", "", None, Some("bearer")),
        ("chat, bearer, bearer.", "", Some("chat"), Some("bearer")),
        ("chat, bearer, bearer.", chat, Some("chat"), Some("chat")),
        ("chat, bearer.", chat, Some("chat"), Some("chat")),
        ("chat, bearer.", "", Some("chat"), None),
        ("bearer.", "", None, None),
    ] {
        let (seen, answered) = settled(&mut gate, &backend, &format!("{offered}{token}"), chosen).await;
        assert_eq!((seen.as_deref(), answered.as_deref()), (up, down), "{offered} {chosen}");
    }
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_chooses_the_marker_chose_what_it_was_not_offered() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\ntoken_from = [\"subprotocol\"]");
    let offered = format!("bearer, bearer.{}", gate.token("alice", 60));
    settled(&mut gate, &backend, &offered, "Sec-WebSocket-Protocol: bearer\r\n").await;
    let line = gate.refused("upstream_refused").await;
    assert_eq!(line["why"], "a 101 with a subprotocol that was not offered");
    gate.finish().await;
}

#[tokio::test]
async fn two_headers_of_the_token_s_name_are_refused_also_if_they_agree() {
    let backend = Backend::new().await;
    let mut gate = Gate::new(&backend.url(), "jwt = \"main\"\ntoken_from = [\"header:X-Api-Token\"]");
    let token = gate.token("alice", 60);
    for second in ["X-Api-Token", "X_Api_Token"] {
        let ask = Ask::to("/ws").with("X-Api-Token", &token).with(second, &token);
        assert_eq!(gate.refusal(&ask).await.status(), 403);
        gate.refused("token_invalid").await;
    }
    // Another spelling alone is no token, and would be taken out.
    assert_eq!(gate.refusal(&Ask::to("/ws").with("X_Api_Token", &token)).await.status(), 403);
    gate.refused("token_missing").await;
    backend.saw_nobody();
    gate.finish().await;
}

/// A renewal takes the token from where the route does, and a page has to be allowed to send it there.
#[tokio::test]
async fn a_preflight_names_the_route_s_own_header() {
    let backend = Backend::new().await;
    let terms = "jwt = \"main\"\ntoken_from = [\"header:X-Api-Token\", \"subprotocol:auth.\"]\nrenew = \"/renew\"\n\
        origins = [\"https://app.example.com\"]";
    let gate = Gate::new(&backend.url(), terms);
    let ask = Ask::to("/renew").line("OPTIONS /renew HTTP/1.1").with("Origin", "https://app.example.com");
    let told = gate.refusal(&ask).await;
    assert_eq!(told.one("access-control-allow-headers"), Some("authorization, content-type, x-api-token"));
    gate.finish().await;
}
