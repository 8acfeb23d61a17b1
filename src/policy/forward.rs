//! What goes up and what comes back: the headers of the two requests and the two answers.
//!
//! What a client says of itself is not believed, and what concerns one connection alone does not travel on. Everything
//! else passes as it came.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::client_ip::Forwarded;
use super::request::connection_tokens;
use super::route::Route;
use super::token::{strip, subprotocol};
use super::trace;
use super::upward::Vouched;
use crate::config::ForwardedHeader;
use crate::id::Id;

/// Headers of one connection (RFC 9110 s7.6.1), and of a body, which a handshake has not.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// What the gateway knows of a client and says to the upstream.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The connection's name.
    pub id: Id,
    /// Whose socket it is.
    pub peer: IpAddr,
    /// Whether that is a trusted proxy, whose own words about the client are kept: those of the header that is believed.
    pub trusted: bool,
    /// Which that is.
    pub believed: ForwardedHeader,
    /// What is believed.
    pub forwarded: &'a Forwarded,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Who it is, as the upstream is to see it.
    pub vouched: &'a Vouched,
}

/// The headers and the target of the upstream's handshake, from the client's.
#[must_use]
pub fn request(route: &Route, client: &HeaderMap, path_and_query: &str, caller: &Caller<'_>) -> (HeaderMap, String) {
    let (mut headers, target) = carried(route, client, path_and_query, caller);
    keep_only_deflate(&mut headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    (headers, target)
}

/// What of a client's headers travels on, with what the gateway says of the client, and the target: of a handshake as of an
/// ordinary request.
pub(super) fn carried(
    route: &Route,
    client: &HeaderMap,
    path_and_query: &str,
    caller: &Caller<'_>,
) -> (HeaderMap, String) {
    let mut headers = client.clone();
    remove_hop_by_hop(&mut headers);
    let mut target = path_and_query.to_owned();
    match &route.token {
        Some(rule) if rule.forward => strip::strip_but_token(&rule.from, &mut headers),
        Some(rule) => target = strip::strip(&rule.from, &mut headers, path_and_query),
        None => {}
    }
    route.upward.set(&mut headers, caller.vouched, caller.id);
    set_forwarded(&mut headers, client.get(header::HOST), caller, route.captures_host);
    if let Some(host) = &route.target.host_header {
        headers.insert(header::HOST, host.clone());
    }
    trace::tidy(&mut headers);
    (headers, route.target.rewrite(route.segments, &target))
}

/// The headers of the client's 101, from the upstream's. `client` is what the client asked with.
#[must_use]
pub fn answer(
    route: &Route,
    client: &HeaderMap,
    upstream: &HeaderMap,
    allow_origin: Option<&HeaderValue>,
) -> HeaderMap {
    let mut headers = upstream.clone();
    remove_hop_by_hop(&mut headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(rule) = &route.token {
        subprotocol::settle(&rule.from, client, &mut headers);
    }
    if let Some(origin) = allow_origin {
        name_origin(&mut headers, origin);
    }
    headers
}

/// `Access-Control-Allow-Origin` for an Origin that is allowed (Fetch s3.3.3), so that a page may read the answer.
pub fn name_origin(headers: &mut HeaderMap, origin: &HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        connection_tokens(headers).filter_map(|token| HeaderName::from_bytes(token).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC 7239): the gateway's own words, behind those of a trusted proxy.
///
/// Where the route `captures_host`, claims were compared with the `Host`. Many proxies pass on what a client says in
/// `X-Forwarded-Host` and `Forwarded`, so there the upstream is told of no host but that one.
fn set_forwarded(headers: &mut HeaderMap, host: Option<&HeaderValue>, caller: &Caller<'_>, captures_host: bool) {
    let Caller { forwarded, .. } = caller;
    let peer = caller.peer.to_canonical();
    let own_proto = if caller.secure { "https" } else { "http" };
    let by_x = caller.trusted && caller.believed == ForwardedHeader::XForwardedFor;
    let by_rfc = caller.trusted && caller.believed == ForwardedHeader::Forwarded;
    let said = |name: &str| headers.get(name).filter(|_| by_x).cloned();
    let said_all = |name: &str, believed: bool| {
        let values = headers.get_all(name).iter().filter(|_| believed).filter_map(|value| value.to_str().ok());
        values.map(|value| format!("{value}, ")).collect::<String>()
    };
    // In the header that is not believed, what a proxy wrote can't be told from what it passed on: there the two are named that
    // are known.
    let behind = caller.trusted && forwarded.client != peer;
    let real_ip = said("x-real-ip");
    let proto = forwarded.proto.unwrap_or(own_proto);
    let forwarded_proto = said("x-forwarded-proto").unwrap_or(HeaderValue::from_static(proto));
    let told_host = forwarded.host.as_ref().and_then(|host| HeaderValue::from_str(host).ok());
    let forwarded_host = said("x-forwarded-host").or(told_host).filter(|_| !captures_host).or(host.cloned());
    let forwarded_for = match () {
        () if by_rfc && behind => format!("{}, {peer}", forwarded.client),
        () => format!("{}{peer}", said_all("x-forwarded-for", by_x)),
    };
    let quoted_host =
        host.and_then(|host| host.to_str().ok()).map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    let before = match () {
        () if by_rfc && captures_host => format!("for={}, ", node(forwarded.client)),
        () if by_x && behind => format!("for={}, ", node(forwarded.client)),
        () => said_all("forwarded", by_rfc),
    };
    let forwarded = format!("{before}for={};proto={own_proto}{quoted_host}", node(peer));

    let names: Vec<HeaderName> = headers.keys().filter(|name| is_about_client(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    };
    set("x-real-ip", real_ip);
    set("x-forwarded-proto", Some(forwarded_proto));
    set("x-forwarded-host", forwarded_host);
    set("x-forwarded-for", HeaderValue::try_from(forwarded_for).ok());
    set("forwarded", HeaderValue::try_from(forwarded).ok());
}

/// An address as `Forwarded` writes it (RFC 7239 s6).
fn node(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() }
}

/// Whether a header is one of those that say who the client is, in whatever way a backend would spell it.
pub(crate) fn is_about_client(name: &HeaderName) -> bool {
    let name = name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    // RFC 9440 s4: whoever ends TLS removes what a client says of its own certificate.
    let about_certificate = name == "client-cert" || name == "client-cert-chain";
    name.starts_with("x-forwarded") || name == "forwarded" || name == "x-real-ip" || about_certificate
}

/// permessage-deflate is the one extension whose bits the frame machine knows: no other is offered to the upstream, so
/// that it can't choose one.
fn keep_only_deflate(headers: &mut HeaderMap) {
    let offers: Vec<String> =
        extensions(headers).filter(|offer| extension_name(offer) == DEFLATE).map(str::to_owned).collect();
    headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
    if let Ok(value) = HeaderValue::try_from(offers.join(", "))
        && !offers.is_empty()
    {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
    }
}

/// RFC 7692.
pub(crate) const DEFLATE: &str = "permessage-deflate";

/// Each extension that the headers name, with its parameters.
pub(crate) fn extensions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|e| !e.is_empty())
}

/// An extension without its parameters.
pub(crate) fn extension_name(extension: &str) -> &str {
    extension.split(';').next().unwrap_or_default().trim()
}

/// Each subprotocol that the headers name.
pub(crate) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|e| !e.is_empty())
}

#[cfg(test)]
mod tests;
