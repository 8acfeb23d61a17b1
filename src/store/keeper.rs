//! The one task that keeps the connection, and keeps the server's picture of this gateway true. It lives on the thread that
//! carries no traffic.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, ScriptInvocation};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until, timeout};

use super::breaker::{Probe, State};
use super::dial::{Dialled, dial, why};
use super::table::{Statement, Told};
use super::tell::Teller;
use super::{Heard, Listener, Redis, Unavailable, name, script};
use crate::metrics::Operation;
use crate::now::millis;

/// Statements in one call: some ten kilobytes.
const BATCH: usize = 100;

/// Such calls in a row: where sessions come and go all the time there is always one more, and a sign of life is due too.
const BATCHES: usize = 16;

/// A hash is kept for so many times as long as it takes until it is written again.
const SPARE: u64 = 3;

impl Redis {
    /// Connects, keeps the connection, and connects again, for ever. Needs a local runtime, or a `LocalSet`.
    pub async fn run(self, listener: Listener) {
        let listener: Arc<Listener> = Arc::new(listener);
        let mut teller = Teller::new(&self.0.settings.remote);
        loop {
            match self.0.link.probe() {
                Probe::Begin => {}
                Probe::At(due) => {
                    tokio::select! {
                        () = sleep_until(self.0.clock.instant(due).into()) => {}
                        () = self.0.link.rung() => {}
                    }
                    continue;
                }
                // Only a connection closes the breaker, and the last one was given up.
                Probe::Needless => pending().await,
            }
            let began = self.0.clock.micros();
            match self.connect(&listener).await {
                Ok(dialled) => {
                    self.0.counts.answered(Operation::Connect, self.0.clock.micros().saturating_sub(began));
                    self.0.link.probed(Some(dialled.connection.clone()));
                    teller.back();
                    listener(Heard::Connected);
                    let why = self.serve(dialled).await;
                    self.0.link.lost();
                    teller.lost(&why);
                }
                Err(why) => {
                    self.0.counts.failed(Operation::Connect, Unavailable::Lost);
                    self.0.link.probed(None);
                    teller.lost(&why);
                }
            }
        }
    }

    /// Takes this gateway off the list of those that live, so that nobody waits until its time is over. For the end of a
    /// drain.
    pub async fn leave(&self) {
        let mut leave = redis::cmd("ZREM");
        leave.arg(self.key(&["nodes"])).arg(&*self.node());
        // Where it fails, the time will tell.
        let _: Result<u64, Unavailable> = self.command(Operation::Upkeep, &leave).await;
    }

    /// A connection under a new name, under which all that is held is written down; only then the old name ends, so that at
    /// no moment less is counted than there is.
    async fn connect(&self, listener: &Arc<Listener>) -> Result<Dialled, String> {
        let patience = self.0.settings.pace.connect;
        let late = |_| "no answer while connecting".to_owned();
        let (old, new) = (self.node(), name());
        let mut dialled = timeout(patience, self.greet(&new, listener)).await.map_err(late)??;
        self.0.table.lock().renamed();
        loop {
            let statements = self.0.table.lock().statements(BATCH, true, self.0.clock.mono());
            if statements.is_empty() {
                break;
            }
            let call = self.statement(&new, &statements);
            let answer = timeout(patience, call.invoke_async(&mut dialled.connection)).await;
            // Under a new name there is nothing that could be in their way.
            let answer: Vec<u64> = answer.map_err(late)?.map_err(|error| why(&error))?;
            self.refuse(&self.stated(&statements, &answer));
        }
        let beating = self.beat(&new, &old, &mut dialled.connection);
        timeout(patience, beating).await.map_err(late)?.map_err(|error| why(&error))?;
        *self.0.node.lock() = new;
        Ok(dialled)
    }

    /// Logs in, and sees that all that will be needed may be done: a user who may not is no connection.
    async fn greet(&self, node: &str, listener: &Arc<Listener>) -> Result<Dialled, String> {
        let (redis, listener) = (self.clone(), listener.clone());
        let mut dialled = dial(&self.0.settings, Box::new(move |pushed| redis.hear(&pushed, &listener))).await?;
        let connection = &mut dialled.connection;
        let greeting = async {
            for script in script::all() {
                script.load_async(connection).await?;
            }
            connection.subscribe(self.key(&["node", node])).await?;
            for channel in &self.0.settings.channels {
                connection.subscribe(self.key(&["channel", channel])).await?;
            }
            self.beat(node, "", connection).await
        };
        greeting.await.map_err(|error| why(&error))?;
        Ok(dialled)
    }

