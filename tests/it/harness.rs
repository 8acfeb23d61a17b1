//! What the tests are told with: a gateway, its neighbours, and patience with an end.

pub mod ask;
pub mod backend;
pub mod frame;
pub mod gate;
pub mod keyserver;
pub mod lines;
pub mod peer;
pub mod redis;
pub mod secure;

use std::future::Future;
use std::time::Duration;

pub use ask::Ask;
pub use backend::{Backend, Echo};
pub use frame::Frame;
pub use gate::{Gate, Setup};
pub use peer::Peer;

/// How long anything may take before a test gives up: far more than it needs, and less than nextest's own patience.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what nobody announces.
const LOOK: Duration = Duration::from_millis(2);

/// Waits for something that has to happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing for {PATIENCE:?}"),
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let looking = async {
        while !so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    within(what, looking).await;
}
