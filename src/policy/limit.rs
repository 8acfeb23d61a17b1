//! What a limit is called where it is counted and logged, and what it may do to what exceeds it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::deny::Direction;

/// A limit of one route: its place in the [`crate::policy::roll::Roll`], and so among the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub usize);

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the keys of a route say it")]
pub enum What {
    Handshakes,
    Requests,
    Messages,
    Bytes,
    Control,
    Fragments,
    Connections,
}

impl What {
    /// The route's key for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Handshakes => "handshakes",
            Self::Requests => "requests",
            Self::Messages => "messages",
            Self::Bytes => "bytes",
            Self::Control => "control",
            Self::Fragments => "fragments",
            Self::Connections => "connections",
        }
    }
}

/// What becomes of what exceeds a limit, or would if it were not in dry run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The handshake is refused.
    Refuse,
    /// The session is closed.
    Close,
    /// It waits for its turn.
    Delay,
    /// The message is left out.
    Drop,
    /// The oldest session of the same key is closed.
    CloseOldest,
}

impl Action {
    /// All, in the order of [`Action::index`].
    pub const ALL: [Self; 5] = [Self::Refuse, Self::Close, Self::Delay, Self::Drop, Self::CloseOldest];

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Close => "close",
            Self::Delay => "delay",
            Self::Drop => "drop",
            Self::CloseOldest => "close_oldest",
        }
    }

    /// Where its count stands among those of all.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One limit of a route, as metrics and logs name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitInfo {
    /// The route's name.
    pub route: Arc<str>,
    /// What it limits.
    pub what: What,
    /// The zone's name; empty for a rate or a cap of the route's own.
    pub zone: Arc<str>,
    /// Which way what it counts flows; none of what is no traffic.
    pub direction: Option<Direction>,
    /// Whether it only counts what it would do.
    pub dry_run: bool,
    /// What it may do.
    pub actions: &'static [Action],
}

impl fmt::Display for LimitInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what.label())?;
        if !self.zone.is_empty() {
            write!(f, " of zone {}", self.zone)?;
        }
        Ok(())
    }
}

/// Milliseconds between two lines about one thing.
const SAID_AGAIN_AFTER: u64 = 1000;

/// Sees to it that something is said once a second, however often it happens.
#[derive(Debug, Default)]
pub struct Pace(AtomicU64);

impl Pace {
    /// Whether it may be said now: true once a second, to one of those who ask.
    #[must_use]
    pub fn may_be_said(&self, now_ms: u64) -> bool {
        let next = |again: u64| (now_ms >= again).then_some(now_ms + SAID_AGAIN_AFTER);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Something exceeded a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which.
    pub limit: LimitId,
    /// What became of it, or would have.
    pub action: Action,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_a_second_one_of_those_who_ask_may_say_it() {
        let pace = Pace::default();
        let said: Vec<u64> =
            [0, 0, 999, 1000, 1001, 5000, 5001].into_iter().filter(|&at| pace.may_be_said(at)).collect();
        assert_eq!(said, [0, 1000, 5000]);
    }

    #[test]
    fn every_index_is_a_place_in_its_table() {
        assert!(Action::ALL.iter().enumerate().all(|(at, action)| action.index() == at));
    }
}
