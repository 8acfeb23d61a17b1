//! The places where a token may stand, as an operator spells them.

use std::str::FromStr;

use http::HeaderName;
use serde::{Serialize, Serializer};

use super::{Typed, typed_value};

/// Beyond this a prefix leaves little of a head for the token.
const MAX_PREFIX: usize = 64;

/// One place where a token may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFrom {
    /// `Authorization: Bearer`
    Header,
    /// A header of this name: the token alone, or behind `Bearer`.
    NamedHeader(HeaderName),
    /// A cookie of this name.
    Cookie(String),
    /// A query parameter of this name.
    Query(String),
    /// An entry `bearer.TOKEN` of `Sec-WebSocket-Protocol`, or one of Kubernetes' form.
    Subprotocol,
    /// An entry of `Sec-WebSocket-Protocol` that begins with this; the rest is the token.
    PrefixedSubprotocol(String),
}

impl FromStr for TokenFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = match text.split_once(':') {
            None => match text {
                "header" => Some(Self::Header),
                "subprotocol" => Some(Self::Subprotocol),
                _ => None,
            },
            Some(("header", name)) => HeaderName::try_from(name).ok().map(Self::NamedHeader),
            Some(("cookie", name)) => is_http_token(name).then(|| Self::Cookie(name.to_owned())),
            Some(("query", name)) => is_parameter_name(name).then(|| Self::Query(name.to_owned())),
            Some(("subprotocol", prefix)) => {
                let fits = is_http_token(prefix) && prefix.len() <= MAX_PREFIX;
                fits.then(|| Self::PrefixedSubprotocol(prefix.to_owned()))
            }
            Some(_) => None,
        };
        place.ok_or_else(|| {
            format!(
                "`{text}` is no place for a token\n\
                 header, header:NAME, cookie:NAME, query:NAME, subprotocol or subprotocol:PREFIX"
            )
        })
    }
}

/// A token of RFC 9110 s5.6.2, which a cookie's name is (RFC 6265 s4.1.1), and a subprotocol (RFC 6455 s4.1).
pub(super) fn is_http_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// What stands in a query without an escape, RFC 3986 s2.3: a name is compared as it stands.
fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
}

impl Typed for TokenFrom {
    const EXPECTED: &'static str =
        "a text: header, header:NAME, cookie:NAME, query:NAME, subprotocol or subprotocol:PREFIX";
}

typed_value!(TokenFrom, types: "string",
    pattern: "^(header|subprotocol|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+|query:[._~0-9A-Za-z-]+\
        |subprotocol:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$",
    description: "Where a token may stand: header (Authorization: Bearer), header:NAME (the token alone, or behind \
        Bearer), cookie:NAME, query:NAME, subprotocol (an entry bearer.TOKEN of Sec-WebSocket-Protocol) or \
        subprotocol:PREFIX (an entry PREFIX and the token)");

/// As an operator writes it, for the defaults in the schema.
impl Serialize for TokenFrom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Header => serializer.serialize_str("header"),
            Self::NamedHeader(name) => serializer.collect_str(&format_args!("header:{name}")),
            Self::Cookie(name) => serializer.collect_str(&format_args!("cookie:{name}")),
            Self::Query(name) => serializer.collect_str(&format_args!("query:{name}")),
            Self::Subprotocol => serializer.serialize_str("subprotocol"),
            Self::PrefixedSubprotocol(prefix) => serializer.collect_str(&format_args!("subprotocol:{prefix}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_in_one_of_six_places() {
        assert_eq!("header".parse(), Ok(TokenFrom::Header));
        let named = TokenFrom::NamedHeader(HeaderName::from_static("x-api-token"));
        assert_eq!("header:X-Api-Token".parse(), Ok(named));
        assert_eq!("cookie:__Host-session".parse(), Ok(TokenFrom::Cookie("__Host-session".into())));
        assert_eq!("query:access_token".parse(), Ok(TokenFrom::Query("access_token".into())));
        assert_eq!("subprotocol".parse(), Ok(TokenFrom::Subprotocol));
        assert_eq!("subprotocol:auth.".parse(), Ok(TokenFrom::PrefixedSubprotocol("auth.".into())));
        for text in ["", "Header", "header:", "header:a b", "header:a:b", "subprotocol:", "subprotocol:a,b", "cookie"]
            .into_iter()
            .chain(["cookie:", "cookie:a b", "query:a=b", "body", "body:a", "subprotocol:ä"])
        {
            assert!(text.parse::<TokenFrom>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_has_at_most_64_characters() {
        assert!(format!("subprotocol:{}", "p".repeat(64)).parse::<TokenFrom>().is_ok());
        assert!(format!("subprotocol:{}", "p".repeat(65)).parse::<TokenFrom>().is_err());
    }
}
