//! The upstreams: every `[upstream.NAME]`, and one for each URL that a route names itself.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::{Findings, nearest};
use crate::config::value::{KeyPart, ServerAddress};
use crate::config::{self, Balance, Config, HealthKind, Store};
use crate::now::millis;
use crate::policy::key::KeyHasher;
use crate::policy::key::rule::KeyRule;
use crate::policy::pool::settings::{Checks, MOST, Server, Upstream};
use crate::policy::pool::{ejection, health};
use crate::policy::proxy_protocol;
use crate::policy::request::host_name;
use crate::policy::target::{self, Transport};

/// For one check, unless the next one comes before.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a route leads, and the path that takes the place of its own.
type Led = (Arc<Upstream>, Option<String>);

/// Every upstream of a file.
#[derive(Default)]
pub(super) struct Upstreams {
    /// By `NAME`; none where something is wrong with it.
    named: BTreeMap<String, Option<Led>>,
    /// All of them.
    pub(super) all: Vec<Arc<Upstream>>,
}

/// Compiles them. What is wrong with a route's own URL is for the route to tell.
pub(super) fn compile(config: &Config, hasher: &KeyHasher, found: &mut Findings) -> Upstreams {
    let mut upstreams = Upstreams::default();
    for (name, typed) in &config.upstream {
        let upstream = section(name, typed, upstreams.all.len(), hasher, config, found).map(Arc::new);
        upstreams.all.extend(upstream.clone());
        upstreams.named.insert(name.clone(), upstream.map(|upstream| (upstream, typed.path.clone())));
        if config.route.iter().all(|route| route.upstream != *name) {
            let help = "name it in a route as `upstream`, or remove it";
            found.warn(format!("upstream.{name}"), "no route uses it", help);
        }
    }
    for route in &config.route {
        let Ok((transport, _)) = Transport::parse(&route.upstream) else { continue };
        let Some(name) = target::own_name(route) else { continue };
        if upstreams.find(&name).is_none() {
            let server = Server::plain(transport.address());
            let index = upstreams.all.len();
            upstreams.all.push(Arc::new(Upstream::of_one(name.into(), index, server, transport.speaks_tls())));
        }
    }
    upstreams
}

impl Upstreams {
    fn find(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.all.iter().find(|upstream| *upstream.name == *name)
    }

    /// Where a route leads, and the path that takes the place of its own.
    pub(super) fn of_route(&self, typed: &config::Route, at: &str, found: &mut Findings) -> Option<Led> {
        let key = format!("{at}.upstream");
        if target::is_url(&typed.upstream) {
            let (transport, path) = found.take(key, Transport::parse(&typed.upstream))?;
            if typed.upstream_ca.is_some() && !transport.speaks_tls() {
                let help = "use https:// or wss://, or remove it";
                found.wrong(format!("{at}.upstream_ca"), "the upstream speaks no TLS", help);
            }
            return Some((self.find(&target::own_name(typed)?)?.clone(), path));
        }
        let Some(named) = self.named.get(&typed.upstream) else {
            let message = format!("there is no [upstream.{}]", typed.upstream);
            let help = nearest(&typed.upstream, self.named.keys());
            let url = "a URL is \"http://host:port\", \"https://..\", \"ws://..\", \"wss://..\" or \"unix:/path\"";
            found.wrong(key, message, &format!("{help}\n{url}"));
            return None;
        };
        if typed.upstream_ca.is_some() {
            let help = "the authorities of its servers stand there, as `ca`";
            found.wrong(format!("{at}.upstream_ca"), format!("the upstream is [upstream.{}]", typed.upstream), help);
        }
        let (upstream, path) = named.as_ref()?;
        check_hash(upstream, typed, &key, found);
        Some((upstream.clone(), path.clone()))
    }
}

/// Who is nobody has nothing that could be hashed.
fn check_hash(upstream: &Upstream, route: &config::Route, at: &str, found: &mut Findings) {
    let Some(part) = upstream.hash.as_ref().and_then(|rule| rule.parts().first()) else { return };
    let known = match part {
        KeyPart::Subject => route.jwt.is_some() || route.client_certificate != config::ClientCertificate::Off,
        KeyPart::Claim(_) => route.jwt.is_some(),
        KeyPart::Ip
        | KeyPart::Header(_)
        | KeyPart::Cookie(_)
        | KeyPart::Route
        | KeyPart::Host
        | KeyPart::Connection => true,
    };
    if !known {
        let message = format!("[upstream.{}] hashes by {part}, and this route asks for no token", upstream.name);
        found.wrong(at, message, "add `jwt`, or hash by something that every handshake has, as \"ip\"");
    }
}

