//! One fetch of a key set: one or two requests, each on a connection of its own, everything bounded.
//!
//! The server is trusted with keys, not with the gateway: its answer may be of any size, come at any pace, or never.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::config::value::Url;
use crate::outward::{self, Plain};
use crate::policy::token::discovery;
use crate::policy::token::published::Location;

/// For all of it: names, TLS, the discovery document and the keys.
const TIME: Duration = Duration::from_secs(5);

/// Bytes of a body: some hundred keys.
const MAX_BODY: usize = 256 * 1024;

/// Bytes of a head.
const MAX_HEAD: usize = 16 * 1024;

/// An answer with keys in it, perhaps.
pub(super) struct Answer {
    /// Whose it is.
    pub(super) url: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body.
    pub(super) text: String,
}

/// Why there is none.
pub(super) struct Failure {
    /// What was asked for, as it may be logged.
    pub(super) url: String,
    /// What is wrong.
    pub(super) what: String,
}

/// Fetches the key set.
pub(super) async fn set(location: &Location, tls: Option<&TlsConnector>) -> Result<Answer, Failure> {
    match timeout(TIME, set_in_any_time(location, tls)).await {
        Ok(result) => result,
        Err(_) => Err(Failure { url: location.to_string(), what: format!("no whole answer within {TIME:?}") }),
    }
}

async fn set_in_any_time(location: &Location, tls: Option<&TlsConnector>) -> Result<Answer, Failure> {
    let url = match location {
        Location::Keys(url) => url.clone(),
        Location::Issuer(issuer) => {
            let failed = |what| Failure { url: location.to_string(), what };
            let document = discovery::document_url(issuer).ok_or_else(|| failed("no URL".to_owned()))?;
            let (_, text) = get(&document, tls).await.map_err(failed)?;
            discovery::jwks_url(issuer, &text).map_err(failed)?
        }
    };
    match get(&url, tls).await {
        Ok((headers, text)) => Ok(Answer { url: url.to_string(), headers, text }),
        Err(what) => Err(Failure { url: url.to_string(), what }),
    }
}

/// One request. Only 200 is an answer: a redirect could lead anywhere, and the operator named this place.
async fn get(url: &Url, tls: Option<&TlsConnector>) -> Result<(HeaderMap, String), String> {
    let stream = outward::connect(url, tls, Plain::Loopback).await?;
    let failed = |_| "its answer is not HTTP, or its connection ended".to_owned();
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = Request::get(&url.target)
        .header(HOST, &url.authority)
        .header(ACCEPT, "application/jwk-set+json, application/json")
        // What is compressed has no bound that its length would show.
        .header(ACCEPT_ENCODING, "identity")
        .header(USER_AGENT, concat!("wsgate/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| "its path is malformed".to_owned())?;
    let mut asking = std::pin::pin!(async {
        let response = sender.send_request(request).await.map_err(failed)?;
        read(response).await
    });
    tokio::select! {
        biased;
        read = &mut asking => read,
        // It ends with the answer's last byte, which may still have to be read here.
        _ = connection => asking.await,
    }
}

async fn read(response: Response<Incoming>) -> Result<(HeaderMap, String), String> {
    let (head, body) = response.into_parts();
    if head.status.is_redirection() {
        return Err(format!("it answers {}, and redirects are not followed", head.status.as_u16()));
    }
    if head.status != StatusCode::OK {
        return Err(format!("it answers {}", head.status.as_u16()));
    }
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            format!("its answer is longer than {} KiB", MAX_BODY / 1024)
        } else {
            "its answer was cut short".to_owned()
        }
    })?;
    let text = String::from_utf8(body.to_bytes().into()).map_err(|_| "its answer is no text in UTF-8".to_owned())?;
    Ok((head.headers, text))
}
