//! The only place that reads a clock.
//!
//! Decisions take [`Now`] as an argument: it is read once a handshake and once a socket read. A test moves its gateway's
//! clock ahead instead of waiting.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a clock that never goes back; its zero is the start of the process. Rates, idle times, deadlines.
    pub mono: u64,
    /// Milliseconds since 1970-01-01 UTC. Only for what the world dates: `exp`, `nbf`, log lines.
    pub wall: u64,
}

/// Where [`Now`] comes from. Clones share what [`Clock::advance`] added.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    ahead: Arc<AtomicU64>,
    /// Only [`Clock::advance`] moves it.
    #[cfg(test)]
    stopped: bool,
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads a clock")]
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            ahead: Arc::default(),
            #[cfg(test)]
            stopped: false,
        }
    }

    /// A clock that stands still until it is advanced: so that a test may stop a millisecond before a deadline, however slow
    /// the machine is. Timers for moments ahead do not ring.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        Self { stopped: true, ..Self::system() }
    }

    /// Both clocks, now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "the one place that reads a clock")]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono: self.mono(), wall: millis(wall) + self.ahead.load(Ordering::Relaxed) }
    }

    /// Milliseconds of [`Now::mono`] alone, for the hot path: half the cost of [`Clock::now`].
    #[must_use]
    pub fn mono(&self) -> u64 {
        #[cfg(test)]
        if self.stopped {
            return self.ahead.load(Ordering::Relaxed);
        }
        millis(self.start.elapsed()) + self.ahead.load(Ordering::Relaxed)
    }

    /// Microseconds since the start of the process, for how long something took. [`Clock::advance`] does not move it.
    #[must_use]
    pub fn micros(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// When a timer has to ring for the moment `mono` on this clock.
    #[must_use]
    pub fn instant(&self, mono: u64) -> Instant {
        let from_start = Duration::from_millis(mono.saturating_sub(self.ahead.load(Ordering::Relaxed)));
        #[cfg(test)]
        if self.stopped && !from_start.is_zero() {
            // Never, as tests go.
            return self.start + Duration::from_secs(86_400);
        }
        self.start.checked_add(from_start).unwrap_or(self.start)
    }

    /// Moves both clocks ahead, for every holder of this clock. For tests; running timers do not notice by themselves.
    pub fn advance(&self, by: Duration) {
        self.ahead.fetch_add(millis(by), Ordering::Relaxed);
    }
}

/// [`Now::wall`] as a person reads it: RFC 3339 in UTC, always with three digits of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(date) = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000) else {
            // After the year 9999: no RFC 3339 date, so the bare number.
            return write!(f, "{}", self.0);
        };
        let (year, month, day) = date.to_calendar_date();
        let (hour, minute, second, milli) = date.to_hms_milli();
        write!(f, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for Timestamp {
    type Err = ();

    /// Reads RFC 3339 with any offset, from 1970 on; what is below a millisecond is dropped.
    fn from_str(text: &str) -> Result<Self, ()> {
        let date = time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).map_err(|_| ())?;
        u64::try_from(date.unix_timestamp_nanos().div_euclid(1_000_000)).map(Self).map_err(|_| ())
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("no date as \"2026-11-23T12:00:00Z\", from 1970 on"))
    }
}

/// Whole milliseconds, saturating.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_709_251_199_007).to_string(), "2024-02-29T23:59:59.007Z");
        assert_eq!(Timestamp(u64::MAX).to_string(), u64::MAX.to_string());
    }

    #[test]
    fn a_timestamp_is_read_with_any_offset_and_not_before_1970() {
        assert_eq!("2024-02-29T23:59:59.007Z".parse(), Ok(Timestamp(1_709_251_199_007)));
        assert_eq!("2024-03-01T00:59:59.0079+01:00".parse(), Ok(Timestamp(1_709_251_199_007)));
        assert_eq!("9999-12-31T23:59:59.999Z".parse(), Ok(Timestamp(253_402_300_799_999)));
        for text in ["1969-12-31T23:59:59Z", "2024-02-30T00:00:00Z", "2024-02-29", "1709251199", "", "now"] {
            assert_eq!(text.parse::<Timestamp>(), Err(()), "{text}");
        }
    }
}
