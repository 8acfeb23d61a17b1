//! `wsgate run`: load, start or take over, wait for a signal, drain.

mod inherited;
mod service;
mod signals;
mod upgrade;

use std::io::{self, IsTerminal};
use std::path::Path;

use rustix::process::{Resource, getrlimit, setrlimit};
use tracing_subscriber::EnvFilter;

use super::{Failure, load};
use crate::access_log::Format;
use crate::config::LogFormat;
use crate::gateway::{Gateway, Sockets};
use crate::handover::Offer;
use crate::handover::take::Taker;
use crate::load::Loaded;
use crate::now::Clock;
use crate::policy::revocation::record;
use upgrade::Upgrades;

pub(super) use signals::Signals;

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    log_to_stderr();
    let upgrades = Upgrades::new();
    let taker = Taker::announced()?;
    let inherited = inherited::offers().map_err(Failure::CouldNotRun)?;
    let started = start(config, inherited, taker.as_ref());
    if let (Err(failure), Some(taker)) = (&started, &taker) {
        taker.failed(match failure {
            Failure::No => "its config is wrong, as its own messages say",
            Failure::CommandLine(why) | Failure::CouldNotRun(why) => why,
        });
    }
    let (gateway, signals) = started?;
    if let Some(taker) = taker {
        taker.ready();
    }
    signals.until_stopped(gateway, Some(&upgrades))
}

fn start(config: &Path, inherited: Vec<Offer>, taker: Option<&Taker>) -> Result<(Gateway, Signals), Failure> {
    let loaded = load(config)?;
    raise_descriptor_limit(loaded.policy.total.limit());
    let format = format(loaded.access_log.format);
    let workers = loaded.workers();
    let signals = Signals::listen()?;
    let sockets = match taker {
        Some(taker) => take_over(taker, &loaded)?,
        None => inherited::claim(&loaded, inherited).map_err(Failure::CouldNotRun)?,
    };
    let gateway = Gateway::start_on(sockets, loaded, Clock::system(), format, io::stdout())?;
    for address in &gateway.addresses {
        tracing::info!(%address, workers, "listening");
    }
    if let Some(address) = gateway.admin_address {
        tracing::info!(%address, "admin: / /metrics /healthz /readyz /status /connections /revocations /upstreams");
    }
    Ok((gateway, signals))
}

/// Has an old process give way: its sockets, and its revocations instead of those in the file, which it wrote last.
fn take_over(taker: &Taker, loaded: &Loaded) -> Result<Sockets, Failure> {
    let given = taker.loaded()?;
    let revocations = record::read(&given.revocations).map_err(Failure::CouldNotRun)?;
    loaded.policy.revocations.replace(revocations);
    let (sockets, left) = Sockets::claim(loaded, given.offers)?;
    for offer in left {
        tracing::info!(address = %offer.address, "no longer listened on: the config does not name it any more");
    }
    Ok(sockets)
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
