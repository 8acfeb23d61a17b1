//! The gateway from outside: real sockets, a gateway of its own for each test, and both of its neighbours played by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, reason = "tests")]

mod harness;

// The opening handshake, and what a client is told that does not get in.
mod handshake;
