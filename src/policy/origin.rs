//! Which pages may connect: the Origin of the handshake against a route's list.
//!
//! A browser lets any page open a WebSocket to anywhere and send its cookies along; that the server looks at the Origin is
//! all there is against it (RFC 6455 s10.2). So both sides are parsed and compared part by part, never as text, and what
//! does not parse is forbidden.

use std::net::Ipv6Addr;

use crate::deny::Deny;

/// Longer than any origin: a scheme, a host of 253 (RFC 1035 s2.3.4) and a port.
const MAX_LEN: usize = 320;

/// One entry of the list: `https://app.example.com`, with a port or not, `https://*.example.com`, or `null`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Allowed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    /// The page has no origin of its own: a file, a sandboxed frame.
    Null,
    Exactly(Origin),
    /// One or more labels before this host.
    Below(Origin),
}

/// Whose handshakes a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Everyone's: a missing, a `null` and a malformed Origin pass too.
    Any,
    /// Only theirs that match.
    List {
        /// What an Origin is matched against; one match is enough.
        patterns: Vec<Pattern>,
        /// Whether clients without an Origin, which are no browsers, may connect all the same.
        allow_missing: bool,
    },
}

impl Origins {
    /// Whether the value of the `Origin` header may connect. [`Deny::OriginMissing`] without one that is wanted,
    /// [`Deny::OriginForbidden`] for one that matches nothing or is no single serialised origin (RFC 6454 s6.2).
    pub fn check(&self, header: Option<&[u8]>) -> Result<(), Deny> {
        let Self::List { patterns, allow_missing } = self else { return Ok(()) };
        let Some(header) = header else {
            return if *allow_missing { Ok(()) } else { Err(Deny::OriginMissing) };
        };
        let matches = match header {
            b"null" => patterns.iter().any(|pattern| pattern.0 == Allowed::Null),
            _ => Origin::parse(header).is_some_and(|origin| patterns.iter().any(|pattern| pattern.allows(&origin))),
        };
        if matches { Ok(()) } else { Err(Deny::OriginForbidden) }
    }
}

impl Pattern {
    /// Reads one entry of `origins`.
    ///
    /// # Errors
    ///
    /// What is wrong with it and what to write instead, for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "null" {
            return Ok(Self(Allowed::Null));
        }
        if text == "*" {
            return Err("`*` is no origin; to let every page connect, write origins = \"any\" instead of a list".into());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("`{text}` has no scheme: write it as \"https://app.example.com\""));
        };
        if !text.is_ascii() {
            return Err(format!("`{text}` is not ASCII: browsers send such a host as `xn--..`, so write it like that"));
        }
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(format!("`{text}` has a path, and an origin has none: write \"{scheme}://{}\"", &rest[..at]));
        }
        let wrong = || {
            format!(
                "`{text}` is no origin: a scheme, a host and perhaps a port, as \"https://app.example.com\", \"https://*.example.com\" or \"http://127.0.0.1:3000\""
            )
        };
        let Some(host) = rest.strip_prefix("*.") else {
            return Origin::parse(text.as_bytes()).map(|origin| Self(Allowed::Exactly(origin))).ok_or_else(wrong);
        };
        let base = Origin::parse(format!("{scheme}://{host}").as_bytes()).ok_or_else(wrong)?;
        if base.is_address() || default_port(&base.scheme).is_none() {
            return Err(format!(
                "`{text}` has nothing that `*.` could stand for: it goes before a host name of http or https"
            ));
        }
        Ok(Self(Allowed::Below(base)))
    }

    fn allows(&self, origin: &Origin) -> bool {
        match &self.0 {
            Allowed::Null => false,
            Allowed::Exactly(wanted) => wanted == origin,
            Allowed::Below(base) => {
                let Host::Name(name) = &origin.host else { return false };
                let Host::Name(suffix) = &base.host else { return false };
                // Labels are never empty, so what stands before the dot is at least one.
                let below = name.strip_suffix(suffix.as_str()).is_some_and(|labels| labels.ends_with('.'));
                below && (&origin.scheme, origin.port) == (&base.scheme, base.port)
            }
        }
    }
}

/// A serialised origin in its parts, in the one form that is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    /// In lower case.
    scheme: String,
    host: Host,
    /// The one that counts: the scheme's own where none is given. None for schemes that have none.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// A name or an IPv4 address; in lower case where the scheme is one of the web's.
    Name(String),
    V6(Ipv6Addr),
}

impl Origin {
    /// `scheme "://" host [ ":" port ]` and nothing beside it.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let (scheme, rest) = str::from_utf8(bytes).ok()?.split_once("://")?;
        // RFC 3986 s3.1
        let mut letters = scheme.bytes();
        let starts = letters.next().is_some_and(|b| b.is_ascii_alphabetic());
        if !starts || !letters.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')) {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (Host::V6(host.parse().ok()?), port)
            }
            None => {
                let (host, port) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
                (Host::Name(host_name(host, &scheme)?), port)
            }
        };
        let port = match port {
            "" => default_port(&scheme),
            given => Some(port_number(given.strip_prefix(':')?)?),
        };
        Some(Self { scheme, host, port })
    }

    /// Whether the host is an address, of which no part is above another. A name never ends in a number (WHATWG URL,
    /// "ends in a number").
    fn is_address(&self) -> bool {
        match &self.host {
            Host::Name(name) => name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())),
            Host::V6(_) => true,
        }
    }
}

/// One or more labels of letters, digits, `-` and `_`, as browsers send them: no escape, no dot at the end. Names mean the
/// same in upper and lower case on the web alone; the id of an extension or an app is taken as it is.
fn host_name(host: &str, scheme: &str) -> Option<String> {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if !host.split('.').all(is_label) {
        return None;
    }
    Some(if default_port(scheme).is_some() { host.to_ascii_lowercase() } else { host.to_owned() })
}

/// Digits alone, and no zero in front: `u16::from_str` would take `+443` and `00443` too.
fn port_number(digits: &str) -> Option<u16> {
    let is_plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    is_plain.then(|| digits.parse().ok())?
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" | "ws" => Some(80),
        "https" | "wss" => Some(443),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
