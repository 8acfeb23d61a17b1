//! Lengths of time: `"500ms"`, `"30s"`, `"1h30m"`; a bare integer is seconds.

use std::str::FromStr;
use std::time::Duration;

use serde::Serializer;

use super::{Typed, typed_value};

/// The longest time that can be typed, 100 years: far beyond use, and far from overflow when added to a clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The units in milliseconds, from the largest: the order in which they may follow each other.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A length of time as it is typed. Zero is one; whether a key takes it is for the key's module below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeText(pub Duration);

impl FromStr for TimeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time\nas \"500ms\", \"30s\", \"5m\", \"1h30m\" or \"1d\"");
        let mut units = UNITS.iter();
        let mut total_ms: u64 = 0;
        let mut rest = text;
        while !rest.is_empty() || text.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (count, behind) = rest.split_at(digits);
            let letters = behind.len() - behind.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let (name, behind) = behind.split_at(letters);
            // Going on in the same iterator refuses `30m1h` and `1s1s`.
            let (_, scale) = units.find(|(unit, _)| *unit == name).ok_or_else(wrong)?;
            let part = count.parse().ok().and_then(|count: u64| count.checked_mul(*scale)).ok_or_else(wrong)?;
            total_ms = total_ms.checked_add(part).ok_or_else(wrong)?;
            rest = behind;
        }
        let total = Duration::from_millis(total_ms);
        if total > LONGEST { Err(wrong()) } else { Ok(Self(total)) }
    }
}

impl Typed for TimeText {
    const EXPECTED: &'static str = "a time as \"500ms\", \"30s\", \"5m\" or \"1h30m\", or a whole number of seconds";

    fn from_integer(number: u64) -> Option<Result<Self, String>> {
        Some(format!("{number}s").parse())
    }
}

typed_value!(TimeText, types: ["string", "integer"], pattern: "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$",
    description: "A time: \"500ms\", \"30s\", \"5m\", \"1h30m\", \"1d\", or a whole number of seconds");

/// Writes the time as an operator would type it, for the defaults in the schema.
fn serialize_time<S: Serializer>(time: Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let mut left = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in UNITS {
        if left >= scale {
            text += &format!("{}{unit}", left / scale);
            left %= scale;
        }
    }
    serializer.serialize_str(if text.is_empty() { "0s" } else { &text })
}

/// `#[serde(with)]` for a time above zero.
pub mod duration {
    use super::{Duration, TimeText, serialize_time};
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    /// Reads a time; zero is an error.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let TimeText(time) = super::super::typed(deserializer)?;
        if time.is_zero() {
            return Err(D::Error::custom("a time of zero\nit must be above 0, as \"500ms\" or \"30s\""));
        }
        Ok(time)
    }

    /// Writes the time as it is typed.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_time(*time, serializer)
    }
}

/// `#[serde(with)]` for a time above zero that may be absent.
pub mod optional_duration {
    use super::Duration;
    use serde::{Deserializer, Serializer};

    /// Reads a time that is there; an absent one is for `#[serde(default)]`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        super::duration::deserialize(deserializer).map(Some)
    }

    /// Writes the time as it is typed, or nothing.
    pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::duration::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// `#[serde(with)]` for a time that something may be put off: zero is not at all.
pub mod delay {
    use super::{Duration, TimeText, serialize_time};
    use serde::{Deserializer, Serializer};

    /// Reads a time.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::super::typed(deserializer).map(|TimeText(time)| time)
    }

    /// Writes the time as it is typed.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_time(*time, serializer)
    }
}

/// How often something is done: a time, or `off`, which a time of zero is too.
pub struct IntervalText(Option<Duration>);

impl FromStr for IntervalText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let TimeText(time) = text.parse()?;
        Ok(Self((!time.is_zero()).then_some(time)))
    }
}

impl Typed for IntervalText {
    const EXPECTED: &'static str = "a time as \"5s\" or \"1m\", or \"off\"";

    fn from_integer(number: u64) -> Option<Result<Self, String>> {
        Some(format!("{number}s").parse())
    }
}

typed_value!(IntervalText, types: ["string", "integer"],
    pattern: "^(off|(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
    description: "A time: \"5s\", \"1m\", or a whole number of seconds; \"off\" or 0 for never");

/// `#[serde(with)]` for how often something is done, if it is.
pub mod interval {
    use super::{Duration, IntervalText, serialize_time};
    use serde::{Deserializer, Serializer};

    /// Reads a time, or `off`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let IntervalText(time) = super::super::typed(deserializer)?;
        Ok(time)
    }

    /// Writes it as it is typed.
    pub fn serialize<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serialize_time(*time, serializer),
            None => serializer.serialize_str("off"),
        }
    }
}

/// `#[serde(with)]` for the leeway between two clocks: zero is allowed, more than an hour is no leeway but a mistake.
pub mod leeway {
    use super::{Duration, TimeText, serialize_time};
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    const MOST: Duration = Duration::from_secs(3600);

    /// Reads a time of at most one hour.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let TimeText(time) = super::super::typed(deserializer)?;
        if time > MOST {
            return Err(D::Error::custom("a leeway of more than an hour\na token would outlive its `exp` by that"));
        }
        Ok(time)
    }

    /// Writes the time as it is typed.
    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_time(*time, serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> Option<u128> {
        text.parse().ok().map(|TimeText(time)| time.as_millis())
    }

    #[test]
    fn units_add_up_from_the_largest_to_the_smallest() {
        assert_eq!(ms("500ms"), Some(500));
        assert_eq!(ms("30s"), Some(30_000));
        assert_eq!(ms("5m"), Some(300_000));
        assert_eq!(ms("1h30m"), Some(5_400_000));
        assert_eq!(ms("1d2h3m4s5ms"), Some(93_784_005));
        assert_eq!(ms("0s"), Some(0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "30", "s", "1.5s", "-1s", "30m1h", "1s1s", "1 s", "1s ", "1w", "99999999999999d", "40000d"] {
            assert_eq!(ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_prints_as_it_would_be_typed() {
        for (typed, ms) in [("30s", 30_000), ("1h30m", 5_400_000), ("1d500ms", 86_400_500), ("0s", 0)] {
            let printed = serialize_time(Duration::from_millis(ms), serde_json::value::Serializer).unwrap();
            assert_eq!(printed, typed);
        }
    }
}
