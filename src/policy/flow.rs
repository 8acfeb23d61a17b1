//! What may flow on a route's sessions: the rules that its limits of messages, bytes and control frames compile to.

use std::sync::Arc;

use super::bucket;
use super::key::rule::KeyRule;
use super::lease::table::Leases;
use super::limit::{Action, LimitId, What};
use super::require::Require;
use super::zone::Zone;
use crate::config::OnExcess;
use crate::deny::Direction;

/// One limit on what flows in one direction.
#[derive(Debug)]
pub struct Rule {
    /// Its name in metrics and logs.
    pub id: LimitId,
    /// `Messages`, `Bytes` or `Control`.
    pub what: What,
    /// Rate, burst and delay. Where it delays, the burst is without end.
    pub limit: bucket::Limit,
    /// What happens beyond the burst.
    pub on_excess: OnExcess,
    /// Counted, never acted upon.
    pub dry_run: bool,
    /// Where its accounts are; none for a rate of the route's own, which each direction of a session has one of.
    pub shared: Option<Shared>,
    /// Whom it is for.
    pub when: Arc<Require>,
}

impl Rule {
    /// What it does to what is beyond the burst.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self.on_excess {
            OnExcess::Close => Action::Close,
            OnExcess::Delay => Action::Delay,
            OnExcess::Drop => Action::Drop,
        }
    }
}

/// An account that sessions share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Where it stands in this gateway.
    pub zone: Arc<Zone>,
    /// Whose it is.
    pub key: Arc<KeyRule>,
    /// What is held of it, where other gateways draw on it too.
    pub leases: Option<Arc<Leases>>,
}

/// The most frames of one message.
#[derive(Clone, Copy, Debug)]
pub struct Fragments {
    /// Its name in metrics and logs.
    pub id: LimitId,
    /// Frames.
    pub max: u32,
    /// Counted, never acted upon.
    pub dry_run: bool,
}

/// All of them, each list by [`Direction::index`].
#[derive(Debug, Default)]
pub struct Flow {
    /// In the order of the file.
    pub rules: [Vec<Arc<Rule>>; Direction::ALL.len()],
    /// None where fragments are not counted.
    pub fragments: [Option<Fragments>; Direction::ALL.len()],
}
