//! The new process's side: it takes the listening sockets of the process that started it.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;
use rustix::process::getppid;
use rustix::stdio::dup2_stdin;

use super::give::unexpected;
use super::wire::{Channel, Message};
use super::{Offer, VARIABLE, check};
use crate::revocation_file;

/// For each message of the old process, which answers at once unless it waits for its disk. Its end is noticed at once.
const PATIENCE: Duration = Duration::from_secs(60);

/// For the last one, without which it goes on too.
const LAST: Duration = Duration::from_secs(5);

/// The way to the process that gives way to this one.
#[derive(Debug)]
pub struct Taker(Channel);

/// What it gives.
#[derive(Debug)]
pub struct Given {
    /// Its listening sockets.
    pub offers: Vec<Offer>,
    /// Its revocations, as they stand in a file.
    pub revocations: String,
}

impl Taker {
    /// If this process was started to take over from another.
    ///
    /// # Errors
    /// It says so, and standard input is not a socket of the process that started it.
    pub fn announced() -> io::Result<Option<Self>> {
        if env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let end = io::stdin().as_fd().try_clone_to_owned()?;
        let parent = socket_peercred(&end).ok().map(|peer| peer.pid);
        if parent.is_none() || parent != getppid() {
            let message =
                format!("{VARIABLE} is set, but standard input is no socket of the process that started this one");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        dup2_stdin(File::open("/dev/null")?)?;
        Ok(Some(Self::over(end)))
    }

    pub(super) fn over(end: OwnedFd) -> Self {
        Self(Channel::new(end))
    }

    /// Says that the config is good, and waits for what is given.
    ///
    /// # Errors
    /// The old process is gone, or takes too long.
    pub fn loaded(&self) -> io::Result<Given> {
        self.0.set_patience(PATIENCE)?;
        self.0.send(&Message::Loaded { version: env!("CARGO_PKG_VERSION").to_owned() }, &[])?;
        let mut offers: Vec<Offer> = Vec::new();
        loop {
            match self.0.receive()? {
                (Message::Sockets { offer, address, name }, descriptors) => {
                    let sockets = descriptors.into_iter().map(TcpListener::from).collect::<Vec<_>>();
                    sockets.iter().try_for_each(|socket| check(socket).map(drop))?;
                    match offers.get_mut(offer) {
                        Some(known) => known.sockets.extend(sockets),
                        None => offers.push(Offer { address, name, sockets }),
                    }
                }
                (Message::Go, descriptors) => {
                    let file = descriptors.into_iter().next().ok_or(io::ErrorKind::InvalidData)?;
                    let mut revocations = String::new();
                    File::from(file).take(revocation_file::MOST).read_to_string(&mut revocations)?;
                    return Ok(Given { offers, revocations });
                }
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    /// Says that this process serves, and returns once it is the only one. From here on the old process is not needed: if it
    /// is gone, this one goes on.
    pub fn ready(&self) {
        let waited =
            self.0.send(&Message::Ready, &[]).and_then(|()| self.0.set_patience(LAST)).and_then(|()| {
                match self.0.receive()?.0 {
                    Message::Done => Ok(()),
                    other => Err(unexpected(&other)),
                }
            });
        if let Err(error) = waited {
            tracing::warn!(%error, "the process that gave way did not say so");
        }
    }

    /// Says why this process ends instead.
    pub fn failed(&self, why: &str) {
        // Whoever is not there to hear it sees the end itself.
        let _ = self.0.send(&Message::Failed { why: why.chars().take(1000).collect() }, &[]);
    }
}
