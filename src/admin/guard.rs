//! Who is answered on the operator's listener, and who may change something through it.
//!
//! Three things have to hold, each for its own threat: the browser that sent it, if one did, is on the page of this
//! listener and not on another; the request has the token, where there is one; and where others reach the listener, there
//! is one.

use std::fmt;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::page;

/// Bytes. A shorter one could be guessed.
const MIN_TOKEN: usize = 16;

/// What a browser says of the page that makes it ask; no script can set it (Fetch Metadata, W3C).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is answered without the token: a word for those who watch a process, and the page without anything on it, since a
/// browser asks for that before it can be told a token.
fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz" | "/") || path.starts_with(page::FOLDER)
}

/// `[admin] token`.
pub struct AdminToken(Vec<u8>);

impl AdminToken {
    /// A token that a header can hold.
    ///
    /// # Errors
    /// It is too short, or has other bytes than visible ASCII: what is wrong, and what to do. The token is not repeated.
    pub fn new(bytes: Vec<u8>) -> Result<Self, (String, &'static str)> {
        const HELP: &str = "`openssl rand -hex 32` makes a good one";
        if bytes.len() < MIN_TOKEN {
            return Err((format!("{} bytes are too few for a token: at least {MIN_TOKEN}", bytes.len()), HELP));
        }
        if !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(("a token is visible ASCII without blanks, since it goes into a header".to_owned(), HELP));
        }
        Ok(Self(bytes))
    }

    /// In a time that does not tell how much of it is right.
    fn is(&self, given: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, given).is_ok()
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken([secret])")
    }
}

/// Judges requests before their page is looked at.
#[derive(Debug)]
pub struct Guard {
    token: Option<AdminToken>,
    /// Whether only this machine reaches the listener.
    loopback: bool,
}

impl Guard {
    /// For a listener on this address; without one nobody asks.
    #[must_use]
    pub fn new(token: Option<AdminToken>, address: Option<IpAddr>) -> Self {
        Self { token, loopback: address.is_some_and(|address| address.to_canonical().is_loopback()) }
    }

    /// Whether the request may go on.
    ///
    /// # Errors
    /// The status to refuse it with, and why in one line.
    pub(super) fn check(
        &self,
        peer: IpAddr,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        no_other_page_sent_it(peer, path, headers).map_err(|why| (StatusCode::FORBIDDEN, why))?;
        match &self.token {
            _ if is_open(path) => Ok(()),
            Some(token) if !bearer(headers).is_some_and(|given| token.is(given)) => {
                Err((StatusCode::UNAUTHORIZED, "the token of [admin] is wanted: Authorization: Bearer TOKEN"))
            }
            // No config gets so far: the policy refuses one without a token for such an address.
            None if !self.loopback => Err((
                StatusCode::FORBIDDEN,
                "nothing is told through an address that others reach too: set `token` in [admin]",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// The one bearer token of a request (RFC 6750 s2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else { return None };
    let (scheme, token) = only.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Whether no page of another site made this request, which would read subjects and addresses over its user's shoulder,
/// or close what he would not.
///
/// A page of another site may send requests to a loopback address, and may read the answers too once its own name
/// resolves to that address (DNS rebinding). Its `Host` then is that name, and so a request from this machine must
/// name an address or `localhost`. Requests from elsewhere may use any name: scrapers do, and what protects there is the
/// token, which such a page has not.
///
/// That it is this listener's own page, a browser says itself: `Sec-Fetch-Site` where it sends that, which is over TLS and
/// to this machine; else an `Origin` that is the `Host`.
fn no_other_page_sent_it(peer: IpAddr, path: &str, headers: &HeaderMap) -> Result<(), &'static str> {
    if peer.to_canonical().is_loopback() && !headers.get_all(HOST).iter().all(names_this_machine) {
        return Err("name this listener by its address or as localhost: the Host is another name");
    }
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    let is_own = match sites.peek() {
        // A link from anywhere may lead to the page: there is nothing on it yet.
        Some(_) if path == "/" => true,
        Some(_) => sites.all(|site| site == "same-origin" || site == "none"),
        None => headers.get_all(ORIGIN).iter().all(|origin| is_of_host(origin, headers)),
    };
    if is_own { Ok(()) } else { Err("no page of another site is answered here") }
}

/// Whether an `Origin` has the authority of the one `Host`.
fn is_of_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
}

fn names_this_machine(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
