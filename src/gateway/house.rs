//! The thread that carries no traffic: the admin's pages, the key sets, what other gateways say, and the drain.

use std::net::TcpListener as StdListener;
use std::pin::Pin;
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
use crate::load::Source;
use crate::material::Seen;
use crate::now::millis;
use crate::pool;
use crate::reload::{self, Outcome, Trigger};
use crate::store::{self, Heard};

/// How long the spans that are left at the end may take.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// What that thread needs beside what all share, before there is the thread.
pub(super) struct Desk {
    pub(super) admin: Vec<StdListener>,
    /// Where the config can be read from again, and what its files held.
    pub(super) source: Option<Source>,
    pub(super) seen: Seen,
}

/// The other thread's life: the admin's pages, on these sockets, and the key sets until the drain is over.
pub(super) fn keep_house(runtime: &LocalRuntime, shared: &Arc<Shared>, desk: Desk) {
    runtime.block_on(async {
        let Desk { admin, source, seen } = desk;
        tokio::task::spawn_local(reload::run(shared.clone(), source, seen));
        tokio::task::spawn_local(pool::keep::run(shared.pools.clone()));
        if let Some(redis) = shared.redis.clone() {
            let revoking = shared.revoking.clone();
            tokio::task::spawn_local(async move { revoking.follow().await });
            let (wishes, clock) = (shared.edition().policy.wishes.clone(), shared.books.clock.clone());
            tokio::task::spawn_local(leases::run(wishes, redis.clone(), clock));
            tokio::task::spawn_local(redis.run(heard(shared.clone())));
        }
        let history = Arc::new(History::new(&shared.books));
        if !admin.is_empty() {
            tokio::task::spawn_local(history.clone().keep(shared.books.clone()));
        }
        let state = Arc::new(pages(shared, history));
        let mut answering = Vec::new();
        for socket in admin {
            match TcpListener::from_std(socket) {
                Ok(socket) => {
                    let certified = shared.clone();
                    let tls = Rc::new(move || certified.edition().admin_tls.clone());
                    let serving = admin::serve(socket, tls, state.clone(), shared.phase.subscribe());
                    answering.push(tokio::task::spawn_local(serving));
                }
                Err(error) => tracing::error!(%error, "the admin listener can't be watched"),
            }
        }
        let (over, is_over) = watch::channel(false);
        let books = shared.books.clone();
        let exporter = tokio::task::spawn_local(async move {
            books.spans.run(is_over).await;
        });
        let mut phase = shared.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
        tokio::select! {
            () = drain::run(shared) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {}
        }
        shared.advance(Phase::Stopped);
        if let Some(redis) = &shared.redis {
            redis.leave().await;
        }
        over.send_replace(true);
        // A collector that does not answer does not keep a gateway from ending.
        let _ = timeout(LAST_SPANS, exporter).await;
        for serving in answering {
            // It bounds that itself.
            let _ = serving.await;
        }
    });
}

/// What the operator's pages are made of.
fn pages(shared: &Arc<Shared>, history: Arc<History>) -> AdminState {
    let of = || shared.clone();
    let (ready, shown, left, guarded, asked) = (of(), of(), of(), of(), of());
    AdminState {
        books: shared.books.clone(),
        ready: Box::new(move || is_ready(&ready)),
        status: Box::new(move || status::of(&shown, &history, is_ready(&shown))),
        drain: Box::new(move |window| {
            left.leave(window);
            status::drain(&left)
        }),
        guard: Box::new(move || guarded.edition().admin_guard.clone()),
        revoking: shared.revoking.clone(),
        pools: shared.pools.clone(),
        drain_timeout: Box::new(move || millis(asked.edition().drain_timeout)),
        reload: Box::new(reload_by(shared.clone())),
    }
}

/// What `POST /reload` does.
fn reload_by(shared: Arc<Shared>) -> impl Fn() -> Pin<Box<dyn Future<Output = Outcome>>> + Send + Sync {
    move || {
        let shared = shared.clone();
        Box::pin(async move { shared.reloads.answer(Trigger::Admin).await })
    }
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
    if *shared.phase.borrow() != Phase::Running {
        return Err("draining".to_owned());
    }
    let mut missing = shared.edition().keysets.missing(&shared.books.clock);
    missing.extend(shared.revoking.missing().map(str::to_owned));
    if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
}
