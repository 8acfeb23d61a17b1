//! A client's socket between two messages: what was read of it and belongs to nobody yet, and the next head.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::policy::Denial;
use crate::policy::raw::{Head, Scan};
use crate::stream::Stream;

/// Bytes to read at once of a head: most have one such piece.
const ROOM: usize = 2048;

/// The socket, and what was read ahead.
pub(super) struct Inlet {
    pub(super) stream: Stream,
    /// At most a head's size.
    pub(super) ahead: BytesMut,
    /// Bytes of a head.
    most: usize,
}

/// Why there is no next head.
pub(super) enum NoHead {
    /// The client left; whether in the midst of one.
    Left { begun: bool },
    /// It will be none.
    Bad(Denial),
}

impl Inlet {
    pub(super) fn new(stream: Stream, most: usize) -> Self {
        Self { stream, ahead: BytesMut::new(), most }
    }

    /// Waits until something is there, or the client has left.
    pub(super) async fn stir(&mut self) -> io::Result<()> {
        if self.ahead.is_empty() {
            self.ahead.reserve(ROOM);
            self.stream.read_buf(&mut self.ahead).await?;
        }
        Ok(())
    }

    /// The next head, which stays where it is.
    pub(super) async fn head(&mut self) -> Result<Head, NoHead> {
        let mut scan = Scan::default();
        loop {
            // RFC 9112 s2.2: an empty line before a request is none; some clients end a body with one.
            while self.ahead.starts_with(b"\r\n") {
                drop(self.ahead.split_to(2));
                scan = Scan::default();
            }
            if self.ahead.as_ref() != b"\r"
                && let Some(head) = scan.look(&self.ahead, self.most).map_err(NoHead::Bad)?
            {
                return Ok(head);
            }
            self.ahead.reserve(ROOM);
            match self.stream.read_buf(&mut self.ahead).await {
                Ok(0) | Err(_) => return Err(NoHead::Left { begun: !self.ahead.is_empty() }),
                Ok(_) => {}
            }
        }
    }

    /// Reads ahead while an answer is awaited, as far as there is room: so the end of the stream is seen. Ready is that end.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < self.most {
            let mut room = [0; 1024];
            let length = room.len().min(self.most - self.ahead.len());
            let mut buf = ReadBuf::new(&mut room[..length]);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf))?;
            if buf.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(buf.filled());
        }
        Poll::Pending
    }
}
