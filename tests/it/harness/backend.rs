//! Upstreams: one that is played by hand, and one that is a real echo server.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_tungstenite::accept_async;
use wsgate::stream::Stream;

use super::{Peer, within};

/// An upstream that says what the test says.
pub struct Backend {
    listener: TcpListener,
}

impl Backend {
    pub async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The gateway's next connection.
    pub async fn accept(&self) -> Peer {
        let (tcp, _) = within("the gateway at the upstream", self.listener.accept()).await.unwrap();
        Peer::new(Stream::Tcp(tcp), false)
    }

    /// The same over TLS; none if the gateway did not like the certificate.
    pub async fn accept_tls(&self, acceptor: &TlsAcceptor) -> Option<Peer> {
        let (tcp, _) = within("the gateway at the upstream", self.listener.accept()).await.unwrap();
        let tls = within("TLS with the gateway", acceptor.accept(tcp)).await.ok()?;
        Some(Peer::new(Stream::Tls(Box::new(TlsStream::Server(tls))), false))
    }

    /// The gateway never came.
    pub fn saw_nobody(&self) {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(self.listener.poll_accept(&mut cx).is_pending(), "the gateway went to the upstream");
    }
}

/// The gateway's next connection to a local socket.
pub async fn accept_unix(listener: &UnixListener) -> Peer {
    let (unix, _) = within("the gateway at the upstream", listener.accept()).await.unwrap();
    Peer::new(Stream::Unix(unix), false)
}

/// An echo server that nobody here wrote. It lives as long as this.
pub struct Echo {
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Echo {
    #[allow(clippy::disallowed_methods, reason = "not a worker: the runtime of one test")]
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // Whatever ends it, ends this connection alone.
                    let Ok(mut socket) = accept_async(tcp).await else { return };
                    while let Some(Ok(message)) = socket.next().await {
                        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}
