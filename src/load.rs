//! From a file to all that a gateway needs to start: everything that can fail on the way fails here, all of it at once.

mod fixed;
mod source;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};

use crate::access_log;
use crate::admin::AdminToken;
use crate::config::value::KeySet;
use crate::config::{self, Config, LogField, Problem, ProxyProtocol, Report, Store, VerifyClient};
use crate::gateway::Edition;
use crate::material::{KeyMaterial, Material, Seen};
use crate::now::millis;
use crate::policy::Policy;
use crate::policy::revocation::entry::Entry;
use crate::policy::target::{self, Transport};
use crate::pool::keep::{self, Resolver};
use crate::revocation_file;
use crate::spans;
use crate::store;
use crate::tls::{self, certificates};

pub use source::{Attempt, Source};

/// A config that was read, checked and compiled.
pub struct Loaded {
    /// What decides.
    pub policy: Policy,
    /// In the order of the file.
    pub listen: Vec<Listen>,
    /// TLS to the upstreams that speak it, by their names.
    pub upstream_tls: BTreeMap<String, Arc<ClientConfig>>,
    /// How the names of upstreams are looked up.
    pub resolver: Resolver,
    /// TLS to the servers that publish key sets, by the name of the `[jwt.NAME]`.
    pub keyset_tls: BTreeMap<String, Arc<ClientConfig>>,
    /// What several gateways count in; nothing is connected yet.
    pub redis: Option<store::Settings>,
    /// Where spans of handshakes are sent.
    pub spans: Option<spans::Settings>,
    /// The operator's listener.
    pub admin: Option<SocketAddr>,
    /// What it asks for.
    pub admin_token: Option<AdminToken>,
    /// Present: it speaks TLS.
    pub admin_tls: Option<Arc<ServerConfig>>,
    /// Where the revocations are kept; those that stand there are in the policy already.
    pub revocation_file: Option<PathBuf>,
    /// Whether the list of revocations is shared, in the store above.
    pub revocations_shared: bool,
    /// Threads, if the operator chose a number.
    pub workers: Option<usize>,
    /// Bound on handshakes under way.
    pub handshakes_in_flight: usize,
    /// The same by address.
    pub handshakes_in_flight_per_ip: usize,
    /// Bounds on connections that carry ordinary requests.
    pub http_connections: config::HttpConnections,
    /// Bytes that all sessions together may keep.
    pub max_buffered: u64,
    /// Milliseconds that a worker may be behind.
    pub max_lag: u64,
    /// Bytes of a head.
    pub max_head: usize,
    /// How long a drain takes.
    pub drain_timeout: Duration,
    /// How long clients are let in before one.
    pub drain_delay: Duration,
    /// How long a new binary may take to take over.
    pub upgrade_timeout: Duration,
    /// How often it is looked whether files have changed.
    pub auto_reload: Option<Duration>,
    /// The form of the access log, and where it goes.
    pub access_log: access_log::Settings,
    /// What is allowed, but perhaps not meant.
    pub warnings: Report,
    /// As it was typed.
    pub config: Config,
    /// Where it can be read from again; none of a text.
    pub source: Option<Source>,
    /// The files that were looked at.
    pub seen: Seen,
}

/// One `[[listen]]`.
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// Instead of that, the socket of this name, where a service manager opened it.
    pub socket: Option<String>,
    /// Present: TLS, and a hash of what it is made of.
    pub tls: Option<(Arc<ServerConfig>, Box<[u8]>)>,
    /// When each of its certificates ends, by its file, in seconds since 1970.
    pub ends: BTreeMap<PathBuf, u64>,
    /// Present: clients are asked for a certificate.
    pub verify_client: Option<VerifyClient>,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: ProxyProtocol,
    /// For all of these and the head together.
    pub handshake_timeout: Duration,
    /// For the next request, once there was one.
    pub keepalive_timeout: Duration,
    /// Requests of one connection.
    pub keepalive_requests: usize,
}

impl Loaded {
    /// Threads that carry traffic.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }
}

/// Loads a config file. Paths in it are relative to its folder.
///
/// # Errors
/// All that is wrong with it.
pub fn file(path: &Path) -> Result<Loaded, Report> {
    Source::file(path).load(None).result
}

