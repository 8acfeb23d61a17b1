//! Which route a request belongs to, and what the route demands and grants.

use std::sync::Arc;

use http::HeaderName;

use super::bucket::Limit;
use super::cap::{Cap, KeyedCap};
use super::certificate;
use super::origin::Origins;
use super::require::Require;
use super::target::Target;
use super::token::Verifier;
use super::zone::Zone;
use crate::config::OnExcess;
use crate::config::value::TokenFrom;

/// One `[[route]]`, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Its place in [`super::Policy::routes`], and among the metrics.
    pub index: usize,
    /// Its path, as [`Matcher::path`].
    pub path: String,
    /// Where it leads.
    pub target: Target,
    /// Whether a 4xx of the upstream reaches the client as such.
    pub pass_upstream_errors: bool,
    /// What it makes of a client's certificate.
    pub certificate: certificate::Rule,
    /// The token it wants.
    pub token: Option<TokenRule>,
    /// What the token has to claim.
    pub require: Require,
    /// The header in which the upstream gets the subject. A client's own is removed, on a route without a token too: a
    /// backend that believes it may stand behind both.
    pub subject_header: HeaderName,
    /// The pages that may connect; without it no Origin is looked at.
    pub origins: Option<Origins>,
    /// The rate of handshakes.
    pub handshakes: Option<HandshakeLimit>,
    /// How many sessions there may be at once.
    pub caps: Caps,
    /// What a session keeps to.
    pub terms: Terms,
}

/// Which token a route wants, and what becomes of it.
#[derive(Debug)]
pub struct TokenRule {
    /// The `[jwt.NAME]`s, never none. Of several each has issuers of its own.
    pub verifiers: Vec<Arc<Verifier>>,
    /// Where it is looked for.
    pub from: Vec<TokenFrom>,
    /// Whether the upstream sees it.
    pub forward: bool,
    /// Whether it has to be bound to the client's certificate.
    pub require_bound: bool,
    /// The status of a refusal: 403, or 401.
    pub status: u16,
}

/// A rate of handshakes by client address.
#[derive(Debug)]
pub struct HandshakeLimit {
    /// Where the buckets are.
    pub zone: Arc<Zone>,
    /// Units beyond the rate that are let in.
    pub burst: u64,
    /// Units of the burst that do not wait; `u64::MAX`: all (`nodelay`).
    pub delay: u64,
    /// Counted, never refused.
    pub dry_run: bool,
    /// The status of a refusal.
    pub status: u16,
}

/// The caps of a route.
#[derive(Debug, Default)]
pub struct Caps {
    /// Over all of its sessions.
    pub total: Option<Arc<Cap>>,
    /// By client address.
    pub per_ip: Option<Arc<KeyedCap>>,
    /// By subject.
    pub per_subject: Option<Arc<KeyedCap>>,
}

/// What a session keeps to. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The rate of messages from the client.
    pub messages: Option<Arc<MessageLimit>>,
    /// Bytes of a message from the client, as on the wire.
    pub max_message_size: u64,
    /// Silence of both sides that ends it.
    pub idle_timeout: u64,
    /// Silence of the client after which it is pinged.
    pub ping_interval: Option<u64>,
    /// Silence after a ping that ends it.
    pub ping_timeout: u64,
    /// How long a Close waits for its answer.
    pub close_timeout: u64,
}

/// A rate of messages on one connection.
#[derive(Clone, Copy, Debug)]
pub struct MessageLimit {
    /// The bucket's rate and burst.
    pub limit: Limit,
    /// What happens beyond the burst.
    pub on_excess: OnExcess,
}

/// Whom a route is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Matcher {
    /// The host, or any.
    pub host: Host,
    /// Decoded, beginning with a slash, without one at the end (but for `/` itself, which is empty here).
    pub path: String,
    /// Whether `path` is the whole path.
    pub exact: bool,
}

/// The host of a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Whatever the client says.
    Any,
    /// `*.example.com`, kept as `.example.com`: one or more labels before it.
    Under(String),
    /// This one, in lower case.
    Exact(String),
}

