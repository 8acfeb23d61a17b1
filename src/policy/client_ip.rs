//! Which address a client has when proxies stand in front.
//!
//! Every proxy appends the address it was reached from to `X-Forwarded-For`, or to `Forwarded`, so the list is true from its
//! right end up to the first address that is no trusted proxy. What stands further left is whatever a client cared to write.
//! One of the two headers is read, as the operator says: a proxy that writes one passes on what a client made up in the other.

mod forwarded;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// How many entries are looked at; nobody runs that many proxies in a row.
const MAX_ENTRIES: usize = 32;

/// What trusted proxies say of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address.
    pub client: IpAddr,
    /// `http` or `https`, in `Forwarded` alone: what it came to the proxy by that names the client.
    pub proto: Option<&'static str>,
    /// The `Host` that it asked that proxy for, likewise.
    pub host: Option<String>,
}

/// The client's address: the peer's, unless that is a trusted proxy; then the rightmost address in the values of
/// `X-Forwarded-For`, given in the order of the request, that is none.
///
/// An entry that is no address ends the search, and the client is then the proxy that wrote it. If all are trusted the
/// client is the leftmost. IPv4-mapped addresses are IPv4 here, so it takes an IPv4 network in `trusted` to match them.
pub fn client_ip<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let entries = forwarded_for.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    walk(peer, trusted, entries.map(address), |entry| *entry).0
}

/// The same by the values of `Forwarded` (RFC 7239), with what stands beside the address.
pub fn by_forwarded<'a>(
    peer: IpAddr,
    trusted: &[IpNet],
    values: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> Forwarded {
    let entries = values.rev().flat_map(forwarded::from_the_right);
    let (client, named_by) = walk(peer, trusted, entries, |element| element.client);
    let element = named_by.unwrap_or_default();
    Forwarded { client, proto: element.proto, host: element.host }
}

/// From the nearest entry on: whom the last one names that a trusted proxy wrote, and that entry.
fn walk<T>(
    peer: IpAddr,
    trusted: &[IpNet],
    entries: impl Iterator<Item = T>,
    names: impl Fn(&T) -> Option<IpAddr>,
) -> (IpAddr, Option<T>) {
    let is_proxy = |ip: &IpAddr| trusted.iter().any(|net| net.contains(ip));
    let mut client = peer.to_canonical();
    let mut by = None;
    for entry in entries.take(MAX_ENTRIES) {
        if !is_proxy(&client) {
            break;
        }
        let Some(before) = names(&entry) else { break };
        client = before;
        by = Some(entry);
    }
    (client, by)
}

