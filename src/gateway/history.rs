//! The last minutes in samples of the counters, so that the operator's page has lines to draw as soon as it is opened. One
//! task of the thread that carries no traffic takes them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use crate::admin::HistoryStatus;
use crate::books::Books;
use crate::deny::{Deny, Direction};

use crate::metrics::totals::Totals;

const EVERY: Duration = Duration::from_secs(2);

/// Five minutes of samples, and the one that they begin from.
const KEPT: usize = 151;

/// The samples, the oldest first. Some 1 KiB each at the most: a count for each reason that there was.
pub(super) struct History(Mutex<VecDeque<Sample>>);

struct Sample {
    /// Of [`crate::now::Now`].
    mono: u64,
    totals: Totals,
}

impl History {
    /// With a first sample, so that there is always one.
    pub(super) fn new(books: &Books) -> Self {
        let history = Self(Mutex::default());
        history.take(books);
        history
    }

    /// Takes a sample every two seconds.
    pub(super) async fn keep(self: Arc<Self>, books: Arc<Books>) {
        loop {
            sleep(EVERY).await;
            self.take(&books);
        }
    }

    fn take(&self, books: &Books) {
        let mut totals = books.metrics.totals();
        // Nobody draws these, and they are three to a reason.
        totals.ended = Vec::new();
        let mut samples = self.0.lock();
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { mono: books.clock.mono(), totals });
    }

    /// Column by column.
    pub(super) fn shown(&self) -> HistoryStatus {
        let samples = self.0.lock();
        let each = |value: &dyn Fn(&Sample) -> u64| samples.iter().map(value).collect::<Vec<u64>>();
        let (up, down) = (Direction::ToUpstream.index(), Direction::ToClient.index());
        HistoryStatus {
            span_seconds: EVERY.as_secs() * (KEPT as u64 - 1),
            time_ms: each(&|sample| sample.mono),
            sessions: each(&|sample| sample.totals.sessions),
            messages_to_upstream: each(&|sample| sample.totals.messages[up]),
            messages_to_client: each(&|sample| sample.totals.messages[down]),
            bytes_to_upstream: each(&|sample| sample.totals.bytes[up]),
            bytes_to_client: each(&|sample| sample.totals.bytes[down]),
            admitted: each(&|sample| sample.totals.admitted),
            refused: each(&|sample| sample.totals.refused.iter().map(|(_, count)| count).sum()),
        }
    }

    /// Refusals by this reason before the oldest sample was taken.
    pub(super) fn refused_before(&self, deny: Deny) -> u64 {
        let samples = self.0.lock();
        let oldest = samples.front().into_iter().flat_map(|sample| &sample.totals.refused);
        oldest.filter(|(reason, _)| *reason == deny).map(|(_, count)| *count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_log::{AccessLog, Format};
    use crate::books::recent::Recent;
    use crate::id::{Id, Ids};
    use crate::metrics::{Example, Metrics, Sources};
    use crate::now::Clock;
    use crate::policy::roll::Roll;
    use crate::session::buffered::Buffered;
    use crate::session::live::Registry;
    use crate::spans::Spans;

    fn books() -> Books {
        let clock = Clock::stopped();
        let metrics = Metrics::new(&Roll::of(["chat"]), 1, &[], clock.now(), Sources::default());
        let (log, _) = AccessLog::new(Format::Off, std::io::sink());
        let (sessions, buffered) = (Registry::new(1), Buffered::new(1));
        Books {
            clock,
            metrics,
            log,
            ids: Ids::default(),
            sessions,
            spans: Spans::new(None),
            buffered,
            recent: Recent::default(),
        }
    }

    #[test]
    fn the_history_is_five_minutes_long_and_says_what_was_refused_before_it() {
        let books = books();
        let history = History::new(&books);
        assert_eq!(history.shown().time_ms, [0]);
        for _ in 0..200 {
            books.clock.advance(EVERY);
            books.metrics.handshake(Some(0), Err(Deny::RouteCap), 1, Example { id: Id(1), wall: 0 });
            history.take(&books);
        }
        let shown = history.shown();
        let (times, refused) = (&shown.time_ms, &shown.refused);
        assert_eq!((times.len(), times[0], times[KEPT - 1]), (KEPT, 100_000, 400_000));
        assert_eq!((shown.span_seconds, refused[0], refused[KEPT - 1]), (300, 50, 200));
        assert_eq!((history.refused_before(Deny::RouteCap), history.refused_before(Deny::NoRoute)), (50, 0));
    }
}
