//! How far a gateway is on its way from the start to the end.

use serde::Serialize;

/// A gateway only ever goes on to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Clients are let in.
    Running,
    /// They still are, but whoever balances load is told to send no more (`drain_delay`).
    Leaving,
    /// Another process has the listening sockets. Who was accepted here before is let in, since nobody else can.
    HandedOver,
    /// Nobody new; sessions are being closed.
    Draining,
    /// Whatever is left is cut.
    Stopped,
}

impl Phase {
    /// Whether new connections are accepted.
    #[must_use]
    pub fn accepts(self) -> bool {
        self < Self::HandedOver
    }

    /// Whether handshakes of accepted connections may still end in a session.
    #[must_use]
    pub fn lets_in(self) -> bool {
        self < Self::Draining
    }
}
