//! A gateway of a test's own. It has to be ended with [`Gate::finish`] or [`Gate::drain`], which see to it that everything
//! was given back, and that every end has exactly one line and one count.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use wsgate::access_log::Format;
use wsgate::config::value::Algorithm;
use wsgate::gateway::{Gateway, Shared};
use wsgate::load::{self, Loaded};
use wsgate::now::Clock;
use wsgate::policy::token::mint;
use wsgate::session::live::Id;
use wsgate::stream::Stream;

use super::lines::{Lines, lines};
use super::peer::Head;
use super::{Ask, Backend, Peer, until, within};

/// What `[jwt.main]` of every test checks with.
pub const SECRET: &str = "a secret of at least 32 bytes for tests";

/// A configuration, part by part.
pub struct Setup {
    server: String,
    listen: String,
    jwt: String,
    routes: String,
    admin: String,
    /// Where its files are.
    pub folder: TempDir,
}

impl Setup {
    /// One plain listener and no route.
    pub fn new() -> Self {
        Self {
            server: String::new(),
            listen: "[[listen]]\naddress = \"127.0.0.1:0\"\n".to_owned(),
            jwt: String::new(),
            routes: String::new(),
            admin: "[admin]\naddress = \"127.0.0.1:0\"\n".to_owned(),
            folder: TempDir::new().unwrap(),
        }
    }

    /// Further keys of `[server]`.
    pub fn server(mut self, keys: &str) -> Self {
        self.server += &format!("{keys}\n");
        self
    }

    /// Further keys of the last listener.
    pub fn listener(mut self, keys: &str) -> Self {
        self.listen += &format!("{keys}\n");
        self
    }

    /// One listener more.
    pub fn listen(mut self) -> Self {
        self.listen += "[[listen]]\naddress = \"127.0.0.1:0\"\n";
        self
    }

    /// Further keys of `[jwt.main]`.
    pub fn jwt(mut self, keys: &str) -> Self {
        self.jwt += &format!("{keys}\n");
        self
    }

    /// Further keys of `[admin]`, and sections behind it.
    pub fn admin(mut self, keys: &str) -> Self {
        self.admin += &format!("{keys}\n");
        self
    }

    /// One route more, called after its path: `/ws` is `ws`.
    pub fn route(mut self, path: &str, upstream: &str, keys: &str) -> Self {
        let name = path.trim_matches('/');
        self.routes += &format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"{upstream}\"\n{keys}\n");
        self
    }

    pub fn start(self) -> Gate {
        self.start_with(|_| {})
    }

    /// The same, with something changed that no config says.
    pub fn start_with(self, change: impl FnOnce(&mut Loaded)) -> Gate {
        let Self { server, listen, jwt, routes, admin, folder } = self;
        let workers = if server.contains("workers") { "" } else { "workers = 2\n" };
        let drain = if server.contains("drain_timeout") { "" } else { "drain_timeout = \"1ms\"\n" };
        let jwt = format!("[jwt.main]\nalgorithms = [\"HS256\"]\nsecret = \"env:SECRET\"\n{jwt}");
        // Nobody is refused for a busy machine, unless the test is about it.
        let lag = if server.contains("max_lag") { "" } else { "max_lag = \"1d\"\n" };
        // A place is given back a moment after its client has seen the end: all that a test asks come from one address.
        let places = if server.contains("handshakes_in_flight") { "" } else { "handshakes_in_flight_per_ip = 1024\n" };
        // Each refusal has its line, which `audit` counts; what is left out of a flood has tests of its own.
        let log = "[access_log]\nrefusals = { rate = \"1000000r/s\", burst = 1000000 }\n";
        let text = format!("[server]\n{workers}{drain}{lag}{places}{server}{log}{listen}{jwt}{routes}{admin}");
        // A test changes files one by one, and says when they are to be read.
        let auto = if server.contains("auto_reload") { "" } else { "auto_reload_interval = \"off\"\n" };
        let text = text.replacen("[server]\n", &format!("[server]\n{auto}"), 1);
        let config = folder.path().join("test.toml");
        std::fs::write(&config, &text).unwrap();
        let source = load::Source::with(&config, |name| (name == "SECRET").then(|| SECRET.to_owned()));
        let mut loaded = source.load(None).result.unwrap_or_else(|report| panic!("{report}"));
        change(&mut loaded);
        let clock = Clock::system();
        let (writer, lines) = lines();
        let gateway = Gateway::start(loaded, clock.clone(), Format::Json, writer).unwrap();
        Gate { gateway: Some(gateway), clock, lines, folder, is_read: true }
    }
}

