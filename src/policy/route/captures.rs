//! `{name}`: what a host or a path lets vary, and what stood there in a request.

use std::sync::Arc;

/// Bytes of a value, decoded: it is compared, kept for a session's life, and shown.
pub(super) const MAX_VALUE: usize = 256;

/// What stood where a route has `{name}`. Empty for most routes, and then one null pointer: every session keeps one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Option<Box<Taken>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Taken {
    names: Arc<[Box<str>]>,
    values: Box<[Box<str>]>,
}

impl Captures {
    /// `values` in the order of `names`, one for each.
    pub(super) fn new<'v>(names: &Arc<[Box<str>]>, values: impl Iterator<Item = &'v str>) -> Self {
        if names.is_empty() {
            return Self::default();
        }
        Self(Some(Box::new(Taken { names: names.clone(), values: values.map(Into::into).collect() })))
    }

    /// The decoded value of `{name}`: 1 to 256 bytes, without control characters of ASCII; of a host, in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values, the host's first, then the path's from left to right.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let taken = self.0.iter();
        taken.flat_map(|taken| taken.names.iter().zip(&taken.values)).map(|(name, value)| (&**name, &**value))
    }

    /// Whether the route has no `{name}`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

/// The name in a segment or label that is `{name}`; none if it has no brace.
///
/// # Errors
/// What is wrong with one that has a brace.
pub(super) fn name(piece: &str) -> Result<Option<&str>, String> {
    if !piece.contains(['{', '}']) {
        return Ok(None);
    }
    let name = piece.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = name.filter(|name| !name.contains(['{', '}'])) else {
        return Err(format!(
            "`{piece}` has a brace, and a `{{name}}` is a whole segment or label: write \"/rooms/{{room}}\", or %7B and %7D for braces that are meant"
        ));
    };
    let word = |b: u8| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(word) {
        return Err(format!(
            "`{{{name}}}` is no name: lower case letters, digits and `_`, not beginning with a digit, as `{{room}}`"
        ));
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_lower_case_word_in_braces_of_its_own() {
        for (piece, found) in [("room", None), ("{room}", Some("room")), ("{_r2}", Some("_r2")), ("", None)] {
            assert_eq!(name(piece), Ok(found), "{piece}");
        }
        for piece in ["{", "}", "{}", "{Room}", "{2}", "x{y}", "{y}z", "{a}{b}", "{{a}}", "{a b}", "{a-b}", "{ä}"] {
            assert!(name(piece).is_err(), "{piece}");
        }
    }

    #[test]
    fn a_value_is_found_by_its_name_and_nothing_is_kept_without_names() {
        let names: Arc<[Box<str>]> = ["tenant".into(), "room".into()].into();
        let captures = Captures::new(&names, ["acme", "7"].into_iter());
        assert_eq!((captures.get("room"), captures.get("tenant"), captures.get("x")), (Some("7"), Some("acme"), None));
        assert_eq!(captures.iter().collect::<Vec<_>>(), [("tenant", "acme"), ("room", "7")]);
        assert!(!captures.is_empty() && Captures::new(&Arc::default(), std::iter::empty()).is_empty());
        assert_eq!(size_of::<Captures>(), size_of::<usize>());
    }
}