fn section(
    name: &str,
    typed: &config::Upstream,
    index: usize,
    hasher: &KeyHasher,
    config: &Config,
    found: &mut Findings,
) -> Option<Upstream> {
    let at = format!("upstream.{name}");
    let before = found.problems.len();
    let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(may_stand) {
        let help = "1 to 64 letters, digits, `-`, `_` and `.`: it stands in metrics and in the admin's paths";
        found.wrong(&at, format!("`{name}` can't be a name"), help);
    }
    let servers = servers(typed, &at, found);
    let hash = hash(typed, &at, hasher, found);
    check_tls(typed, &at, found);
    check_bounds(typed, &at, found);
    let mut health = typed.health.as_ref().and_then(|health| checks(health, &format!("{at}.health"), found));
    // A server that wants a PROXY header wants it of a check too.
    let version = config.route.iter().filter(|route| route.upstream == name).find_map(|route| route.proxy_protocol);
    if let (Some(health), Some(version)) = (&mut health, version) {
        health.preamble = proxy_protocol::header(version, None);
    }
    if let Some(path) = &typed.path {
        super::routes::check_path(path, &format!("{at}.path"), found);
    }
    (found.problems.len() == before).then(|| Upstream {
        name: name.into(),
        index,
        servers,
        tls: typed.tls,
        server_name: typed.server_name.as_deref().map(Arc::from),
        balance: typed.balance,
        hash,
        retries: typed.retries,
        ejection: ejection::Terms { max_fails: typed.max_fails, fail_timeout: millis(typed.fail_timeout) },
        slow_start: typed.slow_start.map_or(0, millis),
        queue: typed.queue,
        queue_timeout: millis(typed.queue_timeout),
        resolve: Some(millis(typed.resolve)),
        health,
    })
}

fn servers(typed: &config::Upstream, at: &str, found: &mut Findings) -> Vec<Server> {
    let at = format!("{at}.servers");
    let all = &typed.servers;
    if all.is_empty() {
        found.wrong(&at, "there is no server", "at least one, as \"10.0.0.1:8000\"");
    } else if all.len() > MOST {
        found.wrong(&at, format!("{} servers are too many", all.len()), &format!("at most {MOST}"));
    } else if all.iter().all(|server| server.0.backup) {
        found.wrong(&at, "every server is a backup", "at least one that is not");
    }
    let mut seen = HashSet::new();
    for (n, config::UpstreamServer(server)) in all.iter().enumerate() {
        let at = format!("{at}[{n}]");
        if !seen.insert(&server.address) {
            found.wrong(&at, format!("{} stands there twice", server.address), "give it a `weight` instead");
        }
        if !(1..=1000).contains(&server.weight) {
            let help = "from 1 to 1000; a server that shall get nothing is left out, drained, or a `backup`";
            found.wrong(format!("{at}.weight"), format!("{} is no weight", server.weight), help);
        }
        if typed.tls && matches!(server.address, ServerAddress::Unix(_)) {
            let help = "remove `tls`, or put it into an upstream of its own";
            found.wrong(&at, "a local socket is spoken to without TLS", help);
        }
    }
    if typed.queue > 0 && all.iter().all(|server| server.0.max_connections.is_none()) {
        let help = "give the servers `max_connections`, or remove `queue`";
        found.wrong(at.replace(".servers", ".queue"), "no server is ever full, so nobody would wait", help);
    }
    let server = |server: &config::UpstreamServer| {
        let config::ServerTable { address, weight, max_connections, backup } = server.0.clone();
        Server { weight, max_connections, backup, ..Server::plain(address) }
    };
    all.iter().map(server).collect()
}

