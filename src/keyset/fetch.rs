//! One fetch of a key set: one or two requests, each on a connection of its own, everything bounded.
//!
//! The server is trusted with keys, not with the gateway: its answer may be of any size, come at any pace, or never.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HOST, HeaderMap, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::config::value::Url;
use crate::policy::token::discovery;
use crate::policy::token::published::Location;
use crate::stream::Stream;
use crate::tls;
use crate::upstream;

/// For all of it: names, TLS, the discovery document and the keys.
const TIME: Duration = Duration::from_secs(5);

/// For one address of several, so that one that answers nobody does not cost the others their turn.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

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
    let stream = connect(url, tls).await?;
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

async fn connect(url: &Url, tls: Option<&TlsConnector>) -> Result<Stream, String> {
    let failed = |error: io::Error| upstream::why(&error).to_owned();
    let addresses = lookup_host((url.host.as_str(), url.port)).await.map_err(failed)?;
    // Whatever the machine's names say: without TLS only this machine is asked.
    let addresses = addresses.filter(|address| url.tls || address.ip().is_loopback()).take(ADDRESSES);
    let mut connected = Err("its name has no address, or none on this machine".to_owned());
    for address in addresses {
        connected = match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => Ok(tcp),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err("the connection timed out".to_owned()),
        };
        if connected.is_ok() {
            break;
        }
    }
    let tcp = connected?;
    if !url.tls {
        return Ok(Stream::Tcp(tcp));
    }
    let tls =
        tls.ok_or_else(|| "there are no authorities to trust: install the system's, or set jwks_ca".to_owned())?;
    let name = tls::server_name(&url.host).ok_or_else(|| "its host can't be a certificate's".to_owned())?;
    let stream = tls.connect(name, tcp).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
