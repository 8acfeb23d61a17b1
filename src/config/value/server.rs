//! Where one server of an upstream is: `host:port`, or a socket in the file system.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::url::host_and_port;
use super::{Typed, typed_value};

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// A name, or an address without brackets; and the port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl ServerAddress {
    /// The name that has to be looked up before it can be connected to.
    #[must_use]
    pub fn name(&self) -> Option<(&str, u16)> {
        match self {
            Self::Tcp(host, port) if host.parse::<std::net::IpAddr>().is_err() => Some((host, *port)),
            Self::Tcp(..) | Self::Unix(_) => None,
        }
    }
}

impl FromStr for ServerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("`{text}` is no server: {what}\n{}", Self::EXPECTED));
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => wrong("the socket's path is missing"),
                path => Ok(Self::Unix(path.into())),
            };
        }
        if text.contains("://") {
            return wrong("it has a scheme; `tls = true` beside `servers` is https");
        }
        match host_and_port(text, 0) {
            Some((_, 0)) => wrong("it has no port"),
            Some((host, port)) => Ok(Self::Tcp(host, port)),
            None => wrong("host or port is malformed"),
        }
    }
}

impl Typed for ServerAddress {
    const EXPECTED: &'static str =
        "a text as \"10.0.0.1:8000\", \"[::1]:8000\", \"chat.internal:8000\" or \"unix:/run/chat.sock\"";
}

typed_value!(ServerAddress, types: "string", pattern: "^(unix:.+|[^:/@]+:[0-9]+|\\[[0-9A-Fa-f:.]+\\]:[0-9]+)$",
    description: "host:port, or unix:/path");

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_spelled_as_it_prints() {
        for text in ["10.0.0.1:8000", "[::1]:8000", "chat.internal:1", "unix:/run/chat.sock"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in ["", "a", "a:", "a:0", "a:x", ":80", "::1:80", "[::1]", "http://a:80", "a:80/x", "u@a:80", "unix:"]
        {
            assert!(text.parse::<ServerAddress>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_has_to_be_looked_up_and_an_address_not() {
        let name = |text: &str| text.parse::<ServerAddress>().unwrap().name().map(|(name, _)| name.to_owned());
        assert_eq!(name("chat.internal:1").as_deref(), Some("chat.internal"));
        assert_eq!([name("10.0.0.1:1"), name("[::1]:1"), name("unix:/a")], [None, None, None]);
    }
}
