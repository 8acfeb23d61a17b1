//! The kinds of value in the file: each parses itself, says what is allowed when it can't, and is valid once it parsed.
//!
//! A value knows nothing of its key, of other keys or of the machine. No message here repeats what may be a secret.

mod address;
mod bounded;
mod key_part;
mod number;
mod redis_url;
mod server;
mod source;
mod time;
mod token_from;
mod url;
mod word;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, Unexpected, Visitor};

pub use address::{AddressText, NetworkText, address, networks};
pub use bounded::{
    buffer_size, fragments, header_size, notice_text, positive, positive_option, ratio, refusal_status, share,
    token_status,
};
pub use key_part::KeyPart;
pub use number::{Rate, Size};
pub use redis_url::{RedisUrl, RedisUrls};
pub use server::ServerAddress;
pub use source::{KeySet, Secret, Source};
pub use time::{IntervalText, TimeText, delay, duration, interval, leeway, optional_duration};
pub use token_from::TokenFrom;
pub use url::{Endpoint, Url};
pub use word::{Algorithm, OneOrMany, Origins};

/// A value that an operator types as a text and, for some, as a bare integer.
///
/// An error is what is wrong in its first line, and what is allowed in a second; so it is for all values here.
trait Typed: FromStr<Err = String> {
    /// What is allowed, to stand behind "expected".
    const EXPECTED: &'static str;

    /// The value of a bare integer; `None` where only a text will do.
    fn from_integer(_: u64) -> Option<Result<Self, String>> {
        None
    }
}

/// Reads a [`Typed`] value from whatever stands in the file.
fn typed<'de, T: Typed, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TypedVisitor(PhantomData))
}

struct TypedVisitor<T>(PhantomData<T>);

impl<T: Typed> Visitor<'_> for TypedVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::from_integer(number).ok_or_else(|| E::invalid_type(Unexpected::Unsigned(number), &self))?.map_err(E::custom)
    }

    // TOML's integers are signed, so this is the one that a TOML file reaches.
    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }
}

/// `Deserialize` through [`typed`], and a schema of `$kinds` with a pattern: the two sides of one spelling.
macro_rules! typed_value {
    ($name:ident, types: $types:tt, pattern: $pattern:expr, description: $description:expr) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::config::value::typed(deserializer)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": $types, "pattern": $pattern, "description": $description })
            }
        }
    };
}
use typed_value;
