//! The kinds of value in the file: each parses itself, says what is allowed when it can't, and is valid once it parsed.

use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

/// A number of bytes: `1048576`, `"512k"`, `"1m"`, `"1g"` (nginx's letters, powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size: a number of bytes, or one with k, m or g, as \"16k\"");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let scale: u64 = match &text[digits.len()..] {
            "" => 1,
            "k" | "K" => 1 << 10,
            "m" | "M" => 1 << 20,
            "g" | "G" => 1 << 30,
            _ => return Err(wrong()),
        };
        let count: u64 = digits.parse().map_err(|_| wrong())?;
        count.checked_mul(scale).map(Self).ok_or_else(wrong)
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
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is no rate: a whole number above 0 and a unit, as \"10r/s\", \"30r/m\", \"20/s\", \"10/minute\" or \"100/hour\"")
        };
        let (count, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
            Some(at) => text.split_at(at),
            None => (text, "r/s"),
        };
        let count: u64 = count.parse().ok().filter(|n| (1..=1_000_000_000).contains(n)).ok_or_else(wrong)?;
        let units = count * Self::ONE;
        Ok(match unit {
            "r/s" | "/s" | "/sec" | "/second" => Self { units, period_ms: 1000 },
            // nginx: floor(N * 1000 / 60) a second, ngx_http_limit_req_module.c
            "r/m" => Self { units: units / 60, period_ms: 1000 },
            "/m" | "/min" | "/minute" => Self { units, period_ms: 60_000 },
            "/h" | "/hour" => Self { units, period_ms: 3_600_000 },
            "/d" | "/day" => Self { units, period_ms: 86_400_000 },
            _ => return Err(wrong()),
        })
    }
}

/// Where a text that is no secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, or a path
    File(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(format!("`{text}` is a URL; this version reads keys from `file:PATH` or `env:NAME` only"));
        }
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env" | "file", _)) | None if text.is_empty() || text.ends_with(':') => {
                Err(format!("`{text}` names nothing: `file:PATH`, `env:NAME` or a path"))
            }
            Some(_) | None => Ok(Self::File(text.into())),
        }
    }
}

/// Where a secret stands: `env:NAME` or `file:PATH`, never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub Source);

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text may be the secret itself, typed by mistake: the message must not repeat it.
        match text.split_once(':') {
            Some(("env" | "file", name)) if !name.is_empty() => text.parse().map(Self),
            _ => Err("a secret does not stand in this file: name where it does, as \"env:JWT_SECRET\" or \"file:/run/secrets/jwt\"".into()),
        }
    }
}

/// A signature algorithm of RFC 7518, RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "RFC 7518's own names")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// A text or a list of texts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "OneOrManyTyped")]
#[schemars(with = "OneOrManyTyped")]
pub struct OneOrMany(pub Vec<String>);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a text or a list of texts")]
#[allow(dead_code, reason = "the schema's form of it")]
enum OneOrManyTyped {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrManyTyped> for OneOrMany {
    fn from(typed: OneOrManyTyped) -> Self {
        Self(match typed {
            OneOrManyTyped::One(one) => vec![one],
            OneOrManyTyped::Many(many) => many,
        })
    }
}

/// `origins`: the word `"any"`, or a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every Origin, a missing one and `null` too: said on purpose.
    Any,
    /// Those that match one of these.
    List(Vec<String>),
}

/// One place where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer`
    Header,
    /// A cookie of this name.
    Cookie(String),
    /// A query parameter of this name.
    Query(String),
    /// An entry `bearer.TOKEN` of `Sec-WebSocket-Protocol`.
    Subprotocol,
}
