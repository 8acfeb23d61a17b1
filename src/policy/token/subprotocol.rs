//! Tokens among the subprotocols: the one header of a handshake that a browser's script can fill.
//!
//! An entry of `Sec-WebSocket-Protocol` that is a prefix and a token carries the token. The prefix without its last dot,
//! offered beside it, is the gateway's own marker: a browser fails a handshake of which no offered subprotocol was chosen
//! (WHATWG WebSockets, "establish a WebSocket connection"), and the marker is what may be chosen for its sake.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL};

use crate::config::value::TokenFrom;
use crate::deny::Deny;

/// What stands before a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) struct Prefix<'a> {
    text: &'a str,
    /// Whether the token is base64url once more.
    encoded: bool,
}

/// Of plain `subprotocol`. The first two are Kubernetes' own form and its plain sibling.
const BUILT_IN: [Prefix<'static>; 3] = [
    Prefix { text: "base64url.bearer.authorization.k8s.io.", encoded: true },
    Prefix { text: "base64url.bearer.authorization.", encoded: true },
    Prefix { text: "bearer.", encoded: false },
];

impl<'a> Prefix<'a> {
    /// Whether an entry of the other one would be taken for one of this.
    pub(in crate::policy) fn begins(self, other: Prefix<'_>) -> bool {
        other.text.starts_with(self.text)
    }

    /// The prefix without the character that parts it from its token, if one does.
    fn marker(self) -> &'a str {
        match self.text.strip_suffix(|c: char| !c.is_ascii_alphanumeric()) {
            Some(marker) if !marker.is_empty() => marker,
            _ => self.text,
        }
    }
}

impl std::fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

/// The prefixes of one place; none where it is no subprotocol.
pub(in crate::policy) fn prefixes(place: &TokenFrom) -> Vec<Prefix<'_>> {
    match place {
        TokenFrom::Subprotocol => BUILT_IN.to_vec(),
        TokenFrom::PrefixedSubprotocol(text) => vec![Prefix { text, encoded: false }],
        TokenFrom::Header | TokenFrom::NamedHeader(_) | TokenFrom::Cookie(_) | TokenFrom::Query(_) => Vec::new(),
    }
}

/// What one entry is to the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry<'a> {
    /// This prefix, and a token in its spelling.
    Token(Prefix<'a>, &'a [u8]),
    /// This prefix's marker.
    Marker(Prefix<'a>),
    /// The application's own.
    Other,
}

/// What is looked for among the entries of a request.
struct Reader<'a>(Vec<Prefix<'a>>);

impl<'a> Reader<'a> {
    fn of(from: &'a [TokenFrom]) -> Self {
        Self(from.iter().flat_map(prefixes).collect())
    }

    /// A marker first: Kubernetes' one begins with its sibling's prefix.
    fn read<'e>(&self, entry: &'e [u8]) -> Entry<'e>
    where
        'a: 'e,
    {
        let entry = entry.trim_ascii();
        if let Some(prefix) = self.0.iter().find(|prefix| prefix.marker().as_bytes() == entry) {
            return Entry::Marker(*prefix);
        }
        let token = self.0.iter().find_map(|prefix| Some((*prefix, entry.strip_prefix(prefix.text.as_bytes())?)));
        token.map_or(Entry::Other, |(prefix, text)| Entry::Token(prefix, text))
    }

    /// The prefixes of which a token was offered: their markers are the gateway's. Without one, `bearer` is a
    /// subprotocol like any other.
    fn offered(&self, headers: &HeaderMap) -> Vec<Prefix<'a>> {
        let carries = |prefix: Prefix<'_>, entry| matches!(self.read(entry), Entry::Token(found, _) if found == prefix);
        let offered = |prefix: &Prefix<'_>| entries(headers).any(|entry| carries(*prefix, entry));
        self.0.iter().copied().filter(offered).collect()
    }
}

fn entries(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lists = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    lists.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty())
}

/// The tokens among the subprotocols, in one place's spelling of them.
///
/// # Errors
/// [`Deny::TokenInvalid`] where what should be base64url is not.
pub(super) fn tokens(place: &TokenFrom, headers: &HeaderMap) -> Result<Vec<Vec<u8>>, Deny> {
    let reader = Reader::of(std::slice::from_ref(place));
    let mut tokens = Vec::new();
    for entry in entries(headers) {
        match reader.read(entry) {
            Entry::Token(prefix, text) if prefix.encoded => {
                tokens.push(URL_SAFE_NO_PAD.decode(text).map_err(|_| Deny::TokenInvalid)?);
            }
            Entry::Token(_, text) => tokens.push(text.to_vec()),
            Entry::Marker(_) | Entry::Other => {}
        }
    }
    Ok(tokens)
}

/// What is not for the upstream, as a test of one entry of these headers: markers beside their token, and, unless it is
/// forwarded, the token.
pub(super) fn own<'a>(from: &'a [TokenFrom], headers: &HeaderMap, forward: bool) -> impl Fn(&[u8]) -> bool + use<'a> {
    let reader = Reader::of(from);
    let offered = reader.offered(headers);
    move |entry| match reader.read(entry) {
        Entry::Token(..) => !forward,
        Entry::Marker(prefix) => offered.contains(&prefix),
        Entry::Other => false,
    }
}

/// The first marker that a client offered beside its token.
fn marker<'c>(from: &[TokenFrom], client: &'c HeaderMap) -> Option<&'c [u8]> {
    let reader = Reader::of(from);
    let offered = reader.offered(client);
    entries(client).find(|entry| matches!(reader.read(entry), Entry::Marker(prefix) if offered.contains(&prefix)))
}

/// Settles the subprotocol of the client's 101: the upstream's choice, or else the marker, if the client offered it; never
/// an entry that carries a token, which an upstream can choose only where it is forwarded.
pub(in crate::policy) fn settle(from: &[TokenFrom], client: &HeaderMap, answer: &mut HeaderMap) {
    let reader = Reader::of(from);
    if entries(answer).any(|chosen| matches!(reader.read(chosen), Entry::Token(..))) {
        answer.remove(SEC_WEBSOCKET_PROTOCOL);
    }
    if answer.contains_key(SEC_WEBSOCKET_PROTOCOL) {
        return;
    }
    if let Some(marker) = marker(from, client).and_then(|marker| HeaderValue::from_bytes(marker).ok()) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, marker);
    }
}

/// The subprotocol of a 101 that is the gateway's alone: the marker, or else the first entry that carries no token. What
/// usually carries one is not named either where the route does not look for it there.
pub(in crate::policy) fn of_our_own(from: &[TokenFrom], client: &HeaderMap) -> Option<HeaderValue> {
    let everywhere: Vec<TokenFrom> = from.iter().cloned().chain([TokenFrom::Subprotocol]).collect();
    let reader = Reader::of(&everywhere);
    let harmless = || entries(client).find(|entry| !matches!(reader.read(entry), Entry::Token(..)));
    HeaderValue::from_bytes(marker(&everywhere, client).or_else(harmless)?).ok()
}