/// A token of these claims by another secret.
pub fn sign_with(secret: &str, claims: &Value) -> String {
    let key = mint::encoding_key(Algorithm::HS256, secret.as_bytes()).unwrap();
    mint::mint(Algorithm::HS256, &key, None, claims.as_object().unwrap()).unwrap()
}

/// A gateway that runs.
pub struct Gate {
    gateway: Option<Gateway>,
    pub clock: Clock,
    pub lines: Lines,
    pub folder: TempDir,
    /// Whether the test reads every line of the log.
    is_read: bool,
}

impl Gate {
    /// One route, `/ws`, on these terms.
    pub fn new(upstream: &str, terms: &str) -> Self {
        Setup::new().route("/ws", upstream, terms).start()
    }

    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    pub fn shared(&self) -> &Arc<Shared> {
        self.gateway().shared()
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway().addresses[0]
    }

    /// Moves the gateway's clock, and has every session look at it.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.shared().books.sessions.wake_all();
        self.shared().edition().keysets.wake_all();
    }

    /// A token of this subject that is good for so many seconds.
    pub fn token(&self, subject: &str, seconds: u64) -> String {
        self.sign(&json!({ "sub": subject, "exp": self.clock.now().wall / 1000 + seconds }))
    }

    /// A token of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        sign_with(SECRET, claims)
    }

    pub async fn tcp(&self) -> TcpStream {
        within("to connect", TcpStream::connect(self.address())).await.unwrap()
    }

    /// A client that has said nothing yet.
    pub async fn client(&self) -> Peer {
        Peer::new(Stream::Tcp(self.tcp().await), true)
    }

    /// A client that has asked.
    pub async fn asking(&self, ask: &Ask) -> Peer {
        let mut client = self.client().await;
        client.ask(ask).await;
        client
    }

    /// The answer to a handshake that is refused, after which the connection ends.
    pub async fn refusal(&self, ask: &Ask) -> Head {
        let mut client = self.asking(ask).await;
        let head = client.head().await;
        assert_ne!(head.status(), 101, "{head:?}");
        client.ended().await;
        head
    }

    /// A session, with the test at both ends.
    pub async fn session(&self, backend: &Backend) -> (Peer, Peer) {
        self.session_of(backend, &Ask::to("/ws")).await
    }

    /// The same with a request of one's own.
    pub async fn session_of(&self, backend: &Backend, ask: &Ask) -> (Peer, Peer) {
        let before = self.ids();
        let mut client = self.asking(ask).await;
        let mut upstream = backend.accept().await;
        let request = upstream.head().await;
        upstream.send(request.switch("")).await;
        let answer = client.head().await;
        assert_eq!(answer.status(), 101, "{answer:?}");
        // The 101 is out a moment before the session begins, and a test may move the clock in between.
        until("the session to begin", || !self.ids().is_subset(&before)).await;
        (client, upstream)
    }

    /// What the upstream gets of this request; the upstream then refuses.
    pub async fn seen_upward(&mut self, backend: &Backend, ask: &Ask) -> Head {
        let mut client = self.asking(ask).await;
        let mut upstream = backend.accept().await;
        let request = upstream.head().await;
        upstream.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 404);
        self.refused("upstream_refused").await;
        request
    }

    fn ids(&self) -> BTreeSet<Id> {
        self.shared().books.sessions.all().iter().map(|live| live.id).collect()
    }

    /// A client that nobody here wrote.
    pub async fn tungstenite(&self, path: &str) -> WebSocketStream<TcpStream> {
        let url = format!("ws://{}{path}", self.address());
        within("a session", tokio_tungstenite::client_async(url, self.tcp().await)).await.unwrap().0
    }

    /// One of the operator's pages.
    pub async fn page(&self, path: &str) -> Head {
        self.operate("GET", path, "").await
    }

    /// What an operator asks for; a body is JSON.
    pub async fn operate(&self, method: &str, path: &str, body: &str) -> Head {
        let tcp = TcpStream::connect(self.gateway().admin_address.unwrap()).await.unwrap();
        let mut operator = Peer::new(Stream::Tcp(tcp), true);
        let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        operator.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")).await;
        operator.head().await
    }

    /// Changes the config in place, and has it read again: what was answered.
    pub async fn reload(&self, change: impl FnOnce(String) -> String) -> Head {
        self.rewrite(change);
        self.operate("POST", "/reload", "").await
    }

    /// The same, and it has to be taken.
    pub async fn reloaded(&self, change: impl FnOnce(String) -> String) {
        let answer = self.reload(change).await;
        assert_eq!(answer.status(), 200, "{}", answer.body);
    }

    /// Changes the config in one step, as a careful editor does.
    pub fn rewrite(&self, change: impl FnOnce(String) -> String) {
        let config = self.folder.path().join("test.toml");
        let text = change(String::from_utf8(std::fs::read(&config).unwrap()).unwrap());
        std::fs::write(config.with_extension("new"), text).unwrap();
        std::fs::rename(config.with_extension("new"), config).unwrap();
    }

    /// What `/status` shows.
    pub async fn status(&self) -> Value {
        serde_json::from_str(&self.page("/status").await.body).unwrap()
    }

    /// Revokes, and says what was answered; it has to be taken in.
    pub async fn revoke(&self, body: &Value) -> Value {
        let answer = self.operate("POST", "/revocations", &body.to_string()).await;
        assert!(matches!(answer.status(), 200 | 201), "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The next line of the log has to be a refusal for this reason.
    pub async fn refused(&mut self, reason: &str) -> Value {
        let line = self.lines.next().await;
        assert_eq!((&line["event"], &line["reason"]), (&json!("handshake_refused"), &json!(reason)), "{line}");
        line
    }

    /// The next line of the log has to be an end by this side and for this reason; `closed` is none.
    pub async fn ended(&mut self, side: &str, reason: &str) -> Value {
        let line = self.lines.next().await;
        let said = (&line["event"], &line["side"], &line["reason"]);
        assert_eq!(said, (&json!("session_ended"), &json!(side), &json!(reason)), "{line}");
        line
    }

    /// One sample of the metrics, as `wsgate_sessions_active{route="ws"}`.
    pub fn count(&self, sample: &str) -> f64 {
        count(self.shared(), sample)
    }

    /// Refusals of the route `ws` for this reason.
    pub fn refusals(&self, route: &str, reason: &str) -> f64 {
        self.count(&format!("wsgate_handshakes_total{{route=\"{route}\",result=\"{reason}\"}}"))
    }

    /// Sessions that are open.
    pub fn sessions(&self) -> usize {
        self.shared().books.sessions.len()
    }

    /// Waits until nothing is held any more.
    pub async fn rests(&self) {
        until("everything given back", || held(self.shared()).is_empty()).await;
    }

    /// For a test whose sessions have all ended: everything was given back by itself. Lines that nobody has read are an error.
    pub async fn finish(self) {
        self.rests().await;
        self.drain().await;
    }

    /// For a test that leaves sessions behind: they are closed first.
    pub async fn drain(mut self) {
        let gateway = self.gateway.take().expect("it runs");
        let shared = gateway.shared().clone();
        gateway.drain();
        let joining = tokio::task::spawn_blocking(move || gateway.join());
        within("the gateway's end", joining).await.unwrap().unwrap();
        assert_eq!(held(&shared), Vec::<String>::new(), "still held after the end");
        self.audit(&shared);
    }

    /// The same for a test that does not read the log.
    pub async fn leave(mut self) {
        self.is_read = false;
        self.drain().await;
    }

    /// Every end is in the log once and in the metrics once.
    fn audit(&self, shared: &Shared) {
        let all = self.lines.all();
        let lines = |event: &str| all.lines().filter(|line| line.contains(&format!("\"event\":\"{event}\""))).count();
        let metrics = shared.books.metrics.render(None).body;
        let sum = |name: &str, without: &str| -> f64 {
            let samples = metrics.lines().filter(|line| line.starts_with(name) && !line.contains(without));
            samples.map(value).sum()
        };
        let admitted = sum("wsgate_handshakes_total", "\0") - sum("wsgate_handshakes_total", "result=\"admitted\"");
        let refused = sum("wsgate_handshakes_total", "result=\"admitted\"");
        let ended = sum("wsgate_sessions_ended_total", "\0");
        assert_eq!(lines("handshake_refused") as f64, refused, "lines and counts of refusals\n{all}");
        assert_eq!(lines("session_ended") as f64, ended, "lines and counts of ends\n{all}");
        assert_eq!(admitted, ended, "whoever was admitted has an end\n{all}");
        assert_eq!(sum("wsgate_sessions_active", "\0"), 0.0);
        assert_eq!(lines("renewal") as f64, sum("wsgate_renewals_total", "\0"), "lines and counts of renewals\n{all}");
        let requests = lines("request") + lines("request_refused");
        assert_eq!(requests as f64, sum("wsgate_requests_total", "\0"), "lines and counts of requests\n{all}");
        assert_eq!(sum("wsgate_requests_active", "\0"), 0.0);
        let expired = sum("wsgate_sessions_expired_total", "\0");
        assert_eq!(lines("identity_expired") as f64, expired, "lines and counts of lapses\n{all}");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("access log:\n{}", self.lines.all());
            return;
        }
        assert!(self.gateway.is_none(), "a test ends with `finish` or `drain`");
        assert!(
            !self.is_read || self.lines.unread().is_empty(),
            "lines that the test did not expect: {}",
            self.lines.unread()
        );
    }
}