/// Loads the text of a config that is called `name`; `env` is what `env:NAME` looks things up in.
///
/// # Errors
/// All that is wrong with it.
pub fn text(text: &str, name: &str, base: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Report> {
    compile(text, name, base, env, None, &mut Seen::default())
}

/// From the text to all that a gateway needs, to follow what is obeyed now. The files that were looked at are noted in `seen`,
/// also if something is wrong.
fn compile(
    text: &str,
    name: &str,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    previous: Option<&Edition>,
    seen: &mut Seen,
) -> Result<Loaded, Report> {
    let config = config::parse(text, name)?;
    let (material, mut problems) = Material::load(&config, base, env);
    seen.extend(material.seen.clone());
    if let Some(previous) = previous {
        problems.extend(fixed::changed(&previous.config, &config));
    }
    let listen = listeners(&config, &material, previous, &mut problems);
    let upstream_tls = upstream_tls(&config, &material, &mut problems);
    let admin_token = admin_token(&material, &mut problems);
    let admin_tls = material.admin_tls.as_ref().and_then(|pair| {
        tls::server_config(std::slice::from_ref(pair), None).map_err(|more| problems.extend(more)).ok()
    });
    let spans = spans(&config, &material, &mut problems);
    // A list that is obeyed already is not read again.
    let (revocation_file, revoked) = match previous {
        None => revocations(&config, base, &mut problems),
        Some(_) => (None, Vec::new()),
    };
    let access_log = access_log(&config.access_log, base, &mut problems);
    let keyset_tls = keyset_tls(&config, &material, &mut problems);
    let compiled = Policy::compile(&config, &material, previous.map(|previous| &previous.policy))
        .map_err(|more| problems.extend(more))
        .ok();
    let Some(compiled) = compiled.filter(|_| problems.is_empty()) else {
        return Err(Report::errors(name, text, problems));
    };
    let redis = redis(&config, &material, &compiled.policy)
        .map_err(|message| Report::errors(name, text, vec![Problem::new("redis.url", message)]))?;
    let vain = in_vain(if revoked.is_empty() { 0 } else { compiled.policy.revocations.restore(revoked) });
    let folder = revocation_file.as_deref().and_then(missing_folder);
    let warnings = material.warnings.into_iter().chain(compiled.warnings).chain(vain).chain(folder).collect();
    Ok(Loaded {
        policy: compiled.policy,
        listen,
        upstream_tls,
        resolver: keep::system(),
        keyset_tls,
        redis,
        spans,
        admin: config.admin.as_ref().map(|admin| admin.address),
        admin_token,
        admin_tls,
        revocation_file,
        revocations_shared: config.revocation.store == Store::Redis,
        workers: config.server.workers,
        handshakes_in_flight: config.server.handshakes_in_flight,
        handshakes_in_flight_per_ip: config.server.handshakes_in_flight_per_ip,
        http_connections: config.server.http_connections,
        max_buffered: config.server.max_buffered.0,
        max_lag: millis(config.server.max_lag),
        // At most 64 KiB: so it parsed.
        max_head: config.server.max_header_size.0 as usize,
        drain_timeout: config.server.drain_timeout,
        drain_delay: config.server.drain_delay,
        upgrade_timeout: config.server.upgrade_timeout,
        access_log,
        auto_reload: config.server.auto_reload_interval,
        warnings: Report::warnings(name, text, warnings),
        source: None,
        seen: seen.clone(),
        config,
    })
}

/// The store that several gateways share, if a policy counts in one.
fn redis(config: &Config, material: &Material, policy: &Policy) -> Result<Option<store::Settings>, String> {
    let Some(remote) = policy.remote.clone() else { return Ok(None) };
    let mut settings = store::Settings::new(remote, &material.redis)?;
    if config.revocation.store == Store::Redis {
        settings.channels.push(store::REVOCATIONS.to_owned());
    }
    Ok(Some(settings))
}

/// So many revocations that end nobody's token.
fn in_vain(vain: usize) -> Option<Problem> {
    let message = format!("{vain} revocations in it are of a claim or a [jwt.NAME] that is not in this config");
    let problem = Problem::new("revocation.file", message);
    (vain > 0).then(|| problem.help("they end nobody's token: name it again, or lift them"))
}

/// Whether its keys fit together is for the compiler to say.
fn spans(config: &Config, material: &Material, problems: &mut Vec<Problem>) -> Option<spans::Settings> {
    let tracing = config.tracing.as_ref()?;
    let url = tracing.endpoint.0.clone();
    let tls = url.tls.then(|| tls::client_config(material.tracing.authorities.as_deref(), None)).transpose();
    let tls = tls.map_err(|message| problems.push(Problem::new("tracing.endpoint", message))).ok()?;
    let (headers, service_name) = (material.tracing.headers.clone(), tracing.service_name.clone());
    Some(spans::Settings { url, headers, tls, service_name, timeout: tracing.timeout })
}

/// What a good token is only its guard knows.
fn admin_token(material: &Material, problems: &mut Vec<Problem>) -> Option<AdminToken> {
    let token = AdminToken::new(material.admin_token.as_ref()?.0.clone());
    token.map_err(|(wrong, help)| problems.push(Problem::new("admin.token", wrong).help(help))).ok()
}

/// Where lines go.
fn access_log(typed: &config::AccessLog, base: &Path, problems: &mut Vec<Problem>) -> access_log::Settings {
    let mut wrong = |key: &str, message: String, help: &str| {
        problems.push(Problem::new(format!("access_log.{key}"), message).help(help));
    };
    let (mut stdout, mut files) = (false, Vec::new());
    for (at, output) in typed.output.0.iter().enumerate() {
        let known = match (output.as_str(), output.strip_prefix("file:")) {
            ("stdout", _) => std::mem::replace(&mut stdout, true),
            (_, Some(path)) if !path.is_empty() => {
                let path = base.join(path);
                let known = files.contains(&path);
                files.push(path);
                known
            }
            _ => {
                let key = if typed.output.0.len() > 1 { format!("output[{at}]") } else { "output".to_owned() };
                let help = "\"stdout\", \"file:PATH\", or a list of these; `format = \"off\"` turns it off";
                wrong(&key, format!("`{output}` is no place for a log"), help);
                continue;
            }
        };
        if known {
            wrong("output", format!("`{output}` stands here twice"), "each line would be written twice: leave one out");
        }
    }
    let word = |field: &LogField| serde_json::to_value(field).ok()?.as_str().map(str::to_owned);
    let fields: Option<Vec<String>> = typed.fields.as_ref().map(|fields| fields.iter().filter_map(word).collect());
    if let Some(fields) = &fields {
        if fields.is_empty() {
            wrong("fields", "the list is empty".to_owned(), "name the fields, or leave the key out to have all");
        }
        if let Some(twice) = fields.iter().enumerate().find(|(at, field)| fields[..*at].contains(field)) {
            wrong("fields", format!("`{}` stands here twice", twice.1), "leave one of the two");
        }
    }
    let refusals = (typed.refusals.rate, typed.refusals.burst);
    access_log::Settings { format: typed.format, stdout, files, fields, refusals }
}

/// The file of the revocations and what stands in it. One that can't be read stops the start: to go on without it would let
/// in whom the operator had thrown out.
fn revocations(config: &Config, base: &Path, problems: &mut Vec<Problem>) -> (Option<PathBuf>, Vec<Entry>) {
    let Some(path) = config.revocation.file.as_ref().map(|file| base.join(file)) else { return (None, Vec::new()) };
    let entries = revocation_file::read(&path).unwrap_or_else(|wrong| {
        let help = "mend it, or move it away: then all that it revoked holds again";
        problems.push(Problem::new("revocation.file", wrong).help(help));
        Vec::new()
    });
    (Some(path), entries)
}

/// A warning alone: a config may be checked where no gateway will run.
fn missing_folder(revocation_file: &Path) -> Option<Problem> {
    let folder = revocation_file::missing_folder(revocation_file)?;
    let message = format!("there is no folder `{}`, and without it the gateway does not start", folder.display());
    Some(Problem::new("revocation.file", message).help("make it; the gateway's user writes there"))
}

fn listeners(
    config: &Config,
    material: &Material,
    previous: Option<&Edition>,
    problems: &mut Vec<Problem>,
) -> Vec<Listen> {
    let mut listeners = Vec::new();
    for ((listen, certificates), clients) in config.listen.iter().zip(&material.tls).zip(&material.clients) {
        let print = certificates::fingerprint(certificates, clients.as_ref());
        let known = previous.and_then(|previous| previous.listener(listen.address));
        let tls = match &listen.tls {
            // Without certificates the files are wrong already, and said to be.
            Some(_) if certificates.is_empty() => None,
            Some(_) => match known.and_then(|known| known.tls.as_ref()).filter(|tls| tls.print == print) {
                Some(known) => Some(known.acceptor.config().clone()),
                None => tls::server_config(certificates, clients.as_ref()).map_err(|more| problems.extend(more)).ok(),
            },
            None => None,
        };
        let files = listen.tls.iter().flat_map(|tls| {
            std::iter::once(&tls.certificate).chain(tls.additional.iter().map(|pair| &pair.certificate))
        });
        let ends = files
            .zip(certificates)
            .filter_map(|(file, pair)| Some((file.clone(), certificates::not_after(&pair.chain)?)));
        listeners.push(Listen {
            address: listen.address,
            socket: listen.socket.clone(),
            tls: tls.map(|config| (config, print)),
            ends: ends.collect(),
            verify_client: clients.as_ref().map(|clients| clients.verify),
            proxy_protocol: listen.proxy_protocol,
            handshake_timeout: listen.handshake_timeout,
            keepalive_timeout: listen.keepalive_timeout,
            keepalive_requests: listen.keepalive_requests,
        });
    }
    listeners
}

/// By the upstream's name.
fn upstream_tls(
    config: &Config,
    material: &Material,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<ClientConfig>> {
    let sections = config.upstream.iter().filter(|(_, typed)| typed.tls).map(|(name, typed)| {
        let authorities = material.pool_ca.get(name).map(Vec::as_slice);
        // A file that could not be read is a problem already.
        (name.clone(), format!("upstream.{name}"), authorities, typed.ca.is_some() && authorities.is_none())
    });
    let routes = config.route.iter().enumerate().filter_map(|(index, route)| {
        // A malformed upstream is for `compile` to tell.
        let name = target::own_name(route).filter(|_| speaks_tls(&route.upstream))?;
        let authorities = material.upstream_ca.get(index).and_then(|authorities| authorities.as_deref());
        Some((name, format!("route[{index}].upstream"), authorities, false))
    });
    let mut all = BTreeMap::new();
    for (name, at, authorities, _) in sections.chain(routes).filter(|(.., unread)| !unread) {
        match tls::client_config(authorities, None) {
            Ok(client) => {
                all.insert(name, client);
            }
            Err(message) => problems.push(Problem::new(at, message)),
        }
    }
    all
}

fn speaks_tls(url: &str) -> bool {
    Transport::parse(url).is_ok_and(|(transport, _)| transport.speaks_tls())
}

fn keyset_tls(
    config: &Config,
    material: &Material,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Arc<ClientConfig>> {
    let mut all = BTreeMap::new();
    for (name, jwt) in &config.jwt {
        let Some(KeyMaterial::Remote(authorities)) = material.jwt.get(name) else { continue };
        // An issuer on this machine may publish its keys over plain HTTP too: then no authority is missed.
        let (key, must) = match (&jwt.jwks, &jwt.issuer_url) {
            (Some(KeySet::Remote(url)), _) if !url.tls => continue,
            (_, Some(issuer)) => ("issuer_url", issuer.tls),
            _ => ("jwks", true),
        };
        match tls::client_config(authorities.as_deref(), None) {
            Ok(client) => {
                all.insert(name.clone(), client);
            }
            Err(message) if must || authorities.is_some() => {
                problems.push(Problem::new(format!("jwt.{name}.{key}"), message));
            }
            Err(_) => {}
        }
    }
    all
}
