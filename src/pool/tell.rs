//! What the log says of servers: each change once.

use super::Server;

pub(super) fn ejected(server: &Server, for_ms: u64) {
    let (upstream, server) = (&*server.upstream, &*server.label);
    tracing::warn!(upstream, server, for_ms, "handshakes fail at a server: it is left out for a while");
}

pub(super) fn back(server: &Server) {
    let (upstream, server) = (&*server.upstream, &*server.label);
    tracing::info!(upstream, server, "a server that was left out answers again");
}

pub(super) fn down(server: &Server, why: &'static str) {
    let (upstream, server) = (&*server.upstream, &*server.label);
    tracing::warn!(upstream, server, why, "a server is down by its health checks");
}

pub(super) fn up(server: &Server) {
    let (upstream, server) = (&*server.upstream, &*server.label);
    tracing::info!(upstream, server, "a server is up by its health checks");
}

/// `failed` is a name that could not be looked up, `before` whether the round before had one.
pub(super) fn lookups(upstream: &str, failed: Option<&str>, before: bool) {
    match failed {
        Some(name) if !before => {
            tracing::warn!(upstream, name, "a name could not be looked up: its last addresses stay");
        }
        None if before => tracing::info!(upstream, "names are looked up again"),
        Some(_) | None => {}
    }
}
