//! The old process's side: it gives its listening sockets to the process that it started.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};

use super::Offer;
use super::wire::{Channel, MOST_DESCRIPTORS, Message};
use crate::now::Clock;

/// How long the child may take for all of its steps, from now on.
pub struct Patience<'c> {
    clock: &'c Clock,
    until: u64,
}

impl<'c> Patience<'c> {
    /// From now on.
    #[must_use]
    pub fn new(clock: &'c Clock, timeout: Duration) -> Self {
        Self { clock, until: clock.micros().saturating_add(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX)) }
    }

    fn left(&self) -> Duration {
        Duration::from_micros(self.until.saturating_sub(self.clock.micros()))
    }
}

impl Channel {
    /// Waits until the child has loaded its config; its version.
    ///
    /// # Errors
    /// It failed, is gone, or says nothing in time.
    pub fn wait_until_loaded(&self, patience: &Patience<'_>) -> io::Result<String> {
        match self.hear(patience)? {
            Message::Loaded { version } => Ok(version),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives the sockets and the list of revocations, and waits until the child serves.
    ///
    /// # Errors
    /// It failed, is gone, or says nothing in time.
    pub fn hand_over(&self, offers: &[Offer], revocations: &str, patience: &Patience<'_>) -> io::Result<()> {
        self.set_patience(patience.left())?;
        for (index, offer) in offers.iter().enumerate() {
            for some in offer.sockets.chunks(MOST_DESCRIPTORS) {
                let message = Message::Sockets { offer: index, address: offer.address, name: offer.name.clone() };
                self.send(&message, &some.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
            }
        }
        let mut file = File::from(memfd_create(c"wsgate-revocations", MemfdFlags::CLOEXEC)?);
        file.write_all(revocations.as_bytes())?;
        file.rewind()?;
        self.send(&Message::Go, &[file.as_fd()])?;
        match self.hear(patience)? {
            Message::Ready => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Tells the child that nobody else serves any more. It may be gone, which is no longer of interest here.
    pub fn done(&self) {
        let _ = self.send(&Message::Done, &[]);
    }

    fn hear(&self, patience: &Patience<'_>) -> io::Result<Message> {
        self.set_patience(patience.left())?;
        match self.receive()?.0 {
            Message::Failed { why } => Err(io::Error::other(why)),
            other => Ok(other),
        }
    }
}

pub(super) fn unexpected(message: &Message) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the other process is out of step: {message:?}"))
}