/// Everything that is held at present.
fn held(shared: &Shared) -> Vec<String> {
    let mut held = Vec::new();
    let mut look = |what: &str, count: usize| {
        if count > 0 {
            held.push(format!("{what}: {count}"));
        }
    };
    look("sessions", shared.books.sessions.len());
    look("handshakes under way", shared.handshakes_under_way());
    look("handshakes of an address", shared.handshakes_per_ip.used() + shared.handshakes_per_ip.keys());
    look("connections with requests", shared.carrying.used() + shared.carrying.of_addresses());
    look("the total", shared.edition().policy.total.used());
    look("accounts", shared.edition().policy.zones.iter().map(|zone| zone.held()).sum());
    look("bytes kept", count(shared, "wsgate_buffered_bytes") as usize);
    for route in &shared.edition().policy.routes {
        look("a route's cap", route.caps.total.as_ref().map_or(0, |limit| limit.cap.used()));
        for limit in &route.caps.keyed {
            look("a cap by key", limit.counts.used() + limit.counts.keys() + limit.keys_near());
        }
        look("active", count(shared, &format!("wsgate_sessions_active{{route=\"{}\"}}", route.name)) as usize);
    }
    held
}

fn count(shared: &Shared, sample: &str) -> f64 {
    let metrics = shared.books.metrics.render(None).body;
    let line = metrics.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    value(line.unwrap_or_else(|| panic!("there is no {sample}")))
}

fn value(line: &str) -> f64 {
    line.rsplit(' ').next().unwrap().parse().unwrap()
}
