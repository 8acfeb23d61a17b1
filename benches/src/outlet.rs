//! A socket and what it has not taken yet: the echo's side, and each side of the floor.

use std::io::{ErrorKind, Write};

use mio::net::TcpStream;

/// While something is pending, its owner reads nothing more that would lead to further writes: that bounds it.
pub(crate) struct Outlet {
    pub(crate) stream: TcpStream,
    pending: Vec<u8>,
}

impl Outlet {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    pub(crate) fn is_clear(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes `bytes`, with nothing pending, and keeps what the socket does not take. False: the connection is broken.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> bool {
        let written = match self.stream.write(bytes) {
            Ok(written) => written,
            Err(e) if e.kind() == ErrorKind::WouldBlock => 0,
            Err(_) => return false,
        };
        if written == bytes.len() {
            return true;
        }
        self.pending.extend_from_slice(&bytes[written..]);
        self.flush()
    }

    /// Writes until all is gone or the socket is full: only then does the next event come. False: it is broken.
    pub(crate) fn flush(&mut self) -> bool {
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(written) => drop(self.pending.drain(..written)),
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        self.pending = Vec::new();
        true
    }
}
