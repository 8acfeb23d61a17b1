//! Costly steps, one at a time: between two of them whatever else waits on the worker is served.
//!
//! A thousand clients that come back at once are a thousand signatures. Done one behind the other they are seconds in
//! which no message moves; done so, those who are in notice the cost of one.

use tokio::sync::Semaphore;
use tokio::task::yield_now;

/// Who may take the next step, in the order in which they asked.
#[derive(Debug)]
pub struct Turns(Semaphore);

impl Default for Turns {
    fn default() -> Self {
        Self(Semaphore::new(1))
    }
}

impl Turns {
    /// Waits for the turn, lets what is ready go first, and takes the step.
    pub async fn take<T>(&self, step: impl FnOnce() -> T) -> T {
        // It is never closed; held until the step is done.
        let _turn = self.0.acquire().await;
        yield_now().await;
        step()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn others_have_a_turn_between_two_steps() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (turns, seen) = (Turns::default(), RefCell::new(String::new()));
        let step = || turns.take(|| seen.borrow_mut().push('s'));
        let other = async {
            for _ in 0..3 {
                seen.borrow_mut().push('o');
                yield_now().await;
            }
        };
        runtime.block_on(async { tokio::join!(step(), step(), step(), other) });
        let seen = seen.into_inner();
        assert_eq!(seen.matches('s').count(), 3);
        assert!(!seen.contains("ss") || seen.ends_with("ss") && seen.matches("ss").count() == 1, "{seen}");
    }
}
