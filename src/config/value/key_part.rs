//! What a zone counts by, as an operator spells it.

use std::str::FromStr;

use http::HeaderName;
use serde::{Serialize, Serializer};

use super::token_from::is_http_token;
use super::{Typed, typed_value};

/// One part of a zone's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// The client's address; an IPv6 client's /64.
    Ip,
    /// Whose session it is, with the `[jwt.NAME]` that says so.
    Subject,
    /// A claim of the token, by its name or path, likewise.
    Claim(String),
    /// A header of the handshake.
    Header(HeaderName),
    /// A cookie of the handshake.
    Cookie(String),
    /// The route's name.
    Route,
    /// The host that the client asked for.
    Host,
    /// The connection itself, so that each has an account of its own.
    Connection,
}

impl FromStr for KeyPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = match text.split_once(':') {
            None => match text {
                "ip" => Some(Self::Ip),
                "subject" => Some(Self::Subject),
                "route" => Some(Self::Route),
                "host" => Some(Self::Host),
                "connection" => Some(Self::Connection),
                _ => None,
            },
            Some(("claim", path)) => (!path.is_empty()).then(|| Self::Claim(path.to_owned())),
            Some(("header", name)) => HeaderName::try_from(name).ok().map(Self::Header),
            Some(("cookie", name)) => is_http_token(name).then(|| Self::Cookie(name.to_owned())),
            Some(_) => None,
        };
        part.ok_or_else(|| {
            format!(
                "`{text}` is nothing to count by\n\
                 ip, subject, claim:PATH, header:NAME, cookie:NAME, route, host or connection"
            )
        })
    }
}

impl Typed for KeyPart {
    const EXPECTED: &'static str =
        "a text: ip, subject, claim:PATH, header:NAME, cookie:NAME, route, host or connection";
}

typed_value!(KeyPart, types: "string",
    pattern: "^(ip|subject|route|host|connection|claim:.+|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
    description: "What is counted apart: ip (an IPv6 client's /64), subject, claim:PATH, header:NAME, cookie:NAME, \
        route, host or connection");

/// As an operator writes it, for the defaults in the schema and for people.
impl Serialize for KeyPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for KeyPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Subject => f.write_str("subject"),
            Self::Claim(path) => write!(f, "claim:{path}"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Route => f.write_str("route"),
            Self::Host => f.write_str("host"),
            Self::Connection => f.write_str("connection"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_spelled_as_it_prints() {
        for text in
            ["ip", "subject", "claim:tenant.id", "header:x-api-key", "cookie:sid", "route", "host", "connection"]
        {
            assert_eq!(text.parse::<KeyPart>().unwrap().to_string(), text);
        }
        for text in ["", "IP", "claim:", "header:", "header:a b", "cookie:a=b", "address", "ip:4", "query:a"] {
            assert!(text.parse::<KeyPart>().is_err(), "{text}");
        }
    }
}
