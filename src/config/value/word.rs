//! Values that are words, or lists of words.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

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

/// A text or a list of texts. Never an empty list.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "OneOrManyTyped")]
pub struct OneOrMany(pub Vec<String>);

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum OneOrManyTyped {
    One(String),
    Many(#[schemars(length(min = 1))] Vec<String>),
}

// By hand, since serde's untagged enums lose what was wrong and where.
impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let many = deserializer.deserialize_any(Words("a text or a list of texts"))?;
        if many.is_empty() {
            return Err(D::Error::custom("the list is empty\nleave the key out, or name at least one"));
        }
        Ok(Self(many))
    }
}

/// `origins`: the word `"any"`, or a list.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "OriginsTyped")]
pub enum Origins {
    /// Every Origin, a missing one and `null` too: said on purpose.
    Any,
    /// Those that match one of these.
    List(Vec<String>),
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum OriginsTyped {
    Any(AnyWord),
    List(Vec<String>),
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "only the schema's form of it")]
enum AnyWord {
    /// Every Origin, a missing one and `null` too.
    Any,
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OriginsVisitor;

        impl<'de> Visitor<'de> for OriginsVisitor {
            type Value = Origins;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a list as [\"https://app.example.com\"], or the word \"any\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Origins, E> {
                match text {
                    "any" => Ok(Origins::Any),
                    _ => Err(E::custom(format!("`{text}` stands alone\nwrite [\"{text}\"], or the word \"any\""))),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Origins, A::Error> {
                Words("a list of texts").visit_seq(list).map(Origins::List)
            }
        }

        deserializer.deserialize_any(OriginsVisitor)
    }
}

/// One text or several, as several.
struct Words(&'static str);

impl<'de> Visitor<'de> for Words {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(words)
    }
}