/// One entry: an address, or one with a port as some balancers write it (`192.0.2.1:5678`, `[2001:db8::1]:99`).
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip = match bare {
        Some(bare) => IpAddr::V6(bare.parse().ok()?),
        None => text.parse().or_else(|_| text.parse::<SocketAddr>().map(|with_port| with_port.ip())).ok()?,
    };
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: &[&str] = &["10.0.0.0/8", "2001:db8:ffff::/48"];

    fn client(peer: &str, values: &[&[u8]]) -> String {
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        client_ip(peer.parse().unwrap(), &trusted, values.iter().copied()).to_string()
    }

    #[test]
    fn without_a_trusted_peer_the_header_is_not_read() {
        assert_eq!(client("192.0.2.1", &[b"198.51.100.7"]), "192.0.2.1");
        assert_eq!(client("192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
        assert_eq!(client_ip("10.0.0.1".parse().unwrap(), &[], [&b"1.1.1.1"[..]].into_iter()).to_string(), "10.0.0.1");
    }

    #[test]
    fn behind_proxies_the_rightmost_stranger_is_the_client() {
        let table: &[(&[&[u8]], &str)] = &[
            (&[b"198.51.100.7"], "198.51.100.7"),
            (&[b"6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            (&[b"6.6.6.6, 198.51.100.7, 10.1.1.1"], "198.51.100.7"),
            (&[b"6.6.6.6,198.51.100.7,10.1.1.1\t, 10.2.2.2 "], "198.51.100.7"),
            (&[b"6.6.6.6", b"198.51.100.7", b"10.1.1.1"], "198.51.100.7"),
            (&[b"6.6.6.6, 198.51.100.7", b"10.1.1.1, 10.2.2.2"], "198.51.100.7"),
            (&[b"10.9.9.9, 198.51.100.7, 2001:db8:ffff::1"], "198.51.100.7"),
            (&[b"2001:DB8::7"], "2001:db8::7"),
            (&[b"198.51.100.7:5678"], "198.51.100.7"),
            (&[b"[2001:db8::7]:99"], "2001:db8::7"),
            (&[b"[2001:db8::7]"], "2001:db8::7"),
            (&[b"::ffff:198.51.100.7"], "198.51.100.7"),
            (&[b"[::ffff:198.51.100.7]:99, ::ffff:10.1.1.1"], "198.51.100.7"),
        ];
        for (values, expected) in table {
            assert_eq!(client("10.0.0.1", values), *expected, "{values:?}");
            assert_eq!(client("::ffff:10.0.0.1", values), *expected, "{values:?}");
        }
    }

    #[test]
    fn if_all_are_proxies_the_leftmost_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[b"10.3.3.3, 10.2.2.2"]), "10.3.3.3");
    }

    #[test]
    fn an_entry_that_is_no_address_ends_the_search_at_the_proxy_that_wrote_it() {
        let garbage: &[&[u8]] = &[
            b"",
            b" ",
            b"unknown",
            b"_hidden",
            b"198.51.100.7 6.6.6.6",
            b"198.51.100",
            b"198.51.100.7:",
            b"198.51.100.7:99999",
            b"0198.51.100.7",
            b"[198.51.100.7]",
            b"[2001:db8::7",
            b"2001:db8::7]:99",
            b"[2001:db8::7]99",
            b"for=198.51.100.7",
            b"\"198.51.100.7\"",
            b"198.51.100.7\0",
            b"\xff\xfe",
            b"198.51.100.7;6.6.6.6",
            b"unix:/run/s",
        ];
        for entry in garbage {
            assert_eq!(client("10.0.0.1", &[b"6.6.6.6", entry]), "10.0.0.1", "{entry:?}");
            assert_eq!(client("10.0.0.1", &[b"6.6.6.6", entry, b"10.2.2.2"]), "10.2.2.2", "{entry:?}");
        }
    }

    #[test]
    fn no_more_than_a_bound_of_entries_is_looked_at() {
        let mut list = b"198.51.100.7".to_vec();
        list.extend(b",10.1.1.1".repeat(MAX_ENTRIES - 1));
        assert_eq!(client("10.0.0.1", &[&list]), "198.51.100.7");
        list.extend(b",10.1.1.1");
        assert_eq!(client("10.0.0.1", &[&list]), "10.1.1.1");
        assert_eq!(client("10.0.0.1", &[&b",".repeat(1 << 20)]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[&b"1".repeat(1 << 20)]), "10.0.0.1");
    }

    fn forwarded(peer: &str, values: &[&[u8]]) -> Forwarded {
        let trusted: Vec<IpNet> = PROXIES.iter().map(|net| net.parse().unwrap()).collect();
        by_forwarded(peer.parse().unwrap(), &trusted, values.iter().copied())
    }

    #[test]
    fn forwarded_is_read_from_the_right_too() {
        let table: &[(&[&[u8]], &str)] = &[
            (&[], "10.0.0.1"),
            (&[b"for=198.51.100.7"], "198.51.100.7"),
            (&[b"for=6.6.6.6, for=198.51.100.7"], "198.51.100.7"),
            (&[b"for=6.6.6.6", b"for=198.51.100.7, for=10.1.1.1", b"for=\"[2001:db8:ffff::1]:80\""], "198.51.100.7"),
            (&[b"for=10.3.3.3, for=10.2.2.2"], "10.3.3.3"),
            (&[b"for=6.6.6.6, for=unknown, for=10.1.1.1"], "10.1.1.1"),
            (&[b"for=6.6.6.6, for=_hidden"], "10.0.0.1"),
            (&[b"for=6.6.6.6, proto=https"], "10.0.0.1"),
            (&[b"for=6.6.6.6;for=198.51.100.7"], "10.0.0.1"),
            (&[b"for=\", for=198.51.100.7"], "198.51.100.7"),
        ];
        for (values, expected) in table {
            assert_eq!(forwarded("10.0.0.1", values).client.to_string(), *expected, "{values:?}");
        }
        assert_eq!(forwarded("192.0.2.1", &[b"for=198.51.100.7"]).client.to_string(), "192.0.2.1");
        let many = b"for=10.1.1.1,".repeat(1 << 16);
        assert_eq!(forwarded("10.0.0.1", &[&many]).client.to_string(), "10.0.0.1");
    }

    #[test]
    fn scheme_and_host_are_those_of_the_proxy_that_named_the_client() {
        let said: &[&[u8]] = &[b"for=198.51.100.7;proto=https;host=a.example, for=10.1.1.1;proto=http;host=b.example"];
        let all = forwarded("10.0.0.1", said);
        assert_eq!((all.proto, all.host.as_deref()), (Some("https"), Some("a.example")));
        assert_eq!(forwarded("192.0.2.1", said).proto, None);
    }
}
