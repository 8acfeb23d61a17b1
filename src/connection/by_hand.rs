//! Answers to heads that never became a request.
//!
//! hyper answers some of these by itself, in its own words, and others not at all. So whatever it writes before there was
//! a request is left out, and every such client gets one answer, with the label, from here.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::handshake::Handshake;
use crate::policy::Denial;
use crate::stream::Stream;

/// A client's socket as hyper sees it: silent until there is a request to answer.
pub(super) struct Guarded {
    pub(super) stream: Stream,
    pub(super) handshake: Rc<Handshake>,
}

impl AsyncRead for Guarded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.handshake.head_seen.get() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The whole answer to a handshake that was refused before it was read.
pub(super) fn answer(denial: &Denial) -> Vec<u8> {
    let row = denial.deny.row();
    let body = format!("{}: {}\n", row.label, row.sentence);
    let reason = StatusCode::from_u16(denial.status).ok().and_then(|status| status.canonical_reason());
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        denial.status,
        reason.unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}
