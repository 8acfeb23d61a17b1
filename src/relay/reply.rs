//! The body of an answer, whoever gives it.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::download::{Cut, Download};
use crate::connection::Turn;

/// A body that tells its connection when hyper has all of it.
pub struct Reply {
    from: From,
    turn: Rc<Turn>,
}

enum From {
    Gateway(Full<Bytes>),
    Upstream(Box<Download>),
}

impl Reply {
    /// One of the gateway's own.
    #[must_use]
    pub fn own(body: Full<Bytes>, turn: Rc<Turn>) -> Self {
        Self { from: From::Gateway(body), turn }
    }

    /// The upstream's.
    #[must_use]
    pub fn upstream(body: Download, turn: Rc<Turn>) -> Self {
        Self { from: From::Upstream(Box::new(body)), turn }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.get_mut().from {
            From::Gateway(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            From::Upstream(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.from {
            From::Gateway(body) => body.is_end_stream(),
            From::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.from {
            From::Gateway(body) => body.size_hint(),
            From::Upstream(body) => body.size_hint(),
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.turn.answered();
    }
}
