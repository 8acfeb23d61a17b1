//! What `wsgate check` says of where routes lead.

use crate::config::value::ServerAddress;
use crate::config::{Balance, HealthKind};
use crate::policy::key::Key;
use crate::policy::pool::Pool;
use crate::policy::pool::settings::{Found, Upstream};
use crate::policy::route::Route;

/// Where a route leads: a URL, or the name of a section.
pub(in crate::cli) fn target(route: &Route) -> String {
    let path = route.target.path.as_deref().unwrap_or_default();
    let upstream = &route.target.upstream;
    if upstream.is_section() {
        let path = if path.is_empty() { String::new() } else { format!(", path {path}") };
        return format!("upstream.{}{path}", upstream.name);
    }
    format!("{}{path}", url(upstream))
}

/// The URL of an upstream that is one, without a path.
pub(in crate::cli) fn url(upstream: &Upstream) -> String {
    let scheme = if upstream.tls { "https" } else { "http" };
    match upstream.servers.first().map(|server| &server.address) {
        Some(tcp @ ServerAddress::Tcp(..)) => format!("{scheme}://{tcp}"),
        Some(unix @ ServerAddress::Unix(_)) => unix.to_string(),
        None => upstream.name.to_string(),
    }
}

/// A section, in one line.
pub(super) fn section(upstream: &Upstream) -> String {
    let servers: Vec<String> = upstream
        .servers
        .iter()
        .map(|server| {
            let weight = if server.weight == 1 { String::new() } else { format!(" weight {}", server.weight) };
            let most = server.max_connections.map(|most| format!(" at most {most}")).unwrap_or_default();
            let backup = if server.backup { " backup" } else { "" };
            format!("{}{weight}{most}{backup}", server.address)
        })
        .collect();
    let mut terms = vec![balance(upstream)];
    if upstream.tls {
        terms.push("TLS".to_owned());
    }
    terms.push(match upstream.retries {
        0 => "no second try".to_owned(),
        retries => format!("{retries} more tried where none can be connected to"),
    });
    terms.push(match upstream.ejection.max_fails {
        0 => "none left out".to_owned(),
        fails => format!("left out after {fails} failures, {} s at first", upstream.ejection.fail_timeout as f64 / 1e3),
    });
    if upstream.queue > 0 {
        terms.push(format!("{} may wait", upstream.queue));
    }
    terms.push(match &upstream.health {
        None => "no health checks".to_owned(),
        Some(health) => {
            let what = match health.kind {
                HealthKind::Tcp => "tcp".to_owned(),
                HealthKind::Http => format!("http {}", health.path),
                HealthKind::Websocket => format!("websocket {}", health.path),
            };
            format!("checked every {} s by {what}", health.interval as f64 / 1e3)
        }
    });
    format!("upstream.{} -> {}\n  {}", upstream.name, servers.join(", "), terms.join("; "))
}

fn balance(upstream: &Upstream) -> String {
    let hashed = upstream.hash.as_ref().and_then(|rule| rule.parts().first());
    match (upstream.balance, hashed) {
        (Balance::RoundRobin, _) => "in turn".to_owned(),
        (Balance::LeastConnections, _) => "the one with the fewest sessions".to_owned(),
        (Balance::Hash, Some(part)) => format!("by a hash of {part}"),
        (Balance::Hash, None) => "by a hash".to_owned(),
    }
}

/// Which server a handshake would get while all are well and none is full.
pub(in crate::cli) fn chosen(upstream: &Upstream, key: Option<Key>) -> String {
    let servers = || upstream.servers.iter().filter(|server| !server.backup);
    let all = servers().map(|server| server.address.to_string()).collect::<Vec<_>>().join(", ");
    if key.is_none() || servers().any(|server| server.address.name().is_some()) {
        return format!("{}: {all}", balance(upstream));
    }
    let mut pool = Pool::default();
    pool.sync(&upstream.resolved(&Found::new()), 0);
    let picked = pool.pick(upstream, key, &[], 0).ok();
    let server = picked.and_then(|picked| pool.members().iter().find(|member| member.id == picked.id));
    let server = server.map(|member| member.label().to_string()).unwrap_or_default();
    format!("{}: {server}, while it is well", balance(upstream))
}
