//! The key set that an issuer publishes: whoever verifies reads it, whoever fetches puts a newer one in its place.
//!
//! What is published is known by the `[jwt.NAME]` and the `kid` together: each issuer has a set of its own, so one's
//! key never checks another's token.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::claims::{Header, Parts};
use super::keys::{self, Keys};
use super::refresh::Timing;
use super::{Refusal, discovery};
use crate::config::value::{Algorithm, Url};
use crate::deny::Deny;
use crate::now::Now;

/// The next one's [`Published::id`].
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where a key set is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// At this URL.
    Keys(Url),
    /// Where this issuer's discovery document says.
    Issuer(Url),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys(url) => write!(f, "{url}"),
            Self::Issuer(url) => match discovery::document_url(url) {
                Some(document) => write!(f, "{document}"),
                None => write!(f, "{url}"),
            },
        }
    }
}

/// The key set of one `[jwt.NAME]`, once it was fetched.
pub struct Published {
    /// Its number, unlike every other's in this process.
    pub id: u64,
    /// NAME.
    pub jwt: Arc<str>,
    /// Where it is found.
    pub location: Location,
    /// How often it is fetched.
    pub timing: Timing,
    algorithms: Vec<Algorithm>,
    set: ArcSwapOption<Set>,
    /// When it is fetched next, in [`Now::mono`], for `Retry-After`.
    due: AtomicU64,
}

struct Set {
    keys: Keys,
    /// When it was fetched, in [`Now::mono`].
    at: u64,
    /// Counts the sets, from 1.
    serial: u64,
}

/// A set by which a token could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// [`Published::id`].
    pub set: u64,
    /// The number of the set that was looked at; 0 where there was none.
    pub serial: u64,
    /// Whether there was one, without the key that the token names.
    pub unknown_kid: bool,
}

/// What was made of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Keys that can check a token.
    pub keys: usize,
    /// Why each of the others can't.
    pub skipped: Vec<String>,
}

/// How a key set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// None was ever fetched.
    Never,
    /// The last one is older than `jwks_max_stale`.
    TooOld,
    /// Tokens are checked with it.
    Good,
}

impl Published {
    pub(super) fn new(jwt: &str, location: Location, timing: Timing, algorithms: &[Algorithm]) -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            jwt: jwt.into(),
            location,
            timing,
            algorithms: algorithms.to_vec(),
            set: ArcSwapOption::empty(),
            due: AtomicU64::new(0),
        }
    }

    /// The one before, where nothing of it has changed, for a reload; else this one, with the keys that were fetched if they
    /// are found at the same place and read in the same way.
    pub(super) fn following(self: &Arc<Self>, known: &Arc<Self>) -> Arc<Self> {
        if (&known.location, &known.algorithms) != (&self.location, &self.algorithms) {
            return self.clone();
        }
        if known.timing == self.timing {
            return known.clone();
        }
        self.set.store(known.set.load_full());
        self.clone()
    }

    /// Puts a set that was fetched now in the place of the last one.
    ///
    /// # Errors
    /// What is wrong with it as a whole, or that no key of it can be used; then the last one stays.
    pub fn take(&self, text: &str, now: Now) -> Result<Taken, String> {
        let keys = Keys::published(&self.algorithms, text)?;
        let taken = Taken { keys: keys.len(), skipped: keys.skipped().to_vec() };
        self.set.store(Some(Arc::new(Set { keys, at: now.mono, serial: self.serial() + 1 })));
        Ok(taken)
    }

    /// How it stands at `now.mono`.
    #[must_use]
    pub fn standing(&self, now: Now) -> Standing {
        match &*self.set.load() {
            None => Standing::Never,
            Some(set) if self.is_too_old(set, now) => Standing::TooOld,
            Some(_) => Standing::Good,
        }
    }

    /// Milliseconds since it was last fetched; none if it never was.
    #[must_use]
    pub fn age(&self, now: Now) -> Option<u64> {
        self.set.load().as_ref().map(|set| now.mono.saturating_sub(set.at))
    }

    /// Keys in it, too old or not.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.set.load().as_ref().map_or(0, |set| set.keys.len())
    }

    /// The number of the last set; 0 while there is none.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.set.load().as_ref().map_or(0, |set| set.serial)
    }

    /// Says when it will be fetched next.
    pub fn set_due(&self, mono: u64) {
        self.due.store(mono, Ordering::Relaxed);
    }

    /// Seconds after which a client may find it fetched, from 1 to 60.
    fn retry_after(&self, now: Now) -> u64 {
        self.due.load(Ordering::Relaxed).saturating_sub(now.mono).div_ceil(1000).clamp(1, 60)
    }

    /// Whether a key that the header may pick made the signature.
    pub(super) fn check(&self, header: &Header, token: &Parts<'_>, now: Now) -> Result<(), Refusal> {
        // First, so that what no key of the operator's choice could check is not worth a fetch.
        let algorithm = keys::algorithm(&header.alg).ok_or(Refusal::invalid("its alg is not known"))?;
        if !self.algorithms.contains(&algorithm) {
            return Err(Refusal::invalid("its alg is not accepted"));
        }
        let set = self.set.load();
        let serial = set.as_ref().map_or(0, |set| set.serial);
        // A token that names no key names none that could be new.
        let behind = |unknown_kid| header.kid.as_ref().map(|_| Behind { set: self.id, serial, unknown_kid });
        let unavailable = |why| Refusal {
            deny: Deny::KeysUnavailable,
            behind: behind(false),
            retry_after: Some(self.retry_after(now)),
            ..Refusal::invalid(why)
        };
        let set = set.as_ref().ok_or(unavailable("its issuer's key set was never fetched"))?;
        if self.is_too_old(set, now) {
            return Err(unavailable("its issuer's key set is older than jwks_max_stale"));
        }
        if !set.keys.knows(header) {
            return Err(Refusal { behind: behind(true), ..Refusal::invalid(keys::UNKNOWN_KID) });
        }
        set.keys.check(header, token)
    }

    fn is_too_old(&self, set: &Set, now: Now) -> bool {
        now.mono.saturating_sub(set.at) > self.timing.max_stale
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").field("jwt", &self.jwt).field("location", &self.location).finish_non_exhaustive()
    }
}
