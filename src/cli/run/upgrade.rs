//! SIGUSR2: a new binary takes over, and nobody is refused meanwhile. `handover` tells the steps.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::service;
use crate::gateway::{Phase, Shared};
use crate::handover::give::Patience;
use crate::handover::{VARIABLE, pair};

/// What a service manager said of this process alone, and is not true of a child.
const OWN: [&str; 5] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID", "SYSTEMD_EXEC_PID"];

/// How this process was started, so that a new one can be started alike.
pub(in crate::cli) struct Upgrades {
    program: PathBuf,
    arguments: Vec<OsString>,
    under_way: Arc<AtomicBool>,
}

impl Upgrades {
    /// The path that was typed, and not what it led to: behind it stands another file once a package was upgraded, where
    /// /proc/self/exe is still the old one, by then without a name.
    pub(super) fn new() -> Self {
        let mut arguments = env::args_os();
        let program = arguments.next().map(PathBuf::from).unwrap_or_default();
        Self { program, arguments: arguments.collect(), under_way: Arc::default() }
    }

    /// Begins one, on a thread of its own: it waits for another process.
    pub(super) fn begin(&self, shared: &Arc<Shared>) {
        if let Some(why) = refusal(shared) {
            return tracing::error!("no new binary is started: {why}");
        }
        if self.under_way.swap(true, Ordering::AcqRel) {
            return tracing::error!("no new binary is started: one is being started already");
        }
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env(VARIABLE, "1");
        for variable in OWN {
            command.env_remove(variable);
        }
        let (shared, under_way) = (shared.clone(), self.under_way.clone());
        let started = thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            if let Err(error) = hand_over(command, &shared) {
                shared.books.metrics.upgrade_failed();
                tracing::error!(%error, "the new binary did not take over: this one goes on");
            }
            under_way.store(false, Ordering::Release);
        });
        if let Err(error) = started {
            self.under_way.store(false, Ordering::Release);
            tracing::error!(%error, "no new binary is started");
        }
    }
}

/// Why this process can't be followed by another.
fn refusal(shared: &Shared) -> Option<&'static str> {
    if *shared.phase.borrow() != Phase::Running {
        return Some("the gateway is stopping");
    }
    if process::id() == 1 {
        return Some("as process 1 it is its container, which ends with it: start a new container instead");
    }
    let is_main = env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == process::id().to_string());
    if is_main && env::var_os("NOTIFY_SOCKET").is_none() {
        return Some("systemd would take this one's end for the service's: set Type=notify in the unit");
    }
    None
}

fn hand_over(mut command: Command, shared: &Arc<Shared>) -> io::Result<()> {
    let patience = Patience::new(&shared.books.clock, shared.edition().upgrade_timeout);
    let (channel, theirs) = pair()?;
    tracing::info!(program = ?command.get_program(), "starting a new binary");
    let mut child = command.stdin(theirs).spawn().map_err(|error| {
        io::Error::new(error.kind(), format!("{} can't be started: {error}", command.get_program().display()))
    })?;
    // It holds the child's end until it drops, and the child's end has to be the only one for its own end to be seen.
    drop(command);
    let pid = child.id();
    let given = channel.wait_until_loaded(&patience).and_then(|version| {
        tracing::info!(pid, version, "the new binary has loaded its config");
        let offers = shared.listening()?;
        let frozen = shared.revoking.freeze();
        channel.hand_over(&offers, frozen.text(), &patience)?;
        if *shared.phase.borrow() != Phase::Running {
            return Err(io::Error::other("this one was told to stop meanwhile"));
        }
        frozen.give_away();
        Ok(())
    });
    if let Err(error) = given {
        // Whatever it is about: it may not go on, for this one does. It may be over already.
        let _ = child.kill();
        let ended = child.wait()?;
        return Err(io::Error::new(error.kind(), format!("{error} (process {pid}: {ended})")));
    }
    // In this order: this one says no more before the other is the main one, and that one nothing before it is.
    shared.hand_over();
    service::main_is(pid);
    channel.done();
    tracing::info!(pid, "the new binary serves; this one drains");
    // So that its end, should it come before this one's, leaves no zombie.
    let ended = child.wait()?;
    tracing::error!(pid, %ended, "the new binary ended while this one drained");
    Ok(())
}
