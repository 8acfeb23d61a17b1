//! One batch to the collector: `POST /v1/traces`, each try on a connection of its own, everything bounded.
//!
//! What may be tried again, and when, is what OTLP says of HTTP: 429, 502, 503, 504 and a connection that fails, after
//! `Retry-After` or a wait that doubles.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Span, Tls, otlp};
use crate::config::value::Url;
use crate::outward::{self, Plain};

/// Tries of one batch. Meanwhile the queue fills, and what finds no room is dropped.
const TRIES: u32 = 4;

/// Before the second try; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// However long a collector asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are looked at.
const MOST: usize = 64 * 1024;

/// A collector, and how it is asked.
pub struct Settings {
    /// Its base URL.
    pub url: Url,
    /// What it wants to see.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// For `https://`.
    pub tls: Option<Tls>,
    /// `service.name`
    pub service_name: String,
    /// For one try.
    pub timeout: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A header's value is a secret.
        f.debug_struct("Settings").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What became of one try.
enum Tried {
    /// Taken, but for so many.
    Taken(u64),
    /// Not to be tried again.
    Refused(String),
    /// Perhaps later, and when if it says so.
    Later(String, Option<Duration>),
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The collector took it, but for so many.
    Taken {
        /// Spans.
        rejected: u64,
    },
    /// It did not.
    Failed,
    /// There is no collector any more.
    ToNobody,
}

/// The collector of the config that is obeyed, and whether it answered last.
pub(super) struct Collector {
    settings: watch::Receiver<Option<Arc<Settings>>>,
    /// What was wrong when it was said last.
    said: Option<String>,
}

impl Collector {
    pub(super) fn new(settings: watch::Receiver<Option<Arc<Settings>>>) -> Self {
        Self { settings, said: None }
    }

    /// Sends a batch to the collector of the moment: a new config ends the wait for the next try. Once `over` is true there is
    /// one try and no wait.
    pub(super) async fn send(&mut self, batch: &[Span], over: &mut watch::Receiver<bool>) -> Sent {
        let mut wait = FIRST_WAIT;
        for left in (0..TRIES).rev() {
            let Some(settings) = self.settings.borrow_and_update().clone() else { return Sent::ToNobody };
            let tried = match timeout(settings.timeout, post(&settings, batch)).await {
                Ok(Ok(tried)) => tried,
                Ok(Err(wrong)) => Tried::Later(wrong, None),
                Err(_) => Tried::Later(format!("no answer within {:?}", settings.timeout), None),
            };
            let (wrong, asked) = match tried {
                Tried::Taken(rejected) => {
                    self.is_well(&settings.url, rejected);
                    return Sent::Taken { rejected };
                }
                Tried::Refused(wrong) => {
                    self.is_wrong(&settings.url, wrong);
                    return Sent::Failed;
                }
                Tried::Later(wrong, asked) => (wrong, asked),
            };
            self.is_wrong(&settings.url, wrong);
            if left == 0 || *over.borrow() {
                break;
            }
            let pause = asked.unwrap_or_else(|| jittered(wait, batch)).min(LONGEST_WAIT);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = over.wait_for(|over| *over) => {}
                Ok(()) = self.settings.changed() => {}
            }
            wait *= 2;
        }
        Sent::Failed
    }

    /// Each change is said once.
    fn is_well(&mut self, url: &Url, rejected: u64) {
        if self.said.take().is_some() {
            tracing::info!(%url, "spans are taken again");
        }
        if rejected > 0 {
            tracing::warn!(%url, rejected, "the collector took some spans and not others");
        }
    }

    fn is_wrong(&mut self, url: &Url, wrong: String) {
        let wrong = format!("{url}: {wrong}");
        if self.said.as_ref() != Some(&wrong) {
            tracing::warn!(error = wrong, "spans can't be sent: they are dropped once the queue is full");
            self.said = Some(wrong);
        }
    }
}

/// What it says to log in does not leave this machine in the clear, whatever its name stands for by now.
pub(super) fn plain(settings: &Settings) -> Plain {
    if settings.headers.is_empty() { Plain::Anywhere } else { Plain::Loopback }
}

async fn post(settings: &Settings, batch: &[Span]) -> Result<Tried, String> {
    let body = Bytes::from(otlp::body(&settings.service_name, batch));
    let tls = settings.tls.clone().map(TlsConnector::from);
    let target = format!("{}/v1/traces", settings.url.target.trim_end_matches('/'));
    let stream = outward::connect(&settings.url, tls.as_ref(), plain(settings)).await?;
    let failed = |_| "its answer is not HTTP, or its connection ended".to_owned();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let mut request = Request::post(target)
        .header(HOST, &settings.url.authority)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, concat!("wsgate/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|_| "its path is malformed".to_owned())?;
    for (name, value) in &settings.headers {
        request.headers_mut().insert(name.clone(), value.clone());
    }
    let mut asking = std::pin::pin!(async { Ok(judge(sender.send_request(request).await.map_err(failed)?).await) });
    tokio::select! {
        biased;
        tried = &mut asking => tried,
        // It ends with the answer's last byte, which may still have to be read here.
        _ = connection => asking.await,
    }
}

async fn judge(response: Response<Incoming>) -> Tried {
    let (head, body) = response.into_parts();
    let status = head.status;
    if status.is_success() {
        // Taken is taken, whatever becomes of the rest of the answer.
        let body = Limited::new(body, MOST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        return Tried::Taken(otlp::rejected(&body));
    }
    let wrong = format!("it answers {}", status.as_u16());
    if may_be_retried(status.as_u16()) {
        return Tried::Later(wrong, retry_after(&head.headers));
    }
    Tried::Refused(wrong)
}

/// OTLP specification, "Retryable Response Codes".
fn may_be_retried(status: u16) -> bool {
    matches!(status, 429 | 502 | 503 | 504)
}

/// What `Retry-After` asks for, in seconds; a date is as good as none, for the wait is short either way.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Up to half as much more, so that several gateways do not come back in step. The ids of spans are random.
fn jittered(wait: Duration, batch: &[Span]) -> Duration {
    let random = batch.first().map_or(0, |span| span.context.span[7]);
    wait + wait * u32::from(random) / 512
}
