//! The signals that a gateway obeys, and the thread that waits for them.

use std::io;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::service::Service;
use super::upgrade::Upgrades;
use crate::cli::Failure;
use crate::gateway::{Gateway, Phase};
use crate::reload::Trigger;

/// Made before the gateway starts: what this takes, clients may have used up later.
pub(in crate::cli) struct Signals {
    runtime: Runtime,
    term: Signal,
    int: Signal,
    hangup: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// From here on the signals are ours.
    pub(in crate::cli) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (hangup, usr1) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
        let usr2 = signal(SignalKind::user_defined2())?;
        drop(inside);
        Ok(Self { runtime, term, int, hangup, usr1, usr2 })
    }

    /// Serves until the gateway is drained, by a signal or the operator, or a second signal ends it, and everything is
    /// written down.
    pub(in crate::cli) fn until_stopped(self, gateway: Gateway, upgrades: Option<&Upgrades>) -> Result<(), Failure> {
        let Self { runtime, mut term, mut int, mut hangup, mut usr1, mut usr2 } = self;
        runtime.block_on(async {
            let shared = gateway.shared();
            let mut phase = shared.phase.subscribe();
            let mut reloads = shared.reloads.progress();
            let mut service = Service::new();
            service.ready(shared);
            let mut looks = interval(service.interval());
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first comes at once, when no worker has ticked yet.
            looks.tick().await;
            let mut signals = 0;
            while *phase.borrow_and_update() != Phase::Stopped {
                tokio::select! {
                    _ = term.recv() => {}
                    _ = int.recv() => {}
                    _ = hangup.recv() => {
                        shared.reloads.ask(Trigger::Signal);
                        continue;
                    }
                    _ = usr1.recv() => {
                        gateway.reopen_log();
                        continue;
                    }
                    _ = usr2.recv() => {
                        match upgrades {
                            Some(upgrades) => upgrades.begin(shared),
                            None => tracing::warn!("no new binary is started: this one is only tried out"),
                        }
                        continue;
                    }
                    _ = looks.tick() => {
                        service.beat(shared);
                        service.look(shared);
                        continue;
                    }
                    _ = phase.changed() => {
                        service.look(shared);
                        continue;
                    }
                    _ = reloads.changed() => {
                        service.reloads(shared, *reloads.borrow_and_update());
                        continue;
                    }
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
