//! What is done for upstreams beside the traffic: host names are looked up, and servers are asked whether they are well. On
//! the thread that carries no traffic.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::{Pool, Pools, Terms, check, tell};

/// For one lookup. What comes later is thrown away, for the next one asks again.
const LOOKUP: Duration = Duration::from_secs(5);

/// Lookups of one upstream at a time.
const LOOKUPS: usize = 8;

/// Checks of one upstream at a time.
const CHECKS: usize = 64;

/// From a name and a port to its addresses.
pub type Resolver = Arc<dyn Fn(String, u16) -> Lookup + Send + Sync>;

/// One lookup under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// As the system looks names up: its hosts file, its DNS.
#[must_use]
pub fn system() -> Resolver {
    Arc::new(|name, port| Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) }))
}

/// Keeps every upstream there is and will be. To be run where `tokio::task::spawn_local` may be called.
pub async fn run(pools: Arc<Pools>) {
    loop {
        let changed = pools.changed.notified();
        for pool in pools.all() {
            if pool.upstream().is_section() && pool.begin_keeping() {
                let (weak, changed) = (Arc::downgrade(&pool), pool.changed.subscribe());
                tokio::task::spawn_local(resolve(weak.clone(), changed.clone(), pools.resolver.clone()));
                tokio::task::spawn_local(check_all(weak, changed));
            }
        }
        changed.await;
    }
}

/// Looks the names of one upstream up, as long as there is one.
async fn resolve(pool: Weak<Pool>, mut changed: watch::Receiver<()>, resolver: Resolver) {
    let mut failing = false;
    loop {
        let Some(here) = pool.upgrade() else { return };
        let upstream = here.upstream();
        let lookups = upstream.names().map(|(name, port)| {
            let lookup = resolver(name.clone(), port);
            async move { ((name, port), timeout(LOOKUP, lookup).await) }
        });
        let mut lookups = stream::iter(lookups).buffer_unordered(LOOKUPS);
        let mut failed = None;
        while let Some((name, result)) = lookups.next().await {
            match result {
                Ok(Ok(addresses)) if !addresses.is_empty() => here.resolved(name, addresses),
                Ok(_) | Err(_) => {
                    here.lookup_failed();
                    failed = Some(name.0);
                }
            }
        }
        drop(lookups);
        tell::lookups(&upstream.name, failed.as_deref(), std::mem::replace(&mut failing, failed.is_some()));
        drop(here);
        rest(&mut changed, upstream.resolve).await;
    }
}

/// Asks the servers of one upstream whether they are well, as long as there is one.
async fn check_all(pool: Weak<Pool>, mut changed: watch::Receiver<()>) {
    loop {
        let Some(here) = pool.upgrade() else { return };
        // Without the TLS that is wanted nobody is asked, until there is another config.
        let Some(Terms { upstream, tls }) = here.terms() else {
            drop(here);
            rest(&mut changed, None).await;
            continue;
        };
        let checks = upstream.health.as_ref();
        if let Some(checks) = checks {
            let servers = here.present().into_iter().map(|server| {
                let (upstream, tls) = (&upstream, tls.as_ref());
                async move { (check::ask(upstream, &server, checks, tls).await, server) }
            });
            let mut asked = stream::iter(servers).buffer_unordered(CHECKS);
            while let Some((result, server)) = asked.next().await {
                if let Some(result) = result {
                    here.checked(&server, result);
                }
            }
        }
        let interval = checks.map(|checks| spread(checks.interval));
        drop(here);
        rest(&mut changed, interval).await;
    }
}

/// Until so many milliseconds have passed, or the upstream is another; without a time until that alone.
async fn rest(changed: &mut watch::Receiver<()>, time: Option<u64>) {
    let time = async {
        match time {
            Some(time) => sleep(Duration::from_millis(time)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // An error is its end, which who rests finds out for himself.
        _ = changed.changed() => {}
        () = time => {}
    }
}

/// A tenth more or less, so that gateways that were started together do not ask together.
fn spread(interval: u64) -> u64 {
    let tenth = (interval / 10).max(1);
    interval - tenth + RandomState::new().hash_one(()) % (2 * tenth)
}
