//! The thread that carries no traffic: the admin's pages, the key sets, what other gateways say, and the drain.

use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::LocalRuntime;
use tokio::sync::watch;
use tokio::time::timeout;

use super::history::History;
use super::{Phase, Shared, status};
use crate::admin::{self, AdminState};
use crate::drain;
use crate::leases;
use crate::store::{self, Heard};

/// How long the spans that are left at the end may take.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// The other thread's life: the admin's pages and the key sets until the drain is over.
pub(super) fn keep_house(runtime: &LocalRuntime, shared: &Arc<Shared>, admin: Option<StdListener>) {
    runtime.block_on(async {
        for task in shared.edition().keysets.tasks(&shared.books.clock) {
            tokio::task::spawn_local(task);
        }
        if let Some(redis) = shared.redis.clone() {
            let revoking = shared.revoking.clone();
            tokio::task::spawn_local(async move { revoking.follow().await });
            let (wishes, clock) = (shared.edition().policy.wishes.clone(), shared.books.clock.clone());
            tokio::task::spawn_local(leases::run(wishes, redis.clone(), clock));
            tokio::task::spawn_local(redis.run(heard(shared.clone())));
        }
        if let Some(socket) = admin {
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let history = Arc::new(History::new(&shared.books));
                    let samples = history.clone();
                    let (looked_at, shown, guarded, certified) =
                        (shared.clone(), shared.clone(), shared.clone(), shared.clone());
                    let state = AdminState {
                        books: shared.books.clone(),
                        ready: Box::new(move || is_ready(&looked_at)),
                        status: Box::new(move || status::of(&shown, &history, is_ready(&shown))),
                        guard: Box::new(move || guarded.edition().admin_guard.clone()),
                        revoking: shared.revoking.clone(),
                    };
                    tokio::task::spawn_local(samples.keep(shared.books.clone()));
                    let tls = Rc::new(move || certified.edition().admin_tls.clone());
                    tokio::task::spawn_local(admin::serve(socket, tls, Arc::new(state), shared.phase.subscribe()));
                }
                Err(error) => tracing::error!(%error, "the admin listener can't be watched"),
            }
        }
        let (over, is_over) = watch::channel(false);
        let books = shared.books.clone();
        let exporter = tokio::task::spawn_local(async move {
            if let Some(spans) = &books.spans {
                spans.run(is_over).await;
            }
        });
        let mut phase = shared.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
        tokio::select! {
            () = drain::run(shared) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
        shared.phase.send_replace(Phase::Stopped);
        if let Some(redis) = &shared.redis {
            redis.leave().await;
        }
        over.send_replace(true);
        // A collector that does not answer does not keep a gateway from ending.
        let _ = timeout(LAST_SPANS, exporter).await;
    });
}

/// What other gateways say.
fn heard(shared: Arc<Shared>) -> store::Listener {
    Box::new(move |heard| match heard {
        Heard::Evict { cap, key } => shared.edition().policy.close_oldest(cap, key),
        Heard::Connected | Heard::Message { .. } => shared.revoking.hear(&heard),
    })
}

/// Whether new sessions are taken, of every issuer; if not, why.
fn is_ready(shared: &Shared) -> Result<(), String> {
    if shared.is_draining() {
        return Err("draining".to_owned());
    }
    let mut missing = shared.edition().keysets.missing(&shared.books.clock);
    missing.extend(shared.revoking.missing().map(str::to_owned));
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}
