//! The gateway as a whole: its sockets, its threads, and what they share.
//!
//! Each worker is a thread with a runtime and listening sockets of its own: a connection never changes its thread. One
//! more thread does what is no traffic: the admin's pages and the drain.

mod bind;
pub mod carrying;
pub mod edition;
mod history;
mod house;
pub mod lag;
mod phase;
mod shared;
mod sockets;
mod sources;
mod status;
pub mod turns;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tracing_appender::non_blocking::WorkerGuard;

use crate::access_log::{AccessLog, Format};
use crate::listener;
use crate::load::Loaded;
use crate::now::Clock;
use crate::policy::overload::Pace;
use crate::revocation_file::RevocationFile;
use house::{Desk, keep_house};
use turns::Turns;

pub use carrying::{Carries, Carrying};
pub use edition::{Edition, ListenerTls, Listening};
pub use phase::Phase;
pub use shared::{Place, Shared};
pub use sockets::Sockets;

/// One thread's share of the gateway.
pub struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// What all have.
    pub shared: Arc<Shared>,
    /// For the costly step of each handshake.
    pub turns: Turns,
}

impl Worker {
    /// Whether it keeps up with its work.
    #[must_use]
    pub fn pace(&self, edition: &Edition) -> Pace {
        self.shared.lags[self.index].pace(edition.max_lag)
    }
}

/// A gateway that runs.
pub struct Gateway {
    /// Where clients connect, in the order of the file.
    pub addresses: Vec<SocketAddr>,
    /// Where the operator looks.
    pub admin_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    log: WorkerGuard,
}

impl Gateway {
    /// Binds, and lets clients in. `log` is standard output for the access log, and `format` its form there.
    ///
    /// # Errors
    /// An address that can't be bound, or a file of the log that can't be opened, named; a thread that can't be made.
    pub fn start(loaded: Loaded, clock: Clock, format: Format, log: impl Write + Send + 'static) -> io::Result<Self> {
        Self::start_on(Sockets::bind(&loaded)?, loaded, clock, format, log)
    }

    /// Lets clients in on these sockets.
    ///
    /// # Errors
    /// A file that can't be written; a thread that can't be made.
    pub fn start_on(
        sockets: Sockets,
        loaded: Loaded,
        clock: Clock,
        format: Format,
        log: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let workers = loaded.workers();
        let kept = match &loaded.revocation_file {
            Some(path) => Some(RevocationFile::open(path.clone(), &loaded.policy.revocations, clock.now().wall)?),
            None => None,
        };
        let (addresses, admin_address) = (sockets.addresses()?, sockets.admin_address()?);
        let (admin, by_worker) = sockets.share_out(workers)?;
        let (access_log, guard) = AccessLog::start(&loaded.access_log, format, log)?;
        let (source, seen) = (loaded.source.clone(), loaded.seen.clone());
        let shared = Arc::new(shared::share(loaded, clock, access_log, kept, &addresses, workers));
        shared.listen_on(sockets.into_offers());
        let mut gateway = Self { addresses, admin_address, shared, threads: Vec::new(), log: guard };
        let started = gateway.spawn_all(by_worker, Desk { admin, source, seen });
        if started.is_err() {
            gateway.stop();
        }
        started.map(|()| gateway)
    }

    fn spawn_all(&mut self, by_worker: Vec<Vec<(usize, StdListener)>>, desk: Desk) -> io::Result<()> {
        // First, since the workers let clients in, and clients take descriptors.
        let shared = self.shared.clone();
        self.spawn("admin", move |runtime| keep_house(&runtime, &shared, desk))?;
        for (index, mine) in by_worker.into_iter().enumerate() {
            let shared = self.shared.clone();
            self.spawn(&format!("worker-{index}"), move |runtime| work(&runtime, shared, index, mine))?;
        }
        Ok(())
    }

    /// Returns once the thread has its runtime, or says why it has none.
    fn spawn(&mut self, name: &str, run: impl FnOnce(LocalRuntime) + Send + 'static) -> io::Result<()> {
        let (told, built) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let error = runtime.as_ref().err().map(|error| io::Error::new(error.kind(), error.to_string()));
            // Who started the thread waits for this.
            let _ = told.send(error);
            if let Ok(runtime) = runtime {
                run(runtime);
            }
        })?;
        self.threads.push(thread);
        match built.recv() {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(error),
            Err(_) => Err(io::Error::other(format!("the thread {name} failed"))),
        }
    }

    /// What its threads share, for whoever wants to look.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Opens the files of the access log anew, once the operator has moved them.
    pub fn reopen_log(&self) {
        self.shared.books.log.reopen();
    }

    /// Lets nobody in any more and closes the sessions, spread over the drain time. Returns at once.
    pub fn drain(&self) {
        self.shared.leave(None);
    }

    /// Cuts whatever is left. Returns at once.
    pub fn stop(&self) {
        self.shared.advance(Phase::Stopped);
    }

    /// Waits until everything has ended and is written down.
    ///
    /// # Errors
    /// A thread of the gateway panicked.
    pub fn join(self) -> io::Result<()> {
        let failed = self.threads.into_iter().filter_map(|thread| thread.join().err()).count();
        drop(self.log);
        if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} threads of the gateway failed"))) }
    }
}

/// A worker's life.
fn work(runtime: &LocalRuntime, shared: Arc<Shared>, index: usize, sockets: Vec<(usize, StdListener)>) {
    let mut phase = shared.phase.subscribe();
    let worker = Rc::new(Worker { index, shared, turns: Turns::default() });
    runtime.block_on(async move {
        let watched = worker.shared.clone();
        tokio::task::spawn_local(async move { watched.lags[index].watch(&watched.books.clock).await });
        for (listener, socket) in sockets {
            match TcpListener::from_std(socket) {
                Ok(socket) => drop(tokio::task::spawn_local(listener::run(worker.clone(), socket, listener))),
                Err(error) => tracing::error!(listener, %error, "a listener can't be watched"),
            }
        }
        // The sender lives in `shared`.
        let _ = phase.wait_for(|phase| *phase == Phase::Stopped).await;
    });
}
