//! The headers in which routes tell their upstreams who asks, and the assertions that they name.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::{Findings, Named, certificates, nearest};
use crate::config::{self, Config};
use crate::material::{KeyMaterial, Material, SigningKey};
use crate::policy::assertion::Assertion;
use crate::policy::forward::is_about_client;
use crate::policy::token::strip::is_alike;
use crate::policy::upward::Upward;

/// The assertions that fit their keys.
pub(super) fn assertions(
    config: &Config,
    material: &Material,
    found: &mut Findings,
) -> BTreeMap<String, Arc<Assertion>> {
    let mut assertions = BTreeMap::new();
    for (name, typed) in &config.assertion {
        let at = format!("assertion.{name}");
        let header = header(&format!("{at}.header"), &typed.header, "X-Auth-Assertion", found);
        if !config.route.iter().any(|route| route.assertion.as_ref() == Some(name)) {
            found.warn(&at, "no route uses it", "name it in a route as `assertion`, or remove it");
        }
        // Without its key the section is wrong already, and said to be; so it is without its header.
        let (Some(header), Some(key)) = (header, material.assertion.get(name)) else { continue };
        if let Some(jwt) = shared_with(key, material) {
            let message = format!("[jwt.{jwt}] has the same secret, so an assertion would be a good token of a client");
            found.wrong(format!("{at}.secret"), message, "a secret of its own: `openssl rand -hex 64` makes one");
        }
        match Assertion::compile(typed, header, key) {
            Ok(assertion) => {
                assertions.insert(name.clone(), Arc::new(assertion));
            }
            Err(flaws) => {
                for (key, message, help) in flaws {
                    found.wrong(format!("{at}.{key}"), message, &help.unwrap_or_default());
                }
            }
        }
    }
    assertions
}

/// The `[jwt.NAME]` that verifies with the secret by which an assertion is signed.
fn shared_with<'a>(key: &SigningKey, material: &'a Material) -> Option<&'a str> {
    let SigningKey::Secret(own) = key else { return None };
    let same = |other: &KeyMaterial| matches!(other, KeyMaterial::Secret(secret) if secret == own);
    material.jwt.iter().find(|(_, other)| same(other)).map(|(name, _)| name.as_str())
}

/// What says that there is to be no such header.
const OFF: &str = "off";

/// The header of the connection's name, if there is to be one.
pub(super) fn connection_id(config: &Config, found: &mut Findings) -> Option<HeaderName> {
    let text = Some(&config.server.connection_id_header).filter(|text| *text != OFF)?;
    header("server.connection_id_header", text, "X-Connection-Id", found)
}

/// Every header in which the file has the gateway say who asks. What is no header's name is told of elsewhere.
pub(super) fn ours(config: &Config) -> Arc<[HeaderName]> {
    let of_routes = config
        .route
        .iter()
        .flat_map(|route| std::iter::once(&route.subject_header).chain(route.claim_headers.values()));
    let of_assertions = config.assertion.values().map(|assertion| &assertion.header);
    let of_connection = Some(&config.server.connection_id_header).filter(|name| *name != OFF);
    let mut ours: Vec<HeaderName> = of_routes
        .chain(of_assertions)
        .chain(of_connection)
        .filter_map(|name| HeaderName::try_from(name.as_str()).ok())
        .collect();
    ours.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    ours.dedup();
    ours.into()
}

/// What a route tells its upstream.
pub(super) fn route(typed: &config::Route, at: &str, named: &Named<'_>, found: &mut Findings) -> Option<Upward> {
    let subject = header(&format!("{at}.subject_header"), &typed.subject_header, "X-Auth-Subject", found);
    let assertion = assertion(typed, at, named, found);
    let mut taken: Vec<(HeaderName, String)> = Vec::new();
    taken.extend(named.connection_id.clone().map(|name| (name, "`connection_id_header` in [server]".to_owned())));
    if let Some(subject) = &subject {
        take(&mut taken, &format!("{at}.subject_header"), subject, "`subject_header`", found);
    }
    if let Some(assertion) = &assertion {
        take(&mut taken, &format!("{at}.assertion"), &assertion.header, "the assertion", found);
    }
    if !typed.claim_headers.is_empty() && typed.jwt.is_none() {
        found.wrong(format!("{at}.claim_headers"), "without `jwt` there are no claims", "add `jwt`, or remove it");
    }
    let mut claims = Vec::new();
    for (claim, text) in &typed.claim_headers {
        let at = format!("{at}.claim_headers.{claim}");
        if claim.is_empty() {
            found.wrong(
                &at,
                "a claim without a name",
                "the claim's name or path, as { \"tenant.id\" = \"X-Auth-Tenant\" }",
            );
        }
        let Some(name) = header(&at, text, "X-Auth-Email", found) else { continue };
        take(&mut taken, &at, &name, &format!("the claim `{claim}`"), found);
        claims.push((claim.clone(), name));
    }
    let connection_id = named.connection_id.clone();
    Some(Upward { subject: subject?, claims, assertion, connection_id, ours: named.ours.clone() })
}

fn assertion(typed: &config::Route, at: &str, named: &Named<'_>, found: &mut Findings) -> Option<Arc<Assertion>> {
    let name = typed.assertion.as_ref()?;
    let at = format!("{at}.assertion");
    if !certificates::has_identity(typed) {
        let message = "without `jwt` or `client_certificate` there is nobody to vouch for";
        found.wrong(&at, message, "add one of them, or remove it");
    }
    if !named.typed_assertions.contains(name) {
        found.wrong(at, format!("there is no [assertion.{name}]"), &nearest(name, named.typed_assertions.iter()));
    }
    named.assertions.get(name).cloned()
}

/// Two headers that a backend could take for one would be one to it, or a list.
fn take(taken: &mut Vec<(HeaderName, String)>, at: &str, name: &HeaderName, of: &str, found: &mut Findings) {
    if let Some((_, first)) = taken.iter().find(|(other, _)| is_alike(name, other)) {
        found.wrong(at, format!("`{name}` is the header of {first} too"), "a header of its own for each");
    }
    taken.push((name.clone(), of.to_owned()));
}

fn header(at: &str, text: &str, example: &str, found: &mut Findings) -> Option<HeaderName> {
    let Ok(name) = HeaderName::try_from(text) else {
        found.wrong(at, format!("`{text}` is no header name"), &format!("letters, digits and `-`, as {example}"));
        return None;
    };
    if is_reserved(&name) {
        found.wrong(at, format!("`{name}` means something else already"), &format!("a name of your own, as {example}"));
    }
    Some(name)
}

/// Headers of HTTP, of the WebSocket handshake, those that browsers fill themselves, and those that the gateway sets,
/// in whatever way a backend would spell them.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    const NAMES: [&str; 20] = [
        "host",
        "connection",
        "upgrade",
        "origin",
        "authorization",
        "cookie",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "keep-alive",
        "expect",
        "via",
        "accept",
        "user-agent",
        "referer",
        "cache-control",
        "pragma",
        "date",
    ];
    let is_about_client = is_about_client(name);
    let name = name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let is_of_a_kind = ["sec-", "proxy-", "accept-"].iter().any(|kind| name.starts_with(kind));
    is_about_client || is_of_a_kind || NAMES.contains(&name.as_str())
}
