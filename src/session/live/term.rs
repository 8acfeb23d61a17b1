//! When a session's identity ends: read by the session at every wake, moved by a renewal on another thread.
//!
//! Whether a session still lives is the same word of memory. So of a renewal and an end that meet, exactly one comes first: a
//! session that was renewed goes on, and one that has begun to end is not renewed any more.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::policy::expiry::NEVER;

/// A session that has begun to end. No deadline is that early.
const OVER: u64 = 0;

/// Milliseconds. One `exp` is not the same moment of the monotonic clock each time that it is reckoned, since the wall clock
/// is set now and then: what ends within a second of the old end ends as late. So a renewal may be sent twice.
const SLACK: u64 = 1000;

/// The moment, in [`crate::now::Now::mono`].
#[derive(Debug)]
pub struct Term(AtomicU64);

impl Default for Term {
    /// Without end.
    fn default() -> Self {
        Self::new(None)
    }
}

impl Term {
    /// Until then; none is without end.
    #[must_use]
    pub fn new(until: Option<u64>) -> Self {
        Self(AtomicU64::new(until.map_or(NEVER, |until| until.max(OVER + 1))))
    }

    /// The moment as it is now.
    #[must_use]
    #[inline]
    pub fn get(&self) -> u64 {
        // Relaxed: nothing else is read by what it says. A session that was moved is woken after it.
        self.0.load(Ordering::Relaxed)
    }

    /// Moves it to a later moment; it is never moved back. False if the session has begun to end, or if it lasts longer as
    /// it is.
    pub fn extend(&self, until: Option<u64>) -> bool {
        let until = until.unwrap_or(NEVER);
        let later = |now: u64| (now != OVER && until.saturating_add(SLACK) >= now).then_some(until.max(now));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later).is_ok()
    }

    /// The session begins to end since this moment has come. False: it was moved meanwhile, and the session goes on.
    #[must_use]
    pub fn expire(&self, until: u64) -> bool {
        self.0.compare_exchange(until, OVER, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The session begins to end, for whatever reason.
    pub fn end(&self) {
        self.0.store(OVER, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn it_is_never_moved_back() {
        let term = Term::new(Some(10_000));
        assert!(!term.extend(Some(8999)));
        for until in [9000, 10_000] {
            assert!(term.extend(Some(until)), "as late, give or take a second");
            assert_eq!(term.get(), 10_000);
        }
        assert!(term.extend(Some(10_001)));
        assert_eq!(term.get(), 10_001);
        assert!(term.extend(None));
        assert_eq!(term.get(), NEVER);
        assert!(term.extend(None) && !term.extend(Some(1000)));
        assert_eq!(term.get(), NEVER);
    }

    #[test]
    fn what_has_begun_to_end_is_not_renewed() {
        let term = Term::new(Some(100));
        term.end();
        assert!(!term.extend(Some(200)) && !term.extend(None));
        let term = Term::new(Some(100));
        assert!(term.expire(100) && !term.extend(Some(200)));
    }

    #[test]
    fn a_moment_that_has_moved_does_not_end_it() {
        let term = Term::new(Some(100));
        assert!(term.extend(Some(200)));
        assert!(!term.expire(100));
        assert_eq!(term.get(), 200);
    }

    #[test]
    fn of_a_renewal_and_an_end_that_meet_one_comes_first() {
        let mut renewed = 0;
        for round in 0..200 {
            let term = Arc::new(Term::new(Some(100)));
            let go = Arc::new(AtomicBool::new(false));
            let other = {
                let (term, go) = (term.clone(), go.clone());
                thread::spawn(move || {
                    while !go.load(Ordering::Acquire) {}
                    term.extend(Some(200))
                })
            };
            go.store(true, Ordering::Release);
            let ended = term.expire(100);
            let moved = other.join().unwrap();
            assert_ne!(ended, moved, "round {round}: both, or neither");
            renewed += usize::from(moved);
        }
        assert!(renewed < 200, "the end never came first");
    }
}
