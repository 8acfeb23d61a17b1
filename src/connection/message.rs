//! One message of a client's, as hyper sees the socket: exactly its bytes, and then nothing; so that what comes behind it is
//! never hyper's to read.
//!
//! hyper answers some heads by itself, in its own words. Whatever it writes before there was a request is left out, and
//! every such client gets one answer, with the label, from [`super::by_hand`].

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::inlet::Inlet;
use super::turn::Turn;
use crate::policy::raw::chunks::Chunks;
use crate::policy::raw::{Body, Head};

/// The socket while hyper has it.
pub(super) struct Message {
    pub(super) inlet: Inlet,
    turn: Rc<Turn>,
    /// Bytes of the head that hyper did not read yet.
    head: usize,
    body: Rest,
    /// The 101, which is written once hyper is gone: it might not fit into the socket at once.
    pub(super) unsent: Vec<u8>,
    /// Rings when the client took nothing for too long.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// What is to come of a body.
enum Rest {
    Length(u64),
    Chunked(Chunks),
}

impl Message {
    pub(super) fn new(inlet: Inlet, head: &Head, turn: Rc<Turn>) -> Self {
        let body = match head.body {
            Body::Length(length) => Rest::Length(length),
            Body::Chunked => Rest::Chunked(Chunks::default()),
        };
        Self { inlet, turn, head: head.len, body, unsent: Vec::new(), stalled: None }
    }

    /// Whether all of it was read.
    pub(super) fn is_whole(&self) -> bool {
        self.head == 0
            && match &self.body {
                Rest::Length(left) => *left == 0,
                Rest::Chunked(chunks) => chunks.is_done(),
            }
    }

    /// How many of these bytes are the message's. There is one at least, unless it is whole.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.head > 0 {
            let here = self.head.min(bytes.len());
            self.head -= here;
            return Ok(here);
        }
        match &mut self.body {
            Rest::Length(left) => {
                let here = (*left).min(bytes.len() as u64);
                *left -= here;
                // At most what there is.
                Ok(here as usize)
            }
            Rest::Chunked(chunks) => chunks.take(bytes).map_err(|why| {
                self.turn.flaw.set(Some(why));
                io::Error::new(io::ErrorKind::InvalidData, why)
            }),
        }
    }

    /// The client took something, or has to within `send_timeout`.
    fn watch<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.turn.send_timeout.get();
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(Future::poll(stalled.as_mut(), cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Message {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_whole() {
            // After the answer hyper would read the next head: it never comes, and the connection takes over.
            return if this.turn.is_answered() { Poll::Pending } else { this.inlet.poll_end(cx) };
        }
        let room = buf.remaining();
        if !this.inlet.ahead.is_empty() {
            let ahead = this.inlet.ahead.split();
            let here = room.min(ahead.len());
            let taken = this.take(&ahead[..here])?;
            buf.put_slice(&ahead[..taken]);
            this.inlet.ahead = ahead;
            this.inlet.ahead.advance(taken);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inlet.stream).poll_read(cx, buf))?;
        let taken = this.take(&buf.filled()[before..])?;
        this.inlet.ahead.extend_from_slice(&buf.filled()[before + taken..]);
        buf.set_filled(before + taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Message {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.turn.head_seen.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        if this.turn.switching.get() {
            this.unsent.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        this.turn.flushed(false);
        let polled = Pin::new(&mut this.inlet.stream).poll_write(cx, bytes);
        this.watch(cx, polled)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inlet.stream).poll_flush(cx);
        this.turn.flushed(matches!(polled, Poll::Ready(Ok(()))));
        this.watch(cx, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inlet.stream).poll_shutdown(cx)
    }
}
