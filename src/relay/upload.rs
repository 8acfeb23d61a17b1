//! A request's body on its way to the upstream: counted, bounded, and not waited for without end. No trailer goes up.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep_until};

use crate::connection::Turn;
use crate::deny::Deny;
use crate::now::Clock;
use crate::policy::Denial;
use crate::policy::raw::bad;
use crate::policy::relay::patience::Patience;
use crate::policy::relay::{Relay, too_big};

/// What others see of an upload.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes that went on.
    pub(super) bytes: Cell<u64>,
    /// When something last went on, in [`crate::now::Now::mono`].
    pub(super) last: Cell<u64>,
    /// Whether the client is waited for.
    pub(super) waiting: Cell<bool>,
    /// Why it ended before its end.
    pub(super) denial: Cell<Option<Denial>>,
}

/// The body.
pub(super) struct Upload {
    incoming: Incoming,
    progress: Rc<Progress>,
    turn: Rc<Turn>,
    clock: Clock,
    patience: Patience,
    timer: Option<Pin<Box<Sleep>>>,
    timeout: u64,
    most: u64,
}

/// It ended before its end; [`Progress::denial`] says why.
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's body did not come to its end")
    }
}

impl std::error::Error for Broken {}

impl Upload {
    pub(super) fn new(incoming: Incoming, relay: &Relay, clock: Clock, progress: Rc<Progress>, turn: Rc<Turn>) -> Self {
        progress.last.set(clock.mono());
        let (timeout, most) = (relay.body_timeout, relay.max_body);
        Self { incoming, progress, turn, clock, patience: Patience::default(), timer: None, timeout, most }
    }

    fn break_off(&self, denial: Denial) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.progress.denial.set(Some(denial));
        Poll::Ready(Some(Err(Broken)))
    }

    /// Nothing is there: whether it is worth waiting.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let now = self.clock.mono();
        let until = self.patience.wait(self.timeout, now);
        let instant = self.clock.instant(until).into();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(instant)));
        if timer.deadline() != instant {
            timer.as_mut().reset(instant);
        }
        if now >= until || Future::poll(timer.as_mut(), cx).is_ready() {
            return self.break_off(Denial::new(Deny::HandshakeTimeout, "the body took longer than body_timeout"));
        }
        self.progress.waiting.set(true);
        Poll::Pending
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        loop {
            let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
                Poll::Pending => return this.wait(cx),
                Poll::Ready(None) => {
                    this.progress.waiting.set(false);
                    this.progress.last.set(this.clock.mono());
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => {
                    let lost = Denial::new(Deny::ClientLost, "the client left in the midst of the body");
                    return this.break_off(this.turn.flaw.get().map_or(lost, bad));
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let now = this.clock.mono();
            let bytes = this.progress.bytes.get() + data.len() as u64;
            if bytes > this.most {
                return this.break_off(too_big());
            }
            this.patience.received(data.len() as u64, now);
            this.progress.waiting.set(false);
            this.progress.bytes.set(bytes);
            this.progress.last.set(now);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
