//! What an operator reads of the store: that it is lost, and that it is back; each once, never once a call.

use crate::policy::remote::{OnError, Remote};

/// Remembers what was said.
pub(super) struct Teller {
    place: String,
    on_error: OnError,
    /// Whether it is there, once anything was said.
    said: Option<bool>,
}

impl Teller {
    pub(super) fn new(remote: &Remote) -> Self {
        Self { place: remote.to_string(), on_error: remote.on_error, said: None }
    }

    /// It can be asked.
    pub(super) fn back(&mut self) {
        match self.said.replace(true) {
            None => tracing::info!(redis = self.place, "Redis is connected"),
            Some(false) => tracing::info!(redis = self.place, "Redis is back"),
            Some(true) => {}
        }
    }

    /// It can't be asked.
    pub(super) fn lost(&mut self, why: &str) {
        if self.said.replace(false) != Some(false) {
            let limits = match self.on_error {
                OnError::Local => "each gateway counts for itself",
                OnError::Open => "shared limits let everything through",
                OnError::Closed => "shared limits refuse",
            };
            tracing::warn!(redis = self.place, error = why, "Redis does not answer; until it does, {limits}");
        }
    }
}
