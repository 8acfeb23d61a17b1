//! Whose connection it is. Where a listener wants it so, a header of the PROXY protocol says that at its head; it is read to
//! its last byte and none behind it: TLS or HTTP follow, for others to read.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::Accepted;
use crate::config::ProxyProtocol;
use crate::deny::Deny;
use crate::gateway::Shared;
use crate::handshake::record::Attempt;
use crate::policy::Denial;
use crate::policy::proxy_protocol::{self, Ends};

/// Bytes that are looked at in one go. Most headers are shorter.
const LOOK: usize = 256;

/// The two ends of a connection. None: it is over, and written down.
///
/// From here on the place that it holds among the handshakes under way is its client's, not the proxy's.
pub(super) async fn ends(shared: &Arc<Shared>, accepted: &mut Accepted, begun: u64, deadline: Instant) -> Option<Ends> {
    let listening = &accepted.edition.listeners[accepted.listener];
    let peer = accepted.peer;
    // An address that nobody can ask for any more belongs to a connection that is over.
    let local = accepted.tcp.local_addr().unwrap_or(SocketAddr::new(peer.ip(), 0));
    let own = Ends { source: peer, destination: SocketAddr::new(local.ip().to_canonical(), local.port()) };
    if listening.proxy_protocol == ProxyProtocol::Off {
        return Some(own);
    }
    let refuse = |deny, why| {
        let attempt = Attempt::headless(shared.clone(), accepted.id, listening.name.clone(), peer.ip(), begun);
        attempt.refused(&Denial::new(deny, why), false);
        None
    };
    if !accepted.edition.policy.is_trusted_proxy(peer.ip()) {
        return refuse(Deny::BadProxyHeader, "the peer is not one of trusted_proxies");
    }
    // Boxed, for few listeners ask for it, and every connection would have room for what is read.
    match timeout_at(deadline, Box::pin(read(&mut accepted.tcp))).await {
        Ok(Ok(None)) => Some(own),
        Ok(Ok(Some(ends))) => {
            let Some(share) = shared.handshake_share(&accepted.edition, ends.source.ip()) else {
                shared.books.metrics.shed(accepted.listener);
                return None;
            };
            accepted.place.hold(share);
            Some(ends)
        }
        Ok(Err(Failure::Nothing)) => None,
        Ok(Err(Failure::Unfit(why))) => refuse(Deny::BadProxyHeader, why),
        Err(_) => refuse(Deny::HandshakeTimeout, "the PROXY header took longer than handshake_timeout"),
    }
}

/// Why there is no header.
enum Failure {
    /// The connection ended without a byte, as a check of whether anybody listens does.
    Nothing,
    /// What came is none.
    Unfit(&'static str),
}

/// The ends that the header names; none if it names nobody.
async fn read(tcp: &mut TcpStream) -> Result<Option<Ends>, Failure> {
    let mut seen = Vec::new();
    loop {
        let mut next = [0; LOOK];
        let there = tcp.peek(&mut next).await.unwrap_or(0);
        if there == 0 {
            let cut = Failure::Unfit("the connection ended in the midst of the PROXY header");
            return Err(if seen.is_empty() { Failure::Nothing } else { cut });
        }
        let before = seen.len();
        seen.extend_from_slice(&next[..there]);
        let length = proxy_protocol::length(&seen).map_err(Failure::Unfit)?;
        seen.truncate(length.unwrap_or(usize::MAX));
        // They are there: this waits for nothing.
        let taken = &mut next[..seen.len() - before];
        tcp.read_exact(taken).await.map_err(|_| Failure::Unfit("the connection was reset"))?;
        if length == Some(seen.len()) {
            return proxy_protocol::parse(&seen).map_err(Failure::Unfit);
        }
    }
}
