//! The opening handshake, read strictly: what is malformed, doubled or ambiguous is refused before anything is decided.
//!
//! A gateway and the backend behind it must not read one request in two ways: so a path is accepted only in a form that
//! every backend reads alike.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::header::{CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderName, Method, Uri, Version};

use crate::deny::Deny;

/// Why a request is no opening handshake, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// `not_websocket` or `bad_handshake`.
    pub deny: Deny,
    /// What is wrong.
    pub why: &'static str,
}

const fn bad(why: &'static str) -> Flaw {
    Flaw { deny: Deny::BadHandshake, why }
}

const fn not_websocket(why: &'static str) -> Flaw {
    Flaw { deny: Deny::NotWebsocket, why }
}

/// The parts of an opening handshake that decisions use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The host, in lower case, without its port.
    pub host: String,
    /// The path, percent-decoded, for the choice of the route.
    pub path: String,
}

impl Opening {
    /// Reads a request's head (RFC 6455 s4.1 and s4.2.1, RFC 9112 s3.2).
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(method: &Method, uri: &Uri, version: Version, headers: &HeaderMap) -> Result<Self, Flaw> {
        for name in [HOST, ORIGIN, AUTHORIZATION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION] {
            if headers.get_all(&name).iter().nth(1).is_some() {
                return Err(bad(doubled(&name)));
            }
        }
        if version != Version::HTTP_11 {
            return Err(bad("not HTTP/1.1"));
        }
        if headers.contains_key(TRANSFER_ENCODING) || headers.get_all(CONTENT_LENGTH).iter().any(|v| v != "0") {
            return Err(bad("a body"));
        }
        if connection_tokens(headers).any(names_what_the_gateway_vouches_for) {
            return Err(bad("Connection names a header that is not one connection's own"));
        }
        let opening = Self::target(uri, headers)?;
        if method != Method::GET {
            return Err(not_websocket("not GET"));
        }
        if !names_upgrade(headers) {
            return Err(not_websocket("Connection does not name upgrade"));
        }
        let mut upgrades = headers.get_all(UPGRADE).iter();
        match (upgrades.next(), upgrades.next()) {
            (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(not_websocket("Upgrade is not websocket alone")),
        }
        if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(not_websocket("Sec-WebSocket-Version is not 13"));
        }
        if !headers.get(SEC_WEBSOCKET_KEY).is_some_and(|key| is_key(key.as_bytes())) {
            return Err(bad("Sec-WebSocket-Key is not 16 bytes in base64"));
        }
        Ok(opening)
    }

    /// The host and path of any request.
    ///
    /// # Errors
    /// `bad_handshake` where one of them is missing or ambiguous.
    pub fn target(uri: &Uri, headers: &HeaderMap) -> Result<Self, Flaw> {
        let host = target_host(uri, headers)?;
        let path = decode_path(uri.path()).ok_or(bad("an ambiguous path"))?;
        Ok(Self { host, path })
    }
}

fn doubled(name: &HeaderName) -> &'static str {
    match *name {
        HOST => "two Host headers",
        ORIGIN => "two Origin headers",
        AUTHORIZATION => "two Authorization headers",
        SEC_WEBSOCKET_KEY => "two Sec-WebSocket-Key headers",
        _ => "two Sec-WebSocket-Version headers",
    }
}

/// Whether `Connection` has the token `upgrade` in one of its lists.
pub(crate) fn names_upgrade(headers: &HeaderMap) -> bool {
    connection_tokens(headers).any(|token| token.eq_ignore_ascii_case(b"upgrade"))
}

/// Each token of `Connection`: the headers that it names do not travel on (RFC 9110 s7.6.1).
pub(crate) fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lists = headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    lists.map(<[u8]>::trim_ascii)
}

