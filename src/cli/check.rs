//! `wsgate check`: everything that `run` does before it binds, and what it would do, in a few lines; or with `--explain` what
//! it would do with one handshake.

pub(super) mod upstreams;

use std::fmt::Write as _;

use super::{ConfigFile, Failure, explain, load, print};
use crate::config::{ClientCertificate, DenyBy, OnExpiry, OnFull, VerifyClient};
use crate::load::Loaded;
use crate::policy::limit::What;
use crate::policy::origin::Origins;
use crate::policy::remote::{OnError, Remote};
use crate::policy::route::Route;
use crate::policy::slots::Scope;
use crate::policy::token::published::Published;

/// What is checked.
#[derive(Debug, clap::Args)]
#[command(after_help = explain::AFTER_HELP)]
pub(super) struct Options {
    #[command(flatten)]
    file: ConfigFile,
    /// Say step by step what would become of one handshake, and why
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    handshake: explain::Asked,
}

pub(super) fn run(options: Options) -> Result<(), Failure> {
    let loaded = load(&options.file.config)?;
    if options.explain {
        return explain::run(&loaded, options.handshake);
    }
    print(&describe(&loaded, &options.file.config.display().to_string()))
}

/// What a gateway with this config would do.
fn describe(loaded: &Loaded, name: &str) -> String {
    let mut text = format!("{name}: ok\n");
    for listen in &loaded.listen {
        let tls = match (&listen.tls, listen.verify_client) {
            (None, _) => "plain",
            (Some(_), None) => "TLS",
            (Some(_), Some(VerifyClient::Required)) => "TLS, client certificate required",
            (Some(_), Some(VerifyClient::Optional)) => "TLS, client certificate optional",
        };
        let _ = writeln!(text, "listen {} ({tls}), {} workers", listen.address, loaded.workers());
    }
    for route in &loaded.policy.routes {
        let _ = writeln!(text, "route {} -> {}", route.name, upstreams::target(route));
        let _ = writeln!(text, "  {}", terms(route).join("; "));
    }
    for upstream in loaded.policy.upstreams.iter().filter(|upstream| upstream.is_section()) {
        let _ = writeln!(text, "{}", upstreams::section(upstream));
    }
    for Published { jwt, location, timing, .. } in loaded.policy.key_sets.iter().map(|published| &**published) {
        let refresh = timing.refresh / 1000;
        let _ = writeln!(text, "jwt.{jwt} fetches {location}, every {refresh}s unless its server says otherwise");
    }
    if let Some(remote) = &loaded.policy.remote {
        let _ = writeln!(text, "{}", shared(remote));
    }
    let _ = writeln!(text, "at most {} sessions in all", loaded.policy.total.limit());
    let (kept, lag) = (loaded.max_buffered >> 10, loaded.max_lag);
    let _ =
        writeln!(text, "at most {kept} KiB kept for slow receivers; nobody new while a worker is over {lag} ms late");
    match loaded.admin {
        Some(address) => {
            let token = if loaded.admin_token.is_some() { "with a token" } else { "no token" };
            let tls = if loaded.admin_tls.is_some() { "TLS" } else { "plain" };
            let pages = "/ /metrics /healthz /readyz /status /connections /revocations /upstreams";
            let _ = writeln!(text, "admin {address} ({tls}, {token}): {pages}");
        }
        None => text.push_str("no [admin]: no metrics, no health checks, no revocations\n"),
    }
    if loaded.policy.routes.iter().any(|route| route.token.is_some()) {
        let _ = writeln!(text, "{}", revocations(loaded));
    }
    text
}

/// What it counts together with other gateways.
fn shared(remote: &Remote) -> String {
    let timeout = remote.timeout.as_millis();
    let without = match remote.on_error {
        OnError::Local => "this gateway's own counts decide",
        OnError::Open => "what is counted there passes",
        OnError::Closed => "what is counted there is refused",
    };
    format!("shared in {remote}, prefix `{}`; without an answer within {timeout} ms {without}", remote.prefix)
}

/// What it makes of a client's certificate.
fn certificate(route: &Route) -> Option<String> {
    let demand = match route.certificate.demand {
        ClientCertificate::Off => return None,
        ClientCertificate::Optional => "optional",
        ClientCertificate::Required => "required",
    };
    let use_of = match &route.token {
        Some(rule) if rule.require_bound => ", the token bound to it".to_owned(),
        Some(_) => String::new(),
        None => format!(", its {} the subject", route.certificate.part()),
    };
    Some(format!("client certificate {demand}{use_of}"))
}

