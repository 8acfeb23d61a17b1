//! The last refusals, for who looks at the operator's page instead of the log: bounded in number, in length, and in how many
//! are taken in a second, so that a flood neither waits here nor sweeps away all that came before it.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::Serialize;

use crate::access_log::{Refused, Said};
use crate::id::Id;
use crate::now::Timestamp;

/// Refusals that are kept. With texts as long as the log has them, some 150 KiB.
pub const KEPT: usize = 100;

/// Those of one second: so a flood leaves at least the last five seconds to look at.
const A_SECOND: usize = 20;

/// One refusal, as its line in the log has it.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "the table of the docs says it")]
pub struct Refusal {
    pub time: Timestamp,
    pub reason: &'static str,
    /// Whose doing it was.
    pub fault: String,
    pub connection_id: Id,
    pub listener: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<Box<str>>,
    pub client: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Box<str>>,
}

impl From<&Refused<'_>> for Refusal {
    fn from(refused: &Refused<'_>) -> Self {
        let kept = |said: &Option<Said<'_>>| said.as_ref().map(|said| said.as_ref().into());
        Self {
            time: refused.time,
            reason: refused.reason.label(),
            fault: refused.reason.row().fault.to_string(),
            connection_id: refused.connection_id,
            listener: refused.listener.into(),
            route: refused.route.map(Into::into),
            client: refused.client.to_canonical(),
            subject: kept(&refused.subject),
            host: kept(&refused.host),
            path: kept(&refused.path),
            origin: kept(&refused.origin),
            status: refused.status,
            close_code: refused.close_code,
            why: kept(&refused.why),
        }
    }
}

/// The last refusals of all workers.
#[derive(Debug, Default)]
pub struct Recent {
    ring: Mutex<Ring>,
    /// The second, since 1970, of which no more are taken.
    spent: AtomicU64,
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Refusal>,
    /// The second, since 1970, that is counted.
    second: u64,
    of_second: usize,
}

impl Recent {
    /// Keeps one, if there is room in its second and nobody else holds the list: no worker waits here.
    pub fn note(&self, refused: &Refused<'_>) {
        let second = refused.time.0 / 1000;
        let ring = if self.spent.load(Ordering::Relaxed) == second { None } else { self.ring.try_lock() };
        if let Some(mut ring) = ring {
            if ring.take(second, refused) {
                return;
            }
            self.spent.store(second, Ordering::Relaxed);
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Those that are kept, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Refusal> {
        self.ring.lock().kept.iter().rev().cloned().collect()
    }

    /// How many came too fast to be kept, ever.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out.load(Ordering::Relaxed)
    }
}

impl Ring {
    fn take(&mut self, second: u64, refused: &Refused<'_>) -> bool {
        if self.second != second {
            (self.second, self.of_second) = (second, 0);
        }
        if self.of_second == A_SECOND {
            return false;
        }
        self.of_second += 1;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(refused.into());
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;
    use crate::deny::Deny;

    fn refused(time: u64, why: &str) -> Refused<'_> {
        Refused {
            time: Timestamp(time),
            connection_id: Id(7),
            listener: "0.0.0.0:80",
            route: Some("chat"),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: None,
            path: Some(Said::path("/ws?token=secret")),
            origin: None,
            subject: None,
            upstream: None,
            reason: Deny::RouteCap,
            status: Some(503),
            close_code: None,
            duration_ms: 0,
            why: Some(Said::new(why)),
        }
    }

    #[test]
    fn the_last_hundred_refusals_are_kept_the_newest_first() {
        let recent = Recent::default();
        for n in 0..130 {
            recent.note(&refused(1000 + n * 1000, &n.to_string()));
        }
        let list = recent.list();
        assert_eq!((list.len(), recent.left_out()), (KEPT, 0));
        assert_eq!((list[0].why.as_deref(), list[KEPT - 1].why.as_deref()), (Some("129"), Some("30")));
        assert_eq!((list[0].reason, &*list[0].fault), ("route_cap", "limit"));
        assert_eq!(list[0].path.as_deref(), Some("/ws?[redacted]"));
    }

    #[test]
    fn of_a_flood_so_many_a_second_are_kept_and_the_others_counted() {
        let recent = Recent::default();
        recent.note(&refused(1_000, "before"));
        for n in 0..1000 {
            recent.note(&refused(5_000 + n % 1000, "flood"));
        }
        assert_eq!((recent.list().len(), recent.left_out()), (1 + A_SECOND, 1000 - A_SECOND as u64));
        recent.note(&refused(6_000, "after"));
        let list = recent.list();
        assert_eq!((list[0].why.as_deref(), list[A_SECOND + 1].why.as_deref()), (Some("after"), Some("before")));
    }

    #[test]
    fn who_finds_the_list_taken_goes_on_and_is_counted() {
        let recent = Arc::new(Recent::default());
        let held = recent.ring.lock();
        let other = recent.clone();
        std::thread::spawn(move || other.note(&refused(1_000, "meanwhile"))).join().unwrap();
        drop(held);
        assert_eq!((recent.list().len(), recent.left_out()), (0, 1));
        recent.note(&refused(1_001, "the same second, and nobody holds it"));
        assert_eq!((recent.list().len(), recent.left_out()), (1, 1));
    }

    #[test]
    fn a_text_is_kept_no_longer_than_the_log_has_it() {
        let recent = Recent::default();
        recent.note(&refused(1_000, &"x".repeat(100_000)));
        assert!(recent.list()[0].why.as_ref().unwrap().len() < 300);
    }
}
