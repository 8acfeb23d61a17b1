//! All clients of one run, on one epoll.

use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::Target;
use super::client::Client;
use super::message::Message;
use super::stream::Stream;
use crate::Result;

/// A run in which nothing moves for so long has failed.
const STALL: Duration = Duration::from_secs(10);

/// The clients and what they share.
pub(crate) struct Fleet<'a> {
    target: &'a Target,
    message: Rc<Message>,
    poll: Poll,
    events: Events,
    clients: Slab<Client>,
    connected: u32,
    scratch: Vec<u8>,
    moved: Instant,
}

impl<'a> Fleet<'a> {
    /// No clients yet; all will send `message`.
    pub(crate) fn new(target: &'a Target, message: Message) -> Result<Self> {
        Ok(Self {
            target,
            message: Rc::new(message),
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Slab::new(),
            connected: 0,
            scratch: vec![0; 64 * 1024],
            moved: Instant::now(),
        })
    }

    /// Begins one more connection.
    pub(crate) fn connect(&mut self) -> Result<()> {
        let mut stream = Stream::connect(self.target)?;
        let entry = self.clients.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream.socket, Token(entry.key()), interest)?;
        let request = self.target.handshake.request(self.target.address);
        entry.insert(Client::new(stream, self.connected, request, Rc::clone(&self.message)));
        self.connected += 1;
        Ok(())
    }

    /// Opens `count` connections, `at_once` at a time, and names them.
    pub(crate) fn open(&mut self, count: usize, at_once: usize) -> Result<Vec<usize>> {
        let mut open = Vec::with_capacity(count);
        for _ in 0..count.min(at_once) {
            self.connect()?;
        }
        while open.len() < count {
            for (client, _) in self.turn(STALL)? {
                open.push(client);
                if self.clients.len() < count {
                    self.connect()?;
                }
            }
        }
        Ok(open)
    }

    /// Has one message echoed on each of `clients`.
    pub(crate) fn send_all(&mut self, clients: &[usize]) -> Result<()> {
        for group in clients.chunks(64) {
            for client in group {
                self.send(*client)?;
            }
            let mut left = group.len();
            while left > 0 {
                left -= self.turn(STALL)?.len();
            }
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, client: usize) -> Result<()> {
        self.clients[client].send()
    }

    pub(crate) fn close(&mut self, client: usize) -> Result<()> {
        self.clients[client].close()
    }

    pub(crate) fn remove(&mut self, client: usize) {
        self.clients.remove(client);
    }

    pub(crate) fn is_open(&self, client: usize) -> bool {
        self.clients[client].is_open()
    }

    /// Waits at most `wait` for events, lets those clients go on, and names the ones whose handshake, echo or Close is
    /// complete, with the moment in which it began.
    ///
    /// # Errors
    /// As [`Client::advance`]; when nothing moved for 10 s.
    pub(crate) fn turn(&mut self, wait: Duration) -> Result<Vec<(usize, Instant)>> {
        match self.poll.poll(&mut self.events, Some(wait.min(STALL))) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => other?,
        }
        let mut complete = Vec::new();
        for event in &self.events {
            let Some(client) = self.clients.get_mut(event.token().0) else {
                continue; // removed since
            };
            if client.advance(&mut self.scratch)? {
                complete.push((event.token().0, client.since));
            }
        }
        if !self.events.is_empty() {
            self.moved = Instant::now();
        }
        if self.moved.elapsed() >= STALL {
            return Err(format!("nothing moved for {} s", STALL.as_secs()).into());
        }
        Ok(complete)
    }
}
