//! What is asked of an admin listener, and what it answers. Everything is bounded in time and bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST, HeaderValue};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::Value as Json;
use tokio::time::timeout;

use super::Options;
use super::connections::Wanted;
use super::sample::{Sample, Totals};
use crate::cli::health;
use crate::cli::reach::reach;
use crate::config::value::Secret;
use crate::material::option;

/// For one request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one answer: 1000 connections are some 300 KiB.
const MOST: usize = 16 << 20;

/// Connections that are asked for.
const CONNECTIONS: usize = 1000;

/// An admin listener.
pub(super) struct Admin {
    url: Uri,
    tls: Option<Arc<ClientConfig>>,
    token: Option<HeaderValue>,
}

impl Admin {
    pub(super) fn new(options: &Options, token: Option<&Secret>) -> Result<Self, String> {
        let tls = health::tls(&options.url, options.ca.as_deref())?;
        let token = match token {
            Some(secret) => {
                let bytes = [b"Bearer ".as_slice(), &option::secret("--token", secret)?].concat();
                let mut value =
                    HeaderValue::from_bytes(&bytes).map_err(|_| "--token: what stands there is no token".to_owned())?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self { url: options.url.clone(), tls, token })
    }

    /// The address, as a person is shown it.
    pub(super) fn shown(&self) -> String {
        let scheme = self.url.scheme_str().unwrap_or("http");
        format!("{scheme}://{}", self.url.authority().map_or("", |authority| authority.as_str()))
    }

    /// All that a frame needs.
    pub(super) async fn sample(&self, wanted: &Wanted) -> Result<Sample, String> {
        let status = self.json("/status").await?;
        let connections = self.json(&wanted.target(CONNECTIONS)).await?;
        let metrics = self.ask(Method::GET, "/metrics").await?;
        #[allow(clippy::disallowed_methods, reason = "the command's own clock: no gateway's is here")]
        let at = Instant::now();
        Ok(Sample { status, connections, totals: Totals::read(&metrics), at })
    }

    /// Closes one connection, and says what came of it.
    pub(super) async fn close(&self, id: &str) -> Result<String, String> {
        let answer = self.ask(Method::DELETE, &format!("/connections/{id}")).await?;
        let answer: Json = serde_json::from_str(&answer).map_err(|_| "its answer is no JSON".to_owned())?;
        Ok(if answer["closed"] == 1 { format!("{id} is told to close") } else { format!("{id} was gone") })
    }

    async fn json(&self, path: &str) -> Result<Json, String> {
        let text = self.ask(Method::GET, path).await?;
        serde_json::from_str(&text).map_err(|_| format!("{path} is no JSON"))
    }

    async fn ask(&self, method: Method, path: &str) -> Result<String, String> {
        timeout(PATIENCE, self.ask_in_any_time(method, path)).await.map_err(|_| "no answer within 5 s".to_owned())?
    }

    async fn ask_in_any_time(&self, method: Method, path: &str) -> Result<String, String> {
        let stream = reach(&self.url, self.tls.clone()).await?;
        let failed = |error: hyper::Error| format!("no answer in HTTP: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // `url` saw to it.
        let authority = self.url.authority().ok_or("no host")?;
        let mut request = Request::builder().method(method).uri(path).header(HOST, authority.as_str());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.header(CONNECTION, "close").body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
        let mut answer = std::pin::pin!(async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST).collect().await;
            let body = body.map_err(|_| "its answer was cut short, or is too long".to_owned())?.to_bytes();
            Ok((status, String::from_utf8_lossy(&body).into_owned()))
        });
        let answered: Result<_, String> = tokio::select! {
            biased;
            answered = &mut answer => answered,
            // It ends with the answer's last byte, which may still have to be read here.
            _ = connection => answer.await,
        };
        let (status, body) = answered?;
        match status.as_u16() {
            200 => Ok(body),
            401 => Err("401: it wants a token, see --token".to_owned()),
            other => Err(format!("{other} {}", super::draw::clean(body.trim()))),
        }
    }
}
