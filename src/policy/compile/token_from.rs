//! `token_from` of a route: places that are somebody else's, and places that can't be told from each other.

use http::HeaderName;

use super::Findings;
use super::upward::is_reserved;
use crate::config;
use crate::config::value::TokenFrom;
use crate::policy::token::{strip, subprotocol};

/// Tells what is wrong with the places in which a route looks for its token; `ours` are the headers in which upstreams
/// read who asks.
pub(super) fn check(typed: &config::Route, at: &str, ours: &[HeaderName], found: &mut Findings) {
    if typed.token_from.is_empty() {
        let help =
            "\"header\", \"header:NAME\", \"cookie:NAME\", \"query:NAME\", \"subprotocol\" or \"subprotocol:PREFIX\"";
        found.wrong(format!("{at}.token_from"), "the list is empty", help);
    }
    for (index, place) in typed.token_from.iter().enumerate() {
        check_header(place, &format!("{at}.token_from[{index}]"), ours, found);
    }
    check_prefixes(typed, at, found);
    let from_cookie = typed.token_from.iter().any(|from| matches!(from, TokenFrom::Cookie(_)));
    if from_cookie && typed.origins.is_none() {
        let help = "list the pages that may connect as `origins`, or say `origins = \"any\"` on purpose";
        found.wrong(
            at,
            "a token from a cookie is sent by every page that a browser opens, so the route needs `origins`",
            help,
        );
    }
}

/// A route that looks for no token, although it was said where.
pub(super) fn check_unused(typed: &config::Route, at: &str, found: &mut Findings) {
    if typed.jwt.is_none() && typed.token_from != [TokenFrom::Header] {
        let help = "name a [jwt.NAME] in the route as `jwt`, or remove it";
        found.wrong(format!("{at}.token_from"), "without `jwt` no token is asked for", help);
    }
}

/// What is taken out of a request on its way up must not be what the upstream, or the handshake, needs.
fn check_header(place: &TokenFrom, at: &str, ours: &[HeaderName], found: &mut Findings) {
    let TokenFrom::NamedHeader(name) = place else { return };
    if *name == http::header::AUTHORIZATION {
        found.wrong(at, "`Authorization` has a place of its own", "\"header\": the scheme Bearer, and the token");
    } else if is_reserved(name) {
        found.wrong(at, format!("`{name}` means something else already"), "a name of your own, as X-Api-Token");
    } else if ours.iter().any(|told| strip::is_alike(told, name)) {
        let help = "another name than those of `subject_header`, `claim_headers` and assertions";
        found.wrong(at, format!("`{name}` is where an upstream reads who asks"), help);
    }
}

/// An entry that two prefixes fit would be two tokens, and no handshake with it would ever be let in.
fn check_prefixes(typed: &config::Route, at: &str, found: &mut Findings) {
    let mut before = Vec::new();
    for (index, place) in typed.token_from.iter().enumerate() {
        let prefixes = subprotocol::prefixes(place);
        let meets = prefixes.iter().flat_map(|one| before.iter().map(move |other| (*one, *other)));
        let mut meets = meets.filter(|(one, other)| one.begins(*other) || other.begins(*one));
        if let Some((one, other)) = meets.next() {
            let message = format!("`{one}` and `{other}` begin alike, so that one entry would be two tokens");
            found.wrong(
                format!("{at}.token_from[{index}]"),
                message,
                "keep one of them, or choose a prefix that differs",
            );
        }
        before.extend(prefixes);
    }
}
