//! What a gateway counts of the spans that it sends to a collector.

use super::counts::Shared;

/// What becomes of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanResult {
    /// The collector took it.
    Exported,
    /// There was no room for it.
    Dropped,
    /// The collector refused it, or did not answer in time.
    Failed,
}

impl SpanResult {
    const ALL: [Self; 3] = [Self::Exported, Self::Dropped, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// The counts of one queue.
#[derive(Debug, Default)]
pub struct SpanCounts([Shared; SpanResult::ALL.len()]);

impl SpanCounts {
    /// So became of so many.
    pub fn add(&self, result: SpanResult, count: u64) {
        self.0[result as usize].add(count);
    }

    /// Every result with its count.
    pub fn results(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SpanResult::ALL.into_iter().map(|result| (result.label(), self.0[result as usize].get()))
    }
}
