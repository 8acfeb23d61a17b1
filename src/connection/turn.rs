//! How far the request of the moment is: what hyper, the answer's body and the connection tell each other of it.

use std::cell::Cell;
use std::time::Duration;

/// One request's turn on its connection.
#[derive(Debug)]
pub struct Turn {
    /// Whether hyper has read the head and asked for an answer.
    pub head_seen: Cell<bool>,
    /// Whether the connection may carry another request after this one.
    pub keep: Cell<bool>,
    /// Whether the answer is a 101, behind which there is no HTTP any more.
    pub switching: Cell<bool>,
    /// How long the client may take nothing of the answer.
    pub send_timeout: Cell<Duration>,
    /// What is wrong with the body's bytes, as far as they were read.
    pub flaw: Cell<Option<&'static str>>,
    answered: Cell<bool>,
    flushed: Cell<bool>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            head_seen: Cell::default(),
            keep: Cell::default(),
            switching: Cell::default(),
            // Of answers of the gateway's own, which fit into the socket's buffer.
            send_timeout: Cell::new(Duration::from_secs(10)),
            flaw: Cell::default(),
            answered: Cell::default(),
            flushed: Cell::default(),
        }
    }
}

impl Turn {
    /// hyper has all of the answer.
    pub fn answered(&self) {
        self.answered.set(true);
        self.flushed.set(false);
    }

    /// The socket has all that hyper gave it.
    pub(super) fn flushed(&self, all: bool) {
        self.flushed.set(all);
    }

    /// Whether hyper has all of the answer.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.get()
    }

    /// Whether the socket has all of the answer, and the connection goes on.
    pub(super) fn is_over(&self) -> bool {
        self.keep.get() && self.answered.get() && self.flushed.get()
    }
}
