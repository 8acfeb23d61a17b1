//! Exemplars: beside a histogram's bucket, the last connection that fell into it, so that one finds its lines in the log.

use std::fmt;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabel, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::exemplar::HistogramWithExemplars;

use crate::id::Id;

/// The one label.
pub(super) const LABEL: &str = "connection_id";

/// One connection as an example of what was counted. A bucket keeps its last.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// Which.
    pub id: Id,
    /// When, in [`crate::now::Now::wall`].
    pub wall: u64,
}

/// A histogram with such examples.
pub(super) type Histogram = HistogramWithExemplars<Labels>;

/// The labels of an example.
#[derive(Debug)]
pub(super) struct Labels(Id);

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        (LABEL, self.0.to_string()).encode(encoder.encode_label())
    }
}

/// Counts a value, and keeps the example.
pub(super) fn observe(histogram: &Histogram, value: f64, example: Example) {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(example.wall));
    histogram.observe(value, Some(Labels(example.id)), at);
}
