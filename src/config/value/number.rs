//! Numbers with a unit: sizes in bytes, and rates.

use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{Typed, typed_value};

/// A number of bytes: `1048576`, `"512k"`, `"1m"`, `"1g"` (nginx's letters, powers of 1024). Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size\na number of bytes above 0, or one with k, m or g, as \"16k\"");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let scale: u64 = match &text[digits.len()..] {
            "" => 1,
            "k" | "K" => 1 << 10,
            "m" | "M" => 1 << 20,
            "g" | "G" => 1 << 30,
            _ => return Err(wrong()),
        };
        // `u64::from_str` takes a sign, a size does not.
        let count: u64 = digits.parse().ok().filter(|_| !digits.starts_with('+')).ok_or_else(wrong)?;
        count.checked_mul(scale).filter(|bytes| *bytes > 0).map(Self).ok_or_else(wrong)
    }
}

impl Typed for Size {
    const EXPECTED: &'static str = "a number of bytes, or a text as \"16k\", \"1m\" or \"1g\"";

    fn from_integer(number: u64) -> Option<Result<Self, String>> {
        Some(number.to_string().parse())
    }
}

typed_value!(Size, types: ["string", "integer"], pattern: "^[0-9]+[kKmMgG]?$",
    description: "A size: a number of bytes, or one with k, m or g (powers of 1024), as \"16k\"");

/// As an operator writes it, for the defaults in the schema.
impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            bytes if bytes % (1 << 30) == 0 => serializer.collect_str(&format_args!("{}g", bytes >> 30)),
            bytes if bytes % (1 << 20) == 0 => serializer.collect_str(&format_args!("{}m", bytes >> 20)),
            bytes if bytes % (1 << 10) == 0 => serializer.collect_str(&format_args!("{}k", bytes >> 10)),
            bytes => serializer.serialize_u64(bytes),
        }
    }
}

/// A rate, exact: `units` in every `period_ms`, where one request or message is [`Rate::ONE`] units.
///
/// nginx's spellings (`10r/s`, `7r/m`) keep nginx's truncation to whole thousandths a second, so that they give nginx's
/// verdicts; `10/minute` and the like are not truncated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What drains in one period. At least 1.
    pub units: u64,
    /// The period in milliseconds. At least 1.
    pub period_ms: u64,
}

impl Rate {
    /// One request or message.
    pub const ONE: u64 = 1000;

    /// The fastest rate that can be typed, in requests or messages: keeps `units * time` far from overflow.
    const FASTEST: u64 = 1_000_000_000;

    /// The same of bytes, which are typed with k, m or g.
    const FASTEST_BYTES: u64 = 1 << 40;
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no rate\na whole number above 0 and a unit, \
                 as \"10r/s\", \"30r/m\", \"20/s\", \"10/minute\" or \"100/hour\"; of bytes \"64k/s\" or \"1m/s\""
            )
        };
        let (count, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
            Some(at) => text.split_at(at),
            None => (text, "r/s"),
        };
        let count: u64 = count.parse().ok().filter(|n| (1..=Self::FASTEST).contains(n)).ok_or_else(wrong)?;
        let (scale, unit): (u64, &str) = match unit.split_at_checked(1) {
            // A letter in front of the slash is a size's: `1m/s`, where `1/m` is one a minute.
            Some(("k" | "K", per)) => (1 << 10, per),
            Some(("m" | "M", per)) => (1 << 20, per),
            Some(("g" | "G", per)) => (1 << 30, per),
            _ => (1, unit),
        };
        let most = if scale == 1 { Self::FASTEST } else { Self::FASTEST_BYTES };
        let count = count.checked_mul(scale).filter(|count| *count <= most).ok_or_else(wrong)?;
        let units = count * Self::ONE;
        let rate = match unit {
            "r/s" | "/s" | "/sec" | "/second" if scale == 1 || unit != "r/s" => Self { units, period_ms: 1000 },
            // nginx: floor(N * 1000 / 60) a second, ngx_http_limit_req_module.c
            "r/m" if scale == 1 => Self { units: units / 60, period_ms: 1000 },
            "/m" | "/min" | "/minute" => Self { units, period_ms: 60_000 },
            "/h" | "/hour" => Self { units, period_ms: 3_600_000 },
            "/d" | "/day" => Self { units, period_ms: 86_400_000 },
            _ => return Err(wrong()),
        };
        // No spelling above truncates so far (`1r/m` is 16), but a rate of 0 would never let anything through again.
        if rate.units == 0 { Err(wrong()) } else { Ok(rate) }
    }
}

