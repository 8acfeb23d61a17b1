//! `Forwarded` (RFC 7239), taken apart from its right end: there stands what the nearest proxy wrote, whatever a client wrote
//! further left, an open quote included.

use std::net::IpAddr;

/// What one proxy says of the request that it passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Who it came from; none of what is no address: `unknown`, a name made up (section 6.3), or nothing.
    pub client: Option<IpAddr>,
    /// `http` or `https`.
    pub proto: Option<&'static str>,
    /// The `Host` that was asked for.
    pub host: Option<String>,
}

/// The elements of a header's value, the last one first. One that is malformed says nothing, and ends them.
pub(super) fn from_the_right(value: &[u8]) -> impl Iterator<Item = Element> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let Some(at) = last_outside_quotes(whole, b',') else { return Some(Element::default()) };
        rest = at.checked_sub(1).map(|comma| &whole[..comma]);
        Some(element(&whole[at..]).unwrap_or_default())
    })
}

/// Where the part behind the last such sign begins, which stands in no quoted text; 0 if there is none. None where a quote
/// is open.
///
/// Read from the right, a quote ends at the next one that no backslash escapes, which one has where an odd number of them
/// stands before it (RFC 9110 s5.6.4). In what is well formed those are the same quotes as read from the left.
fn last_outside_quotes(bytes: &[u8], sign: u8) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in bytes.iter().enumerate().rev() {
        if *byte == b'"' {
            let escaped = bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
            quoted = if quoted { escaped } else { true };
        } else if *byte == sign && !quoted {
            return Some(at + 1);
        }
    }
    (!quoted).then_some(0)
}

/// One element; none if it is malformed, or says one thing twice (section 4).
fn element(mut pairs: &[u8]) -> Option<Element> {
    let mut element = Element::default();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    loop {
        let at = last_outside_quotes(pairs, b';')?;
        let (name, value) = pair(&pairs[at..])?;
        if seen.contains(&name) {
            return None;
        }
        match name.as_slice() {
            b"for" => element.client = node(&value),
            b"proto" => element.proto = ["http", "https"].into_iter().find(|known| value.eq_ignore_ascii_case(known)),
            b"host" => element.host = Some(value),
            _ => {}
        }
        seen.push(name);
        let Some(semicolon) = at.checked_sub(1) else { return Some(element) };
        pairs = &pairs[..semicolon];
    }
}

/// A name in lower case and its value without quotes. Like some proxies, and unlike section 4, it lets `[` and `:` stand in
/// a value without quotes.
fn pair(bytes: &[u8]) -> Option<(Vec<u8>, String)> {
    let bytes = bytes.trim_ascii();
    let equals = bytes.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
    if name.is_empty() || !name.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let value = match value.strip_prefix(b"\"") {
        Some(rest) => unquote(rest.strip_suffix(b"\"")?)?,
        None if value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b' ' | b'\t')) => return None,
        None => value.to_vec(),
    };
    Some((name.to_ascii_lowercase(), String::from_utf8(value).ok()?))
}

/// What stands between quotes, without its backslashes; none if a quote stands among it.
fn unquote(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'"' => return None,
            b'\\' => *bytes.next()?,
            other => *other,
        });
    }
    Some(plain)
}

/// An address; a port behind it may be one made up (section 6).
fn node(text: &str) -> Option<IpAddr> {
    let bare = text.rsplit_once(":_").map_or(text, |(bare, _)| bare);
    super::address(bare.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clients(value: &str) -> Vec<Option<String>> {
        from_the_right(value.as_bytes()).map(|element| element.client.map(|ip| ip.to_string())).collect()
    }

    #[test]
    fn addresses_are_read_as_proxies_write_them() {
        let table = [
            ("for=192.0.2.60", "192.0.2.60"),
            ("For=192.0.2.60;Proto=http;By=203.0.113.43", "192.0.2.60"),
            ("for=\"192.0.2.60:4711\"", "192.0.2.60"),
            ("for=\"192.0.2.60:_port\"", "192.0.2.60"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
            ("for=[2001:db8:cafe::17]", "2001:db8:cafe::17"),
            ("for=\"[::ffff:192.0.2.60]\"", "192.0.2.60"),
            ("for=\"192\\.0.2.60\"", "192.0.2.60"),
            (" by=_gw ; for=192.0.2.60 ", "192.0.2.60"),
            ("host=\"a,b;for=6.6.6.6\\\"\";for=192.0.2.60", "192.0.2.60"),
        ];
        for (value, expected) in table {
            assert_eq!(clients(value), [Some(expected.to_owned())], "{value}");
        }
    }

    #[test]
    fn what_names_no_address_says_nothing() {
        for value in [
            "",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "for=\"_SEVKISEK\"",
            "proto=https",
            "for=192.0.2.60;for=192.0.2.61",
            "for=192.0.2.60;proto=http;Proto=https",
            "for=\"192.0.2.60",
            "for=192.0.2.60\"",
            "for=\"192.0.2.60\"x",
            "for=\"192.0\".2.60",
            "for = 192.0.2.60",
            "for=192.0.2.60;",
            ";for=192.0.2.60",
            "f or=192.0.2.60",
            "x=1 for=192.0.2.60",
            "192.0.2.60",
            "for=\"2001:db8::1]\"",
        ] {
            assert_eq!(clients(value), [None], "{value}");
        }
    }

    #[test]
    fn scheme_and_host_stand_beside_it() {
        let value = "for=192.0.2.60;proto=HTTPS;host=\"chat.example.com:8443\"";
        let expected = Element {
            client: Some("192.0.2.60".parse().unwrap()),
            proto: Some("https"),
            host: Some("chat.example.com:8443".to_owned()),
        };
        assert_eq!(from_the_right(value.as_bytes()).collect::<Vec<_>>(), [expected]);
        assert_eq!(from_the_right(b"for=1.1.1.1;proto=gopher").next().unwrap().proto, None);
    }

    #[test]
    fn the_last_element_comes_first() {
        let some = |ip: &str| Some(ip.to_owned());
        assert_eq!(
            clients("for=192.0.2.43, for=\"[2001:db8::17]\",for=unknown;proto=http , for=10.0.0.1"),
            [some("10.0.0.1"), None, some("2001:db8::17"), some("192.0.2.43")]
        );
    }

    proptest! {
        /// Whatever a client wrote before, quotes and backslashes too, the proxy's own element is read as it was written.
        #[test]
        fn nothing_further_left_changes_what_the_nearest_proxy_said(
            before in r#"[a-z"\\,;= ]{0,40}"#,
            ip in any::<[u8; 4]>(),
            quoted in any::<bool>(),
        ) {
            let ip = IpAddr::from(ip);
            let written = if quoted { format!("for=\"{ip}:80\";host=\"a\\\\\\\"b\"") } else { format!("for={ip}") };
            let value = format!("{before},{written}");
            prop_assert_eq!(from_the_right(value.as_bytes()).next().unwrap().client, Some(ip));
        }

        #[test]
        fn no_bytes_make_it_panic(value in any::<Vec<u8>>()) {
            let elements = from_the_right(&value).count();
            prop_assert!(elements <= value.len() + 1);
        }
    }
}
