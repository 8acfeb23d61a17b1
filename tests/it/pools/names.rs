//! Host names as servers: every address of one is a server, and they come and go.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use super::{end, gate, of_server};
use crate::harness::{Backend, Gate, Setup, until};

/// What the only name stands for.
type Book = Arc<Mutex<Vec<SocketAddr>>>;

/// Where the list is empty, a lookup fails, or finds nothing.
fn named(book: &Book, fails: bool) -> Gate {
    let book = book.clone();
    let setup = Setup::new().route("/ws", "chat", "").admin("[upstream.chat]\nservers = [\"chat.test:1\"]");
    setup.start_with(|loaded| {
        loaded.resolver = Arc::new(move |name, port| {
            assert_eq!((name.as_str(), port), ("chat.test", 1));
            let found = book.lock().unwrap().clone();
            let fails = fails && found.is_empty();
            Box::pin(async move { if fails { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) } })
        });
    })
}

fn servers(gate: &Gate) -> Vec<String> {
    let pools = gate.shared().pools.all();
    let fills = pools.iter().map(|pool| pool.fill());
    fills.flat_map(|fill| fill.servers).map(|server| server.server.to_string()).collect()
}

fn shown(backends: &[&Backend]) -> Vec<String> {
    backends.iter().map(|backend| backend.address().to_string()).collect()
}

#[tokio::test]
async fn every_address_is_a_server_and_one_that_vanished_keeps_its_sessions() {
    let (one, other) = (Backend::new().await, Backend::new().await);
    let book = Book::new(Mutex::new(vec![one.address()]));
    let mut gate = named(&book, true);
    until("the name is found", || servers(&gate) == shown(&[&one])).await;
    let (client, upstream) = gate.session(&one).await;
    *book.lock().unwrap() = vec![other.address()];
    gate.shared().pools.wake_all();
    until("the other is found", || servers(&gate) == shown(&[&one, &other])).await;
    assert_eq!(of_server(&gate, "up", one.address(), ""), 0.0);
    assert_eq!(of_server(&gate, "sessions", one.address(), ""), 1.0, "it lives on");
    for _ in 0..3 {
        let (client, upstream) = gate.session(&other).await;
        end(&mut gate, client, upstream).await;
    }
    end(&mut gate, client, upstream).await;
    until("nothing is left of it", || servers(&gate) == shown(&[&other])).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_lookup_that_fails_or_finds_nothing_keeps_the_last_addresses_and_is_counted() {
    for fails in [true, false] {
        let backend = Backend::new().await;
        let book = Book::new(Mutex::new(vec![backend.address()]));
        let mut gate = named(&book, fails);
        until("the name is found", || servers(&gate) == shown(&[&backend])).await;
        book.lock().unwrap().clear();
        gate.shared().pools.wake_all();
        until("a lookup failed", || gate.count("wsgate_upstream_lookup_failures_total{upstream=\"chat\"}") >= 1.0)
            .await;
        assert_eq!(servers(&gate), shown(&[&backend]));
        let (client, upstream) = gate.session(&backend).await;
        end(&mut gate, client, upstream).await;
        gate.finish().await;
    }
}

#[tokio::test]
async fn the_system_s_own_lookup_finds_localhost() {
    let backend = Backend::new().await;
    let mut gate = gate(&format!("\"localhost:{}\"", backend.address().port()), "", "");
    until("the name is found", || servers(&gate).contains(&backend.address().to_string())).await;
    // Where the machine has ::1 too, nobody listens there, and the handshake goes to the other.
    for _ in 0..3 {
        let (client, upstream) = gate.session(&backend).await;
        end(&mut gate, client, upstream).await;
    }
    gate.finish().await;
}
