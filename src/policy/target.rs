//! Where a route leads: an upstream's address, and the path as the upstream is to see it.

use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;

use super::pool::settings::Upstream;
use crate::config;
use crate::config::value::ServerAddress;

/// Where a route leads, as `upstream = ".."` says it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its servers.
    pub upstream: Arc<Upstream>,
    /// What takes the place of the route's own path, as in nginx's `proxy_pass`; without it the path is kept.
    pub path: Option<String>,
    /// The `Host` it sees instead of the client's.
    pub host_header: Option<HeaderValue>,
    /// Milliseconds for connecting, TLS included.
    pub connect_timeout: u64,
    /// Milliseconds for its answer to the handshake.
    pub response_timeout: u64,
}

/// How an upstream is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// By name or address, resolved anew for each connection.
    Tcp {
        /// A name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS is spoken.
        tls: bool,
    },
    /// By a socket in the file system.
    Unix(PathBuf),
}

impl Transport {
    /// Parses `http://`, `https://`, `ws://`, `wss://` with host, port and path, or `unix:/path` with `:/path` behind it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<(Self, Option<String>), String> {
        let wrong = |what: &str| {
            Err(format!(
                "`{text}` is no upstream: {what}; write \"http://host:port\", \"https://..\", \"ws://..\", \"wss://..\" or \"unix:/path\""
            ))
        };
        if let Some(rest) = text.strip_prefix("unix:") {
            let (socket, path) = match rest.split_once(":/") {
                Some((socket, path)) => (socket, Some(format!("/{path}"))),
                None => (rest, None),
            };
            if socket.is_empty() {
                return wrong("the socket's path is missing");
            }
            return Ok((Self::Unix(socket.into()), path));
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let (tls, default_port) = match scheme {
            "http" | "ws" => (false, 80),
            "https" | "wss" => (true, 443),
            _ => return wrong("the scheme is missing or not known"),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
            None => (rest, None),
        };
        if rest.contains(['?', '#', '@']) {
            return wrong("it has a query, a fragment or a user");
        }
        let Some((host, port)) = host_and_port(authority, default_port) else {
            return wrong("host or port is malformed");
        };
        Ok((Self::Tcp { host, port, tls }, path))
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> ServerAddress {
        match self {
            Self::Tcp { host, port, .. } => ServerAddress::Tcp(host.clone(), *port),
            Self::Unix(path) => ServerAddress::Unix(path.clone()),
        }
    }

    /// Whether it speaks TLS there.
    #[must_use]
    pub fn speaks_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

/// Whether a route's `upstream` is a URL; else it is the name of a section.
#[must_use]
pub fn is_url(upstream: &str) -> bool {
    upstream.contains("://") || upstream.starts_with("unix:")
}

/// What the upstream of a route's own URL is called: the URL without its path, and the authorities that it was given, since
/// two routes may give different ones. None of a route that names a section.
#[must_use]
pub fn own_name(route: &config::Route) -> Option<String> {
    let (transport, _) = Transport::parse(&route.upstream).ok()?;
    let address = transport.address();
    let name = match &transport {
        Transport::Tcp { tls: true, .. } => format!("https://{address}"),
        Transport::Tcp { .. } => format!("http://{address}"),
        Transport::Unix(_) => address.to_string(),
    };
    Some(match &route.upstream_ca {
        Some(authorities) => format!("{name} ({})", authorities.display()),
        None => name,
    })
}

impl Target {
    /// The target as the upstream sees it. `segments` is how many the route's own path has; `path_and_query` is the
    /// client's, still escaped.
    #[must_use]
    pub fn rewrite(&self, segments: usize, path_and_query: &str) -> String {
        let Some(replacement) = &self.path else { return path_and_query.to_owned() };
        let (path, query) = match path_and_query.find('?') {
            Some(at) => path_and_query.split_at(at),
            None => (path_and_query, ""),
        };
        // An escape stands for one byte, so counting segments finds the place in whatever way the client escaped them.
        let rest = path.match_indices('/').nth(segments).map_or("", |(at, _)| &path[at..]);
        let rewritten = format!("{}{rest}", replacement.trim_end_matches('/'));
        let path = if rest.is_empty() { replacement.as_str() } else { &rewritten };
        format!("{path}{query}")
    }
}

fn host_and_port(authority: &str, default: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') => (host, port.parse().ok().filter(|port| *port != 0)?),
        _ => (authority, default),
    };
    let host = super::request::host_name(host)?;
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::pool::settings::Server;

    fn tcp(host: &str, port: u16, tls: bool) -> Transport {
        Transport::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn every_scheme_is_read() {
        let cases = [
            ("http://a:8000", tcp("a", 8000, false), None),
            ("ws://127.0.0.1", tcp("127.0.0.1", 80, false), None),
            ("https://a.example.com", tcp("a.example.com", 443, true), None),
            ("wss://[::1]:9/x/", tcp("::1", 9, true), Some("/x/")),
            ("http://a/", tcp("a", 80, false), Some("/")),
            ("unix:/run/app.sock", Transport::Unix("/run/app.sock".into()), None),
            ("unix:/run/app.sock:/x", Transport::Unix("/run/app.sock".into()), Some("/x")),
        ];
        for (text, transport, path) in cases {
            assert_eq!(Transport::parse(text), Ok((transport, path.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn what_is_no_upstream_is_refused() {
        for text in [
            "",
            "a:80",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:x",
            "http://u@a",
            "http://a/?q",
            "unix:",
            "http://a b",
        ] {
            assert!(Transport::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_path_of_the_upstream_takes_the_place_of_the_routes() {
        let target = |path: Option<&str>| Target {
            upstream: Arc::new(Upstream::of_one("a".into(), 0, Server::plain("a:1".parse().unwrap()), false)),
            path: path.map(str::to_owned),
            host_header: None,
            connect_timeout: 1,
            response_timeout: 1,
        };
        for (route, upstream, asked, seen) in [
            ("/ws", None, "/ws/1?q=/", "/ws/1?q=/"),
            ("/ws", Some("/app"), "/ws/1?q=/", "/app/1?q=/"),
            ("/ws", Some("/app"), "/ws", "/app"),
            ("/ws", Some("/app/"), "/ws/1", "/app/1"),
            ("/ws", Some("/"), "/ws/1", "/1"),
            ("/ws", Some("/"), "/ws?x", "/?x"),
            ("/ws", Some("/app"), "/%77s/%31", "/app/%31"),
            ("/", Some("/app"), "/x/y", "/app/x/y"),
            ("/a/b", Some("/c"), "/a/b/d/", "/c/d/"),
            ("/rooms/{room}", Some("/r"), "/rooms/7/x%20y?q", "/r/x%20y?q"),
            ("/rooms/{room}", Some("/r"), "/rooms/%37%2e%D0%B6", "/r"),
            ("/rooms/{room}/members", Some("/m"), "/rooms/a:b/members/1", "/m/1"),
            ("/rooms/{room}", None, "/rooms/%37", "/rooms/%37"),
        ] {
            let segments = crate::policy::route::Matcher::new(route, false).unwrap().segments();
            assert_eq!(target(upstream).rewrite(segments, asked), seen, "{route} {upstream:?} {asked}");
        }
    }
}
