//! The floor: a TCP relay that looks at nothing, on one thread, with its own epoll and one buffer for all connections.
//!
//! What it costs is what the kernel charges any proxy: two reads, two writes and one wait an echo. Everything above it
//! is a proxy's own doing.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::Result;
use crate::outlet::Outlet;

const LISTENER: Token = Token(usize::MAX);

/// Relays every connection of `listener` to `upstream` until the process ends.
///
/// # Errors
/// When epoll, the listener or the making of a socket fails; what a peer does only ends that connection.
pub fn relay(mut listener: TcpListener, upstream: SocketAddr) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut pairs: Slab<Pair> = Slab::new();
    let mut scratch = vec![0; 64 * 1024];
    loop {
        match poll.poll(&mut events, None) {
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, upstream, &poll, &mut pairs)?;
                continue;
            }
            let (key, side) = (event.token().0 / 2, event.token().0 % 2);
            let Some(pair) = pairs.get_mut(key) else {
                continue; // ended earlier in this batch
            };
            if !pair.advance(side, event, &mut scratch) {
                pairs.remove(key);
            }
        }
    }
}

fn accept(listener: &TcpListener, upstream: SocketAddr, poll: &Poll, pairs: &mut Slab<Pair>) -> Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let mut legs = [client, TcpStream::connect(upstream)?].map(|s| Leg { outlet: Outlet::new(s), ended: false });
        let entry = pairs.vacant_entry();
        for (side, leg) in legs.iter_mut().enumerate() {
            leg.outlet.stream.set_nodelay(true)?;
            let token = Token(entry.key() * 2 + side);
            poll.registry().register(&mut leg.outlet.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        }
        entry.insert(Pair { legs, connected: false });
    }
}

struct Leg {
    outlet: Outlet,
    /// This side has sent its last byte.
    ended: bool,
}

/// The client's leg, then the upstream's.
struct Pair {
    legs: [Leg; 2],
    connected: bool,
}

impl Pair {
    /// False: the pair is over.
    fn advance(&mut self, side: usize, event: &Event, scratch: &mut [u8]) -> bool {
        if !self.connected {
            // The client's first bytes stay in its socket until the upstream can take them.
            if side == 0 || !event.is_writable() {
                return side == 0 || !event.is_error();
            }
            self.connected = true;
            return self.pump(0, true, scratch) && self.pump(1, event.is_read_closed(), scratch) && !self.over();
        }
        let mut alive = true;
        if event.is_writable() && !self.legs[side].outlet.is_clear() {
            // What the other side could not say meanwhile comes after it.
            alive = self.legs[side].outlet.flush() && self.pump(1 - side, true, scratch);
        }
        if alive && event.is_readable() {
            alive = self.pump(side, event.is_read_closed(), scratch);
        }
        alive && !self.over()
    }

    /// Copies from `side` to the other until there is nothing, or no room. `to_the_end`: a short read is not enough, as
    /// something may stand behind it. False: the pair is broken.
    fn pump(&mut self, side: usize, to_the_end: bool, scratch: &mut [u8]) -> bool {
        let [client, upstream] = &mut self.legs;
        let (from, to) = if side == 0 { (client, upstream) } else { (upstream, client) };
        while to.outlet.is_clear() && !from.ended {
            match from.outlet.stream.read(scratch) {
                Ok(0) => from.ended = true,
                Ok(read) => {
                    if !to.outlet.write(&scratch[..read]) {
                        return false;
                    }
                    // A short read has emptied the socket (epoll(7)).
                    if read < scratch.len() && !to_the_end {
                        return true;
                    }
                }
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
        if from.ended && to.outlet.is_clear() {
            // An error here says that the other side is gone already; its own event says so too.
            let _ = to.outlet.stream.shutdown(Shutdown::Write);
        }
        true
    }

    fn over(&self) -> bool {
        self.legs.iter().all(|leg| leg.ended && leg.outlet.is_clear())
    }
}
