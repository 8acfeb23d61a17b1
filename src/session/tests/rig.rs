//! A session between two local sockets, polled by hand: so that a test sees each poll, and knows when it rests.

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use socket2::SockRef;
use tracing_appender::non_blocking::WorkerGuard;

use crate::access_log::{AccessLog, Format};
use crate::books::Books;
use crate::books::recent::Recent;
use crate::config::OnExpiry;
use crate::id::Ids;
use crate::load;
use crate::metrics::{Metrics, Sources};
use crate::now::Clock;
use crate::policy::expiry::Expiry;
use crate::policy::request::Opening;
use crate::policy::roll::Roll;
use crate::policy::route::{Route, Terms};
use crate::policy::{Admission, Ask};
use crate::session::buffered::Buffered;
use crate::session::exit::Exit;
use crate::session::live::holder::Holder;
use crate::session::live::{Live, Registry};
use crate::session::pump::tests::kept_by;
use crate::session::{Opened, SCRATCH, Session};
use crate::spans::Spans;
use crate::stream::Stream;

/// Long enough that no test reaches it by the wall.
pub(super) const LONG: u64 = 3_600_000;

/// Terms under which nothing ends by itself.
pub(super) const TERMS: Terms = Terms {
    max_message_size: u64::MAX,
    idle_timeout: 100 * LONG,
    ping_interval: None,
    ping_timeout: LONG,
    close_timeout: LONG,
    send_timeout: 10 * LONG,
    expiry: Expiry { on_expiry: OnExpiry::Close, max_lifetime: None, notice: None },
};

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A session, and the gateway's books around it.
pub(super) struct Rig {
    pub(super) session: Option<Box<Session>>,
    pub(super) books: Arc<Books>,
    pub(super) live: Arc<Live>,
    woken: Arc<Woken>,
    /// How often the session was polled, ever.
    pub(super) polls: Cell<usize>,
    lines: Lines,
    guard: Option<WorkerGuard>,
}

impl Rig {
    /// A session on these terms, and the far ends of its two sockets: the client's and the upstream's. To be called in a
    /// runtime.
    pub(super) fn new(terms: Terms) -> (Self, End, End) {
        Self::opened(terms, false, None, (b"", b""))
    }

    /// The same on a route that limits what flows by these lines of its table.
    pub(super) fn limited(limits: &str, terms: Terms) -> (Self, End, End) {
        Self::all(limits, terms, false, None, (b"", b""))
    }

    /// The same with what a handshake may hand over: whether permessage-deflate was agreed on, when the identity ends,
    /// and what came behind the client's request and the upstream's 101.
    pub(super) fn opened(terms: Terms, deflate: bool, expires: Option<u64>, first: (&[u8], &[u8])) -> (Self, End, End) {
        Self::with(terms, deflate, expires, first, Buffered::new(u64::MAX))
    }

    /// The same with what sessions may keep.
    pub(super) fn with(
        terms: Terms,
        deflate: bool,
        expires: Option<u64>,
        first: (&[u8], &[u8]),
        buffered: Arc<Buffered>,
    ) -> (Self, End, End) {
        Self::of("", terms, deflate, expires, first, buffered)
    }

    /// The same on a route that limits what flows.
    pub(super) fn all(
        limits: &str,
        terms: Terms,
        deflate: bool,
        expires: Option<u64>,
        first: (&[u8], &[u8]),
    ) -> (Self, End, End) {
        Self::of(limits, terms, deflate, expires, first, Buffered::new(u64::MAX))
    }

