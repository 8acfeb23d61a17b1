//! What a session can be told from outside: to end, why, and in which words.

use crate::deny::Deny;

/// Bytes of a Close's reason: a control frame's payload is at most 125, two of them the code (RFC 6455 s5.5).
pub const MAX_TEXT: usize = 123;

/// An order to end. A reason has its own code and label, unless an operator chose others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Why.
    pub reason: Deny,
    /// What an operator chose to say instead. Boxed, since of many idle sessions few are ever told anything.
    words: Option<Box<Words>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    code: u16,
    text: String,
}

impl Order {
    /// An operator's own end of a session, with this code and text in the Close.
    ///
    /// # Errors
    /// The code may not be sent, or the text does not fit: as one line.
    pub fn kick(code: Option<u16>, text: Option<String>) -> Result<Self, &'static str> {
        let reason = Deny::Kicked;
        let code = code.or(reason.row().close).unwrap_or(1008);
        // RFC 6455 s7.4 and IANA's list: 1004 to 1006 and 1015 never stand in a frame, and 1010 is said by clients alone.
        if !matches!(code, 1000..=1003 | 1007..=1009 | 1011..=1014 | 3000..=4999) {
            return Err("code is 1000 to 1003, 1007 to 1009, 1011 to 1014, or 3000 to 4999");
        }
        let text = text.unwrap_or_else(|| reason.label().to_owned());
        if text.len() > MAX_TEXT {
            return Err("reason is at most 123 bytes, which is what a Close holds");
        }
        Ok(Self { reason, words: Some(Box::new(Words { code, text })) })
    }

    /// The code of the Close.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.words.as_ref().map_or(self.reason.row().close, |words| Some(words.code))
    }

    /// The text of the Close.
    #[must_use]
    pub fn text(&self) -> &str {
        self.words.as_ref().map_or(self.reason.label(), |words| &words.text)
    }
}

impl From<Deny> for Order {
    fn from(reason: Deny) -> Self {
        Self { reason, words: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_alone_says_its_own_code_and_label() {
        let order = Order::from(Deny::TokenRevoked);
        assert_eq!((order.code(), order.text()), (Some(4001), "token_revoked"));
        let kick = Order::kick(None, None).unwrap();
        assert_eq!((kick.code(), kick.text()), (Some(1008), "kicked"));
    }

    #[test]
    fn a_kick_says_what_may_stand_in_a_close_and_nothing_else() {
        let kick = Order::kick(Some(4321), Some("bye".to_owned())).unwrap();
        assert_eq!((kick.code(), kick.text()), (Some(4321), "bye"));
        assert_eq!(Order::kick(Some(1000), Some(String::new())).unwrap().text(), "");
        for code in [0, 999, 1004, 1005, 1006, 1010, 1015, 1016, 2999, 5000, u16::MAX] {
            assert!(Order::kick(Some(code), None).is_err(), "{code}");
        }
        // Bytes, not letters.
        assert!(Order::kick(None, Some("\u{fc}".repeat(61))).is_ok());
        assert!(Order::kick(None, Some("\u{fc}".repeat(62))).is_err());
    }
}
