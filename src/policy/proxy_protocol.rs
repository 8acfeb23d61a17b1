//! The PROXY protocol, versions 1 and 2: what a proxy that passes bytes on says of whose bytes they are (HAProxy's
//! `proxy-protocol.txt`).
//!
//! Where a header ends is found here, so that no byte behind it is taken for a part of it; its fields are read by a library.

use std::net::SocketAddr;

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};

use crate::config::ProxyVersion;

/// Bytes of a header of version 1, at most (section 2.1).
const MAX_V1: usize = 107;

/// Bytes of one of version 2, with what it tells beside the addresses. It could say 64 KiB; nginx takes as many as here.
const MAX_V2: usize = 4096;

const GREETING_V1: &[u8] = b"PROXY ";
const GREETING_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The two ends of a connection, the first being who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub source: SocketAddr,
    /// What it connected to.
    pub destination: SocketAddr,
}

/// How many bytes the header has that begins with these; none while that can't be told yet.
///
/// # Errors
/// Why these bytes begin no header, whatever may follow.
pub fn length(seen: &[u8]) -> Result<Option<usize>, &'static str> {
    let begins = |greeting: &[u8]| seen.starts_with(greeting) || greeting.starts_with(seen);
    if begins(GREETING_V2) {
        let Some(&[high, low]) = seen.get(14..16) else { return Ok(None) };
        let length = 16 + usize::from(u16::from_be_bytes([high, low]));
        return if length <= MAX_V2 { Ok(Some(length)) } else { Err("a PROXY header of more than 4096 bytes") };
    }
    if !begins(GREETING_V1) {
        return Err("the connection does not begin with a PROXY header");
    }
    match seen.iter().take(MAX_V1).position(|byte| *byte == b'\n') {
        Some(at) => Ok(Some(at + 1)),
        None if seen.len() < MAX_V1 => Ok(None),
        None => Err("a PROXY header of version 1 without an end"),
    }
}

/// Reads a whole header. None: it names nobody, as that of a health check of the proxy's own, and the connection is what it is.
///
/// # Errors
/// Why it is none.
pub fn parse(header: &[u8]) -> Result<Option<Ends>, &'static str> {
    // Section 2.2: of LOCAL, whatever else stands there is not looked at.
    if header.starts_with(GREETING_V2) && header.get(12) == Some(&0x20) {
        return Ok(None);
    }
    // The library takes any byte for the blank, and a sign before a port.
    let is_text = !header.starts_with(GREETING_V2);
    if is_text && (!header.starts_with(GREETING_V1) || header.contains(&b'+')) {
        return Err(MALFORMED);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (read, length) = ProxyHeader::parse(header, config).map_err(|_| MALFORMED)?;
    if length != header.len() {
        return Err(MALFORMED);
    }
    // UNKNOWN, UNSPEC and addresses of local sockets name nobody.
    let Some(address) = read.proxied_address() else { return Ok(None) };
    if address.protocol != Protocol::Stream {
        return Err("a PROXY header of what is no TCP");
    }
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    Ok(Some(Ends { source: canonical(address.source), destination: canonical(address.destination) }))
}

const MALFORMED: &str = "a malformed PROXY header";

/// The header that says so. Without ends it names nobody, as a health check says it: LOCAL, or UNKNOWN in version 1.
#[must_use]
pub fn header(version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
    let header = ends.map_or_else(ProxyHeader::with_local, |Ends { source, destination }| {
        let (source, destination) = of_one_family(source, destination);
        ProxyHeader::with_address(ProxiedAddress::stream(source, destination))
    });
    let mut bytes = Vec::with_capacity(MAX_V1);
    let written = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    debug_assert!(written.is_ok(), "two addresses of one family can be written in either version");
    bytes
}

/// A header has room for one family: beside an IPv6 address, an IPv4 one is mapped into IPv6 (RFC 4291 s2.5.5.2).
fn of_one_family(one: SocketAddr, other: SocketAddr) -> (SocketAddr, SocketAddr) {
    if one.is_ipv4() == other.is_ipv4() {
        return (one, other);
    }
    let mapped = |end: SocketAddr| match end {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => end,
    };
    (mapped(one), mapped(other))
}

#[cfg(test)]
mod tests;