fn revocations(loaded: &Loaded) -> String {
    let list = &loaded.policy.revocations;
    let most = list.capacity();
    let shared = if loaded.revocations_shared { ", shared with other gateways in Redis" } else { "" };
    match &loaded.revocation_file {
        None if loaded.revocations_shared => format!("revocations: at most {most}{shared}"),
        Some(path) => format!("revocations: {} of at most {most} in {}{shared}", list.len(), path.display()),
        None => {
            format!("revocations: at most {most}, which a restart forgets: set `file` in [revocation] to keep them")
        }
    }
}

/// What a token must claim, how long its session may last, and what it is told.
fn lifetime(route: &Route) -> Vec<String> {
    let mut terms = Vec::new();
    let claims: Vec<String> = route.require.claims().map(|claim| format!("`{claim}`")).collect();
    if !claims.is_empty() {
        terms.push(format!("its {} as required", claims.join(", ")));
    }
    if route.renew.is_some() {
        terms.push("sessions can be renewed".to_owned());
    }
    let expiry = &route.terms.expiry;
    if expiry.on_expiry == OnExpiry::Log {
        terms.push("a token's end is only logged".to_owned());
    }
    terms.extend(expiry.max_lifetime.map(|most| format!("a session lasts {} s at most", most / 1000)));
    if route.deny == DenyBy::Close {
        terms.push("refusals are told by a Close".to_owned());
    }
    terms
}

fn terms(route: &Route) -> Vec<String> {
    let mut terms = vec![match &route.token {
        Some(rule) => {
            let fixed = rule.verifiers.iter().filter(|verifier| verifier.published().is_none());
            let keys: usize = fixed.map(|verifier| verifier.key_count()).sum();
            let published: Vec<String> = rule
                .verifiers
                .iter()
                .filter_map(|verifier| verifier.published())
                .map(|published| format!("a key that jwt.{} fetches", published.jwt))
                .collect();
            let fixed = (keys > 0).then(|| format!("one of {keys} keys"));
            format!("token with {}", fixed.into_iter().chain(published).collect::<Vec<_>>().join(", or "))
        }
        None => "no token".to_owned(),
    }];
    terms.extend(certificate(route));
    terms.extend(lifetime(route));
    terms.push(match &route.origins {
        None => "Origin not looked at".to_owned(),
        Some(Origins::Any) => "any Origin".to_owned(),
        Some(Origins::List { patterns, .. }) => format!("{} origins", patterns.len()),
    });
    for handshakes in &route.handshakes {
        let dry = if handshakes.dry_run { ", dry run" } else { "" };
        terms.push(format!("handshakes limited by zone `{}`{dry}", handshakes.zone.name()));
    }
    for what in [What::Messages, What::Bytes, What::Control] {
        if route.flow.rules.iter().flatten().any(|rule| rule.what == what) {
            terms.push(format!("{} limited", what.label()));
        }
    }
    terms.extend(caps(route));
    terms
}

/// How many sessions there may be at once, and what happens to one more.
fn caps(route: &Route) -> Vec<String> {
    let dry = |dry_run: bool| if dry_run { ", dry run" } else { "" };
    let total = route.caps.total.iter();
    let total = total.map(|limit| format!("at most {} sessions{}", limit.cap.limit(), dry(limit.dry_run)));
    let keyed = route.caps.keyed.iter().map(|limit| {
        let of = match limit.scope {
            Scope::Ip => "an address".to_owned(),
            Scope::Subject => "a subject".to_owned(),
            Scope::Zone => format!("a key of zone `{}`", limit.zone),
        };
        let claims: Vec<String> = limit.when.claims().map(|claim| format!("`{claim}`")).collect();
        let when = if claims.is_empty() { String::new() } else { format!(" with its {} as said", claims.join(", ")) };
        let full = match limit.on_full {
            OnFull::Refuse => "",
            OnFull::CloseOldest => ", one more closes the oldest",
        };
        format!("at most {} sessions of {of}{when}{full}{}", limit.max, dry(limit.dry_run))
    });
    total.chain(keyed).collect()
}
