//! One health check of one server: a connection, a `GET`, or a real WebSocket.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Uri};
use http_body_util::Empty;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::Server;
use crate::config::HealthKind;
use crate::policy::pool::settings::{Checks, Upstream};
use crate::session::frame;
use crate::stream::Stream;
use crate::upstream::{self, is_ours, why};

/// Bytes of an answer's head.
const MAX_HEAD: usize = 16 * 1024;

/// Whether it is well; if not, why. None where the gateway itself could not ask.
pub(super) async fn ask(
    upstream: &Upstream,
    server: &Server,
    checks: &Checks,
    tls: Option<&TlsConnector>,
) -> Option<Result<(), &'static str>> {
    let patience = Duration::from_millis(checks.timeout);
    let asking = async {
        let name = upstream.server_name.as_ref().or(server.host.as_ref());
        match upstream::connect(&server.address, name.map(AsRef::as_ref), tls, &checks.preamble).await {
            Ok(stream) => Some(talk(stream, server, checks, patience).await),
            Err(error) if is_ours(&error) => None,
            Err(error) => Some(Err(why(&error))),
        }
    };
    timeout(patience, asking).await.unwrap_or(Some(Err("no answer within the check's timeout")))
}

async fn talk(stream: Stream, server: &Server, checks: &Checks, patience: Duration) -> Result<(), &'static str> {
    match checks.kind {
        HealthKind::Tcp => Ok(()),
        HealthKind::Http => {
            let status =
                upstream::status(stream, request(server, checks)?, MAX_HEAD).await.map_err(|denial| denial.why)?;
            if status.is_success() || status.is_redirection() { Ok(()) } else { Err("an answer other than 2xx or 3xx") }
        }
        HealthKind::Websocket => {
            let mut request = request(server, checks)?;
            let headers = request.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            let key = generate_key().try_into().map_err(|_| "no key could be made")?;
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
            let asked = upstream::ask(stream, request, patience, MAX_HEAD, false).await;
            let mut answered = asked.map_err(|refusal| refusal.denial.why)?;
            // It was good to see it. Whether the server takes the Close in time is not what was asked.
            let _ = answered.stream.write_all(&frame::close(1000, "", Some([0; 4]))).await;
            Ok(())
        }
    }
}

fn request(server: &Server, checks: &Checks) -> Result<Request<Empty<Bytes>>, &'static str> {
    let mut headers = HeaderMap::new();
    // A local socket has no name that could stand there.
    let own = if server.host.is_some() { &*server.label } else { "localhost" };
    let host = HeaderValue::from_str(checks.host.as_deref().unwrap_or(own)).map_err(|_| "its host can't be named")?;
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("wsgate-health-check"));
    let mut request = Request::new(Empty::new());
    // It was looked at when the config was read.
    *request.uri_mut() = checks.path.parse::<Uri>().map_err(|_| "its path is malformed")?;
    *request.headers_mut() = headers;
    Ok(request)
}
