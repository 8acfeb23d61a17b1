//! What a gateway counts of the store that it shares with others: one set for each gateway, as all of its workers use one
//! connection.

use std::array;
use std::sync::atomic::{AtomicU8, Ordering};

use prometheus_client::metrics::histogram::Histogram;

use super::counts::Shared;

/// Seconds. On one network a call takes well under a millisecond; the longest timeout is a second.
const SECONDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in metrics and logs.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}

words! {
    /// What the store is asked for.
    Operation {
        /// A connection, until it may be asked.
        Connect = "connect",
        /// Rates are charged.
        Charge = "charge",
        /// Slots of caps are taken.
        Take = "take",
        /// A chunk of a message budget is fetched.
        Lease = "lease",
        /// What is held is written down, and that the gateway lives.
        Upkeep = "upkeep",
        /// Another gateway is told something.
        Publish = "publish",
        /// Revocations are read or written.
        Revocations = "revocations",
    }
}

words! {
    /// Why there is no answer.
    RedisFailure {
        /// It did not come in time.
        Timeout = "timeout",
        /// The connection ended, or there is none.
        Lost = "lost",
        /// The answer was an error, or no answer to this question.
        Refused = "refused",
        /// Too many calls wait for their answers already.
        Busy = "busy",
        /// Nobody was asked: the breaker is open.
        Open = "open",
    }
}

words! {
    /// What is done instead while the store does not answer; the words of `on_error`.
    Fallback {
        /// The gateway counted for itself.
        Local = "local",
        /// It let through.
        Open = "open",
        /// It refused.
        Closed = "closed",
    }
}

/// The counts of one store.
#[derive(Debug)]
pub struct RedisCounts {
    seconds: [Histogram; Operation::ALL.len()],
    failures: [[Shared; RedisFailure::ALL.len()]; Operation::ALL.len()],
    fallbacks: [Shared; Fallback::ALL.len()],
    /// 0 closed, 1 half-open, 2 open.
    breaker: AtomicU8,
}

impl Default for RedisCounts {
    fn default() -> Self {
        Self {
            seconds: array::from_fn(|_| Histogram::new(SECONDS)),
            failures: array::from_fn(|_| array::from_fn(|_| Shared::default())),
            fallbacks: array::from_fn(|_| Shared::default()),
            breaker: AtomicU8::new(2),
        }
    }
}

impl RedisCounts {
    /// A call was answered after so many microseconds.
    pub fn answered(&self, operation: Operation, micros: u64) {
        self.seconds[operation as usize].observe(micros as f64 / 1e6);
    }

    /// A call was not answered.
    pub fn failed(&self, operation: Operation, failure: RedisFailure) {
        self.failures[operation as usize][failure as usize].up();
    }

    /// Something else was done than to ask.
    pub fn fell_back(&self, fallback: Fallback) {
        self.fallbacks[fallback as usize].up();
    }

    /// Where the breaker stands: 0 closed, 1 half-open, 2 open.
    pub fn breaker(&self, state: u8) {
        self.breaker.store(state, Ordering::Relaxed);
    }

    pub(super) fn histograms(&self) -> impl Iterator<Item = (Operation, &Histogram)> {
        Operation::ALL.iter().copied().zip(&self.seconds)
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = (Operation, RedisFailure, u64)> {
        let of = |operation: Operation| {
            let counts = &self.failures[operation as usize];
            RedisFailure::ALL.iter().zip(counts).map(move |(failure, count)| (operation, *failure, count.get()))
        };
        Operation::ALL.iter().copied().flat_map(of)
    }

    pub(super) fn fallbacks(&self) -> impl Iterator<Item = (Fallback, u64)> {
        Fallback::ALL.iter().copied().zip(self.fallbacks.iter().map(Shared::get))
    }

    pub(super) fn breaker_state(&self) -> u64 {
        u64::from(self.breaker.load(Ordering::Relaxed))
    }
}
