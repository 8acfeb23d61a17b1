//! The upstream's half of the handshake: connect, ask, and check its 101 whole. Until that is good, no byte of the client's
//! stream goes there.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::config::value::ServerAddress;
use crate::deny::Deny;
use crate::policy::Denial;
use crate::policy::forward::{DEFLATE, extension_name, extensions, subprotocols};
use crate::policy::request::names_upgrade;
use crate::stream::Stream;
use crate::tls;

/// What an upstream is asked.
#[derive(Debug)]
pub struct Question {
    /// The handshake.
    pub request: Request<Empty<Bytes>>,
    /// Bytes that come first on the connection, before TLS: a PROXY header. Empty: none.
    pub preamble: Vec<u8>,
}

/// An upstream that said yes.
#[derive(Debug)]
pub struct Answered {
    /// Its socket.
    pub stream: Stream,
    /// What came behind its 101.
    pub first: Bytes,
    /// Its 101's headers.
    pub headers: HeaderMap,
    /// Whether it agreed on permessage-deflate.
    pub deflate: bool,
}

/// A server that did not say yes.
#[derive(Debug)]
pub struct Refusal {
    /// What the client is told.
    pub denial: Denial,
    /// Whether the server is not well, so that another would have done better.
    pub ill: bool,
}

/// Asks a server for a WebSocket. `max_head` bounds its answer's head, in bytes.
///
/// # Errors
/// `upstream_timeout` or `upstream_refused`; the status of a 4xx is its own if `pass_errors` says so.
pub async fn ask(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    patience: Duration,
    max_head: usize,
    pass_errors: bool,
) -> Result<Answered, Refusal> {
    let ill = |denial| Refusal { denial, ill: true };
    let late = |_| ill(Denial::new(Deny::UpstreamTimeout, "response_timeout"));
    let asked = request.headers().clone();
    let exchanged = timeout(patience, exchange(stream, request, max_head)).await.map_err(late)?;
    let (response, stream, first) = exchanged.map_err(ill)?;
    let broken = response.status().is_server_error();
    let deflate = check(&asked, &response, pass_errors).map_err(|denial| Refusal { denial, ill: broken })?;
    let stream = stream.ok_or_else(|| ill(refused("its connection ended with its 101")))?;
    Ok(Answered { stream, first, headers: response.into_parts().0.headers, deflate })
}

const fn refused(why: &'static str) -> Denial {
    Denial { deny: Deny::UpstreamRefused, status: 502, retry_after: None, why, behind: None }
}

/// Connects to a server. `name` is the host that its certificate has to be for; `preamble` comes first, before TLS.
///
/// # Errors
/// Whatever went wrong; [`why`] says it in words.
pub async fn connect(
    address: &ServerAddress,
    name: Option<&str>,
    tls: Option<&TlsConnector>,
    preamble: &[u8],
) -> io::Result<Stream> {
    let (host, port) = match address {
        ServerAddress::Unix(path) => {
            let mut unix = UnixStream::connect(path).await?;
            unix.write_all(preamble).await?;
            return Ok(Stream::Unix(unix));
        }
        ServerAddress::Tcp(host, port) => (host, *port),
    };
    let mut tcp = TcpStream::connect((host.as_str(), port)).await?;
    // A frame is never held back for the next one; an error here would show at the first write too.
    let _ = tcp.set_nodelay(true);
    tcp.write_all(preamble).await?;
    let Some(tls) = tls else { return Ok(Stream::Tcp(tcp)) };
    let name = tls::server_name(name.unwrap_or(host)).ok_or(io::ErrorKind::InvalidInput)?;
    let limited = tls.connect_with(name, tcp, |session| session.set_buffer_limit(Some(tls::WRITE_BUFFER)));
    Ok(Stream::Tls(Box::new(TlsStream::Client(limited.await?))))
}

/// Whether it is the gateway that can't connect, to whomever.
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL]
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

/// Asks a server for anything, and gives the status of its answer.
///
/// # Errors
/// `upstream_refused`: there was no answer.
pub async fn status(stream: Stream, request: Request<Empty<Bytes>>, max_head: usize) -> Result<StatusCode, Denial> {
    exchange(stream, request, max_head).await.map(|(response, ..)| response.status())
}

