//! What is counted of the servers of upstreams. The counts live with the server, and a scrape asks for them: servers come
//! and go while the gateway runs.

use std::array;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::histogram::Histogram;

use super::counts::Shared;
use super::family;
use super::scrape::family;
use crate::deny::Deny;
use crate::policy::pool::State;

/// Seconds. In one network a WebSocket is answered within a few milliseconds, by a busy server within some hundred.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// What may become of a handshake at its server.
const RESULTS: [(&str, Option<Deny>); 5] = [
    ("ok", None),
    ("upstream_connect", Some(Deny::UpstreamConnect)),
    ("upstream_refused", Some(Deny::UpstreamRefused)),
    ("upstream_timeout", Some(Deny::UpstreamTimeout)),
    ("client_lost", Some(Deny::ClientLost)),
];

/// The counts of one server.
#[derive(Debug)]
pub struct ServerCounts {
    handshakes: [Shared; RESULTS.len()],
    ejections: Shared,
    /// Good ones, bad ones.
    checks: [Shared; 2],
    seconds: Histogram,
}

impl Default for ServerCounts {
    fn default() -> Self {
        Self {
            handshakes: array::from_fn(|_| Shared::default()),
            ejections: Shared::default(),
            checks: array::from_fn(|_| Shared::default()),
            seconds: Histogram::new(SECONDS),
        }
    }
}

impl ServerCounts {
    /// A handshake was answered with a good 101, after so many microseconds, connecting included.
    pub fn answered(&self, micros: u64) {
        self.handshakes[0].up();
        self.seconds.observe(micros as f64 / 1e6);
    }

    /// A handshake came to nothing.
    pub fn failed(&self, deny: Deny) {
        let at = RESULTS.iter().position(|(_, of)| *of == Some(deny));
        // Whatever else ends a handshake at its server is not the server's doing.
        self.handshakes[at.unwrap_or(RESULTS.len() - 1)].up();
    }

    /// It is left out for a while.
    pub fn ejected(&self) {
        self.ejections.up();
    }

    /// A check is over.
    pub fn checked(&self, good: bool) {
        self.checks[usize::from(!good)].up();
    }
}

/// How an upstream stands.
#[derive(Debug)]
pub struct UpstreamFill {
    /// Its name.
    pub upstream: Arc<str>,
    /// Handshakes that wait for one of its servers.
    pub waiting: u64,
    /// Handshakes that were sent to a server that was not thought to be well, since none was.
    pub panics: u64,
    /// Lookups of its names that failed.
    pub lookup_failures: u64,
    /// Its servers.
    pub servers: Vec<ServerFill>,
}

/// How one server stands.
#[derive(Debug)]
pub struct ServerFill {
    /// Its address.
    pub server: Arc<str>,
    /// How it is.
    pub state: State,
    /// Sessions that it has, handshakes under way included.
    pub sessions: u64,
    /// How many it may have.
    pub limit: Option<u64>,
    /// What was counted.
    pub counts: Arc<ServerCounts>,
}

pub(super) fn encode(all: &[UpstreamFill], to: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let servers = || all.iter().flat_map(|fill| fill.servers.iter().map(|server| (&*fill.upstream, server)));
    family(to, &family::SERVER_UP, |out| {
        servers().try_for_each(|(name, of)| out.gauge([name, &of.server], u64::from(of.state == State::Up)))
    })?;
    family(to, &family::SERVER_SESSIONS, |out| {
        servers().try_for_each(|(name, of)| out.gauge([name, &of.server], of.sessions))
    })?;
    family(to, &family::SERVER_HANDSHAKES, |out| {
        servers().try_for_each(|(name, of)| {
            let mut results = RESULTS.iter().zip(&of.counts.handshakes);
            results.try_for_each(|((result, _), count)| out.counter([name, &of.server, result], count.get()))
        })
    })?;
    family(to, &family::SERVER_SECONDS, |out| {
        servers().try_for_each(|(name, of)| out.histogram([name, &of.server], &of.counts.seconds))
    })?;
    family(to, &family::SERVER_EJECTIONS, |out| {
        servers().try_for_each(|(name, of)| out.counter([name, &of.server], of.counts.ejections.get()))
    })?;
    family(to, &family::SERVER_CHECKS, |out| {
        servers().try_for_each(|(name, of)| {
            let mut results = ["ok", "failed"].into_iter().zip(&of.counts.checks);
            results.try_for_each(|(result, count)| out.counter([name, &of.server, result], count.get()))
        })
    })?;
    family(to, &family::UPSTREAM_WAITING, |out| all.iter().try_for_each(|of| out.gauge([&of.upstream], of.waiting)))?;
    family(to, &family::UPSTREAM_PANICS, |out| all.iter().try_for_each(|of| out.counter([&of.upstream], of.panics)))?;
    family(to, &family::LOOKUP_FAILURES, |out| {
        all.iter().try_for_each(|of| out.counter([&of.upstream], of.lookup_failures))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two servers: one that is well, and one that has had a bad day.
    pub(in crate::metrics) fn upstream() -> UpstreamFill {
        let server =
            |server: &str, state, counts| ServerFill { server: server.into(), state, sessions: 2, limit: None, counts };
        let bad = ServerCounts::default();
        bad.answered(3000);
        bad.failed(Deny::UpstreamTimeout);
        bad.ejected();
        bad.checked(true);
        bad.checked(false);
        let servers = vec![
            server("10.0.0.1:80", State::Up, Arc::default()),
            server("10.0.0.2:80", State::Ejected, Arc::new(bad)),
        ];
        UpstreamFill { upstream: "chat".into(), waiting: 3, panics: 4, lookup_failures: 5, servers }
    }
}
