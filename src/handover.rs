//! Listening sockets that one process opened and another serves: those of an old process that gives way to a new binary, and
//! those that a service manager opened.
//!
//! Between two processes of this program they go over a pair of local sockets that the old one makes and whose one end it
//! gives to its child as standard input: there is no name in the file system that anybody else could connect to. Since the
//! sockets themselves are passed on, their queues of clients are too: nobody is refused in between.
//!
//! The steps, each a message (`wire`):
//!
//! 1. The child loads its config and says `loaded`. Until then it has touched nothing.
//! 2. The old process stops to take revocations, since from here on another writes their file, and gives the `sockets`, and
//!    with `go` the list of revocations.
//! 3. The child serves them and says `ready`. The old one stops accepting, says `done`, and drains.
//!
//! Where anything of that fails, the child ends, and the old process goes on as if nothing had happened.

pub mod give;
pub mod take;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{SockRef, Type};

pub use wire::{Channel, pair};

/// Tells a new process that its standard input is such a socket.
pub const VARIABLE: &str = "WSGATE_HANDOVER";

/// Listening sockets of one address that somebody else opened.
#[derive(Debug)]
pub struct Offer {
    /// As it stood in the config of the process that opened them; from a service manager, where they listen.
    pub address: SocketAddr,
    /// What a service manager calls them.
    pub name: Option<String>,
    /// One or several; each has a queue of its own, so each has to be accepted from.
    pub sockets: Vec<TcpListener>,
}

impl Offer {
    /// The same sockets again.
    ///
    /// # Errors
    /// No descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        let sockets = self.sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { address: self.address, name: self.name.clone(), sockets })
    }
}

/// Sees to it that a socket which came from elsewhere is one that can be accepted from.
///
/// # Errors
/// It is none.
pub fn check(socket: &TcpListener) -> io::Result<SocketAddr> {
    let (address, looked_at) = (socket.local_addr()?, SockRef::from(socket));
    if looked_at.r#type()? != Type::STREAM || !looked_at.is_listener()? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the socket on {address} does not listen")));
    }
    // Of the open file, so for all who have it: and all who do want it so.
    socket.set_nonblocking(true)?;
    Ok(address)
}

#[cfg(test)]
mod tests;
