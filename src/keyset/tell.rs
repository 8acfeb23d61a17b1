//! What an operator reads of a key set's fetches: each change once, not each try.

use std::sync::Arc;

use super::fetch::Failure;
use crate::now::Now;
use crate::policy::token::discovery::shown;
use crate::policy::token::published::{Published, Standing, Taken};

/// What was said last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Fetched,
    Failing,
    Unavailable,
}

/// Remembers what was said of one set.
pub(super) struct Teller {
    published: Arc<Published>,
    said: Said,
    /// The keys that were said to be left aside.
    skipped: String,
}

impl Teller {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self { published, said: Said::Nothing, skipped: String::new() }
    }

    /// A set was taken.
    pub(super) fn taken(&mut self, taken: &Taken) {
        let Published { jwt, location, .. } = &*self.published;
        let keys = taken.keys;
        match self.said {
            Said::Nothing => tracing::info!(%jwt, url = %location, keys, "a key set was fetched"),
            Said::Failing | Said::Unavailable => {
                tracing::info!(%jwt, url = %location, keys, "a key set is fetched again");
            }
            Said::Fetched => {}
        }
        self.said = Said::Fetched;
        let skipped = shown(&taken.skipped.join("; "));
        if skipped != self.skipped && !skipped.is_empty() {
            tracing::warn!(%jwt, url = %location, %skipped, "keys of a key set are left aside");
        }
        self.skipped = skipped;
    }

    /// A fetch failed at `now`.
    pub(super) fn failed(&mut self, failure: &Failure, now: Now) {
        let jwt = &self.published.jwt;
        let Failure { url, what } = failure;
        let error = shown(what);
        let standing = self.published.standing(now);
        if standing != Standing::Good && self.said != Said::Unavailable {
            self.said = Said::Unavailable;
            tracing::error!(%jwt, %url, %error, "a key set can't be fetched, and there is none to use: its tokens get 503");
        } else if standing == Standing::Good && self.said != Said::Failing {
            self.said = Said::Failing;
            tracing::warn!(%jwt, %url, %error, "a key set can't be fetched: the last one is used for jwks_max_stale");
        }
    }
}
