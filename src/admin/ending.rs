//! Orders to many sessions at once, a few at a time, so that those who stay do not wait for those who go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::session::live::Live;
use crate::session::live::order::Order;

/// Sessions that are told at once: their Closes take a worker well under a millisecond.
const BATCH: usize = 64;

/// Between two batches. 5,000 sessions are told within 160 ms.
const REST: Duration = Duration::from_millis(2);

/// Orders these sessions to end, and says how many there are that nobody had told before. The first are told before this
/// returns; to be called where `tokio::task::spawn_local` may be.
pub(super) fn end(mut lives: Vec<Arc<Live>>, order: &Order) -> usize {
    lives.retain(|live| live.ordered().is_none());
    let count = lives.len();
    let later = lives.split_off(count.min(BATCH));
    for live in lives {
        live.order(order.clone());
    }
    if !later.is_empty() {
        tokio::task::spawn_local(end_later(later, order.clone()));
    }
    count
}

async fn end_later(lives: Vec<Arc<Live>>, order: Order) {
    for batch in lives.chunks(BATCH) {
        sleep(REST).await;
        for live in batch {
            live.order(order.clone());
        }
    }
}
