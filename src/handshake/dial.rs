//! The upstream's half of a handshake: a server of it, a connection, and its answer.

use std::sync::Arc;
use std::time::Duration;

use super::record::Attempt;
use super::{Handshake, draining};
use crate::policy::Denial;
use crate::policy::key::Key;
use crate::policy::pool::Nobody;
use crate::policy::route::Route;
use crate::pool::reach::{self, Patience, Tried, Unreached};
use crate::pool::{Lease, Pool, Trial, Turn};
use crate::stream::Stream;
use crate::upstream::{self, Answered, Question};

/// A server that said yes, and the place on it.
pub(super) async fn dial(
    handshake: &Handshake,
    route: &Route,
    first: First,
    question: Question,
    attempt: &mut Attempt,
) -> Result<(Answered, Lease), Denial> {
    let edition = &handshake.edition;
    let reached = connect(handshake, route, first, &question.preamble).await;
    let Reached { stream, trial, since, until } = reached.map_err(|Unreached { denial, tried }| {
        attempt.at(tried);
        attempt.dialed(Err(denial.deny));
        denial
    })?;
    attempt.at(trial.server().map(|server| Tried { server: server.clone(), since }));
    let left = until.saturating_sub(handshake.worker.shared.books.clock.mono());
    let patience = Duration::from_millis(route.target.response_timeout.min(left));
    let asked = upstream::ask(stream, question.request, patience, edition.max_head, route.pass_upstream_errors).await;
    attempt.dialed(asked.as_ref().map(|_| 101).map_err(|refusal| refusal.denial.deny));
    match asked {
        Ok(answered) => match trial.succeeded() {
            Some(lease) => Ok((answered, lease)),
            None => Err(reach::nobody(Nobody::Left).denial),
        },
        Err(refusal) => {
            trial.failed(refusal.denial.deny, refusal.ill);
            Err(refusal.denial)
        }
    }
}

/// A connection with a server, and until when the server has to have answered.
pub(crate) struct Reached {
    pub(crate) stream: Stream,
    pub(crate) trial: Trial,
    /// When the first server was tried, in [`crate::now::Now::mono`].
    pub(crate) since: u64,
    /// In [`crate::now::Now::mono`].
    pub(crate) until: u64,
}

/// Connects to one of the route's servers, and to the first one first.
pub(crate) async fn connect(
    handshake: &Handshake,
    route: &Route,
    First { trial: first, key, .. }: First,
    preamble: &[u8],
) -> Result<Reached, Unreached> {
    let clock = &handshake.worker.shared.books.clock;
    let pool = &handshake.edition.pools[route.target.upstream.index];
    let (connect, response) = (route.target.connect_timeout, route.target.response_timeout);
    // However many servers are tried: a client waits no longer than for one that is slow in both.
    let since = clock.mono();
    let until = since.saturating_add(connect).saturating_add(response);
    let (stream, trial) = reach::connect(pool, first, key, Patience { connect, until }, preamble).await?;
    Ok(Reached { stream, trial, since, until })
}

/// The server that a handshake goes to first.
pub(crate) struct First {
    trial: Trial,
    key: Option<Key>,
    /// There was a wait: who asks may be nobody by now.
    pub(crate) waited: bool,
}

/// A place on one of the route's servers, after a wait if there has to be one. Nothing that may end meanwhile is to be looked
/// at or signed before. Who waits gives its place among the handshakes away, or those who wait would keep everybody else from
/// being heard.
pub(crate) async fn place(handshake: &Handshake, route: &Route, key: Option<Key>) -> Result<First, Denial> {
    let pool: &Arc<Pool> = &handshake.edition.pools[route.target.upstream.index];
    let full = |why| Denial { why, ..reach::nobody(Nobody::Full).denial };
    let waiting = match pool.take_or_wait(key) {
        Turn::Now(trial) => return Ok(First { trial, key, waited: false }),
        Turn::Later(waiting) => waiting,
        Turn::QueueFull if pool.upstream().queue > 0 => return Err(full("its queue is full")),
        Turn::QueueFull => return Err(full("every server has its max_connections")),
        Turn::Nobody => return Err(reach::nobody(Nobody::Left).denial),
    };
    drop(handshake.place.take());
    let mut phase = handshake.worker.shared.phase.subscribe();
    tokio::select! {
        given = waiting.turn(pool.upstream().queue_timeout) => match given {
            Ok(trial) => Ok(First { trial, key, waited: true }),
            Err(Nobody::Full) => Err(full("queue_timeout")),
            Err(Nobody::Left) => Err(reach::nobody(Nobody::Left).denial),
        },
        _ = phase.wait_for(|phase| !phase.lets_in()) => Err(draining()),
    }
}
