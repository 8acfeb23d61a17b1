//! What a gateway that runs can't take from a new config: each such key is named, and the whole config is refused, so that
//! nobody believes in half of it.

use std::net::SocketAddr;

use crate::config::{Config, Problem};

/// Every key that would have to be what it was.
pub(super) fn changed(before: &Config, after: &Config) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut same = |key: &str, is_same: bool| {
        if !is_same {
            found.push(fixed(key, "it can't be changed while the gateway runs"));
        }
    };
    let (old, new) = (&before.server, &after.server);
    same("server.workers", old.workers == new.workers);
    same("server.handshakes_in_flight", old.handshakes_in_flight == new.handshakes_in_flight);
    same("server.max_buffered", old.max_buffered == new.max_buffered);
    same("access_log", before.access_log == after.access_log);
    let (old, new) = (&before.revocation, &after.revocation);
    same("revocation.file", old.file == new.file);
    same("revocation.store", old.store == new.store);
    same("revocation.claims", old.claims == new.claims);
    same("redis", before.redis == after.redis);
    let address = |config: &Config| config.admin.as_ref().map(|admin| admin.address);
    same(if after.admin.is_some() { "admin.address" } else { "admin" }, address(before) == address(after));
    found.extend(listeners(before, after));
    found
}

/// Listeners may change their order and whatever else they say.
fn listeners(before: &Config, after: &Config) -> Vec<Problem> {
    let mut open: Vec<(SocketAddr, &Option<String>)> =
        before.listen.iter().map(|listen| (listen.address, &listen.socket)).collect();
    let mut found = Vec::new();
    for (index, listen) in after.listen.iter().enumerate() {
        match open.iter().position(|(address, _)| *address == listen.address) {
            Some(known) => {
                if *open.remove(known).1 != listen.socket {
                    found.push(fixed(&format!("listen[{index}].socket"), "it can't be changed while the gateway runs"));
                }
            }
            None => {
                let message = format!("the gateway that runs does not listen on {}", listen.address);
                found.push(fixed(&format!("listen[{index}].address"), &message));
            }
        }
    }
    let gone = |(address, _)| {
        fixed("listen", &format!("the gateway that runs listens on {address}, which is not here any more"))
    };
    found.extend(open.into_iter().map(gone));
    found
}

fn fixed(key: &str, message: &str) -> Problem {
    Problem::new(key, message).help("restart the gateway to change it; until then it goes on as it was")
}
