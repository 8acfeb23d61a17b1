//! The backend: answers the opening handshake and sends every message back, on one thread, with its own epoll.
//!
//! It must cost little and hold nothing, so that what is measured is the proxy in front of it.

use std::io::{ErrorKind, Read};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::outlet::Outlet;
use crate::{Result, wire};

const LISTENER: Token = Token(usize::MAX);
/// The largest request head that is answered.
const MAX_HEAD: usize = 16 * 1024;

/// Serves `listener` until the process ends.
///
/// # Errors
/// When epoll or the listener fails; what a client does only ends that client's connection.
pub fn serve(mut listener: TcpListener) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Slab<Connection> = Slab::new();
    let mut buffers = Buffers { input: vec![0; 64 * 1024], output: Vec::with_capacity(80 * 1024) };
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Some(connection) = connections.get_mut(event.token().0) else {
                continue; // ended earlier in this batch
            };
            if !connection.advance(event, &mut buffers) {
                connections.remove(event.token().0);
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Slab<Connection>) -> Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
        entry.insert(Connection { client: Outlet::new(stream), phase: Phase::Head(Vec::new()), closed: false });
    }
}

/// Shared by all connections: nothing stays in them between two events.
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

enum Phase {
    Head(Vec<u8>),
    Open(wire::Echoer),
}

struct Connection {
    client: Outlet,
    phase: Phase,
    /// The client's Close is answered; the connection ends once that is written.
    closed: bool,
}

impl Connection {
    /// False: the connection is over.
    fn advance(&mut self, event: &Event, buffers: &mut Buffers) -> bool {
        if !self.client.is_clear() && !self.client.flush() {
            return false;
        }
        while self.client.is_clear() {
            if self.closed {
                return false;
            }
            let read = match self.client.stream.read(&mut buffers.input) {
                Ok(0) => return false,
                Ok(read) => read,
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            };
            buffers.output.clear();
            if !self.answer(&buffers.input[..read], &mut buffers.output) || !self.client.write(&buffers.output) {
                return false;
            }
            // A short read has emptied the socket (epoll(7)), unless the end of the stream stands behind it.
            if read < buffers.input.len() && !event.is_read_closed() && !self.closed {
                return true;
            }
        }
        true
    }

    /// Appends to `output` what `input` is answered with. False: it is no WebSocket.
    fn answer(&mut self, input: &[u8], output: &mut Vec<u8>) -> bool {
        let answered = match &mut self.phase {
            Phase::Open(echoer) => echoer.echo(input, output),
            Phase::Head(head) => {
                head.extend_from_slice(input);
                let Some(end) = wire::head_end(head) else {
                    return head.len() <= MAX_HEAD;
                };
                let Some(response) = wire::switching_protocols(&head[..end]) else {
                    return false;
                };
                output.extend(response);
                let mut echoer = wire::Echoer::default();
                let answered = echoer.echo(&head[end..], output);
                self.phase = Phase::Open(echoer);
                answered
            }
        };
        match answered {
            Ok(closed) => {
                self.closed = closed;
                true
            }
            Err(wrong) => {
                eprintln!("echo: {wrong}");
                false
            }
        }
    }
}
