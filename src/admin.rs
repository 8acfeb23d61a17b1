//! The operator's listener: what the gateway counts, whether it is well, who is connected, and who shall be no longer.
//!
//! It answers on the thread that is not traffic. What is answered is decided in `answer` and below it; here are only
//! sockets and their bounds.

mod answer;
mod connections;
mod drain;
mod guard;
mod page;
mod query;
mod reply;
mod revocations;
mod status;
mod upstreams;

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::books::Books;
use crate::gateway::Phase;
use crate::pool::Pools;
use crate::reload::Outcome;
use crate::revoking::Revoking;
use crate::stream::Stream;

pub use guard::{AdminToken, Guard};
pub use status::{
    BufferedStatus, ConfigStatus, DrainStatus, EndedStatus, HistoryStatus, RedisStatus, RefusedOnRoute, RefusedStatus,
    RouteStatus, Status, WorkerStatus,
};

/// Connections at once; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;

/// For TLS, and once more for the request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// For one connection, which carries one request: a reader that takes no bytes holds its place no longer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Before the next accept where one failed, as it does at once again without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// For those who are being answered when the gateway stops.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// hyper's least is 8 KiB.
const MAX_HEAD: usize = 16 * 1024;

/// What the operator's pages are made of.
pub struct AdminState {
    /// What the pages show.
    pub books: Arc<Books>,
    /// For `/readyz`: the error says why not, as `draining`.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// For `/status`.
    pub status: Box<dyn Fn() -> Status + Send + Sync>,
    /// Has the gateway leave, over this time if one is given; how that goes.
    pub drain: Box<dyn Fn(Option<Duration>) -> Option<DrainStatus> + Send + Sync>,
    /// Who may ask now.
    pub guard: Box<dyn Fn() -> Arc<Guard> + Send + Sync>,
    /// For `/reload`.
    pub reload: Box<dyn Fn() -> Pin<Box<dyn Future<Output = Outcome>>> + Send + Sync>,
    /// What an operator may add to and take from.
    pub revoking: Arc<Revoking>,
    /// Whose servers an operator may take out.
    pub pools: Arc<Pools>,
    /// Over how many milliseconds sessions are told to go, where nobody says.
    pub drain_timeout: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Answers until the gateway is stopped; then what is still being answered has a moment to come to its end. To be run where
/// `tokio::task::spawn_local` may be called. While it drains, `/readyz` says so. Once another process has the listener, only
/// those who are connected are answered.
pub async fn serve(listener: TcpListener, tls: Rc<Tls>, state: Arc<AdminState>, phase: watch::Receiver<Phase>) {
    pages(listener, tls, phase, Rc::new(move |peer, request| Box::pin(answer::answer(state.clone(), peer, request))))
        .await;
}

/// TLS, if it is spoken, as the config of the moment has it.
pub type Tls = dyn Fn() -> Option<TlsAcceptor>;

/// From the client's address and its request to the whole answer.
pub type Answer = dyn Fn(SocketAddr, Request<Incoming>) -> Pin<Box<dyn Future<Output = Response<Full<Bytes>>>>>;

/// The same for other pages: connections, heads and the time that all takes together are bounded.
pub async fn pages(listener: TcpListener, tls: Rc<Tls>, mut phase: watch::Receiver<Phase>, answer: Rc<Answer>) {
    let mut connections = JoinSet::new();
    let failing = Cell::new(false);
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| matches!(phase, Phase::HandedOver | Phase::Stopped)) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                failing.set(false);
                connections.spawn_local(connection(socket, tls(), peer, answer.clone()));
            }
            Err(error) => {
                // Once for each time that it begins: the next tries fail alike.
                if !failing.replace(true) {
                    tracing::warn!(%error, "a listener for pages could not accept a connection");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let mut answered = std::pin::pin!(async { while connections.join_next().await.is_some() {} });
    tokio::select! {
        _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {
            // A process without sessions ends at once, and may have accepted in the moment before.
            let _ = timeout(LAST_ANSWERS, answered).await;
        }
        () = &mut answered => {}
    }
}

async fn connection(socket: TcpStream, tls: Option<TlsAcceptor>, peer: SocketAddr, answer: Rc<Answer>) {
    let stream = match tls {
        None => Stream::Tcp(socket),
        Some(tls) => match timeout(HEAD_TIMEOUT, tls.accept(socket)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream.into())),
            Ok(Err(error)) => return tracing::debug!(%error, "TLS of a connection for a page failed"),
            Err(_) => return tracing::debug!("TLS of a connection for a page took too long"),
        },
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(peer, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIMEOUT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection for a page failed"),
        Err(_) => tracing::debug!("a connection for a page took too long"),
    }
}

#[cfg(test)]
mod tests;