impl Typed for Rate {
    const EXPECTED: &'static str = "a rate as \"10r/s\", \"30r/m\" or \"100/hour\", or a whole number a second";

    fn from_integer(number: u64) -> Option<Result<Self, String>> {
        Some(number.to_string().parse())
    }
}

typed_value!(Rate, types: ["string", "integer"],
    pattern: "^([0-9]+(r/s|r/m)?|[0-9]+[kKmMgG]?(/s|/sec|/second|/m|/min|/minute|/h|/hour|/d|/day))$",
    description: "A rate: a whole number above 0 and a unit. nginx's 10r/s and 30r/m, or 20/s, 10/minute, 100/hour, \
        1000/day; of bytes 64k/s, 1m/s. A bare number is a second");

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<(u64, u64)> {
        text.parse().ok().map(|rate: Rate| (rate.units, rate.period_ms))
    }

    #[test]
    fn nginx_spellings_truncate_as_nginx_does() {
        assert_eq!(rate("1r/s"), Some((1000, 1000)));
        assert_eq!(rate("1r/m"), Some((16, 1000)));
        assert_eq!(rate("7r/m"), Some((116, 1000)));
        assert_eq!(rate("30r/m"), Some((500, 1000)));
        assert_eq!(rate("100r/m"), Some((1666, 1000)));
        assert_eq!(rate("5"), Some((5000, 1000)));
    }

    #[test]
    fn long_periods_are_not_truncated() {
        assert_eq!(rate("10/minute"), Some((10_000, 60_000)));
        assert_eq!(rate("1/h"), Some((1000, 3_600_000)));
        assert_eq!(rate("1/day"), Some((1000, 86_400_000)));
    }

    #[test]
    fn a_rate_of_bytes_has_a_size_in_front_of_its_period() {
        assert_eq!(rate("64k/s"), Some((65_536_000, 1000)));
        assert_eq!(rate("1m/minute"), Some(((1 << 20) * 1000, 60_000)));
        assert_eq!(rate("2G/h"), Some(((2 << 30) * 1000, 3_600_000)));
        assert_eq!(rate("1/m"), Some((1000, 60_000)));
        for text in ["64k", "1m", "64kr/s", "1mr/m", "1kk/s", "2000g/s", "1t/s"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_whole_number_above_zero_with_a_known_unit() {
        for text in ["", "0", "0r/s", "-1r/s", "+1r/s", "1.5r/s", "r/s", "10 r/s", "10r/h", "10/", "99999999999"] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let size = |text: &str| text.parse().ok().map(|Size(bytes)| bytes);
        assert_eq!(size("1048576"), Some(1 << 20));
        assert_eq!(size("16k"), Some(16 * 1024));
        assert_eq!(size("2M"), Some(2 << 20));
        assert_eq!(size("1g"), Some(1 << 30));
        for text in ["", "0", "0k", "k", "+1k", "-1", "1kb", "1.5m", "1 m", "99999999999g"] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_prints_as_it_would_be_typed() {
        for (bytes, typed) in [(16 << 10, r#""16k""#), (1 << 20, r#""1m""#), (3 << 30, r#""3g""#), (1000, "1000")] {
            assert_eq!(serde_json::to_string(&Size(bytes)).unwrap(), typed);
        }
    }
}
