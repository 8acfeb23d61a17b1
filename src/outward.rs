//! A connection of the gateway's own to a place that the operator named: names, addresses and TLS, each of them bounded.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::config::value::Url;
use crate::stream::Stream;
use crate::tls;
use crate::upstream;

/// For one address of several, so that one that answers nobody does not cost the others their turn.
const CONNECT_TIME: Duration = Duration::from_secs(2);

/// Addresses of one name that are tried.
const ADDRESSES: usize = 4;

/// Where one may go without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// No further than this machine, whatever its names say.
    Loopback,
    /// Anywhere.
    Anywhere,
}

/// Connects to the host of a URL.
///
/// # Errors
/// What is wrong, in words that are ours.
pub async fn connect(url: &Url, tls: Option<&TlsConnector>, plain: Plain) -> Result<Stream, String> {
    let failed = |error: io::Error| upstream::why(&error).to_owned();
    let addresses = lookup_host((url.host.as_str(), url.port)).await.map_err(failed)?;
    let may = |address: &std::net::SocketAddr| url.tls || plain == Plain::Anywhere || address.ip().is_loopback();
    let mut connected = Err("its name has no address, or none on this machine".to_owned());
    for address in addresses.filter(may).take(ADDRESSES) {
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
        tls.ok_or_else(|| "there are no authorities to trust: install the system's, or name one's own".to_owned())?;
    let name = tls::server_name(&url.host).ok_or_else(|| "its host can't be a certificate's".to_owned())?;
    let stream = tls.connect(name, tcp).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}
