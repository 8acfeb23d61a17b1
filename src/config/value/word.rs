//! Values that are words, or lists of words.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Typed, typed_value};

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
            return Err(D::Error::custom("the list is empty: leave the key out, or name at least one"));
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
                    _ => Err(E::custom(format!("`{text}` stands alone: write [\"{text}\"], or the word \"any\""))),
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

impl FromStr for TokenFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("header", "") if text == "header" => Ok(Self::Header),
            ("subprotocol", "") if text == "subprotocol" => Ok(Self::Subprotocol),
            ("cookie", name) if is_cookie_name(name) => Ok(Self::Cookie(name.to_owned())),
            ("query", name) if is_parameter_name(name) => Ok(Self::Query(name.to_owned())),
            _ => Err(format!("`{text}` is no place for a token: header, cookie:NAME, query:NAME or subprotocol")),
        }
    }
}

/// RFC 6265 s4.1.1: a cookie's name is a token of RFC 9110 s5.6.2.
fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What stands in a query without an escape, RFC 3986 s2.3: a name is compared as it stands.
fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

impl Typed for TokenFrom {
    const EXPECTED: &'static str = "a text: header, cookie:NAME, query:NAME or subprotocol";
}

typed_value!(TokenFrom, types: "string",
    pattern: "^(header|subprotocol|cookie:[!#$%&'*+.^_`|~0-9A-Za-z-]+|query:[._~0-9A-Za-z-]+)$",
    description: "Where a token may stand: header (Authorization: Bearer), cookie:NAME, query:NAME, or subprotocol \
        (an entry bearer.TOKEN of Sec-WebSocket-Protocol)");

/// As an operator writes it, for the defaults in the schema.
impl Serialize for TokenFrom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Header => serializer.serialize_str("header"),
            Self::Cookie(name) => serializer.collect_str(&format_args!("cookie:{name}")),
            Self::Query(name) => serializer.collect_str(&format_args!("query:{name}")),
            Self::Subprotocol => serializer.serialize_str("subprotocol"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_in_one_of_four_places() {
        assert_eq!("header".parse(), Ok(TokenFrom::Header));
        assert_eq!("cookie:__Host-session".parse(), Ok(TokenFrom::Cookie("__Host-session".into())));
        assert_eq!("query:access_token".parse(), Ok(TokenFrom::Query("access_token".into())));
        assert_eq!("subprotocol".parse(), Ok(TokenFrom::Subprotocol));
        for text in ["", "Header", "header:", "subprotocol:", "cookie", "cookie:", "cookie:a b", "query:a=b", "body"] {
            assert!(text.parse::<TokenFrom>().is_err(), "{text}");
        }
    }
}