/// Headers by which the gateway decided, or which it sets: removed from the request by the client's own wish, they would let
/// the upstream see another request than the one that was judged.
pub(super) fn names_what_the_gateway_vouches_for(token: &[u8]) -> bool {
    const NAMES: [&[u8]; 6] = [b"host", b"origin", b"cookie", b"authorization", b"forwarded", b"x-real-ip"];
    let token = token.to_ascii_lowercase();
    NAMES.contains(&token.as_slice()) || token.starts_with(b"sec-websocket-") || token.starts_with(b"x-forwarded-")
}

/// 16 bytes in base64 are 22 letters, of which the last has 4 idle bits, and `==`.
fn is_key(key: &[u8]) -> bool {
    use base64::Engine as _;
    let mut bytes = [0; 18];
    base64::engine::general_purpose::STANDARD.decode_slice(key, &mut bytes).is_ok_and(|len| len == 16)
}

/// The host that `Host` names; an absolute-form target has to name the same (RFC 9112 s3.2.2).
fn target_host(uri: &Uri, headers: &HeaderMap) -> Result<String, Flaw> {
    let header = headers.get(HOST).ok_or(bad("no Host"))?;
    let authority = header.to_str().map_err(|_| bad("a malformed Host"))?;
    let host = host_of(authority).ok_or(bad("a malformed Host"))?;
    if uri.authority().is_some_and(|target| !target.as_str().eq_ignore_ascii_case(authority)) {
        return Err(bad("a target elsewhere than Host"));
    }
    Ok(host)
}

/// The host of `host`, `host:port` or `[v6]:port`, in lower case.
fn host_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.rfind(':') {
        Some(at) if !authority.ends_with(']') => (&authority[..at], Some(&authority[at + 1..])),
        _ => (authority, None),
    };
    let port_is_fine = port.is_none_or(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok());
    if port_is_fine { host_name(host) } else { None }
}

