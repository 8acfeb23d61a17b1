//! The messages between an old and a new process, and the descriptors that go with them.
//!
//! A sequenced-packet socket keeps messages apart. They are JSON, so that two versions of this program understand each
//! other, or know that they do not.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// Descriptors in one message: the kernel's own bound (SCM_MAX_FD).
pub(super) const MOST_DESCRIPTORS: usize = 253;

/// Bytes of one message. The longest is an error in words.
const MOST_BYTES: usize = 16 * 1024;

/// What one process says to the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum Message {
    /// The child's config is good.
    Loaded { version: String },
    /// Sockets of one address. Those that do not fit follow in a further one, with the same `offer`.
    Sockets { offer: usize, address: SocketAddr, name: Option<String> },
    /// All of them were sent; with this comes a file of the revocations.
    Go,
    /// The child accepts.
    Ready,
    /// The old process does no longer, and the service manager knows of it.
    Done,
    /// The child ends, and why.
    Failed { why: String },
}

/// One end of the pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// Both ends; the second is for the child's standard input.
///
/// # Errors
/// No descriptors.
pub fn pair() -> io::Result<(Channel, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Channel(ours), theirs))
}

impl Channel {
    pub(super) fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// How long each of the next messages may take.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        // Zero would be for ever.
        let patience = Some(patience.max(Duration::from_millis(1)));
        set_socket_timeout(&self.0, Timeout::Recv, patience)?;
        Ok(set_socket_timeout(&self.0, Timeout::Send, patience)?)
    }

    pub(super) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut room = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let sent = retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL));
        sent.map(drop).map_err(in_words)
    }

    pub(super) fn receive(&self) -> io::Result<(Message, Vec<OwnedFd>)> {
        let mut bytes = vec![0; MOST_BYTES];
        let mut room = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let mut take = || recvmsg(&self.0, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let received = retry_on_intr(&mut take).map_err(in_words)?;
        if received.bytes == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other process is gone"));
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a message was cut off: too few descriptors are free",
            ));
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let message = bytes.get(..received.bytes).unwrap_or_default();
        let message = serde_json::from_slice(message).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the other process speaks another language: {error}"))
        })?;
        Ok((message, descriptors))
    }
}

fn in_words(error: Errno) -> io::Error {
    match error {
        Errno::AGAIN => io::Error::new(io::ErrorKind::TimedOut, "the other process said nothing in time"),
        Errno::PIPE | Errno::CONNRESET => io::Error::new(io::ErrorKind::UnexpectedEof, "the other process is gone"),
        other => other.into(),
    }
}
