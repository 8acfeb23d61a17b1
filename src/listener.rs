//! The accept loop: never slow, never fatal.
//!
//! Its only waits are for a client, for a free place among the handshakes under way, and for descriptors when there are
//! none.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::{self, Accepted};
use crate::gateway::{Phase, Place, Shared, Worker};
use crate::policy::overload::Pace;

/// How long accepting rests after an error that is not one client's own.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts until the gateway drains or another process does it; `index` is the listener's place in the file.
pub async fn run(worker: Rc<Worker>, listener: TcpListener, index: usize) {
    let shared = worker.shared.clone();
    let metrics = &shared.books.metrics;
    let mut phase = shared.phase.subscribe();
    loop {
        // Given up here alone: who was accepted is never dropped for a change of the phase.
        let accepted = tokio::select! {
            biased;
            // The sender lives in `shared`, which lives here: there is no other end to this wait.
            _ = phase.wait_for(|phase| !phase.accepts()) => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                metrics.accepted(index);
                let id = shared.books.ids.next();
                let edition = shared.edition();
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                if edition.listeners[index].tls.is_some() && worker.pace(&edition) == Pace::FarBehind {
                    metrics.shed(index);
                    continue;
                }
                let Some(share) = shared.handshake_share(&edition, peer.ip()) else {
                    metrics.shed(index);
                    continue;
                };
                // Reached, this bound leaves further clients in the kernel's queue.
                let Some(place) = place(&shared).await else { return };
                let accepted = Accepted { id, tcp, peer, edition, listener: index, place: Place::new(place, share) };
                tokio::task::spawn_local(connection::serve(worker.clone(), accepted));
            }
            Err(error) => {
                metrics.accept_failed(index);
                if is_one_clients(&error) {
                    continue;
                }
                tracing::error!(listener = &*shared.edition().listeners[index].name, %error, "accepting rests for 100 ms");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

/// A place among the handshakes under way, once one is free; none if the gateway stops before.
async fn place(shared: &Shared) -> Option<OwnedSemaphorePermit> {
    let mut phase = shared.phase.subscribe();
    tokio::select! {
        biased;
        // It is never closed.
        place = shared.handshakes.clone().acquire_owned() => place.ok(),
        _ = phase.wait_for(|phase| *phase == Phase::Stopped) => None,
    }
}

/// accept(2): errors of the connection that was to be accepted, not of the listener.
fn is_one_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut)
}