/// A host in lower case: a name of labels, or an address. One dot at the end means the same and is dropped.
pub(crate) fn host_name(host: &str) -> Option<String> {
    if let Some(v6) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<std::net::Ipv6Addr>().ok().map(|v6| format!("[{v6}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (host.len() <= 253 && host.split('.').all(label)).then(|| host.to_ascii_lowercase())
}

/// A path, percent-decoded, if every backend reads it alike: no broken escape, no escaped separator or control, no empty,
/// `.` or `..` segment. A slash at the end stays.
pub(crate) fn decode_path(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let escaped = u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?;
                if digits[0] == b'+' || matches!(escaped, b'/' | b'\\' | b'%') || escaped.is_ascii_control() {
                    return None;
                }
                escaped
            }
            b'\\' | b';' => return None,
            plain if plain.is_ascii_control() => return None,
            plain => plain,
        };
        decoded.push(plain);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let inner = decoded.strip_prefix('/')?;
    let segments = inner.strip_suffix('/').unwrap_or(inner);
    let clear = inner.is_empty() || segments.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    clear.then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    const GOOD: &[(&str, &str)] = &[
        ("host", "chat.example.com:8443"),
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn parse(method: &str, target: &str, headers: &[(&str, &str)]) -> Result<Opening, Flaw> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Opening::parse(&parts.method, &parts.uri, parts.version, &parts.headers)
    }

    /// The good headers with one of them changed, or left out, and more behind them.
    fn with<'a>(name: &str, value: Option<&'a str>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let kept = GOOD.iter().filter_map(|&(n, v)| if n == name { value.map(|v| (n, v)) } else { Some((n, v)) });
        kept.chain(more.iter().copied()).collect()
    }

    #[test]
    fn the_handshake_of_the_rfc_is_read() {
        let opening = parse("GET", "/chat/%41?x=/..//", GOOD).unwrap();
        assert_eq!(opening, Opening { host: "chat.example.com".into(), path: "/chat/A".into() });
    }

    #[test]
    fn what_asks_for_something_else_is_not_websocket() {
        let cases = [
            parse("POST", "/", GOOD),
            parse("GET", "/", &with("connection", Some("keep-alive"), &[])),
            parse("GET", "/", &with("connection", Some("notupgrade"), &[])),
            parse("GET", "/", &with("upgrade", Some("h2c"), &[])),
            parse("GET", "/", &with("upgrade", Some("websocket, h2c"), &[])),
            parse("GET", "/", &with("upgrade", Some("websocket"), &[("upgrade", "h2c")])),
            parse("GET", "/", &with("upgrade", None, &[])),
            parse("GET", "/", &with("sec-websocket-version", Some("8"), &[])),
            parse("GET", "/", &with("sec-websocket-version", None, &[])),
        ];
        for (at, case) in cases.into_iter().enumerate() {
            assert_eq!(case.map_err(|flaw| flaw.deny), Err(Deny::NotWebsocket), "case {at}");
        }
    }

    #[test]
    fn what_is_malformed_or_doubled_is_a_bad_handshake() {
        let key = |key: &'static str| parse("GET", "/", &with("sec-websocket-key", Some(key), &[]));
        let host = |host: &'static str| parse("GET", "/", &with("host", Some(host), &[]));
        let cases = [
            key("dGhlIHNhbXBsZSBub25jZQ"),
            key("dGhlIHNhbXBsZSBub25jZQ==="),
            key("c2hvcnQ="),
            key("dGhlIHNhbXBsZSBub25jZSB0b28gbG9uZw=="),
            key(""),
            parse("GET", "/", &with("sec-websocket-key", None, &[])),
            host(""),
            host("a b"),
            host("a:99999"),
            host("a:x"),
            host("user@a"),
            host("[::1"),
            parse("GET", "/", &with("host", None, &[])),
            parse("GET", "/", &with("", None, &[("host", "chat.example.com:8443")])),
            parse("GET", "/", &with("", None, &[("origin", "https://a"), ("origin", "https://b")])),
            parse("GET", "/", &with("", None, &[("authorization", "Bearer a"), ("authorization", "Bearer a")])),
            parse("GET", "/", &with("", None, &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])),
            parse("GET", "/", &with("", None, &[("sec-websocket-version", "13")])),
            parse("GET", "/", &with("", None, &[("content-length", "1")])),
            parse("GET", "/", &with("", None, &[("content-length", "0"), ("content-length", "4")])),
            parse("GET", "/", &with("", None, &[("transfer-encoding", "chunked")])),
            parse("GET", "http://elsewhere.example.com/", GOOD),
            parse("GET", "/", &with("connection", Some("Upgrade, Host"), &[])),
            parse("GET", "/", &with("connection", Some("Upgrade"), &[("connection", "x, ORIGIN")])),
            parse("GET", "/", &with("connection", Some("Upgrade, cookie"), &[])),
            parse("GET", "/", &with("connection", Some("Upgrade, X-Forwarded-For"), &[])),
            parse("GET", "/", &with("connection", Some("Upgrade,Sec-WebSocket-Key"), &[])),
        ];
        for (at, case) in cases.into_iter().enumerate() {
            assert_eq!(case.map_err(|flaw| flaw.deny), Err(Deny::BadHandshake), "case {at}");
        }
    }

    #[test]
    fn an_absolute_target_at_the_host_is_read() {
        assert_eq!(parse("GET", "http://chat.example.com:8443/a", GOOD).unwrap().path, "/a");
    }

    #[test]
    fn a_path_that_two_backends_could_read_differently_is_refused() {
        let ambiguous = [
            "/a/../b",
            "/a/./b",
            "/..",
            "/.",
            "/a//b",
            "//",
            "/%2e%2e/b",
            "/a/%2E/b",
            "/a%2fb",
            "/a%5cb",
            "/a\\b",
            "/a%00b",
            "/a%0ab",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%252e",
            "/a;b/c",
            "/%ff",
            "a",
            "",
            "*",
            "/a%+1b",
        ];
        for path in ambiguous {
            assert_eq!(decode_path(path), None, "{path}");
        }
        for (path, decoded) in
            [("/", "/"), ("/a", "/a"), ("/a/", "/a/"), ("/a%20b", "/a b"), ("/...", "/..."), ("/a.b", "/a.b")]
        {
            assert_eq!(decode_path(path).as_deref(), Some(decoded));
        }
    }
}
