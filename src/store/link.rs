//! One question and its answer: who may ask, how long it takes at most, and what a failure means for the next one.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::breaker::{Breaker, Probe, State};
use super::{Settings, Unavailable};
use crate::metrics::{Operation, RedisCounts};
use crate::now::Clock;

/// Calls that may wait for their answers at once. With one that hangs, so many wait until their time is over, and the
/// breaker opens; a server that answers has so many behind it in some milliseconds.
pub(super) const IN_FLIGHT: usize = 1024;

/// What all who ask share.
pub(super) struct Link {
    connection: ArcSwapOption<MultiplexedConnection>,
    breaker: Mutex<Breaker>,
    /// The last failure.
    why: Mutex<Unavailable>,
    places: Semaphore,
    /// Rings the keeper: the breaker opened, or the clock was moved.
    bell: Notify,
    timeout: Duration,
    clock: Clock,
    counts: Arc<RedisCounts>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("breaker", &self.breaker.lock().state()).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(settings: &Settings, clock: Clock, counts: Arc<RedisCounts>) -> Self {
        Self {
            connection: ArcSwapOption::empty(),
            breaker: Mutex::new(Breaker::new(settings.pace.back_off)),
            why: Mutex::new(Unavailable::Open),
            places: Semaphore::new(IN_FLIGHT),
            bell: Notify::new(),
            timeout: settings.remote.timeout,
            clock,
            counts,
        }
    }

    pub(super) fn state(&self) -> State {
        self.breaker.lock().state()
    }

    /// Asks, if anybody is asked at all, and waits for the answer until the time of a call is over.
    pub(super) async fn ask<T>(
        &self,
        operation: Operation,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Unavailable> {
        let answer = self.try_to_ask(operation, question).await;
        if let Err(why) = answer {
            self.counts.failed(operation, why);
        }
        answer
    }

    async fn try_to_ask<T>(
        &self,
        operation: Operation,
        question: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Unavailable> {
        if !self.breaker.lock().lets_through() {
            return Err(Unavailable::Open);
        }
        let Some(connection) = self.connection.load_full() else { return Err(Unavailable::Open) };
        let Ok(_place) = self.places.try_acquire() else { return Err(Unavailable::Busy) };
        let began = self.clock.micros();
        match timeout(self.timeout, question(&mut (*connection).clone())).await {
            Ok(Ok(answer)) => {
                self.breaker.lock().succeeded();
                self.counts.answered(operation, self.clock.micros().saturating_sub(began));
                Ok(answer)
            }
            Ok(Err(error)) if ends_connection(&error) => Err(self.failed(Unavailable::Lost, &connection)),
            Ok(Err(_)) => Err(self.failed(Unavailable::Refused, &connection)),
            Err(_) => Err(self.failed(Unavailable::Timeout, &connection)),
        }
    }

    /// An answer that makes no sense.
    pub(super) fn misunderstood(&self, operation: Operation) -> Unavailable {
        self.counts.failed(operation, Unavailable::Refused);
        Unavailable::Refused
    }

    fn failed(&self, why: Unavailable, connection: &Arc<MultiplexedConnection>) -> Unavailable {
        // What becomes of an old connection's calls says nothing of the new one.
        if !self.connection.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, connection)) {
            return why;
        }
        *self.why.lock() = why;
        let now = self.clock.mono();
        let mut breaker = self.breaker.lock();
        let opened = if why == Unavailable::Lost { breaker.lost(now) } else { breaker.failed(now) };
        self.show(breaker.state());
        drop(breaker);
        if opened {
            self.bell.notify_one();
        }
        why
    }

    /// What there is to probe.
    pub(super) fn probe(&self) -> Probe {
        let mut breaker = self.breaker.lock();
        let probe = breaker.probe(self.clock.mono());
        self.show(breaker.state());
        probe
    }

    /// How the probe went: with a connection, all are let through.
    pub(super) fn probed(&self, connection: Option<MultiplexedConnection>) {
        let went_well = connection.is_some();
        self.connection.store(connection.map(Arc::new));
        let mut breaker = self.breaker.lock();
        breaker.probed(went_well, self.clock.mono());
        self.show(breaker.state());
    }

    /// Nobody asks this connection any more.
    pub(super) fn lost(&self) {
        let mut breaker = self.breaker.lock();
        breaker.lost(self.clock.mono());
        self.show(breaker.state());
        drop(breaker);
        self.connection.store(None);
    }

    /// The last failure, in words.
    pub(super) fn why(&self) -> &'static str {
        match *self.why.lock() {
            Unavailable::Timeout => "its answers come too late",
            Unavailable::Lost => "the connection ended, or it takes no writes",
            Unavailable::Refused => "it answers with errors",
            Unavailable::Busy | Unavailable::Open => "it is not asked",
        }
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    fn show(&self, state: State) {
        self.counts.breaker(match state {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        });
    }
}

/// Whether a new connection may do better: this one ended, or leads to a server that takes no writes (any more).
fn ends_connection(error: &RedisError) -> bool {
    let elsewhere = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown, ServerErrorKind::BusyLoading];
    error.is_unrecoverable_error() || elsewhere.iter().any(|kind| error.kind() == ErrorKind::Server(*kind))
}
