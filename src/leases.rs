//! Fills leases up: one task beside the traffic takes the accounts that want more, and asks Redis for each.
//!
//! No session waits for it. Where Redis does not answer an account acts as `[redis] on_error` says until it does, and
//! wishes again some times a second; while Redis is known not to answer that is no call over the network.

use std::future::poll_fn;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::now::Clock;
use crate::policy::lease::table::Leased;
use crate::policy::lease::wishes::Wishes;
use crate::policy::lease::{Question, Told};
use crate::store::{Redis, RemoteBudget, Unavailable};

/// Questions under way at once, of the places that the store has for all. Further accounts wait for their turn.
const AT_ONCE: usize = 256;

/// Asks for ever. Needs a local runtime.
pub async fn run(wishes: Arc<Wishes>, redis: Redis, clock: Clock) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    loop {
        let account = poll_fn(|cx| wishes.poll_next(cx)).await;
        // It is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (redis, clock) = (redis.clone(), clock.clone());
        tokio::task::spawn_local(async move {
            fill(&account, &redis, &clock).await;
            drop(place);
        });
    }
}

/// One question and its answer; and what is left, if its last session went meanwhile.
async fn fill(account: &Leased, redis: &Redis, clock: &Clock) {
    while let Some(question) = account.question() {
        let told = ask(account, question, redis).await;
        if told.is_err() {
            redis.fell_back();
        }
        if !account.answered(told.ok(), clock.mono()) {
            return;
        }
    }
}

async fn ask(account: &Leased, question: Question, redis: &Redis) -> Result<Told, Unavailable> {
    let (terms, zone, key) = (account.terms(), account.zone(), account.key());
    let budget = RemoteBudget { zone, key, rate: terms.rate, burst: terms.burst };
    let Question { want, debt, back } = question;
    if back > 0 {
        redis.give_back(&budget, back, debt).await?;
        return Ok(Told { units: 0, retry_ms: 0, excess: 0 });
    }
    let granted = redis.lease(&budget, want, debt).await?;
    Ok(Told { units: granted.units, retry_ms: granted.retry_ms, excess: granted.excess })
}
