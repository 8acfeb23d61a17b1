//! From a URL to the socket of who is to answer, with TLS around it where the URL says so.

use std::sync::Arc;

use http::Uri;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::stream::Stream;
use crate::tls;

/// Connects to the URL's host. With `tls` the port is 443 unless it says another, else 80.
pub(super) async fn reach(url: &Uri, tls: Option<Arc<ClientConfig>>) -> Result<Stream, String> {
    // The options' parsers saw to it.
    let authority = url.authority().ok_or("no host")?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
    let tcp = TcpStream::connect((host, port)).await.map_err(|error| format!("no connection: {error}"))?;
    // One line is one small write: it must not wait for the next.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let Some(tls) = tls else { return Ok(Stream::Tcp(tcp)) };
    let name = tls::server_name(host).ok_or_else(|| format!("`{host}` is no name that a certificate could have"))?;
    let tls = TlsConnector::from(tls).connect(name, tcp).await;
    let tls = tls.map_err(|error| {
        let advice =
            if error.to_string().contains("UnknownIssuer") { "; --ca names an authority of your own" } else { "" };
        format!("no TLS: {error}{advice}")
    })?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(tls))))
}
