//! Which pages may send an ordinary request.
//!
//! With a handshake a browser always says the Origin. With a request it does so only if another origin might read the answer
//! or the method changes something; of the rest the page itself, its pictures and its links live. So where there is no
//! Origin, what the browser says in `Sec-Fetch-*` (W3C Fetch Metadata) decides, which no page can forge; and the method.

use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;

use crate::deny::Deny;
use crate::policy::Denial;
use crate::policy::origin::Origins;
use crate::policy::route::Route;

/// Whether a page may send it.
///
/// # Errors
/// `origin_missing` or `origin_forbidden`.
pub fn check(route: &Route, parts: &Parts) -> Result<(), Denial> {
    let Some(origins) = &route.origins else { return Ok(()) };
    let Origins::List { allow_missing, .. } = origins else { return Ok(()) };
    let forbidden = |why| Err(Denial::new(Deny::OriginForbidden, why));
    if let Some(origin) = parts.headers.get(ORIGIN).map(HeaderValue::as_bytes) {
        return origins.check(Some(origin)).map_err(|deny| Denial::new(deny, "not on the route's list"));
    }
    let is_safe = parts.method.is_safe();
    match said(&parts.headers, "sec-fetch-site") {
        Some(b"same-origin") => Ok(()),
        // Typed, bookmarked, or opened by another program: no page asked.
        Some(b"none") if is_safe => Ok(()),
        // A link from elsewhere leads here and shows what it finds to its visitor, not to the page that has the link.
        Some(b"cross-site" | b"same-site") if is_safe && is_link(&parts.headers) => Ok(()),
        Some(b"cross-site" | b"same-site") => forbidden("a page of another origin, by Sec-Fetch-Site"),
        // No browser, or one that says nothing of pages: it may read what it could read anywhere.
        None if is_safe || *allow_missing => Ok(()),
        Some(b"none") if *allow_missing => Ok(()),
        Some(b"none") | None => {
            let why = "no Origin, a method that changes something, and the route has a list";
            Err(Denial::new(Deny::OriginMissing, why))
        }
        Some(_) => forbidden("Sec-Fetch-Site is none of its words"),
    }
}

/// Whether a browser goes to it as to a page, in a tab of its own and not in another page's frame.
fn is_link(headers: &HeaderMap) -> bool {
    said(headers, "sec-fetch-mode") == Some(b"navigate") && said(headers, "sec-fetch-dest") == Some(b"document")
}

/// The only value of a header; of several none of the words that are known.
fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    if values.next().is_some() { Some(b"") } else { Some(first) }
}
