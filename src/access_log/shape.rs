//! The form of a line: JSON as it was made, or `key=value`; and of its fields those that the operator wants.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::Format;

/// A JSON line in the form of one place. Both forms are made of the same JSON, so that they always say the same.
pub(super) fn shape<'l>(
    line: &'l [u8],
    format: Format,
    fields: Option<&[String]>,
) -> serde_json::Result<Cow<'l, [u8]>> {
    match format {
        Format::Off => Ok(Cow::Borrowed(&[])),
        Format::Json if fields.is_none() => Ok(Cow::Borrowed(line)),
        Format::Json => Ok(Cow::Owned(json(&chosen(pairs(line)?, fields)))),
        Format::Text => Ok(Cow::Owned(text(&chosen(pairs(line)?, fields)))),
    }
}

type Pair<'l> = (&'l str, Value);

/// The fields of a line, in its order.
fn pairs(line: &[u8]) -> serde_json::Result<Vec<Pair<'_>>> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<Pair<'de>>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::with_capacity(24);
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    serde_json::Deserializer::from_slice(line).deserialize_map(Pairs)
}

/// Those that are wanted, in the order in which they are.
fn chosen<'l>(mut pairs: Vec<Pair<'l>>, fields: Option<&[String]>) -> Vec<Pair<'l>> {
    let Some(fields) = fields else { return pairs };
    let taken = |field: &String| {
        let at = pairs.iter().position(|(key, _)| key == field)?;
        Some(pairs.swap_remove(at))
    };
    fields.iter().filter_map(taken).collect()
}

fn json(pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut line = String::with_capacity(256);
    for (key, value) in pairs {
        // A key is a word of ours, which needs no escapes; to write to a `String` does not fail.
        let _ = write!(line, "{}\"{key}\":{value}", if line.is_empty() { '{' } else { ',' });
    }
    line.push_str(if line.is_empty() { "{}\n" } else { "}\n" });
    line.into_bytes()
}

fn text(pairs: &[Pair<'_>]) -> Vec<u8> {
    let mut line = String::with_capacity(256);
    for (key, value) in pairs {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend([key, "="]);
        match value.as_str().filter(|text| plain(text)) {
            Some(text) => line.push_str(text),
            // A number as it is; any other text as JSON writes it, quoted and escaped.
            None => line.push_str(&value.to_string()),
        }
    }
    line.push('\n');
    line.into_bytes()
}

/// Whether a text needs no quotes.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\'))
}