impl Host {
    /// Parses `example.com`, `*.example.com`, `127.0.0.1`, `[::1]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (under, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let Some(name) = super::request::host_name(name).filter(|n| *n == name.to_ascii_lowercase()) else {
            return Err(format!("`{text}` is no host: a name without scheme, port or path, or `*.` and a name"));
        };
        Ok(if under { Self::Under(format!(".{name}")) } else { Self::Exact(name) })
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Host::Any => true,
            Host::Exact(name) => name == host,
            Host::Under(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl Matcher {
    /// A path as the operator typed it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(host: Host, path: &str, exact: bool) -> Result<Self, String> {
        let Some(decoded) = super::request::decode_path(path).filter(|_| !path.contains(['?', '#'])) else {
            return Err(format!(
                "`{path}` is no path: it begins with `/`, and has no empty, `.` or `..` segment and no `?`"
            ));
        };
        let path = if exact { decoded } else { decoded.trim_end_matches('/').to_owned() };
        Ok(Self { host, path, exact })
    }

    /// Whether a request for this host and decoded path is meant.
    #[must_use]
    pub fn matches(&self, host: &str, path: &str) -> bool {
        self.host.matches(host)
            && match path.strip_prefix(self.path.as_str()) {
                Some("") => true,
                Some(rest) => !self.exact && rest.starts_with('/'),
                None => false,
            }
    }

    /// The order in which routes are tried: a named host before `*.`, before any; a whole path before a prefix; the longer first.
    #[must_use]
    pub fn rank(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Host::Exact(name) => (2, name.len()),
            Host::Under(suffix) => (1, suffix.len()),
            Host::Any => (0, 0),
        };
        std::cmp::Reverse((host, self.exact, self.path.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(host: &str, path: &str, exact: bool) -> Matcher {
        let host = if host == "any" { Host::Any } else { Host::parse(host).unwrap() };
        Matcher::new(host, path, exact).unwrap()
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let ws = matcher("any", "/ws", false);
        assert!(ws.matches("a", "/ws") && ws.matches("a", "/ws/") && ws.matches("a", "/ws/1"));
        assert!(!ws.matches("a", "/wsx") && !ws.matches("a", "/w") && !ws.matches("a", "/"));
        assert!(matcher("any", "/ws/", false).matches("a", "/ws"), "a slash at the end changes nothing");
    }

    #[test]
    fn a_slash_is_every_path() {
        assert!(matcher("any", "/", false).matches("a", "/") && matcher("any", "/", false).matches("a", "/x/y"));
    }

    #[test]
    fn an_exact_path_has_nothing_below_it() {
        let ws = matcher("any", "/ws", true);
        assert!(ws.matches("a", "/ws") && !ws.matches("a", "/ws/") && !ws.matches("a", "/ws/1"));
    }

    #[test]
    fn a_starred_host_wants_a_label_more() {
        let host = matcher("*.example.com", "/", false);
        assert!(host.matches("a.example.com", "/") && host.matches("a.b.example.com", "/"));
        assert!(!host.matches("example.com", "/") && !host.matches("evilexample.com", "/"));
        assert!(!host.matches("a.example.com.evil.org", "/") && !host.matches(".example.com", "/"));
    }

    #[test]
    fn the_most_particular_route_is_tried_first() {
        let mut routes = [
            matcher("any", "/", false),
            matcher("any", "/ws/chat", false),
            matcher("any", "/ws", true),
            matcher("*.example.com", "/", false),
            matcher("a.example.com", "/", false),
            matcher("any", "/ws", false),
        ];
        routes.sort_by_key(Matcher::rank);
        let order: Vec<_> = routes.iter().map(|m| (m.host.clone(), m.path.as_str(), m.exact)).collect();
        let under = Host::Under(".example.com".into());
        let exact = Host::Exact("a.example.com".into());
        assert_eq!(
            order,
            [
                (exact, "", false),
                (under, "", false),
                (Host::Any, "/ws", true),
                (Host::Any, "/ws/chat", false),
                (Host::Any, "/ws", false),
                (Host::Any, "", false),
            ]
        );
    }

    #[test]
    fn what_is_no_host_or_path_is_refused() {
        for host in ["", "*", "*.", "a.*.b", "http://a", "a:80", "a/b", "a b", "a..b", "UP.example.com "] {
            assert!(Host::parse(host).is_err(), "{host:?}");
        }
        for path in ["", "ws", "/a//b", "/a/../b", "/a?b", "/a#b", "/%2e%2e/x", "/%zz"] {
            assert!(Matcher::new(Host::Any, path, false).is_err(), "{path:?}");
        }
    }
}
