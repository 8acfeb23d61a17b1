//! The sections beside the routes: what each has to hold, and what they must not have in common.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Findings;
use crate::config::{Config, ProxyProtocol, Route, Server, Zone};
use crate::material::Material;
use crate::now::millis;
use crate::policy::Policy;
use crate::policy::token::Verifier;

/// nginx: a state of 64 bytes, so that 1 MB holds 16 thousand.
const BYTES_PER_ENTRY: u64 = 64;
/// Entries of a zone whose size nobody chose.
pub(super) const DEFAULT_ENTRIES: usize = 65_536;
/// More would be a gigabyte.
const MAX_ENTRIES: u64 = 16 * 1024 * 1024;

/// More handshakes or sessions than any machine holds: a slip of the pen.
const MAX_BOUND: usize = 10_000_000;

/// Less would refuse on a machine that does nothing.
const LEAST_LAG: Duration = Duration::from_millis(10);

pub(super) fn check_server(server: &Server, found: &mut Findings) {
    for (key, value, most) in [
        ("workers", server.workers.unwrap_or(1), 1024),
        ("connections.total", server.connections.total, MAX_BOUND),
        ("http_connections.total", server.http_connections.total, MAX_BOUND),
        ("http_connections.per_ip", server.http_connections.per_ip, MAX_BOUND),
        ("handshakes_in_flight", server.handshakes_in_flight, MAX_BOUND),
        ("handshakes_in_flight_per_ip", server.handshakes_in_flight_per_ip, MAX_BOUND),
    ] {
        if value > most {
            found.wrong(format!("server.{key}"), format!("{value} is too many"), &format!("at most {most}"));
        }
    }
    if server.max_lag < LEAST_LAG {
        let message = format!("{} ms are no lag: timers alone are some of them late", millis(server.max_lag));
        found.wrong("server.max_lag", message, "at least 10ms; some hundred are felt by a person");
    }
}

pub(super) fn check_addresses(config: &Config, found: &mut Findings) {
    if config.listen.is_empty() {
        found.wrong("listen", "there is no listener", "add [[listen]] with address = \"0.0.0.0:8443\"");
    }
    for (at, listen) in config.listen.iter().enumerate() {
        if listen.proxy_protocol == ProxyProtocol::Required && config.server.trusted_proxies.is_empty() {
            let message = "nobody may send the PROXY header, so nobody could connect";
            let help =
                "name the balancer in `trusted_proxies` of [server]: whoever sends the header may claim any address";
            found.wrong(format!("listen[{at}].proxy_protocol"), message, help);
        }
    }
    if config.route.is_empty() {
        found.wrong("route", "there is no route", "add [[route]] with path and upstream");
    }
    let listeners =
        config.listen.iter().enumerate().map(|(at, listen)| (format!("listen[{at}].address"), listen.address));
    let admin = config.admin.iter().map(|admin| ("admin.address".to_owned(), admin.address));
    let mut taken = HashMap::new();
    // Port 0 takes a free one each time.
    for (path, address) in listeners.chain(admin).filter(|(_, address)| address.port() != 0) {
        if let Some(first) = taken.insert(address, path.clone()) {
            found.wrong(path, format!("{address} is taken by {first}"), "one listener an address; choose another port");
        }
    }
}

pub(super) fn verifiers(
    config: &Config,
    material: &Material,
    previous: Option<&Policy>,
    found: &mut Findings,
) -> BTreeMap<String, (Arc<Verifier>, u16)> {
    let mut verifiers = BTreeMap::new();
    for (name, jwt) in &config.jwt {
        // Without its key the block is wrong already, and said to be.
        let Some(keys) = material.jwt.get(name) else { continue };
        match Verifier::compile(name, jwt, keys) {
            Ok(verifier) => {
                let known = previous.and_then(|previous| previous.carried.verifiers.get(name));
                let verifier = verifier.following(known.map(|(verifier, _)| &**verifier));
                verifiers.insert(name.clone(), (Arc::new(verifier), jwt.status));
            }
            Err(flaws) => {
                for (key, message, help) in flaws {
                    found.wrong(format!("jwt.{name}.{key}"), message, &help.unwrap_or_default());
                }
            }
        }
    }
    verifiers
}

/// How many keys a zone remembers.
pub(super) fn entries(name: &str, zone: &Zone, found: &mut Findings) -> Option<usize> {
    let entries = match (zone.entries, zone.size) {
        (Some(_), Some(_)) => {
            let message = "both entries and size are given";
            found.wrong(format!("zone.{name}.size"), message, "they say the same; keep one");
            return None;
        }
        (Some(entries), None) => entries as u64,
        (None, Some(size)) => size.0 / BYTES_PER_ENTRY,
        (None, None) => DEFAULT_ENTRIES as u64,
    };
    if !(64..=MAX_ENTRIES).contains(&entries) {
        let key = if zone.size.is_some() { "size" } else { "entries" };
        let message = format!("{entries} entries are too few or too many");
        found.wrong(format!("zone.{name}.{key}"), message, "64 to 16777216 entries, 4k to 1g");
        return None;
    }
    // At most 2^24, see above.
    Some(entries as usize)
}

pub(super) fn warn_of_unused(config: &Config, found: &mut Findings) {
    for name in config.jwt.keys() {
        if !config.route.iter().any(|route| route.jwt.iter().any(|names| names.0.contains(name))) {
            found.warn(format!("jwt.{name}"), "no route uses it", "name it in a route as `jwt`, or remove it");
        }
    }
    for name in config.zone.keys() {
        if !config.route.iter().flat_map(zones_of).any(|used| used == name) {
            let help = "name it in a limit of a route, or remove it";
            found.warn(format!("zone.{name}"), "no route uses it", help);
        }
    }
}

/// An account owes so many bytes or so many pieces; where both are charged to one, its rate means neither.
pub(super) fn warn_of_mixed(config: &Config, found: &mut Findings) {
    for name in config.zone.keys() {
        let bytes = config.route.iter().flat_map(byte_zones_of).any(|used| used == name);
        if bytes && config.route.iter().flat_map(count_zones_of).any(|used| used == name) {
            let message = "it counts bytes in one place, and messages, control frames or handshakes in another: \
                           each of these costs as much as a single byte";
            found.warn(format!("zone.{name}"), message, "make it two zones, each with a rate of its own");
        }
    }
}

/// Every zone that a route names.
fn zones_of(route: &Route) -> impl Iterator<Item = &String> {
    let caps = route.connections.iter().flat_map(|caps| caps.per_zone.iter().map(|cap| &cap.zone));
    count_zones_of(route).chain(byte_zones_of(route)).chain(caps)
}

/// Those whose rate is of handshakes, requests, messages or control frames.
fn count_zones_of(route: &Route) -> impl Iterator<Item = &String> {
    let requests = route.requests.iter().flat_map(|limits| limits.iter());
    let handshakes = route.handshakes.iter().chain(requests).filter_map(|limit| limit.zone.as_ref());
    let messages = route.messages.iter().chain(route.control.iter()).filter_map(|limit| limit.zone.as_ref());
    handshakes.chain(messages)
}

/// Those whose rate is of bytes.
fn byte_zones_of(route: &Route) -> impl Iterator<Item = &String> {
    route.bytes.iter().filter_map(|limit| limit.zone.as_ref())
}
