//! From what was typed to what is obeyed: the validation. Whatever can be wrong is found here, all of it at once.

mod admin;
mod caps;
mod certificates;
mod expiry;
mod flow;
mod limits;
mod redis;
mod relay;
mod renew;
mod revocation;
mod routes;
mod sections;
mod token_from;
mod traces;
mod upstreams;
mod upward;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::Policy;
use super::assertion::Assertion;
use super::cap::{Cap, KeyedCap};
use super::key::KeyHasher;
use super::limit::{LimitId, LimitInfo};
use super::revocation::{Revocations, Settings};
use super::roll::Call;
use super::route::Route;
use super::token::Verifier;
use super::zone::Zone;
use crate::config::problem::Problem;
use crate::config::{Config, OnError};
use crate::material::Material;
use limits::OfZone;

/// A policy, and what an operator should know of it although it is no error.
#[derive(Debug)]
pub struct Compiled {
    /// What decides from now on.
    pub policy: Policy,
    /// What is allowed, but perhaps not meant.
    pub warnings: Vec<Problem>,
}

/// What the config that is read next finds of this one by its names.
#[derive(Debug)]
pub(super) struct Carried {
    /// For the keys of zones and caps, and whatever else has to meet itself again.
    pub(super) hasher: KeyHasher,
    zones: BTreeMap<String, OfZone>,
    /// With the status of a refusal.
    verifiers: BTreeMap<String, (Arc<Verifier>, u16)>,
    /// The counts of caps by key, each with all the bounds that are asked of it.
    bounds: Vec<(Arc<KeyedCap>, Bounds)>,
    revocation: Settings,
}

/// Limits, each with the share of it at which a warning is due.
type Bounds = Box<[(usize, f64)]>;

/// What routes refer to by name.
struct Named<'p> {
    /// What is obeyed now, if the gateway runs.
    previous: Option<&'p Policy>,
    /// With the status of a refusal.
    verifiers: BTreeMap<String, (Arc<Verifier>, u16)>,
    zones: BTreeMap<String, OfZone>,
    /// For the keys of zones and caps.
    hasher: KeyHasher,
    assertions: BTreeMap<String, Arc<Assertion>>,
    /// The header of the connection's name.
    connection_id: Option<HeaderName>,
    /// Every header in which a route tells who asks.
    ours: Arc<[HeaderName]>,
    /// The names in the file, also of what is wrong in itself.
    typed_jwt: Vec<String>,
    typed_zones: Vec<String>,
    /// Whether a listener has a `client_ca`.
    asks_for_certificates: bool,
    typed_assertions: Vec<String>,
    upstreams: upstreams::Upstreams,
    has_redis: bool,
    /// What is done while Redis does not answer.
    on_error: OnError,
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    call: Call,
    bounds: Vec<(Arc<KeyedCap>, Bounds)>,
}

impl Findings {
    /// Gives a limit its place among all.
    fn limit(&mut self, info: LimitInfo) -> LimitId {
        self.call.limit(info)
    }

    /// The counts of a cap by key: those that there are, or new ones. They are told of their bounds when the policy is published.
    fn counts(&mut self, known: Option<&Arc<KeyedCap>>, bounds: &[(usize, f64)]) -> Arc<KeyedCap> {
        let counts = known.cloned().unwrap_or_else(|| KeyedCap::new(bounds));
        self.bounds.push((counts.clone(), bounds.into()));
        counts
    }

    fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>, help: &str) {
        let problem = Problem::new(path, message);
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    fn warn(&mut self, path: impl Into<String>, message: impl Into<String>, help: &str) {
        self.warnings.push(Problem::new(path, message).help(help));
    }

    /// The value, or its error as a problem of `path`.
    fn take<T>(&mut self, path: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.problems.push(Problem::new(path, message))).ok()
    }
}