    /// All of these.
    pub(super) fn of(
        limits: &str,
        terms: Terms,
        deflate: bool,
        expires: Option<u64>,
        first: (&[u8], &[u8]),
        buffered: Arc<Buffered>,
    ) -> (Self, End, End) {
        let (route, roll, admission) = admitted(limits, terms);
        let clock = if ON_THE_WALL.get() { Clock::system() } else { Clock::stopped() };
        let lines = Lines::default();
        let (log, guard) = AccessLog::new(Format::Json, lines.clone());
        let metrics = Metrics::new(&roll, 1, &[], clock.now(), Sources::default());
        let active = metrics.traffic(0, 0).enter();
        let books = Arc::new(Books {
            clock,
            metrics,
            log,
            ids: Ids::default(),
            sessions: Registry::new(1),
            spans: Spans::new(None),
            buffered,
            recent: Recent::default(),
        });
        let id = books.ids.next();
        let holder = Holder::default().until(expires);
        let lease = crate::pool::Lease::of_nobody();
        let live = Live::new(
            id,
            route.name.clone(),
            lease.server().clone(),
            holder,
            Ipv4Addr::LOCALHOST.into(),
            books.clock.now(),
        );
        let entry = books.sessions.enter(0, live);
        let live = Arc::clone(&entry);
        let (permits, meters) = (admission.permits, admission.meters);
        let exit = Exit::new(books.clone(), "test".into(), route.clone(), entry, active, (permits, lease));
        let (ours, client) = pair();
        let (theirs, upstream) = pair();
        let opened =
            Opened { client: (stream(ours), first.0), upstream: (stream(theirs), first.1), deflate, route, meters };
        let session = Some(Box::new(Session::new(opened, exit)));
        let woken = Arc::new(Woken(true.into()));
        let rig = Self { session, books, live, woken, polls: Cell::new(0), lines, guard: Some(guard) };
        (rig, End::new(client), End::new(upstream))
    }

    /// Polls once if the session was woken. Whether it was.
    pub(super) fn step(&mut self) -> bool {
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let Some(session) = &mut self.session else { return false };
        self.polls.set(self.polls.get() + 1);
        let waker = Waker::from(self.woken.clone());
        let ready = Pin::new(session).poll(&mut Context::from_waker(&waker)) == Poll::Ready(());
        let Some(session) = self.session.take_if(|_| ready) else {
            self.check_memory();
            return true;
        };
        drop(session);
        true
    }

    /// Polls until the session rests: several turns of the reactor without a wake. Says how many polls that took.
    pub(super) async fn settle(&mut self) -> usize {
        let (mut quiet, before) = (0, self.polls.get());
        while quiet < 3 {
            quiet = if self.step() { 0 } else { quiet + 1 };
            let polls = self.polls.get() - before;
            assert!(polls < 2000, "the session spins");
            tokio::task::yield_now().await;
        }
        self.polls.get() - before
    }

    /// Some turns of the reactor, in which sockets get ready, without a poll.
    pub(super) async fn turns(&self) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
    }

    /// Polls whenever woken until `done`, which timers may bring about.
    pub(super) async fn until(&mut self, mut done: impl FnMut() -> bool) {
        let wait = async {
            while !done() {
                self.settle().await;
            }
        };
        // Only a failure takes that long.
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it never comes");
    }

    /// Settles again and again, with `tend` in between, until `tend` finds nothing more to do.
    pub(super) async fn settle_with(&mut self, mut tend: impl FnMut() -> bool) {
        for round in 0.. {
            assert!(round < 10_000, "it goes on for ever");
            self.settle().await;
            if !tend() {
                return;
            }
        }
    }

    /// Moves the clock ahead and has the session look around.
    pub(super) async fn advance(&mut self, ms: u64) {
        self.books.clock.advance(Duration::from_millis(ms));
        self.live.wake();
        self.settle().await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.session.is_none()
    }

    /// The line of the access log, once the session is over.
    pub(super) fn line(&mut self) -> Value {
        assert!(self.is_over(), "the session goes on");
        // The guard's drop waits until the line is written.
        drop(self.guard.take());
        let text = String::from_utf8(self.lines.0.lock().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "one line for each session: {text}");
        assert!(self.books.sessions.is_empty());
        assert_eq!(self.books.buffered.bytes(), 0, "all that was kept is given back");
        serde_json::from_str(&text).unwrap()
    }

    /// The end as `side reason code`.
    pub(super) fn end(&mut self) -> String {
        let line = self.line();
        let code = line["close_code"].as_u64().map_or("-".to_owned(), |code| code.to_string());
        format!("{} {} {code}", line["side"].as_str().unwrap(), line["reason"].as_str().unwrap())
    }

    /// Bytes that the two directions hold on to.
    pub(super) fn kept(&self) -> [usize; 2] {
        self.session.as_ref().map_or([0, 0], |session| [kept_by(&session.up), kept_by(&session.down)])
    }

    fn check_memory(&self) {
        for kept in self.kept() {
            assert!(kept <= SCRATCH + 512, "{kept} bytes are kept");
        }
        assert!(self.books.buffered.bytes() >= self.kept().iter().sum::<usize>() as u64, "all of it is counted");
    }
}