    /// Until the connection ends, or the breaker opens; then why.
    async fn serve(&self, mut dialled: Dialled) -> String {
        let pace = self.0.settings.pace;
        let (mut beats, mut rewrites) = (ticks(pace.heartbeat), ticks(pace.rewrite));
        loop {
            tokio::select! {
                () = dialled.ended() => return "the connection ended".to_owned(),
                () = self.0.link.rung() => {}
                _ = beats.tick() => self.keep_alive().await,
                _ = rewrites.tick() => {
                    self.0.table.lock().doubt();
                    self.restate().await;
                }
                () = self.0.dirty.notified() => {
                    if self.0.forgotten.swap(false, Ordering::Relaxed) {
                        self.keep_alive().await;
                    }
                    self.restate().await;
                }
            }
            if self.state() != State::Closed {
                return self.0.link.why().to_owned();
            }
        }
    }

    /// A sign of life. A server that does not know this gateway has forgotten all that it held.
    async fn keep_alive(&self) {
        let node = self.node();
        let known = self.0.link.ask(Operation::Upkeep, async |connection| self.beat(&node, "", connection).await).await;
        if known == Ok(false) {
            self.0.table.lock().doubt();
        }
        // What a failure left undone is done now.
        self.restate().await;
    }

    /// Writes down what is due, each once; the rest of very much at the next ring. What fails is due again.
    async fn restate(&self) {
        let node = self.node();
        let mut refused = Vec::new();
        for batch in 0.. {
            let statements = self.0.table.lock().statements(BATCH, false, self.0.clock.mono());
            if statements.is_empty() {
                break;
            }
            match self.script::<Vec<u64>>(Operation::Upkeep, &self.statement(&node, &statements)).await {
                Ok(answer) => refused.extend(self.stated(&statements, &answer)),
                Err(_) => {
                    let mut table = self.0.table.lock();
                    statements.iter().for_each(|statement| table.unstated(statement));
                    break;
                }
            }
            if batch == BATCHES {
                self.0.dirty.notify_one();
                break;
            }
        }
        self.refuse(&refused);
    }

    fn refuse(&self, refused: &[(Statement, u64)]) {
        let mut table = self.0.table.lock();
        refused.iter().for_each(|(statement, version)| table.stated(statement, false, *version));
    }

    /// The server was told of this gateway, and knows nothing of it: it was flushed, or started anew.
    pub(super) fn forget(&self) {
        self.0.table.lock().doubt();
        self.0.forgotten.store(true, Ordering::Relaxed);
        self.0.dirty.notify_one();
    }

    /// For how many milliseconds a hash of slots is kept that nobody writes.
    pub(super) fn keep_ms(&self) -> u64 {
        let pace = self.0.settings.pace;
        millis(pace.rewrite).saturating_mul(SPARE).max(millis(pace.ttl))
    }

    /// Notes what the server took, and gives what it did not.
    fn stated(&self, statements: &[Statement], answer: &[u64]) -> Vec<(Statement, u64)> {
        let mut refused = Vec::new();
        let mut table = self.0.table.lock();
        for (at, statement) in statements.iter().enumerate() {
            match answer.get(2 * at..2 * at + 2) {
                Some(&[1, version]) => table.stated(statement, true, version),
                Some(&[_, version]) => refused.push((statement.clone(), version)),
                _ => table.unstated(statement),
            }
        }
        refused
    }

    fn statement(&self, node: &str, statements: &[Statement]) -> ScriptInvocation<'static> {
        let mut call = script::STATE.prepare_invoke();
        call.arg(node).arg(self.keep_ms());
        for statement in statements {
            let (cap, key) = &statement.place;
            call.key(self.key(&["cap", cap, &key.to_hex()]));
            match statement.told {
                Told::Whole(count) => call.arg("whole").arg(count),
                Told::Change(more) => call.arg("change").arg(more),
            };
            call.arg(statement.version).arg(statement.age_ms);
        }
        call
    }

    /// Whether it was known.
    async fn beat(&self, node: &str, old: &str, connection: &mut MultiplexedConnection) -> RedisResult<bool> {
        let mut call = script::BEAT.key(self.key(&["nodes"]));
        call.arg(node).arg(millis(self.0.settings.pace.ttl)).arg(old);
        call.invoke_async(connection).await
    }
}

/// Ticks, the first after one period.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}
