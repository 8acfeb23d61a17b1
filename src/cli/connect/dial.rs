//! From a URL to an open WebSocket, or to what the other side said instead.

use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderValue, Request, Response, Uri};
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::super::reach::reach;
use super::{Options, printable, said};
use crate::material::option;
use crate::stream::Stream;
use crate::tls;

/// For the TCP connection, TLS and the handshake together. A handshake that a gateway delays may take its time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no WebSocket.
pub(super) enum Failed {
    /// Another answer than a 101: its status and body.
    Refused(String),
    /// No answer.
    Unreached(String),
}

/// How to speak TLS; none for a `ws://` URL.
pub(super) fn tls(options: &Options) -> Result<Option<Arc<ClientConfig>>, String> {
    if options.url.scheme_str() != Some("wss") {
        return if options.cert.is_none() { Ok(None) } else { Err("--cert: ws:// has no TLS; use wss://".to_owned()) };
    }
    let own = match (&options.cert, &options.key) {
        (Some(certificate), Some(key)) => Some(option::pair(("--cert", certificate), ("--key", key))?),
        // The one without the other does not pass the command line.
        _ => None,
    };
    let authorities = options.ca.as_ref().map(|path| option::certificates("--ca", path)).transpose()?;
    tls::client_config(authorities.as_deref(), own).map(Some)
}

/// The handshake as the options want it.
pub(super) fn request(options: &Options) -> Result<Request<()>, String> {
    let mut request = options.url.clone().into_client_request().map_err(|error| format!("no URL: {}", said(&error)))?;
    let headers = request.headers_mut();
    let value = |name: &str, text: &str| {
        HeaderValue::from_str(text).map_err(|_| format!("{name} has characters that no header may have"))
    };
    if let Some(token) = &options.token {
        let mut bearer = value("the token", &format!("Bearer {token}"))?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
    }
    if let Some(origin) = &options.origin {
        headers.insert(ORIGIN, value("--origin", origin)?);
    }
    if !options.subprotocol.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, value("--subprotocol", &options.subprotocol.join(", "))?);
    }
    for (name, value) in &options.header {
        headers.insert(name.clone(), value.clone());
    }
    Ok(request)
}

/// Connects and shakes hands.
pub(super) async fn open(
    url: &Uri,
    tls: Option<Arc<ClientConfig>>,
    request: Request<()>,
) -> Result<WebSocketStream<Stream>, Failed> {
    let opened = timeout(PATIENCE, async {
        let stream = reach(url, tls).await.map_err(Failed::Unreached)?;
        match client_async(request, stream).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(response)) => Err(Failed::Refused(refusal(&response))),
            Err(error) => Err(Failed::Unreached(format!("no valid handshake: {}", said(&error)))),
        }
    });
    opened.await.unwrap_or_else(|_| Err(Failed::Unreached("no answer within 30 s".to_owned())))
}

fn refusal(response: &Response<Option<Vec<u8>>>) -> String {
    let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default());
    format!("{} {}", response.status().as_u16(), printable(body.trim())).trim_end().to_owned()
}
