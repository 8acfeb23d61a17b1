//! One connection's bytes, plain or over TLS, without blocking.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

use super::Target;
use crate::Result;

/// A socket, with or without a TLS session over it.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    pub(crate) fn connect(target: &Target) -> Result<Self> {
        let socket = connect(target.address)?;
        let tls = match &target.tls {
            None => None,
            Some(config) => {
                let name = ServerName::IpAddress(target.address.ip().into());
                Some(Box::new(ClientConnection::new(Arc::clone(config), name)?))
            }
        };
        Ok(Self { socket, tls })
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(into);
        };
        loop {
            match tls.reader().read(into) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                // A peer that ends without close_notify: the end, as over plain TCP.
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            tls.read_tls(&mut self.socket)?;
            tls.process_new_packets().map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
            push(tls, &mut self.socket)?;
        }
    }

    /// Takes what it can of `parts`. `WouldBlock` when that is nothing.
    pub(crate) fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write_vectored(parts);
        };
        push(tls, &mut self.socket)?;
        let taken = tls.writer().write_vectored(parts)?;
        push(tls, &mut self.socket)?;
        if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Brings what TLS still holds onto the wire.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.tls.as_mut().map_or(Ok(()), |tls| push(tls, &mut self.socket))
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

fn push(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<()> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