fn hash(typed: &config::Upstream, at: &str, hasher: &KeyHasher, found: &mut Findings) -> Option<KeyRule> {
    let at = format!("{at}.hash");
    match (typed.balance, &typed.hash) {
        (Balance::Hash, Some(KeyPart::Route | KeyPart::Host | KeyPart::Connection)) => {
            let help = "ip, subject, claim:PATH, header:NAME or cookie:NAME";
            found.wrong(at, "it says nothing of who asks", help);
            None
        }
        // The same on every gateway, so that all of them send a key to the same server.
        (Balance::Hash, Some(part)) => Some(KeyRule::new(std::slice::from_ref(part), Store::Redis, hasher)),
        (Balance::Hash, None) => {
            let help = "as `hash = \"ip\"`: ip, subject, claim:PATH, header:NAME or cookie:NAME";
            found.wrong(at.replace(".hash", ".balance"), "it does not say what is hashed", help);
            None
        }
        (Balance::RoundRobin | Balance::LeastConnections, Some(_)) => {
            found.wrong(at, "nothing is hashed", "set `balance = \"hash\"`, or remove it");
            None
        }
        (Balance::RoundRobin | Balance::LeastConnections, None) => None,
    }
}

fn check_tls(typed: &config::Upstream, at: &str, found: &mut Findings) {
    for (key, is_there) in [("ca", typed.ca.is_some()), ("server_name", typed.server_name.is_some())] {
        if is_there && !typed.tls {
            found.wrong(format!("{at}.{key}"), "its servers speak no TLS", "set `tls = true`, or remove it");
        }
    }
    if let Some(name) = typed.server_name.as_deref().filter(|name| host_name(name).is_none()) {
        let help = "a host without a port, as \"chat.internal\"";
        found.wrong(format!("{at}.server_name"), format!("`{name}` is no name of a certificate"), help);
    }
}

fn check_bounds(typed: &config::Upstream, at: &str, found: &mut Findings) {
    if typed.retries > 16 {
        let message = format!("{} are too many", typed.retries);
        found.wrong(format!("{at}.retries"), message, "at most 16; 0 tries no second server");
    }
    if typed.queue > 100_000 {
        found.wrong(format!("{at}.queue"), format!("{} are too many", typed.queue), "at most 100000");
    }
    if typed.resolve < Duration::from_secs(1) {
        found.wrong(format!("{at}.resolve"), "that is too often for a resolver", "at least 1s");
    }
}

fn checks(typed: &config::Health, at: &str, found: &mut Findings) -> Option<Checks> {
    let before = found.problems.len();
    if typed.kind == HealthKind::Tcp {
        for (key, is_there) in [("path", typed.path.is_some()), ("host", typed.host.is_some())] {
            if is_there {
                let help = "set `type = \"http\"` or `type = \"websocket\"`, or remove it";
                found.wrong(format!("{at}.{key}"), "a check by tcp asks for nothing", help);
            }
        }
    }
    let path = typed.path.clone().unwrap_or_else(|| "/".to_owned());
    if !path.starts_with('/') || http::uri::PathAndQuery::try_from(path.as_str()).is_err() {
        let help = "as \"/healthz\", and what may not stand in a URL is escaped";
        found.wrong(format!("{at}.path"), format!("`{}` is no path", path.escape_debug()), help);
    }
    if let Some(host) = typed.host.as_ref().filter(|host| host.is_empty() || HeaderValue::from_str(host).is_err()) {
        found.wrong(format!("{at}.host"), format!("`{}` is no host", host.escape_debug()), "as \"chat.internal\"");
    }
    if typed.interval < Duration::from_millis(100) {
        found.wrong(format!("{at}.interval"), "that is too often", "at least 100ms");
    }
    let timeout = typed.timeout.unwrap_or(CHECK_TIMEOUT.min(typed.interval));
    if timeout > typed.interval {
        let help = "a time up to `interval`, so that one check is over before the next";
        found.wrong(format!("{at}.timeout"), "the next check comes first", help);
    }
    for (key, count) in [("rise", typed.rise), ("fall", typed.fall)] {
        if count == 0 {
            found.wrong(format!("{at}.{key}"), "0 checks are none", "at least 1");
        }
    }
    (found.problems.len() == before).then(|| Checks {
        preamble: Vec::new(),
        kind: typed.kind,
        path,
        host: typed.host.clone(),
        interval: millis(typed.interval),
        timeout: millis(timeout),
        terms: health::Terms { rise: typed.rise, fall: typed.fall },
    })
}