/// What an operator has to look for, in words that are ours: an error's own may hold what an upstream chose.
#[must_use]
pub fn why(error: &io::Error) -> &'static str {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return match tls {
            rustls::Error::InvalidCertificate(_) => "its certificate is not to be trusted",
            _ => "TLS failed",
        };
    }
    if is_ours(error) {
        let no_port = error.kind() == io::ErrorKind::AddrNotAvailable;
        return if no_port {
            "the gateway has no local port left for it"
        } else {
            "the gateway has no file descriptor left"
        };
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::NotFound => "there is no such socket",
        io::ErrorKind::InvalidInput => "its host can't be a certificate's",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::TimedOut => "the connection timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => "the connection was reset",
        _ => "its name has no address, or it can't be connected to",
    }
}

/// One request and its answer; the socket is given back with what came behind a 101.
async fn exchange(
    stream: Stream,
    request: Request<Empty<Bytes>>,
    max_head: usize,
) -> Result<(Response<Incoming>, Option<Stream>, Bytes), Denial> {
    let failed = |_| refused("its answer is not HTTP, or its connection ended");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(max_head);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut connection = Box::pin(connection.without_shutdown());
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        biased;
        response = &mut answer => {
            let response = response.map_err(failed)?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, None, Bytes::new()));
            }
            let parts = connection.await.map_err(failed)?;
            Ok((response, Some(parts.io.into_inner()), parts.read_buf))
        }
        parts = &mut connection => {
            let parts = parts.map_err(failed)?;
            Ok((answer.await.map_err(failed)?, Some(parts.io.into_inner()), parts.read_buf))
        }
    }
}

/// RFC 6455 s4.1, the client's part in checking an answer. Whether permessage-deflate was agreed on.
fn check(asked: &HeaderMap, response: &Response<Incoming>, pass_errors: bool) -> Result<bool, Denial> {
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let denial = refused("an answer other than 101");
        return Err(if pass_errors && status.is_client_error() {
            Denial { status: status.as_u16(), why: "the application's own answer", ..denial }
        } else {
            denial
        });
    }
    check_switch(asked, response.headers())
}

fn check_switch(asked: &HeaderMap, answer: &HeaderMap) -> Result<bool, Denial> {
    let one = |name: header::HeaderName| {
        let mut values = answer.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    if !one(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err(refused("a 101 without Upgrade: websocket"));
    }
    if !names_upgrade(answer) {
        return Err(refused("a 101 whose Connection does not name upgrade"));
    }
    let key = asked.get(header::SEC_WEBSOCKET_KEY).map(http::HeaderValue::as_bytes).unwrap_or_default();
    if one(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|accept| *accept != derive_accept_key(key)) {
        return Err(refused("a 101 whose Sec-WebSocket-Accept is not the key's"));
    }
    if answer.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        let chosen = one(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok());
        if !chosen.is_some_and(|chosen| subprotocols(asked).any(|offered| offered == chosen)) {
            return Err(refused("a 101 with a subprotocol that was not offered"));
        }
    }
    let chosen: Vec<&str> = extensions(answer).map(extension_name).collect();
    let offered = extensions(asked).any(|offer| extension_name(offer) == DEFLATE);
    match chosen.as_slice() {
        [] => Ok(false),
        [DEFLATE] if offered => Ok(true),
        _ => Err(refused("a 101 with an extension that was not offered")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_gateway_lacks_is_not_the_servers_fault_and_is_called_by_its_name() {
        for (errno, is_ours_to_mend, said) in [
            (Errno::MFILE, true, "file descriptor"),
            (Errno::NFILE, true, "file descriptor"),
            (Errno::ADDRNOTAVAIL, true, "local port"),
            (Errno::CONNREFUSED, false, "connection refused"),
            (Errno::HOSTUNREACH, false, "unreachable"),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            assert_eq!(is_ours(&error), is_ours_to_mend, "{error}");
            assert!(why(&error).contains(said), "{error}: {}", why(&error));
        }
    }
}
