//! From an upstream to a connection with one of its servers: another is tried where none can be made, for until then nothing
//! of the request was sent.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{Pool, Server, Trial};
use crate::deny::Deny;
use crate::now::Clock;
use crate::policy::Denial;
use crate::policy::key::Key;
use crate::policy::pool::Nobody;
use crate::stream::Stream;
use crate::upstream::{self, is_ours, why};

/// How long it may take. Both in milliseconds of [`crate::now::Now::mono`].
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For one connection, TLS included.
    pub connect: u64,
    /// The moment at which all attempts have to be over.
    pub until: u64,
}

/// No connection: why, and with whom it was tried last.
#[derive(Debug)]
pub struct Unreached {
    /// What the client is told.
    pub denial: Denial,
    /// None where there was nobody to try.
    pub tried: Option<Tried>,
}

/// Who was tried.
#[derive(Debug)]
pub struct Tried {
    /// The last of them.
    pub server: Arc<Server>,
    /// When it began with the first, in [`crate::now::Now::mono`].
    pub since: u64,
}

/// Connects to the server of `first`, and to others if that fails.
///
/// # Errors
/// `upstream_connect` or `upstream_timeout` of the last that was tried.
pub async fn connect(
    pool: &Pool,
    first: Trial,
    key: Option<Key>,
    patience: Patience,
    preamble: &[u8],
) -> Result<(Stream, Trial), Unreached> {
    let clock = &pool.clock;
    let since = clock.mono();
    let mut tried = Vec::new();
    let mut trial = first;
    loop {
        let Some(server) = trial.server().cloned() else { return Err(nobody(Nobody::Left)) };
        let terms = trial.terms();
        if !terms.fit() {
            return Err(Unreached { denial: Denial::new(Deny::Internal, "its upstream has no TLS"), tried: None });
        }
        trial.begin(clock.micros());
        let name = terms.upstream.server_name.as_ref().or(server.host.as_ref());
        let connecting = upstream::connect(&server.address, name.map(AsRef::as_ref), terms.tls.as_ref(), preamble);
        let denial = match timeout(left(clock, patience), connecting).await {
            Ok(Ok(stream)) => return Ok((stream, trial)),
            // It says nothing of the server.
            Ok(Err(error)) if is_ours(&error) => {
                trial.undone();
                Denial::new(Deny::UpstreamConnect, why(&error))
            }
            Ok(Err(error)) => trial.not_reached(Denial::new(Deny::UpstreamConnect, why(&error))),
            Err(_) => trial.not_reached(Denial::new(Deny::UpstreamTimeout, "connect_timeout")),
        };
        tried.push(server.id);
        let may_retry = tried.len() <= terms.upstream.retries as usize && clock.mono() < patience.until;
        match may_retry.then(|| pool.take(key, &tried)) {
            Some(Ok(next)) => trial = next,
            Some(Err(_)) | None => return Err(Unreached { denial, tried: Some(Tried { server, since }) }),
        }
    }
}

fn left(clock: &Clock, patience: Patience) -> Duration {
    Duration::from_millis(patience.connect.min(patience.until.saturating_sub(clock.mono())))
}

/// What is told where there is no server.
#[must_use]
pub fn nobody(why: Nobody) -> Unreached {
    let why = match why {
        Nobody::Full => "every server has its max_connections",
        Nobody::Left => "every server is drained",
    };
    Unreached { denial: Denial { retry_after: Some(1), ..Denial::new(Deny::UpstreamFull, why) }, tried: None }
}
