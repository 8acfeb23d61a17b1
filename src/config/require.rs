//! `require = { .. }` of a route: what its tokens must claim.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What tokens must claim, by the claim's name or path: `"tenant.id"` is `id` in `tenant`. All must hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Require(pub BTreeMap<String, Requirement>);

/// What one claim must be or, where it is a list, have in it.
#[derive(Debug, PartialEq, JsonSchema)]
#[schemars(with = "RequirementTyped")]
pub struct Requirement {
    /// All of the values, or any.
    pub wanted: Wanted,
    /// Texts, whole numbers and booleans; never empty.
    pub values: Vec<Value>,
}

/// How many of the values a claim must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Each of them.
    All,
    /// At least one.
    Any,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum RequirementTyped {
    /// This value; `"{name}"` is that part of the route's path or host.
    One(Scalar),
    /// All of these.
    All(#[schemars(length(min = 1))] Vec<Scalar>),
    /// Any or all of these.
    Chosen(Chosen),
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum Scalar {
    Text(String),
    Number(i64),
    Boolean(bool),
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum Chosen {
    /// At least one of these.
    Any(#[schemars(length(min = 1))] Vec<Scalar>),
    /// Each of these.
    All(#[schemars(length(min = 1))] Vec<Scalar>),
}

const EXPECTED: &str = "a text, a whole number or a boolean; a list of these, for all of them; or { any = [..] }";

// By hand, since serde's untagged enums lose what was wrong and where.
impl<'de> Deserialize<'de> for Requirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RequirementVisitor)
    }
}

struct RequirementVisitor;

impl<'de> Visitor<'de> for RequirementVisitor {
    type Value = Requirement;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Requirement, E> {
        Ok(Requirement { wanted: Wanted::All, values: vec![value.into()] })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Requirement, E> {
        Ok(Requirement { wanted: Wanted::All, values: vec![value.into()] })
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Requirement, E> {
        Ok(Requirement { wanted: Wanted::All, values: vec![value.into()] })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Requirement, A::Error> {
        let mut values = Vec::new();
        // Each element as if it stood alone: a list in a list is told of as what it is.
        while let Some(OneValue(value)) = list.next_element()? {
            values.push(value);
        }
        if values.is_empty() {
            return Err(A::Error::custom("the list is empty\nleave the claim out, or name at least one value"));
        }
        Ok(Requirement { wanted: Wanted::All, values })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Requirement, A::Error> {
        let Some(wanted) = members.next_key::<String>()? else {
            return Err(A::Error::custom(format!("nothing is asked for\n{EXPECTED}")));
        };
        let wanted = match wanted.as_str() {
            "any" => Wanted::Any,
            "all" => Wanted::All,
            other => {
                return Err(A::Error::custom(format!(
                    "unknown word `{other}`\nany or all; a claim within a claim is \"outer.inner\""
                )));
            }
        };
        let Requirement { values, .. } = members.next_value::<List>()?.0;
        if members.next_key::<String>()?.is_some() {
            return Err(A::Error::custom("more than one word\neither any or all"));
        }
        Ok(Requirement { wanted, values })
    }
}

/// A list, and nothing else.
struct List(Requirement);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor;

        impl<'de> Visitor<'de> for ListVisitor {
            type Value = Requirement;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list of values")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Requirement, A::Error> {
                RequirementVisitor.visit_seq(list)
            }
        }

        deserializer.deserialize_any(ListVisitor).map(Self)
    }
}

/// One value of a list.
struct OneValue(Value);

impl<'de> Deserialize<'de> for OneValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneVisitor;

        impl Visitor<'_> for OneVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text, a whole number or a boolean")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
                Ok(value.into())
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
                Ok(value.into())
            }
        }

        deserializer.deserialize_any(OneVisitor).map(Self)
    }
}
