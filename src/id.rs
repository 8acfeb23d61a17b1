//! The name of a connection: the same in the log, in the metrics' exemplars, at the admin's pages and in the header that the
//! upstream gets.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};

/// A connection's name: unique in this process, and most likely among its restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Gives connections their names, in the order in which they are accepted.
#[derive(Debug)]
pub struct Ids(AtomicU64);

impl Default for Ids {
    /// The start's random 32 bits, then a count that goes on into them if it must.
    fn default() -> Self {
        // The keys of std's hasher are random: no secret, but enough to tell this start from the one before.
        Self(AtomicU64::new(RandomState::new().hash_one(0_u8) << 32))
    }
}

impl Ids {
    /// A name for the next connection.
    #[must_use]
    pub fn next(&self) -> Id {
        Id(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_differ_between_starts() {
        let ids = Ids::default();
        let first = ids.next();
        assert_eq!(ids.next(), Id(first.0 + 1));
        assert_eq!(first.to_string().len(), 16);
        let starts: std::collections::HashSet<_> = (0..16).map(|_| Ids::default().next()).collect();
        assert!(starts.len() > 14, "{starts:?}");
    }
}
