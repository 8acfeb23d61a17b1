//! The end of a gateway: its sessions are told to go, one after the other over the drain time, so that their clients do not
//! all come to the next gateway at once.
//!
//! With a `drain_delay` that begins a while after `/readyz` has said so: a balancer that asks every few seconds goes on
//! sending clients until then, and they are let in.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::sleep;

use crate::deny::Deny;
use crate::gateway::{Edition, Phase, Shared};
use crate::now::millis;
use crate::policy::spread;

/// How often it is looked whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Milliseconds on top of the longest `close_timeout`: a session that is cut by its own deadline leaves its line.
const GRACE: u64 = 1000;

/// How a gateway is drained, once it is.
#[derive(Debug, Default)]
pub struct Drain(OnceLock<Plan>);

/// When what happens in a drain. Milliseconds; moments are on the gateway's clock.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// When the first session is told.
    begin: u64,
    /// In which all are.
    window: u64,
    /// For the answers of the last.
    patience: u64,
}

impl Plan {
    /// When whatever is left is cut.
    #[must_use]
    pub fn deadline(&self) -> u64 {
        self.begin + self.window + self.patience
    }
}

impl Drain {
    /// Plans a drain, where none was planned before: after `delay`, and over `window` instead of `drain_timeout` if that is
    /// given.
    pub(crate) fn plan_for(&self, window: Option<Duration>, delay: Duration, edition: &Edition, now: u64) {
        let close_timeout = edition.policy.routes.iter().map(|route| route.terms.close_timeout).max().unwrap_or(0);
        self.0.get_or_init(|| Plan {
            begin: now + millis(delay),
            window: millis(window.unwrap_or(edition.drain_timeout)),
            patience: close_timeout + GRACE,
        });
    }

    /// What was planned; none before a drain was asked for.
    #[must_use]
    pub fn plan(&self) -> Option<&Plan> {
        self.0.get()
    }
}

/// Returns once every session is over, or at the latest when the last one's Close has waited for its answer.
pub async fn run(shared: &Shared) {
    // A gateway that is stopped at once has no plan.
    let Some(plan) = shared.drain.plan() else { return };
    let clock = &shared.books.clock;
    if *shared.phase.borrow() == Phase::Leaving {
        tracing::info!(
            delay_ms = plan.begin.saturating_sub(clock.mono()),
            "leaving: clients are let in for drain_delay"
        );
        while clock.mono() < plan.begin {
            sleep(LOOK).await;
        }
        shared.advance(Phase::Draining);
    }
    tell_all(shared, plan).await;
    while clock.mono() < plan.deadline() && !is_quiet(shared) {
        // Those whose handshake was under way when the drain began.
        for session in shared.books.sessions.all() {
            session.order(Deny::Draining);
        }
        sleep(LOOK).await;
    }
    let cut = shared.books.sessions.len();
    if cut > 0 {
        tracing::warn!(sessions = cut, "cut at the end of the drain");
    }
}

/// Tells those who are there each at its moment of the window.
async fn tell_all(shared: &Shared, plan: &Plan) {
    let seed = RandomState::new().hash_one(());
    let mut sessions = shared.books.sessions.all();
    // Not in their order of arrival: who came together is not told together.
    sessions.sort_by_cached_key(|session| spread::draw(seed, session.id.0));
    let count = sessions.len();
    tracing::info!(sessions = count, window_ms = plan.window, "draining");
    for (index, session) in sessions.into_iter().enumerate() {
        // Several at a time where they are many, so that the rest between them does not add up to more than the window.
        let moment = plan.begin + spread::moment(index, count, plan.window, seed);
        while shared.books.clock.mono() < moment && !shared.books.sessions.is_empty() {
            sleep(LOOK).await;
        }
        session.order(Deny::Draining);
    }
}

fn is_quiet(shared: &Shared) -> bool {
    shared.books.sessions.is_empty() && shared.handshakes_under_way() == 0 && shared.carrying.used() == 0
}
