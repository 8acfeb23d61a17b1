//! What a token says of its bearer, whole: the claims set (RFC 7519 s4), looked up by name or by path.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The claims of a token whose signature holds. Prints their names, for what stands in them is the bearer's own affair.
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Arc<Map<String, Value>>);

impl Claims {
    /// The claim of this name, or of this path of nested names with dots between them: `tenant.id`.
    ///
    /// At each level a member of the whole name comes first, so that names with dots in them
    /// (`https://example.com/roles`) are found as they are written.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        find(&self.0, path)
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Self {
        Self(Arc::new(claims))
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(path) {
        return Some(value);
    }
    let dots = path.bytes().enumerate().filter(|(_, byte)| *byte == b'.').map(|(at, _)| at);
    dots.filter_map(|at| find(object.get(&path[..at])?.as_object()?, &path[at + 1..])).next()
}

/// A JSON value in which no object has a member twice: of two, one reader would take the first and another the last
/// (RFC 7519 s4 lets such a token be refused).
pub struct Strict(pub Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        let Value::Object(object) = value else { panic!("no object") };
        object.into()
    }

    #[test]
    fn a_claim_is_found_by_its_name_and_by_its_path() {
        let claims = claims(json!({ "a": { "b": { "c": 1 } }, "x": 2 }));
        assert_eq!(claims.get("x"), Some(&json!(2)));
        assert_eq!(claims.get("a.b.c"), Some(&json!(1)));
        assert_eq!(claims.get("a.b"), Some(&json!({ "c": 1 })));
        for path in ["", "a.", ".a", "a.c", "a.b.c.d", "x.y", "b"] {
            assert_eq!(claims.get(path), None, "{path}");
        }
    }

    #[test]
    fn a_name_with_dots_comes_before_a_path() {
        let claims = claims(json!({ "https://example.com/roles": ["a"], "a.b": 1, "a": { "b": 2, "b.c": 3 } }));
        assert_eq!(claims.get("https://example.com/roles"), Some(&json!(["a"])));
        assert_eq!(claims.get("a.b"), Some(&json!(1)));
        assert_eq!(claims.get("a.b.c"), Some(&json!(3)));
    }

    #[test]
    fn a_member_that_stands_twice_at_any_depth_is_refused() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"b":2}}"#, r#"[{"a":1,"\u0061":2}]"#] {
            assert!(serde_json::from_str::<Strict>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn debug_shows_names_alone() {
        assert_eq!(format!("{:?}", claims(json!({ "email": "alice@example.com" }))), r#"{"email"}"#);
    }

    proptest! {
        #[test]
        fn what_has_nothing_twice_reads_as_it_does_elsewhere(text in r#"[\[\]{}",:a-b0-9.eE-]{0,12}"#) {
            let (strict, usual) = (serde_json::from_str::<Strict>(&text), serde_json::from_str::<Value>(&text));
            match (strict, usual) {
                (Ok(Strict(strict)), Ok(usual)) => prop_assert_eq!(strict, usual),
                (Err(_), Ok(usual)) => prop_assert!(usual.is_object() || usual.is_array()),
                (strict, usual) => prop_assert!(strict.is_err() && usual.is_err()),
            }
        }
    }
}
