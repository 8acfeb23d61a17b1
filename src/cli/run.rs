//! `wsgate run`: load, start, wait for a signal, drain.

use std::io::{self, IsTerminal};
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{Failure, load};
use crate::access_log::Format;
use crate::config::LogFormat;
use crate::gateway::{Gateway, Phase};
use crate::now::Clock;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    log_to_stderr();
    let loaded = load(config)?;
    raise_descriptor_limit(loaded.policy.total.limit());
    let format = format(loaded.access_log.format);
    let workers = loaded.workers();
    let signals = Signals::listen()?;
    let gateway = Gateway::start(loaded, Clock::system(), format, io::stdout())?;
    for address in &gateway.addresses {
        tracing::info!(%address, workers, "listening");
    }
    if let Some(address) = gateway.admin_address {
        tracing::info!(%address, "admin: / /metrics /healthz /readyz /status /connections /revocations");
    }
    signals.until_stopped(gateway)
}

/// The signals that end a gateway, or have it open its log anew. Made before it starts: what this takes, clients may have used up later.
pub(super) struct Signals {
    runtime: Runtime,
    term: Signal,
    int: Signal,
    usr1: Signal,
}

impl Signals {
    /// From here on the signals are ours.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let usr1 = signal(SignalKind::user_defined1())?;
        drop(inside);
        Ok(Self { runtime, term, int, usr1 })
    }

    /// Serves until a signal drains the gateway, or a second one ends it, and everything is written down.
    pub(super) fn until_stopped(self, gateway: Gateway) -> Result<(), Failure> {
        let Self { runtime, mut term, mut int, mut usr1 } = self;
        runtime.block_on(async {
            let mut phase = gateway.shared().phase.subscribe();
            let mut signals = 0;
            loop {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                    _ = usr1.recv() => {
                        gateway.reopen_log();
                        continue;
                    }
                    _ = phase.wait_for(|phase| *phase == Phase::Stopped) => return,
                }
                signals += 1;
                if signals == 1 {
                    tracing::info!("draining; a second signal ends at once");
                    gateway.drain();
                } else {
                    gateway.stop();
                }
            }
        });
        gateway.join()?;
        Ok(())
    }
}

/// Says on standard error what is no traffic: `RUST_LOG` chooses how much.
pub(super) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(io::stderr);
    // Only a second call in one process fails, and then there is a subscriber.
    let _ = if io::stderr().is_terminal() { builder.try_init() } else { builder.json().flatten_event(true).try_init() };
}

fn format(typed: LogFormat) -> Format {
    match typed {
        LogFormat::Auto if io::stdout().is_terminal() => Format::Text,
        LogFormat::Auto | LogFormat::Json => Format::Json,
        LogFormat::Text => Format::Text,
        LogFormat::Off => Format::Off,
    }
}

/// A session takes two descriptors. The soft limit, which is often 1024, is raised to the hard one.
fn raise_descriptor_limit(sessions: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it may not be raised, it is as it was.
    let _ = setrlimit(Resource::Nofile, limit);
    let wanted = 2 * sessions as u64 + 1024;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "too few file descriptors for connections.total of [server]: raise LimitNOFILE, or lower the cap"
        );
    }
}
