//! An answer's body on its way to the client: counted, and cut where the upstream owes more and says nothing. No trailer comes
//! down.
//!
//! What the gateway ends by itself, as a stream of events whose token has expired, ends in order, so that a client sees the
//! end of a body; what the upstream did not finish ends with the connection, so that nobody takes it for whole.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep_until};

use super::events::Events;
use super::exchange::Driver;
use super::record::Record;
use crate::deny::Deny;

/// The body.
pub struct Download {
    incoming: Incoming,
    _driver: Driver,
    record: Record,
    /// Milliseconds of silence that end it.
    silence: u64,
    /// Since when the upstream is waited for.
    since: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
    events: Option<Events>,
    ended: bool,
}

/// It ended before its end.
#[derive(Debug)]
pub struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream's body did not come to its end")
    }
}

impl std::error::Error for Cut {}

impl Download {
    /// `silence` is how long the upstream may say nothing, in milliseconds.
    pub(super) fn new(
        incoming: Incoming,
        driver: Driver,
        record: Record,
        silence: u64,
        events: Option<Events>,
    ) -> Self {
        Self { incoming, _driver: driver, record, silence, since: None, timer: None, events, ended: false }
    }

    /// Ends it in order, though the upstream would go on.
    fn end(&mut self, reason: Deny) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.ended = true;
        self.record.ends(reason);
        Poll::Ready(None)
    }

    /// Nothing is there: whether it is worth waiting.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let now = self.record.now();
        let silent = self.since.get_or_insert(now).saturating_add(self.silence);
        let until = self.events.as_ref().map_or(silent, |events| silent.min(events.next()));
        let instant = self.record.instant(until).into();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(instant)));
        if timer.deadline() != instant {
            timer.as_mut().reset(instant);
        }
        let rings = Future::poll(timer.as_mut(), cx).is_ready();
        if now < silent && !(rings && until == silent) {
            if rings {
                cx.waker().wake_by_ref();
            }
            return Poll::Pending;
        }
        if self.events.is_some() {
            return self.end(Deny::IdleTimeout);
        }
        self.record.ends(Deny::UpstreamTimeout);
        Poll::Ready(Some(Err(Cut)))
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let now = this.record.now();
        if let Some(reason) = this.events.as_mut().and_then(|events| events.look(cx, now)) {
            return this.end(reason);
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Pending => this.wait(cx),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    this.since = None;
                    this.record.carried(data.len() as u64);
                    if let Some(events) = &this.events {
                        events.carried(data.len() as u64);
                    }
                    Poll::Ready(Some(Ok(Frame::data(data))))
                }
                // Trailers: they are the last of it.
                Err(_) => {
                    this.ended = true;
                    this.record.is_whole();
                    Poll::Ready(None)
                }
            },
            Poll::Ready(None) => {
                this.ended = true;
                this.record.is_whole();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(_))) => {
                this.record.ends(Deny::UpstreamLost);
                Poll::Ready(Some(Err(Cut)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // hyper asks no more once the announced length is there, or where there is no body to an answer.
        if self.incoming.is_end_stream() {
            self.record.is_whole();
        }
    }
}
