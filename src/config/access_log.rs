//! `[access_log]`: the form of its lines, where they go, and how many of them a flood may cause.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{OneOrMany, Rate};

/// `[access_log]`
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLog {
    /// The form of its lines.
    pub format: LogFormat,
    /// Where they go: `stdout`, `file:PATH`, or a list of these. SIGUSR1 opens the files anew.
    pub output: OneOrMany,
    /// The fields of a line, in this order. Absent: all.
    pub fields: Option<Vec<LogField>>,
    /// How many refusals of one reason are written down; those beyond are counted.
    pub refusals: Refusals,
}

impl Default for AccessLog {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            output: OneOrMany(vec!["stdout".to_owned()]),
            fields: None,
            refusals: Refusals::default(),
        }
    }
}

/// The form of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// One line for a person.
    Text,
    /// No access log.
    Off,
}

/// `[access_log] refusals`
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Refusals {
    /// Lines of one reason, after the burst.
    pub rate: Rate,
    /// Lines of one reason beyond the rate.
    pub burst: u32,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { rate: Rate { units: 100 * Rate::ONE, period_ms: 1000 }, burst: 200 }
    }
}

/// A field of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "`docs/operations.md` says what each is")]
pub enum LogField {
    Event,
    Time,
    ConnectionId,
    Listener,
    Route,
    Client,
    Host,
    Path,
    Origin,
    Subject,
    Upstream,
    Reason,
    Status,
    CloseCode,
    DurationMs,
    Why,
    MessagesToUpstream,
    BytesToUpstream,
    MessagesToClient,
    BytesToClient,
    Side,
    Sessions,
    Suppressed,
}
