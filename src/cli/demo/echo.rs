//! The demo's upstream: it sends every message back. Of subprotocols it knows nothing.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_tungstenite::accept_async;

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
    let Ok(mut socket) = accept_async(socket).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        let is_data = message.is_text() || message.is_binary();
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}