impl Policy {
    /// Compiles a config whose keys and secrets were read, to follow the one that is obeyed now, if the gateway runs: what is
    /// counted, owed and fetched is found again by its name. Nothing of the previous one changes; see [`Policy::begin`].
    ///
    /// # Errors
    /// All that is wrong across keys, in the order of the file's sections.
    pub fn compile(config: &Config, material: &Material, previous: Option<&Self>) -> Result<Compiled, Vec<Problem>> {
        let call = Call::after(previous.map(|previous| &*previous.roll));
        let mut found = Findings { call, ..Findings::default() };
        sections::check_server(&config.server, &mut found);
        sections::check_addresses(config, &mut found);
        config.admin.iter().for_each(|typed| admin::check(typed, &mut found));
        // The same keys: or nobody would be found again.
        let hasher = previous.map_or_else(KeyHasher::default, |previous| previous.carried.hasher.clone());
        let wishes = previous.map_or_else(Arc::default, |previous| previous.wishes.clone());
        let named = Named {
            previous,
            verifiers: sections::verifiers(config, material, previous, &mut found),
            zones: limits::zones(config, &hasher, &wishes, previous, &mut found),
            upstreams: upstreams::compile(config, &hasher, &mut found),
            hasher,
            assertions: upward::assertions(config, material, &mut found),
            connection_id: upward::connection_id(config, &mut found),
            ours: upward::ours(config),
            typed_jwt: config.jwt.keys().cloned().collect(),
            typed_zones: config.zone.keys().cloned().collect(),
            asks_for_certificates: certificates::are_asked_for(config),
            typed_assertions: config.assertion.keys().cloned().collect(),
            has_redis: config.redis.is_some(),
            on_error: config.redis.as_ref().map(|redis| redis.on_error).unwrap_or_default(),
        };
        let (routes, mut ranked) = routes::compile(config, &named, &mut found);
        let renewals = renew::places(config, &routes, &ranked, &mut found);
        let remote = config.redis.as_ref().and_then(|typed| redis::compile(typed, &mut found));
        let sampling = config.tracing.as_ref().map(|typed| traces::compile(typed, &mut found));
        let revocation = revocation::settings(config, &mut found);
        sections::warn_of_unused(config, &mut found);
        sections::warn_of_mixed(config, &mut found);
        if !found.problems.is_empty() {
            return Err(found.problems);
        }
        let roll = std::mem::take(&mut found.call).finish();
        let roll = roll.map_err(|wrong| vec![Problem::new("route", wrong).help("restart the gateway")])?;
        ranked.sort_by(|(one, _), (other, _)| one.place.compare(&other.place));
        let key_sets = named.verifiers.values().filter_map(|(verifier, _)| verifier.published().cloned()).collect();
        let total = &config.server.connections;
        let policy = Policy {
            upstreams: named.upstreams.all.clone(),
            ranked,
            renewals,
            total: Cap::new(total.total, total.warn_at).following(previous.map(|previous| &*previous.total)),
            zones: zones(&named, &routes),
            routes,
            wishes,
            roll,
            key_sets,
            telling: previous.map_or_else(Arc::default, |previous| previous.telling.clone()),
            trusted_proxies: config.server.trusted_proxies.clone(),
            forwarded_header: config.server.forwarded_header,
            revocations: match previous {
                Some(previous) => previous.revocations.clone(),
                None => Arc::new(Revocations::new(revocation.clone())),
            },
            admissions: previous.map_or_else(Arc::default, |previous| previous.admissions.clone()),
            remote,
            sampling,
            carried: Carried {
                hasher: named.hasher,
                zones: named.zones,
                verifiers: named.verifiers,
                bounds: found.bounds,
                revocation,
            },
        };
        Ok(Compiled { policy, warnings: found.warnings })
    }

    /// Changes what it shares with the one before: bounds of caps and of the revocations. To be called when it is published.
    pub fn begin(&self) {
        for (counts, bounds) in &self.carried.bounds {
            counts.rebound(bounds);
        }
        self.revocations.change(self.carried.revocation.clone());
    }

    /// The route of this name.
    fn of_name(&self, name: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| *route.name == *name)
    }
}

/// Every zone, those of a single route too, each once.
fn zones(named: &Named<'_>, routes: &[Arc<Route>]) -> Vec<Arc<Zone>> {
    let limits = |route: &'_ Arc<Route>| {
        let requests = route.relay.iter().filter_map(|relay| relay.requests.as_ref()).flatten();
        route.handshakes.iter().chain(requests).map(|limit| limit.zone.clone()).collect::<Vec<_>>()
    };
    let mut zones: Vec<Arc<Zone>> = named.zones.values().filter_map(|named| named.zone.clone()).collect();
    for zone in routes.iter().flat_map(limits) {
        if !zones.iter().any(|known| Arc::ptr_eq(known, &zone)) {
            zones.push(zone);
        }
    }
    zones
}

/// `did you mean` for a name that is not there.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let mut known: Vec<&String> = known.collect();
    known.sort_by_key(|candidate| strsim::damerau_levenshtein(name, candidate));
    match known.first() {
        Some(first) if strsim::damerau_levenshtein(name, first) <= 1 + name.len() / 3 => {
            format!("did you mean `{first}`?")
        }
        Some(_) => {
            let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("there is {}", names.join(", "))
        }
        None => "there is none in this file".to_owned(),
    }
}
