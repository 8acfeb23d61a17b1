//! `[zone.NAME]`: what is counted apart, how fast it may come, and where it is counted.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::value::{self, KeyPart, Rate, Size};

/// `[zone.NAME]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// What is counted apart from each other: one part, or a list of parts that together are the key.
    #[serde(default)]
    pub key: ZoneKey,
    /// The rate, as `10r/s`, `30r/m` (nginx's) or `20/s`, `10/minute`, `100/hour`; of bytes as `64k/s`. A zone that only
    /// caps connections needs none.
    pub rate: Option<Rate>,
    /// How many keys are remembered at once. Default: 65536.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub entries: Option<usize>,
    /// The same as a size, of which one key takes 64 bytes, as nginx counts: `"10m"`.
    pub size: Option<Size>,
    /// Where it is counted: in this gateway, or in `[redis]` for all gateways together.
    #[serde(default)]
    pub store: Store,
}

/// Where something is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In this gateway.
    #[default]
    Local,
    /// In `[redis]`, by all gateways that share it.
    Redis,
}

/// The parts of a zone's key. Never none.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "ZoneKeyTyped")]
pub struct ZoneKey(pub Vec<KeyPart>);

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum ZoneKeyTyped {
    One(KeyPart),
    Many(#[schemars(length(min = 1))] Vec<KeyPart>),
}

impl Default for ZoneKey {
    fn default() -> Self {
        Self(vec![KeyPart::Ip])
    }
}

/// As an operator writes it, for the defaults in the schema.
impl Serialize for ZoneKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            parts => parts.serialize(serializer),
        }
    }
}

// By hand, since serde's untagged enums lose what was wrong and where.
impl<'de> Deserialize<'de> for ZoneKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ZoneKeyVisitor)
    }
}

struct ZoneKeyVisitor;

impl<'de> Visitor<'de> for ZoneKeyVisitor {
    type Value = ZoneKey;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text as \"ip\" or \"claim:tenant\", or a list of these")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ZoneKey, E> {
        Ok(ZoneKey(vec![text.parse().map_err(E::custom)?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ZoneKey, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            if parts.contains(&part) {
                return Err(A::Error::custom(format!("`{part}` stands twice\nname each part once")));
            }
            parts.push(part);
        }
        if parts.is_empty() {
            return Err(A::Error::custom("the list is empty\nname at least one, as \"ip\""));
        }
        Ok(ZoneKey(parts))
    }
}
