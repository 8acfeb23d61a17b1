//! `wsgate health`: asks a gateway's admin listener how it is, as a container's healthcheck wants it asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::Failure;
use super::reach::reach;
use crate::material::option;
use crate::tls;

/// For connecting, asking and the answer together.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer that are looked at: `/readyz` says a word or a line.
const MOST: usize = 4096;

/// Whom to ask.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// What to ask for, http:// or https://; /healthz says whether the process lives, /readyz whether it takes new sessions
    #[arg(long, default_value = "http://127.0.0.1:9100/readyz", value_parser = url)]
    url: Uri,
    /// The authorities that may sign the certificate of `[admin] tls`: a PEM file. Default: the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tls = tls(&options.url, options.ca.as_deref()).map_err(Failure::CouldNotRun)?;
    let (status, body) = match runtime.block_on(async { timeout(PATIENCE, ask(&options.url, tls)).await }) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Failure::CouldNotRun(format!("{}: {error}", options.url))),
        Err(_) => return Err(Failure::CouldNotRun(format!("{}: no answer within 5 s", options.url))),
    };
    if status == 200 {
        return super::print(&format!("{}\n", body.trim_end()));
    }
    eprintln!("wsgate: {}: {status} {}", options.url, body.trim_end());
    Err(Failure::No)
}

/// How to speak TLS; none for an `http://` URL.
pub(super) fn tls(url: &Uri, ca: Option<&Path>) -> Result<Option<Arc<ClientConfig>>, String> {
    if url.scheme_str() != Some("https") {
        return if ca.is_none() { Ok(None) } else { Err("--ca: http:// has no TLS; use https://".to_owned()) };
    }
    let authorities = ca.map(|path| option::certificates("--ca", path)).transpose()?;
    tls::client_config(authorities.as_deref(), None).map(Some)
}

/// Status and body.
async fn ask(url: &Uri, tls: Option<Arc<ClientConfig>>) -> Result<(u16, String), String> {
    let stream = reach(url, tls).await?;
    // `url` saw to it.
    let authority = url.authority().ok_or("no host")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        // A body that is cut off or too long takes nothing from the status, which is what was asked for.
        Ok::<_, hyper::Error>((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
    };
    tokio::pin!(connection, answer);
    let answered = tokio::select! {
        answered = &mut answer => answered,
        // The connection's end may be noticed before the answer that came on it.
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    let (status, body) = answered.map_err(|error| format!("no answer in HTTP: {error}"))?;
    Ok((status, String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).collect()))
}

pub(super) fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https")) && url.authority().is_some();
    if is_http { Ok(url) } else { Err("an http:// or https:// URL with a host".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_url_with_a_host_can_be_asked() {
        assert!(url("http://127.0.0.1:9100/readyz").is_ok() && url("http://[::1]:9100/").is_ok());
        assert!(url("https://gateway.internal:9100/healthz").is_ok());
        for text in ["wss://127.0.0.1/", "/readyz", "127.0.0.1:9100", "http://"] {
            assert!(url(text).is_err(), "{text}");
        }
    }
}
