//! `[upstream.NAME]`, compiled; and a route's own URL, which is an upstream of one server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{ejection, health};
use crate::config::value::ServerAddress;
use crate::config::{Balance, HealthKind};
use crate::policy::key::rule::KeyRule;

/// Servers that one upstream may have, those that its names stand for included.
pub const MOST: usize = 256;

/// Addresses of one name that are used.
const MOST_OF_NAME: usize = 64;

/// One upstream. Times are milliseconds.
#[derive(Debug)]
pub struct Upstream {
    /// `NAME`; of a route's URL, that.
    pub name: Arc<str>,
    /// Its place in [`crate::policy::Policy::upstreams`].
    pub index: usize,
    /// In the order of the file. Never none.
    pub servers: Vec<Server>,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The name that certificates have to be for, instead of the server's host.
    pub server_name: Option<Arc<str>>,
    /// Which server gets a handshake.
    pub balance: Balance,
    /// What `balance = "hash"` goes by.
    pub hash: Option<KeyRule>,
    /// Further servers that are tried.
    pub retries: u32,
    /// When a server is left out.
    pub ejection: ejection::Terms,
    /// How long a server that is back takes to its full share.
    pub slow_start: u64,
    /// Handshakes that may wait for a server.
    pub queue: usize,
    /// How long.
    pub queue_timeout: u64,
    /// How often names are looked up; none where a connection looks them up itself.
    pub resolve: Option<u64>,
    /// How servers are asked whether they are well.
    pub health: Option<Checks>,
}

/// One server, with its terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is; also its name in logs and metrics.
    pub address: ServerAddress,
    /// The host as the file has it: what a certificate is for.
    pub host: Option<Arc<str>>,
    /// Its share.
    pub weight: u32,
    /// Sessions at once.
    pub max_connections: Option<usize>,
    /// Whether it is for when no other can be used.
    pub backup: bool,
}

/// `health`, compiled.
#[derive(Clone, Debug)]
pub struct Checks {
    /// Bytes that come first on the connection: a PROXY header that names nobody, where a route sends one.
    pub preamble: Vec<u8>,
    /// What is tried.
    pub kind: HealthKind,
    /// The path that is asked for.
    pub path: String,
    /// The `Host` that is named, instead of the server's address.
    pub host: Option<String>,
    /// Between two checks of one server.
    pub interval: u64,
    /// For all of one.
    pub timeout: u64,
    /// How many turn it.
    pub terms: health::Terms,
}

/// What names were found to stand for.
pub type Found = BTreeMap<(String, u16), Vec<SocketAddr>>;

impl Upstream {
    /// Whether it is a section of the file; else it is a route's own URL.
    #[must_use]
    pub fn is_section(&self) -> bool {
        self.resolve.is_some()
    }

    /// The names among its servers that are looked up.
    pub fn names(&self) -> impl Iterator<Item = (String, u16)> {
        let looked_up = self.is_section();
        let names = self.servers.iter().filter_map(|server| server.address.name());
        names.filter(move |_| looked_up).map(|(name, port)| (name.to_owned(), port))
    }

    /// The servers as they are now: in place of a name each of its addresses on the name's terms; the name itself while
    /// nothing was found for it yet. An address that stands there twice is the first.
    #[must_use]
    pub fn resolved(&self, found: &Found) -> Vec<Server> {
        let mut all: Vec<Server> = Vec::with_capacity(self.servers.len());
        for server in &self.servers {
            let name = server.address.name().map(|(name, port)| (name.to_owned(), port));
            let addresses = name.and_then(|name| found.get(&name)).filter(|addresses| !addresses.is_empty());
            let Some(addresses) = addresses else {
                all.push(server.clone());
                continue;
            };
            let of_name = addresses.iter().take(MOST_OF_NAME).map(|address| {
                let address = ServerAddress::Tcp(address.ip().to_canonical().to_string(), address.port());
                Server { address, ..server.clone() }
            });
            all.extend(of_name);
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|server| seen.insert(server.address.clone()));
        all.truncate(MOST);
        all
    }
}

impl Server {
    /// On terms that nobody chose.
    #[must_use]
    pub fn plain(address: ServerAddress) -> Self {
        let host = match &address {
            ServerAddress::Tcp(host, _) => Some(host.as_str().into()),
            ServerAddress::Unix(_) => None,
        };
        Self { address, host, weight: 1, max_connections: None, backup: false }
    }
}

impl Upstream {
    /// One server on terms that nobody chose: what a URL is.
    #[must_use]
    pub fn of_one(name: Arc<str>, index: usize, server: Server, tls: bool) -> Self {
        Self {
            name,
            index,
            servers: vec![server],
            tls,
            server_name: None,
            balance: Balance::RoundRobin,
            hash: None,
            retries: 0,
            ejection: ejection::Terms { max_fails: 0, fail_timeout: 0 },
            slow_start: 0,
            queue: 0,
            queue_timeout: 0,
            resolve: None,
            health: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(servers: &[&str]) -> Upstream {
        let mut upstream = Upstream::of_one("u".into(), 0, Server::plain(servers[0].parse().unwrap()), false);
        upstream.servers = servers.iter().map(|server| Server::plain(server.parse().unwrap())).collect();
        upstream.resolve = Some(1);
        upstream
    }

    fn shown(servers: &[Server]) -> Vec<String> {
        servers.iter().map(|server| server.address.to_string()).collect()
    }

    #[test]
    fn every_address_of_a_name_is_a_server_on_the_name_s_terms() {
        let mut upstream = upstream(&["a:1", "10.0.0.9:1"]);
        upstream.servers[0].weight = 7;
        assert_eq!(upstream.names().collect::<Vec<_>>(), [("a".to_owned(), 1)]);
        assert_eq!(shown(&upstream.resolved(&Found::new())), ["a:1", "10.0.0.9:1"]);
        let found =
            Found::from([(("a".to_owned(), 1), vec!["10.0.0.9:1".parse().unwrap(), "[::1]:1".parse().unwrap()])]);
        let servers = upstream.resolved(&found);
        assert_eq!(shown(&servers), ["10.0.0.9:1", "[::1]:1"], "what stands there twice is the first");
        assert!(servers.iter().all(|server| server.weight == 7 && server.host.as_deref() == Some("a")));
        upstream.resolve = None;
        assert_eq!(upstream.names().count(), 0);
    }

    #[test]
    fn a_name_of_a_thousand_addresses_is_bounded_and_one_of_none_stays_itself() {
        let upstream = upstream(&["a:1", "b:1"]);
        let many = (0..1000_u32).map(|n| SocketAddr::from((n.to_be_bytes(), 1))).collect();
        let found = Found::from([(("a".to_owned(), 1), many), (("b".to_owned(), 1), Vec::new())]);
        let servers = upstream.resolved(&found);
        assert_eq!(servers.len(), MOST_OF_NAME + 1);
        assert_eq!(servers.last().map(|server| server.address.to_string()).as_deref(), Some("b:1"));
    }
}
