//! The listening sockets of a gateway.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use socket2::{Domain, Protocol, Socket, Type};

/// One socket for each worker on one address: the kernel spreads the clients among them.
pub(super) fn bind(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    let socket = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        Ok::<_, io::Error>(socket)
    };
    // With SO_REUSEPORT alone a second gateway would silently share the address: a first bind without it shows who is there.
    socket()?.bind(&address.into())?;
    let mut bound: Vec<StdListener> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = socket()?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        let port_known = bound.first().map_or(Ok(address), StdListener::local_addr)?;
        socket.bind(&port_known.into())?;
        socket.listen(1024)?;
        bound.push(socket.into());
    }
    Ok(bound)
}

/// Says which key's address it was.
pub(super) fn named(key: &str, address: SocketAddr) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{key}.address: {address} can't be listened on: {error}"))
}
