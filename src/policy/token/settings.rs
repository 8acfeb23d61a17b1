//! What a `[jwt.NAME]` says beside its keys, and what of that can't be.

use std::time::Duration;

use super::published::Location;
use super::refresh::{self, Timing};
use super::{Flaw, discovery, keys};
use crate::config;
use crate::config::value::{KeySet, OneOrMany};
use crate::now::millis;

/// Beyond an hour a leeway is a second lifetime for every token.
const MAX_LEEWAY: Duration = Duration::from_secs(3600);

/// Where the key set is published, if it is.
pub(super) fn location(config: &config::Jwt) -> Option<Location> {
    match (&config.jwks, &config.issuer_url) {
        (Some(KeySet::Remote(url)), _) => Some(Location::Keys(url.clone())),
        (None, Some(issuer)) => Some(Location::Issuer(issuer.clone())),
        (Some(KeySet::Local(_)) | None, _) => None,
    }
}

/// How often it is fetched.
pub(super) fn timing(config: &config::Jwt) -> Timing {
    Timing {
        refresh: millis(config.jwks_refresh),
        max_stale: millis(config.jwks_max_stale),
        cooldown: millis(config.jwks_cooldown),
    }
}

/// What is wrong with where, and how often, keys are fetched.
fn refresh_flaws(config: &config::Jwt, location: Option<&Location>) -> Vec<Flaw> {
    let mut flaws = match location {
        Some(Location::Keys(_)) => keys::hmac_flaws(&config.algorithms, "jwks"),
        Some(Location::Issuer(_)) => keys::hmac_flaws(&config.algorithms, "issuer_url"),
        None => Vec::new(),
    };
    let mut flaw = |key, message: &str, help: &str| flaws.push((key, message.to_owned(), Some(help.to_owned())));
    let refresh = millis(config.jwks_refresh);
    if !(refresh::LEAST..=refresh::MOST).contains(&refresh) {
        flaw("jwks_refresh", "too often, or too seldom", "from \"30s\" to \"24h\"");
    }
    if config.jwks_max_stale < config.jwks_refresh || millis(config.jwks_max_stale) < 2 * refresh::LEAST {
        let help = "at least \"1m\", and as long as `jwks_refresh`; a day bridges most outages";
        flaw("jwks_max_stale", "a key set would be too old before the next one is fetched", help);
    }
    if !(1000..=3_600_000).contains(&millis(config.jwks_cooldown)) {
        flaw("jwks_cooldown", "too short, or too long", "from \"1s\" to \"1h\"; \"30s\" is the default");
    }
    match location {
        // Its discovery document may lead to https://.
        Some(Location::Issuer(issuer)) if issuer.has_query() => {
            flaw("issuer_url", "an issuer has no query", "the exact `iss` of the tokens (OpenID Connect Core 1.0 s2)");
        }
        // What a login service's page of settings offers to be copied, and what would be looked for below itself.
        Some(Location::Issuer(issuer)) if issuer.as_str().ends_with(discovery::DOCUMENT) => {
            let help = "the exact `iss` of the tokens: what stands before /.well-known/, which is added to it";
            flaw("issuer_url", "it is the URL of a document, not the issuer's", help);
        }
        Some(Location::Keys(url)) if url.tls => {}
        Some(Location::Issuer(_)) => {}
        _ if config.jwks_ca.is_some() => {
            flaw("jwks_ca", "no key set is fetched over TLS", "give `jwks` or `issuer_url` as https://, or remove it");
        }
        _ => {}
    }
    flaws
}

/// What is wrong without a look at the keys.
pub(super) fn flaws(config: &config::Jwt, location: Option<&Location>) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut flaw = |key, message: &str, help: &str| flaws.push((key, message.to_owned(), Some(help.to_owned())));
    if config.algorithms.is_empty() {
        flaw(
            "algorithms",
            "no algorithm is accepted, so no token is",
            "list what the issuer signs with, as [\"RS256\"]",
        );
    }
    if config.leeway > MAX_LEEWAY {
        flaw("leeway", "more than an hour", "at most \"1h\"; a few seconds make up for clocks that differ");
    }
    if !matches!(config.status, 401 | 403) {
        flaw("status", &format!("{} is no status for a refused token", config.status), "401 or 403");
    }
    if config.max_token_size.0 == 0 {
        flaw("max_token_size", "no token is that small", "\"8k\" is the default");
    }
    let vain =
        |list: &Option<OneOrMany>| list.as_ref().is_some_and(|l| l.0.is_empty() || l.0.iter().any(String::is_empty));
    if vain(&config.issuer) {
        flaw("issuer", "names nobody", "the exact `iss` of the tokens, or leave the key out");
    }
    if vain(&config.audience) {
        flaw("audience", "names nobody", "the exact `aud` of the tokens, or leave the key out");
    }
    flaws.extend(refresh_flaws(config, location));
    flaws
}
