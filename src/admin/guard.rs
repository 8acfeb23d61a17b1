//! Who is answered on the operator's listener, and who may change something through it.
//!
//! Three things have to hold, each for its own threat: no web page made the request; it has the token, where there is one;
//! and what changes something came over loopback or with the token.

use std::fmt;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// Bytes. A shorter one could be guessed.
const MIN_TOKEN: usize = 16;

/// Pages for those who watch a process and can't be given a token: they tell nothing but a word.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

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
    /// For a listener on this address.
    #[must_use]
    pub fn new(token: Option<AdminToken>, address: IpAddr) -> Self {
        Self { token, loopback: address.to_canonical().is_loopback() }
    }

    /// Whether the request may go on.
    ///
    /// # Errors
    /// The status to refuse it with, and why in one line.
    pub(super) fn check(
        &self,
        peer: IpAddr,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), (StatusCode, &'static str)> {
        no_browser_sent_it(peer, headers).map_err(|why| (StatusCode::FORBIDDEN, why))?;
        match &self.token {
            Some(token) if !OPEN.contains(&path) && !bearer(headers).is_some_and(|given| token.is(given)) => {
                Err((StatusCode::UNAUTHORIZED, "the token of [admin] is wanted: Authorization: Bearer TOKEN"))
            }
            None if !self.loopback && !matches!(*method, Method::GET | Method::HEAD) => Err((
                StatusCode::FORBIDDEN,
                "nothing is changed through an address that others reach too: set `token` in [admin]",
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

/// Whether no page in a browser made this request, which would read subjects and addresses over its user's shoulder.
///
/// A page of another site may send requests to a loopback address, and may read the answers too once its own name
/// resolves to that address (DNS rebinding). Its `Host` then is that name, and so a request from this machine must
/// name an address or `localhost`. Requests from elsewhere may use any name: scrapers do, and loopback isn't what they
/// reach.
fn no_browser_sent_it(peer: IpAddr, headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.contains_key(ORIGIN) {
        return Err("no web page is answered here: the request has an Origin");
    }
    if peer.to_canonical().is_loopback() && !headers.get_all(HOST).iter().all(names_this_machine) {
        return Err("name this listener by its address or as localhost: the Host is another name");
    }
    Ok(())
}

fn names_this_machine(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
