//! `wsgate check --explain`: one handshake, made up from options, on its way through the policy's stages.
//!
//! The stages are the gateway's own, so what is said here is what the gateway would do with its accounts empty. Nothing is
//! bound, dialled, fetched or asked in Redis.

mod bearer;
mod stages;
mod words;

use std::net::IpAddr;
use std::path::PathBuf;

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version};

use super::{Failure, header, print};
use crate::config::value::TokenFrom;
use crate::load::Loaded;
use crate::now::{Clock, Now};
use crate::policy::request::Opening;
use crate::policy::{Ask, Denial};
use stages::Course;

pub(super) const AFTER_HELP: &str = "\
With --explain the last line is `admitted`, `refused: ..` or `undecided: ..`, and the exit code 0, 1 or 3. A client certificate
can't be shown, keys by URL are not fetched, and Redis is not asked; accounts and caps are as of a gateway that just started.";

/// The handshake.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// The path that is asked for, with a query or not
    #[arg(long, value_name = "PATH", default_value = "/", requires = "explain")]
    path: String,
    /// The host that is asked for
    #[arg(long, value_name = "HOST", default_value = "localhost", requires = "explain")]
    host: String,
    /// The client's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", requires = "explain")]
    ip: IpAddr,
    /// The Origin header, as a browser would send it
    #[arg(long, value_name = "ORIGIN", requires = "explain")]
    origin: Option<String>,
    /// The token, put where the route looks for one first. Default: the variable WSGATE_TOKEN, if it is set
    #[arg(long, value_name = "TOKEN", requires = "explain")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token", requires = "explain")]
    token_file: Option<PathBuf>,
    /// A further header; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, requires = "explain")]
    header: Vec<(HeaderName, HeaderValue)>,
}

/// A request as a client would send it.
struct Request {
    uri: Uri,
    headers: HeaderMap,
    client: IpAddr,
    /// Where `--token` was put.
    token: Option<TokenFrom>,
}

/// What becomes of it.
enum End {
    Admitted,
    Refused(Denial),
    /// What it depends on can't be known here.
    Unknown(&'static str),
}

pub(super) fn run(loaded: &Loaded, mut options: Asked) -> Result<(), Failure> {
    let token = super::token(options.token.take(), options.token_file.as_deref()).map_err(Failure::CouldNotRun)?;
    let request = request(loaded, &options, token).map_err(Failure::CommandLine)?;
    let (text, end) = explain(loaded, &request, Clock::system().now());
    print(&text)?;
    match end {
        End::Admitted => Ok(()),
        End::Refused(_) => Err(Failure::No),
        End::Unknown(why) => Err(Failure::CouldNotRun(format!("undecided: {why}"))),
    }
}

/// The request that the options describe.
fn request(loaded: &Loaded, options: &Asked, token: Option<String>) -> Result<Request, String> {
    let text = |name: &str, text: &str| {
        HeaderValue::from_str(text).map_err(|_| format!("{name} has characters that no header may have"))
    };
    let mut headers = HeaderMap::new();
    headers.insert(HOST, text("--host", &options.host)?);
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    // RFC 6455 s1.3's own example.
    headers.insert("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
    if let Some(origin) = &options.origin {
        headers.insert(ORIGIN, text("--origin", origin)?);
    }
    for (name, value) in &options.header {
        headers.append(name, value.clone());
    }
    let mut path = options.path.clone();
    let place = token.as_ref().and_then(|_| place_of_token(loaded, &path, &headers));
    if let (Some(token), Some(place)) = (token, &place) {
        carry(&token, place, &mut headers, &mut path).map_err(|_| "the token has characters that none may have")?;
    }
    let uri = path.parse().map_err(|_| format!("--path: `{}` is no path", options.path.escape_debug()))?;
    Ok(Request { uri, headers, client: options.ip, token: place })
}

/// Where the route of this path looks for a token first.
fn place_of_token(loaded: &Loaded, path: &str, headers: &HeaderMap) -> Option<TokenFrom> {
    let opening = Opening::target(&path.parse().ok()?, headers).ok()?;
    loaded.policy.route(&opening)?.token.as_ref()?.from.first().cloned()
}

/// Puts the token there.
fn carry(
    token: &str,
    place: &TokenFrom,
    headers: &mut HeaderMap,
    path: &mut String,
) -> Result<(), http::header::InvalidHeaderValue> {
    let (name, value) = match place {
        TokenFrom::Header => (AUTHORIZATION, format!("Bearer {token}")),
        TokenFrom::NamedHeader(name) => (name.clone(), token.to_owned()),
        TokenFrom::Cookie(name) => (COOKIE, format!("{name}={token}")),
        TokenFrom::Subprotocol => (SEC_WEBSOCKET_PROTOCOL, format!("bearer.{token}")),
        TokenFrom::PrefixedSubprotocol(prefix) => (SEC_WEBSOCKET_PROTOCOL, format!("{prefix}{token}")),
        TokenFrom::Query(name) => {
            let pair: String = form_urlencoded::Serializer::new(String::new()).append_pair(name, token).finish();
            path.push(if path.contains('?') { '&' } else { '?' });
            path.push_str(&pair);
            return Ok(());
        }
    };
    headers.append(name, value.parse()?);
    Ok(())
}

/// The whole text, and what becomes of it.
fn explain(loaded: &Loaded, request: &Request, now: Now) -> (String, End) {
    let mut course = Course::new(&loaded.policy, now);
    let opening = Opening::parse(&Method::GET, &request.uri, Version::HTTP_11, &request.headers);
    let end = match opening {
        Ok(opening) => {
            let (query, headers, client) = (request.uri.query(), &request.headers, request.client);
            let ask = Ask { opening: &opening, query, headers, client, certificate: None };
            course.run(&ask, request)
        }
        Err(flaw) => {
            course.step("the request");
            course.no(flaw.why);
            End::Refused(Denial::new(flaw.deny, flaw.why))
        }
    };
    (course.finish(&end), end)
}

#[cfg(test)]
mod tests;