/// A route with these limits and terms, and an admission to it.
fn admitted(limits: &str, terms: Terms) -> (Arc<Route>, Arc<Roll>, Admission) {
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\nname = \"test\"\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n\
                allow_missing_origin = true\n";
    let text = format!("{text}{limits}\n");
    let loaded = load::text(&text, "test.toml", Path::new("."), &|_| None).unwrap_or_else(|report| panic!("{report}"));
    let mut policy = loaded.policy;
    let opening = Opening { host: "test".into(), path: "/".into() };
    let headers = http::HeaderMap::new();
    let ask = Ask {
        opening: &opening,
        query: None,
        headers: &headers,
        client: Ipv4Addr::LOCALHOST.into(),
        certificate: None,
    };
    let decision = policy.admit(&ask, Clock::system().now());
    let admission = decision.verdict.unwrap();
    drop(decision.route);
    let (route, roll) = (policy.routes.remove(0), policy.roll.clone());
    drop(policy);
    (Arc::new(Route { terms, ..Arc::into_inner(route).unwrap() }), roll, admission)
}

/// Two ends of a socket that takes a few KiB, so that it is soon full.
pub(in crate::session) fn pair() -> (UnixStream, UnixStream) {
    let (one, other) = UnixStream::pair().unwrap();
    for end in [&one, &other] {
        SockRef::from(end).set_send_buffer_size(8 * 1024).unwrap();
    }
    (one, other)
}

pub(in crate::session) fn stream(socket: UnixStream) -> Stream {
    socket.set_nonblocking(true).unwrap();
    Stream::Unix(tokio::net::UnixStream::from_std(socket).unwrap())
}

/// The far end of one socket. Nothing here blocks.
pub(in crate::session) struct End {
    socket: Option<UnixStream>,
    pub(in crate::session) received: Vec<u8>,
    /// Whether the session ended its stream, or the whole connection.
    pub(in crate::session) at_end: bool,
}

impl End {
    pub(in crate::session) fn new(socket: UnixStream) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket: Some(socket), received: vec![], at_end: false }
    }

    /// Sends what the socket takes at once; how much.
    pub(in crate::session) fn send_some(&mut self, bytes: &[u8]) -> usize {
        let Some(socket) = &mut self.socket else { return 0 };
        let mut sent = 0;
        while sent < bytes.len() {
            match socket.write(&bytes[sent..]) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // The session has closed it: what is sent is lost.
                Err(_) => return bytes.len(),
            }
        }
        sent
    }

    pub(in crate::session) fn send(&mut self, bytes: &[u8]) {
        assert_eq!(self.send_some(bytes), bytes.len(), "the socket takes no more");
    }

    /// Reads at most so much of what is here; how much there was.
    pub(in crate::session) fn read(&mut self, most: usize) -> usize {
        let Some(socket) = &mut self.socket else { return 0 };
        let before = self.received.len();
        while self.received.len() < before + most && !self.at_end {
            let mut buf = [0; 16 * 1024];
            let room = buf.len().min(before + most - self.received.len());
            match socket.read(&mut buf[..room]) {
                Ok(0) => self.at_end = true,
                Ok(read) => self.received.extend_from_slice(&buf[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.at_end = true,
            }
        }
        self.received.len() - before
    }

    /// What came since the last time.
    pub(in crate::session) fn take(&mut self) -> Vec<u8> {
        self.read(usize::MAX / 2);
        std::mem::take(&mut self.received)
    }

    /// Nothing more will be sent, but what comes is still read.
    pub(in crate::session) fn finish(&mut self) {
        if let Some(socket) = &self.socket {
            // It may be closed already.
            let _ = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// The connection is gone.
    pub(in crate::session) fn vanish(&mut self) {
        self.socket = None;
    }

    pub(in crate::session) fn is_gone(&self) -> bool {
        self.socket.is_none()
    }
}

thread_local! {
    /// Whether sessions made on this thread go by the wall's clock.
    static ON_THE_WALL: Cell<bool> = const { Cell::new(false) };
}

/// Runs a test whose timers have to ring: the clock runs.
pub(in crate::session) fn run_by_the_wall<T>(test: impl Future<Output = T>) -> T {
    ON_THE_WALL.set(true);
    let done = run(test);
    ON_THE_WALL.set(false);
    done
}

/// Runs a test in a runtime as a worker's. The sessions' clock stands still but for what the test advances it by.
pub(in crate::session) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
