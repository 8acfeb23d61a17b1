//! The store that several gateways share, with a real `redis-server`.

mod failures;
mod gateway;
mod rates;
mod slots;
mod ways;

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use wsgate::config::OnError;
use wsgate::metrics::{Metrics, Sources};
use wsgate::now::Clock;
use wsgate::policy::key::Key;
use wsgate::policy::remote::Remote;
use wsgate::policy::roll::Roll;
use wsgate::policy::target::Transport;
use wsgate::store::breaker::BackOff;
use wsgate::store::{Heard, Pace, Redis, Settings, State};

use crate::harness::redis::Server;
use crate::harness::until;

/// A gateway's store with its keeper on a thread of its own; dropped, it is gone as a process is that was killed.
struct Node {
    redis: Redis,
    heard: Arc<Mutex<Vec<String>>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Fast in all that a test waits for. A gateway whose thread has to wait for a busy machine is not taken for dead.
const PACE: Pace = Pace {
    heartbeat: Duration::from_millis(100),
    ttl: Duration::from_secs(20),
    rewrite: Duration::from_millis(500),
    connect: Duration::from_secs(2),
    back_off: BackOff { first_ms: 20, most_ms: 100 },
};

fn settings(servers: Vec<Transport>) -> Settings {
    let remote = Remote {
        servers,
        sentinel: None,
        database: 0,
        username: None,
        prefix: "test".to_owned(),
        // A busy machine is no failure; those who test the time choose their own.
        timeout: Duration::from_secs(10),
        on_error: OnError::Local,
    };
    Settings { remote, password: None, tls: None, channels: vec!["news".to_owned()], pace: PACE }
}

fn at(server: &Server) -> Settings {
    settings(vec![tcp(server.port(), false)])
}

fn tcp(port: u16, tls: bool) -> Transport {
    Transport::Tcp { host: "127.0.0.1".to_owned(), port, tls }
}

fn key(text: &str) -> Key {
    Key::shared(text.as_bytes())
}

/// One sample of what a store counted.
fn count(redis: &Redis, sample: &str) -> u64 {
    let sources = Sources { redis: Some(redis.counts().clone()), ..Sources::default() };
    let text = Metrics::new(&Roll::default(), 1, &[], Clock::system().now(), sources).render(None).body;
    let line = text.lines().find_map(|line| line.strip_prefix(sample)).unwrap_or_else(|| panic!("{sample}\n{text}"));
    line.trim().parse().unwrap()
}

/// Waits until it tried so often (again) to connect in vain.
async fn tries_in_vain(redis: &Redis, times: u64) {
    let tries = || count(redis, "wsgate_redis_errors_total{operation=\"connect\",kind=\"lost\"}");
    let before = tries();
    until("tries to connect that fail", || tries() >= before + times).await;
}

impl Node {
    /// One that has yet to connect.
    fn begin(settings: Settings) -> Self {
        let redis = Redis::new(settings, Clock::system());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = oneshot::channel::<()>();
        let (keeping, hearing) = (redis.clone(), heard.clone());
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
            runtime.block_on(async move {
                let listener = move |told: Heard<'_>| hearing.lock().unwrap().push(format!("{told:?}"));
                tokio::select! {
                    () = keeping.run(Box::new(listener)) => {}
                    _ = ended => {}
                }
            });
        });
        Self { redis, heard, end: Some(end), thread: Some(thread) }
    }

    /// One that is connected.
    async fn start(settings: Settings) -> Self {
        let node = Self::begin(settings);
        node.is(State::Closed).await;
        node
    }

    async fn is(&self, state: State) {
        until(&format!("the breaker to be {state:?}"), || self.redis.state() == state).await;
    }

    async fn hears(&self, what: &str) {
        until(&format!("{what} to be heard"), || self.heard.lock().unwrap().iter().any(|told| told.contains(what)))
            .await;
    }

    /// The gateway is killed.
    fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let (Some(end), Some(thread)) = (self.end.take(), self.thread.take()) {
            let _ = end.send(());
            thread.join().unwrap();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
