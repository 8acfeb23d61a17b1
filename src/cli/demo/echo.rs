//! The demo's upstream: it sends every message back.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::HeaderValue;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// The subprotocol that it speaks, if a client offers it: a browser that offers any wants one of them taken.
const SUBPROTOCOL: &str = "wsgate.demo";

/// Before the next accept where one failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Echoes until its runtime ends. The gateway before it bounds clients, messages and times.
pub(super) async fn run(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => drop(tokio::task::spawn_local(echo(socket))),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn echo(socket: TcpStream) {
    // A socket that broke already is noticed below.
    let _ = socket.set_nodelay(true);
    let Ok(mut socket) = accept_hdr_async(socket, choose).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

#[allow(clippy::result_large_err, reason = "the library's type")]
fn choose(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    if offered.flat_map(|value| value.split(',')).any(|name| name.trim() == SUBPROTOCOL) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}
