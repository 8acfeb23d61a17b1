//! The clients: many connections on one thread, in three modes.
//!
//! `echo` sends one message a connection and waits for its echo, over and over; `idle` opens connections, uses each once
//! and holds them; `handshake` opens and closes. Each byte that comes back is compared with what must come back.

mod client;
mod fleet;
mod message;
mod stream;

pub mod measure;

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::Result;
use crate::wire::Handshake;
use fleet::Fleet;
use measure::{Measured, Window};
use message::Message;

/// Handshakes at once while connections are opened: below what any proxy queues or limits.
const OPENING_AT_ONCE: usize = 32;

/// Where to, and how.
#[derive(Clone)]
pub struct Target {
    /// The proxy's address, or the backend's own.
    pub address: SocketAddr,
    /// Present: over TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// What each connection asks for.
    pub handshake: Handshake,
}

/// What is measured, and of whom.
#[derive(Clone, Copy)]
pub struct Span {
    /// Runs before the measurement.
    pub warmup: Duration,
    /// The length of the measurement.
    pub length: Duration,
    /// The process whose CPU time is read at both ends of it.
    pub watch: Option<u32>,
}

/// A closed loop on `connections` connections with messages of `size` bytes.
///
/// # Errors
/// A refusal, a wrong byte, a closed connection; nothing that moves for 10 s.
pub fn echo(target: &Target, connections: usize, size: usize, span: Span) -> Result<Measured> {
    let mut fleet = Fleet::new(target, Message::new(size))?;
    let clients = fleet.open(connections, OPENING_AT_ONCE)?;
    for client in clients {
        fleet.send(client)?;
    }
    let mut window = Window::begin(span, Instant::now());
    while !window.over(Instant::now())? {
        for (client, since) in fleet.turn(window.wait())? {
            window.done(since);
            fleet.send(client)?;
        }
    }
    window.result()
}

/// Opens and closes, `concurrency` at once: TCP, TLS, opening handshake, Close, its echo, the end.
///
/// # Errors
/// As [`echo`].
pub fn handshake(target: &Target, concurrency: usize, span: Span) -> Result<Measured> {
    let mut fleet = Fleet::new(target, Message::new(0))?;
    for _ in 0..concurrency {
        fleet.connect()?;
    }
    let mut window = Window::begin(span, Instant::now());
    while !window.over(Instant::now())? {
        for (client, since) in fleet.turn(window.wait())? {
            if fleet.is_open(client) {
                fleet.close(client)?;
                continue;
            }
            window.done(since);
            fleet.remove(client);
            fleet.connect()?;
        }
    }
    window.result()
}

/// Opens `connections`, has one message of `size` bytes echoed on each, says so on `says`, holds them until `until`
/// ends, and has one more echoed on each: they were alive all the time.
///
/// # Errors
/// As [`echo`].
pub fn idle(
    target: &Target,
    connections: usize,
    size: usize,
    mut until: impl BufRead,
    mut says: impl Write,
) -> Result<()> {
    let mut fleet = Fleet::new(target, Message::new(size))?;
    let clients = fleet.open(connections, OPENING_AT_ONCE)?;
    fleet.send_all(&clients)?;
    writeln!(says, "{{\"open\":{}}}", clients.len())?;
    says.flush()?;
    while until.read_line(&mut String::new())? > 0 {}
    fleet.send_all(&clients)?;
    writeln!(says, "{{\"alive\":{}}}", clients.len())?;
    Ok(())
}

/// A TLS client that trusts the authorities in `ca` alone, and never resumes: every connection pays for a whole handshake.
///
/// # Errors
/// When `ca` can't be read or holds no certificate.
pub fn tls(ca: &Path) -> Result<Arc<ClientConfig>> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| format!("{}: {e}", ca.display()))? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}
