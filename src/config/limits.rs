//! What a route limits: handshakes, what flows, and sessions at once.

use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::value::{self, Rate, Size};
use super::{Require, Store};

/// One table, or a list of tables.
#[derive(Debug)]
pub enum Limits<T> {
    /// `key = { .. }`
    One(T),
    /// `key = [{ .. }, { .. }]`
    List(Vec<T>),
}

impl<T> Default for Limits<T> {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl<T> Limits<T> {
    /// Each with its path in the file, below `at`.
    pub fn placed(&self, at: &str) -> Vec<(String, &T)> {
        match self {
            Self::One(limit) => vec![(at.to_owned(), limit)],
            Self::List(list) => list.iter().enumerate().map(|(n, limit)| (format!("{at}[{n}]"), limit)).collect(),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        match self {
            Self::One(limit) => std::slice::from_ref(limit).iter(),
            Self::List(list) => list.iter(),
        }
    }
}

// By hand, since serde's untagged enums lose what was wrong and where.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limits<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LimitsVisitor(PhantomData))
    }
}

struct LimitsVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for LimitsVisitor<T> {
    type Value = Limits<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a table as { rate = \"10r/s\", burst = 20 }, or a list of such tables")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limits<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Limits::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Limits<T>, A::Error> {
        let mut list = Vec::new();
        while let Some(limit) = seq.next_element()? {
            list.push(limit);
        }
        Ok(Limits::List(list))
    }
}

impl<T: JsonSchema> JsonSchema for Limits<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}Limits", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// `handshakes = { .. }` of a route: a rate of its own, or a zone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Handshakes {
    /// A rate for this route alone, by client address.
    pub rate: Option<Rate>,
    /// A `[zone.NAME]`, shared with whatever else names it.
    pub zone: Option<String>,
    /// How many handshakes beyond the rate are let in.
    #[serde(default)]
    pub burst: u32,
    /// How many of the burst are let in at once; those beyond wait for their turn.
    #[serde(default)]
    pub delay: u32,
    /// The whole burst is let in at once; nobody waits.
    #[serde(default)]
    pub nodelay: bool,
    /// Counted, never refused.
    #[serde(default)]
    pub dry_run: bool,
    /// The status of a refusal.
    #[serde(default = "too_many_requests", deserialize_with = "value::refusal_status")]
    #[schemars(range(min = 400, max = 599))]
    pub status: u16,
    /// Whom it is for: the claims that a token must have for the limit to count. As `require`. Default: everyone.
    #[serde(default)]
    pub when: Require,
}

/// `messages = { .. }` and `control = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// A rate for each connection.
    pub rate: Option<Rate>,
    /// A `[zone.NAME]`: one account for all that has the same key.
    pub zone: Option<String>,
    /// How many beyond the rate are let through.
    #[serde(default)]
    pub burst: u32,
    /// How many of the burst are let through at once; those beyond wait. Default: all, and with `on_excess = "delay"` none.
    pub delay: Option<u32>,
    /// The whole burst is let through at once, which is the default but for `on_excess = "delay"`.
    #[serde(default)]
    pub nodelay: bool,
    /// What happens to what is beyond the burst.
    #[serde(default)]
    pub on_excess: OnExcess,
    /// Counted, never acted upon.
    #[serde(default)]
    pub dry_run: bool,
    /// Whose it counts.
    #[serde(default)]
    pub from: From,
    /// Whom it is for: the claims that a token must have for the limit to count. As `require`. Default: everyone.
    #[serde(default)]
    pub when: Require,
}

/// `bytes = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bytes {
    /// A rate for each connection, as `64k/s`.
    pub rate: Option<Rate>,
    /// A `[zone.NAME]`: one account for all that has the same key.
    pub zone: Option<String>,
    /// How many bytes beyond the rate are let through. Default: none.
    pub burst: Option<Size>,
    /// How many bytes of the burst are let through at once; those beyond wait. Default: all, and with
    /// `on_excess = "delay"` none.
    pub delay: Option<Size>,
    /// The whole burst is let through at once, which is the default but for `on_excess = "delay"`.
    #[serde(default)]
    pub nodelay: bool,
    /// What happens to what is beyond the burst.
    #[serde(default)]
    pub on_excess: OnExcess,
    /// Counted, never acted upon.
    #[serde(default)]
    pub dry_run: bool,
    /// Whose bytes it counts.
    #[serde(default)]
    pub from: From,
    /// Whom it is for: the claims that a token must have for the limit to count. As `require`. Default: everyone.
    #[serde(default)]
    pub when: Require,
}

/// `fragments = { .. }` of a route.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fragments {
    /// The most frames of one message.
    #[serde(deserialize_with = "value::fragments")]
    #[schemars(range(min = 1, max = 16_777_216))]
    pub max: u32,
    /// Whose messages it counts.
    pub from: From,
    /// Counted, never acted upon.
    pub dry_run: bool,
}

impl Default for Fragments {
    fn default() -> Self {
        Self { max: 4096, from: From::Client, dry_run: false }
    }
}

/// What happens to what is beyond the burst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExcess {
    /// The session ends with 4029.
    #[default]
    Close,
    /// The socket is not read until the rate allows it.
    Delay,
    /// The message is dropped, whole.
    Drop,
}

/// From which side what is counted comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum From {
    /// What the client sends.
    #[default]
    Client,
    /// What the upstream sends.
    Upstream,
    /// Both; a rate of its own counts each side apart, a zone counts them together.
    Both,
}

/// `connections = { .. }` of a route.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Sessions at once on this route.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub total: Option<usize>,
    /// Sessions at once from one address (IPv6: one /64).
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub per_ip: Option<usize>,
    /// Sessions at once of one subject.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub per_subject: Option<usize>,
    /// Sessions at once by the keys of zones.
    #[serde(default)]
    pub per_zone: Vec<PerZone>,
    /// What happens to one more than `per_ip` or `per_subject` allow.
    #[serde(default)]
    pub on_full: OnFull,
    /// Where `total`, `per_ip` and `per_subject` are counted: in this gateway, or in `[redis]` for all gateways together.
    #[serde(default)]
    pub store: Store,
    /// Counted, never refused.
    #[serde(default)]
    pub dry_run: bool,
    /// The share of a cap at which one warning is logged; above 0, at most 1.
    #[serde(default = "nine_tenths", deserialize_with = "value::share")]
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0))]
    pub warn_at: f64,
}

/// One entry of `connections.per_zone`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerZone {
    /// The `[zone.NAME]` by whose key, and in whose store, sessions are counted.
    pub zone: String,
    /// Sessions at once of one key.
    #[serde(deserialize_with = "value::positive")]
    #[schemars(range(min = 1))]
    pub max: usize,
    /// What happens to one more.
    #[serde(default)]
    pub on_full: OnFull,
    /// Counted, never refused.
    #[serde(default)]
    pub dry_run: bool,
    /// Whom it is for: the claims that a token must have for the cap to count. As `require`. Default: everyone.
    #[serde(default)]
    pub when: Require,
}

/// What happens to one session more than a cap allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Its handshake is refused.
    #[default]
    Refuse,
    /// The oldest session of the same key ends with 4029, and the new one takes its place.
    CloseOldest,
}

fn too_many_requests() -> u16 {
    429
}

fn nine_tenths() -> f64 {
    0.9
}
