//! One server is taken out: nothing new goes there, and those who are on it are told to go, one after the other.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::sleep;

use super::{Pool, Pools, Server};
use crate::books::Books;
use crate::deny::Deny;
use crate::metrics::UpstreamFill;
use crate::policy::pool::State;
use crate::policy::spread;

/// How often it is looked whether the next one is due.
const LOOK: Duration = Duration::from_millis(20);

impl Pools {
    /// The server of this address in the upstream of this name, also one that is gone and has sessions still.
    #[must_use]
    pub fn find(&self, upstream: &str, server: &str) -> Option<(Arc<Pool>, Arc<Server>)> {
        let pool = self.by_name.lock().get(upstream)?.clone();
        let server = pool.server(server)?;
        Some((pool, server))
    }
}

/// Tells the sessions of a drained server to go, spread over `window` milliseconds; ends early if it is let in again.
pub async fn close_sessions(books: Arc<Books>, server: Arc<Server>, window: u64) {
    let mut sessions = books.sessions.all();
    sessions.retain(|live| Arc::ptr_eq(&live.server, &server));
    let seed = RandomState::new().hash_one(());
    // Not in their order of arrival: who came together is not told together.
    sessions.sort_by_cached_key(|live| spread::draw(seed, live.id.0));
    let (count, begun) = (sessions.len(), books.clock.mono());
    let (upstream, label) = (&*server.upstream, &*server.label);
    tracing::info!(upstream, server = label, sessions = count, window_ms = window, "a server is drained");
    for (told, session) in sessions.into_iter().enumerate() {
        let moment = begun.saturating_add(spread::moment(told, count, window, seed));
        loop {
            if !server.is_drained() {
                return;
            }
            if books.clock.mono() >= moment {
                break;
            }
            sleep(LOOK).await;
        }
        session.order(Deny::UpstreamDrained);
    }
}

/// One upstream, as `/status` and `/upstreams` show it.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct UpstreamStatus {
    pub upstream: String,
    pub queue: u64,
    pub servers: Vec<ServerStatus>,
}

/// One of its servers.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct ServerStatus {
    pub server: String,
    pub state: State,
    pub sessions: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

impl From<UpstreamFill> for UpstreamStatus {
    fn from(fill: UpstreamFill) -> Self {
        let servers = fill.servers.into_iter();
        let servers = servers.map(|of| ServerStatus {
            server: of.server.to_string(),
            state: of.state,
            sessions: of.sessions,
            limit: of.limit,
        });
        Self { upstream: fill.upstream.to_string(), queue: fill.waiting, servers: servers.collect() }
    }
}
