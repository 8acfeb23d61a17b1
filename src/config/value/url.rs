//! Where a key set is published: an `https://` URL, or `http://` on this machine.
//!
//! Keys decide who gets in, so whoever could change them on the way could let himself in: plain HTTP goes no further than
//! the loopback interface.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Typed, typed_value};

/// Bytes. Longer ones are no addresses but mistakes, or an answer that wants to fill a log.
const LONGEST: usize = 2048;

/// A URL that may be asked for keys.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// Whether it is asked over TLS.
    pub tls: bool,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as they stand in the URL, for `Host`.
    pub authority: String,
    /// Path and query, beginning with a slash.
    pub target: String,
}

impl Url {
    /// As it was typed, to the letter.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the host is this machine, by address or as `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Whether there is a query, an empty one too.
    #[must_use]
    pub fn has_query(&self) -> bool {
        self.target.contains('?')
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Self::read(text, "URL for keys", "https://id.example.com/jwks.json")?;
        if !url.tls && !url.is_loopback() {
            let help = "use https://; http:// is for 127.0.0.0/8, [::1] and localhost alone";
            return Err(format!("`{text}` is no URL for keys: keys that come without TLS can be anybody's\n{help}"));
        }
        Ok(url)
    }
}

impl Url {
    /// Reads any URL of http or https; `what` it is to be, and one `as` it could be, stand in the message if it is none.
    fn read(text: &str, what: &str, example: &str) -> Result<Self, String> {
        // A password may stand in it, so it is not repeated.
        if text.contains('@') {
            return Err(format!("a URL with a user, or an @ in it\nas \"{example}\", without a user"));
        }
        let wrong = |wrong: &str| Err(format!("`{}` is no {what}: {wrong}", text.escape_debug()));
        let help = &format!("as \"{example}\"");
        if text.len() > LONGEST {
            return Err(format!("a URL of more than {LONGEST} bytes\n{help}"));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return wrong(&format!("it does not begin with https://\n{help}")),
        };
        if text.contains('#') {
            return wrong("it has a fragment\nleave out the # and what is behind it");
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>', '`']) {
            return wrong("it has blanks, or characters that a URL escapes\nescape them, as %20");
        }
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(at);
        let Some((host, port)) = host_and_port(authority, if tls { 443 } else { 80 }) else {
            return wrong(&format!("host or port is malformed\n{help}"));
        };
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{target}");
        Ok(Self { text: text.to_owned(), tls, host, port, authority: authority.to_owned(), target })
    }
}

impl Typed for Url {
    const EXPECTED: &'static str = "a URL as \"https://id.example.com\"";
}

typed_value!(Url, types: "string", pattern: "^https?://[^@#]+$",
    description: "A URL: https://, or http:// on 127.0.0.0/8, [::1] or localhost");

/// Where spans are sent: a collector's base URL, `http://` anywhere too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(pub Url);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::read(text, "collector's URL", "http://127.0.0.1:4318")?;
        if url.has_query() {
            return Err(format!("`{}` has a query\nleave it out: /v1/traces is put behind this", text.escape_debug()));
        }
        Ok(Self(url))
    }
}

impl Typed for Endpoint {
    const EXPECTED: &'static str = "a URL as \"http://127.0.0.1:4318\"";
}

typed_value!(Endpoint, types: "string", pattern: "^https?://[^@#?]+$",
    description: "A collector's URL, http:// or https://, without /v1/traces");

/// For logs: without its query, in which a key of the operator's may stand.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.split_once('?') {
            Some((before, _)) => write!(f, "{before}?.."),
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

pub(super) fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (authority, default),
    };
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        return address.parse::<std::net::Ipv6Addr>().is_ok().then(|| (address.to_owned(), port));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    // A name that ends in a number is an address (WHATWG URL), and then a whole one.
    let ends_in_number = host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    let good = !host.is_empty() && host.len() <= 253 && host.chars().all(is_name) && !host.starts_with(['.', '-']);
    (good && (!ends_in_number || host.parse::<IpAddr>().is_ok())).then(|| (host.to_ascii_lowercase(), port))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_url_is_taken_apart() {
        let parts = |text| {
            let Url { tls, host, port, authority, target, .. } = url(text);
            (tls, host, port, authority, target)
        };
        let of = |tls, host: &str, port, authority: &str, target: &str| {
            (tls, host.to_owned(), port, authority.to_owned(), target.to_owned())
        };
        assert_eq!(parts("https://a.example.com"), of(true, "a.example.com", 443, "a.example.com", "/"));
        assert_eq!(
            parts("https://A.example.com:8443/k?v=1"),
            of(true, "a.example.com", 8443, "A.example.com:8443", "/k?v=1")
        );
        assert_eq!(parts("https://a?v"), of(true, "a", 443, "a", "/?v"));
        assert_eq!(parts("http://[::1]:80/x"), of(false, "::1", 80, "[::1]:80", "/x"));
        assert_eq!(parts("http://[::1]"), of(false, "::1", 80, "[::1]", "/"));
        assert_eq!(parts("http://127.9.9.9:1"), of(false, "127.9.9.9", 1, "127.9.9.9:1", "/"));
        assert_eq!(parts("http://localhost/"), of(false, "localhost", 80, "localhost", "/"));
    }

    #[test]
    fn what_could_bring_a_strangers_keys_is_no_url() {
        for text in [
            "http://id.example.com/jwks.json",
            "http://localhost.example.com/",
            "http://127.0.0.1.example.com/",
            "http://10.0.0.1/",
            "http://0.0.0.0/",
            "http://[::]/",
            "ftp://localhost/",
            "https:/a",
            "https://",
            "https://:443/",
            "https://a:0/",
            "https://a:99999/",
            "https://a:/",
            "https://a/#x",
            "https://a/ x",
            "https://a/\r\nX: y",
            "https://a\\b",
            "https://ä.example.com",
            "https://[::1/",
            "https://[::1]x/",
            "https://127.1/",
            "https://a%2fb/",
            "HTTPS://a/",
        ] {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_collector_may_be_asked_without_tls_and_has_no_query() {
        let Endpoint(url) = "http://collector:4318/otlp".parse().unwrap();
        assert_eq!((url.tls, &*url.host, url.port, &*url.target), (false, "collector", 4318, "/otlp"));
        for text in ["collector:4318", "grpc://collector:4317", "http://collector/?key=1", "http://me:x@collector/"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_is_refused_and_not_repeated() {
        let message = "https://me:hunter2@id.example.com/".parse::<Url>().unwrap_err();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_log_does_not_get_the_query() {
        let secret = url("https://a.example.com/k?key=hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "https://a.example.com/k?.. Url(https://a.example.com/k?..)");
        assert_eq!(secret.as_str(), "https://a.example.com/k?key=hunter2");
    }
}
