//! What a client said, made fit for a log line: bounded, and without what could disguise it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

/// How much of one value is kept.
pub const MAX_CHARS: usize = 256;

/// Text that a client chose. Line breaks and the like stay in it, since both forms of a line escape them; what JSON
/// lets through and a terminal obeys does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<'a>(Cow<'a, str>);

impl<'a> Said<'a> {
    /// At most [`MAX_CHARS`] of it, and `…` where more followed.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        if text.len() <= MAX_CHARS && text.bytes().all(|byte| byte < 0x7f) {
            return Self(Cow::Borrowed(text));
        }
        let mut kept: String =
            text.chars().take(MAX_CHARS).map(|c| if disguises(c) { '\u{fffd}' } else { c }).collect();
        if text.chars().nth(MAX_CHARS).is_some() {
            kept.push('…');
        }
        Self(Cow::Owned(kept))
    }

    /// The same of bytes that need not be UTF-8, as a header's value.
    #[must_use]
    pub fn bytes(raw: &'a [u8]) -> Self {
        match String::from_utf8_lossy(raw) {
            Cow::Borrowed(text) => Self::new(text),
            Cow::Owned(text) => Self(Cow::Owned(Said::new(&text).0.into_owned())),
        }
    }

    /// The path of a request target. A query may hold a token, so only that there was one is told.
    #[must_use]
    pub fn path(target: &'a str) -> Self {
        match target.split_once('?') {
            None => Self::new(target),
            Some((path, _)) => Self(Cow::Owned(format!("{}?[redacted]", Self::new(path).0))),
        }
    }
}

impl AsRef<str> for Said<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// DEL and C1, of which U+009B begins a terminal's command as ESC [ does; the marks that reverse the direction of the
/// text after them (Unicode TR 9); and Unicode's own line breaks.
fn disguises(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_256_characters_also_between_wide_ones() {
        let long = "ü".repeat(300);
        let said = Said::new(&long);
        assert_eq!(said.as_ref().chars().count(), MAX_CHARS + 1);
        assert!(said.as_ref().ends_with("ü…"));
        assert_eq!(Said::new(&long[..2 * MAX_CHARS]).as_ref(), "ü".repeat(256));
        assert_eq!(Said::bytes(&[0xff; 5000]).as_ref().chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn a_query_is_never_told() {
        assert_eq!(Said::path("/ws").as_ref(), "/ws");
        assert_eq!(Said::path("/ws?access_token=secret").as_ref(), "/ws?[redacted]");
        assert_eq!(Said::path("/a?b?c").as_ref(), "/a?[redacted]");
        let long = format!("/{}?token=secret", "a".repeat(1000));
        assert!(Said::path(&long).as_ref().ends_with("…?[redacted]"));
    }

    #[test]
    fn marks_that_disguise_text_are_replaced() {
        assert_eq!(Said::new("a\u{9b}31m\u{202e}b\u{2028}").as_ref(), "a\u{fffd}31m\u{fffd}b\u{fffd}");
        assert_eq!(Said::new("Zoë ☺").as_ref(), "Zoë ☺");
    }
}
