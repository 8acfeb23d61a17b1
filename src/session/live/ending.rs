//! Orders to many sessions at once, a few at a time, so that those who stay do not wait for those who go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Live;
use super::order::Order;

/// How many groups many sessions are told in. With the rest between them that is 600 ms, whatever their number: an end
/// takes effect within a second, the sessions' own part of it included.
const GROUPS: usize = 200;

/// Between two groups.
const REST: Duration = Duration::from_millis(3);

/// Sessions of the smallest group: few enough that a worker is through with them before anybody notices.
const LEAST: usize = 16;

/// Orders these sessions to end, and says how many there are that nobody had told before. The first are told before this
/// returns; to be called where `tokio::task::spawn_local` may be.
pub fn end(mut lives: Vec<Arc<Live>>, order: &Order) -> usize {
    lives.retain(|live| live.ordered().is_none());
    let count = lives.len();
    let group = count.div_ceil(GROUPS).max(LEAST);
    let later = lives.split_off(count.min(group));
    for live in lives {
        live.order(order.clone());
    }
    if !later.is_empty() {
        tokio::task::spawn_local(end_later(later, group, order.clone()));
    }
    count
}

async fn end_later(lives: Vec<Arc<Live>>, group: usize, order: Order) {
    for group in lives.chunks(group) {
        sleep(REST).await;
        for live in group {
            live.order(order.clone());
        }
    }
}
