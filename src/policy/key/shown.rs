//! What a key is made of, for people. What may be a secret, such as a header or a cookie, is not shown.

use std::net::{IpAddr, Ipv6Addr};

use super::rule::{Facts, KeyRule};
use crate::config::value::KeyPart;
use crate::policy::token::source;

impl KeyRule {
    /// Each part with what this handshake has there.
    #[must_use]
    pub fn shown(&self, facts: &Facts<'_>) -> String {
        self.parts().iter().map(|part| shown(part, facts)).collect::<Vec<_>>().join(", ")
    }
}

fn shown(part: &KeyPart, facts: &Facts<'_>) -> String {
    let value = match part {
        KeyPart::Ip => Some(network(facts.client)),
        KeyPart::Subject => facts
            .identity
            .and_then(|identity| identity.subject.as_deref())
            .map(|subject| subject.escape_debug().to_string()),
        KeyPart::Claim(path) => {
            facts.identity.and_then(|identity| identity.claims.get(path)).map(|value| plain(&value.to_string()))
        }
        KeyPart::Header(name) => facts.headers.get(name).map(|_| "as it was sent".to_owned()),
        KeyPart::Cookie(name) => source::cookies(name, facts.headers).next().map(|_| "as it was sent".to_owned()),
        KeyPart::Route => Some(facts.route.to_owned()),
        KeyPart::Host => Some(facts.host.to_owned()),
        KeyPart::Connection => Some("its own".to_owned()),
    };
    match value {
        Some(value) => format!("{part} ({value})"),
        None => format!("{part} (none: one account for all that have none)"),
    }
}

/// JSON without what a terminal obeys: JSON itself escapes C0 alone, not C1, nor the marks that turn the text around.
fn plain(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() && c != '\u{7f}' { plain.push(c) } else { plain.extend(c.escape_debug()) }
    }
    plain
}

/// The address that is counted: an IPv6 client's /64.
fn network(client: IpAddr) -> String {
    match client.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("{}/64", Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_shown_as_json_without_what_a_terminal_obeys() {
        assert_eq!(plain("{\"a\":\"Zoë ☺ \\n\"}"), "{\"a\":\"Zoë ☺ \\n\"}");
        assert_eq!(plain("\"\u{9b}31m\u{202e}b\u{7f}\""), "\"\\u{9b}31m\\u{202e}b\\u{7f}\"");
    }
}
