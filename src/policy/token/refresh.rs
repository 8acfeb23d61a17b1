//! When a published key set is fetched: as often as its server says, less often while that fails, and for the sake of
//! tokens no more than once a cooldown. Times are milliseconds on the clock that never goes back, but for `wall`.

use std::time::UNIX_EPOCH;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

use crate::now::millis;

/// No server makes the gateway ask more often, nor less often: a key that was taken out of its set must go some day.
pub const LEAST: u64 = 30_000;
/// See [`LEAST`].
pub const MOST: u64 = 24 * 3_600_000;

/// After the first failure, and after many.
const BACK_OFF: (u64, u64) = (1000, 60_000);

/// What an operator chose, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two fetches where the server does not say.
    pub refresh: u64,
    /// For how long a set is used that can't be fetched anew.
    pub max_stale: u64,
    /// From one fetch for a token's sake to the next.
    pub cooldown: u64,
}

/// For how long the answer is fresh (RFC 9111 s4.2.1), if its headers say so. Not to be cached at all is no answer
/// either: keys that are not kept check nothing, so it is the operator's word that counts then.
#[must_use]
pub fn lifetime(headers: &HeaderMap, wall: u64) -> Option<u64> {
    let values = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    let mut max_age: Option<u64> = None;
    for directive in values.flat_map(|value| value.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "no-cache" | "no-store" => return None,
            "max-age" => {
                let Ok(seconds) = value.trim().trim_matches('"').parse::<u64>() else { continue };
                max_age = Some(max_age.map_or(seconds, |other| other.min(seconds)));
            }
            _ => {}
        }
    }
    let fresh = match max_age {
        // RFC 9111 s4.2.3: what a cache on the way kept it for is over already.
        Some(seconds) => seconds.saturating_sub(number(headers, AGE).unwrap_or(0)).saturating_mul(1000),
        None => date(headers, EXPIRES)?.saturating_sub(date(headers, DATE).unwrap_or(wall)),
    };
    (fresh > 0).then_some(fresh)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(millis)
}

/// How long after a good fetch the next one is due. `dice` is any number: gateways that started together do not ask
/// together.
#[must_use]
pub fn after_success(timing: &Timing, lifetime: Option<u64>, dice: u32) -> u64 {
    // Half of the patience: so a fetch that fails is followed by others before the set is too old.
    let most = MOST.min(timing.max_stale / 2).max(LEAST);
    let wanted = lifetime.unwrap_or(timing.refresh).clamp(LEAST, most);
    earlier(wanted, dice).max(LEAST)
}

/// How long after so many failures in a row, at least one, the next try is due.
#[must_use]
pub fn after_failure(failures: u32, dice: u32) -> u64 {
    let doubled = BACK_OFF.0.checked_shl(failures.saturating_sub(1).min(32)).unwrap_or(BACK_OFF.1);
    earlier(doubled.min(BACK_OFF.1), dice)
}

/// Up to a tenth less.
fn earlier(time: u64, dice: u32) -> u64 {
    // At most a day's milliseconds times 2^32: far below 2^64.
    time - ((time / 10 * u64::from(dice)) >> 32)
}

/// What a token gets that asks for a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// One begins for its sake: whoever fetches has to be told.
    Begin,
    /// One is under way or about to be.
    Join,
    /// The last one is too recent.
    Refused,
}

/// The fetches of one key set: one at a time, each with its reason.
#[derive(Debug, Default)]
pub struct Plan {
    due: u64,
    failures: u32,
    /// A token asked, and nobody has begun yet.
    asked: bool,
    under_way: bool,
    /// When a token last caused a fetch.
    last_asked: Option<u64>,
}

impl Plan {
    /// A token asks for a fetch.
    pub fn ask(&mut self, timing: &Timing, now: u64) -> Asked {
        if self.under_way || self.asked {
            return Asked::Join;
        }
        if self.last_asked.is_some_and(|last| now.saturating_sub(last) < timing.cooldown) {
            return Asked::Refused;
        }
        self.last_asked = Some(now);
        self.asked = true;
        Asked::Begin
    }

    /// Whether a fetch is to begin now; then it counts as under way.
    pub fn begin(&mut self, now: u64) -> bool {
        if now < self.due && !self.asked {
            return false;
        }
        self.asked = false;
        self.under_way = true;
        true
    }

    /// The fetch went well; the next is due so many milliseconds later.
    pub fn succeeded(&mut self, now: u64, after: u64) {
        self.under_way = false;
        self.failures = 0;
        self.due = now.saturating_add(after);
    }

    /// The fetch failed.
    pub fn failed(&mut self, now: u64, dice: u32) {
        self.under_way = false;
        self.failures = self.failures.saturating_add(1);
        self.due = now.saturating_add(after_failure(self.failures, dice));
    }

    /// When the next one is due.
    #[must_use]
    pub fn due(&self) -> u64 {
        self.due
    }
}

#[cfg(test)]
mod tests;
