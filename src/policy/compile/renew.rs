//! Where sessions are renewed: a path of each of the route's hosts that is the gateway's own.

use std::sync::Arc;

use super::Findings;
use crate::config::value::TokenFrom;
use crate::config::{self, Config};
use crate::policy::renew::Renew;
use crate::policy::route::{Matcher, Route, TokenRule};

pub(super) fn of_route(
    typed: &config::Route,
    token: Option<&TokenRule>,
    at: &str,
    found: &mut Findings,
) -> Option<Renew> {
    typed.renew.as_ref()?;
    if typed.jwt.is_none() {
        found.wrong(format!("{at}.renew"), "without `jwt` there is no token to renew", "add `jwt`, or remove it");
    }
    let token = token?;
    let is_elsewhere = |from: &&TokenFrom| !matches!(from, TokenFrom::Subprotocol | TokenFrom::PrefixedSubprotocol(_));
    let from = token.from.iter().filter(is_elsewhere).cloned().collect();
    let max_body = token.verifiers.iter().map(|verifier| verifier.max_token_size()).max().unwrap_or_default();
    Some(Renew { from, max_body })
}

/// Every host and path at which sessions are renewed, the most particular first.
pub(super) fn places(
    config: &Config,
    routes: &[Arc<Route>],
    ranked: &[(Matcher, Arc<Route>)],
    found: &mut Findings,
) -> Vec<(Matcher, Arc<Route>)> {
    let mut renewals: Vec<(Matcher, Arc<Route>)> = Vec::new();
    for (index, typed) in config.route.iter().enumerate() {
        let Some(path) = &typed.renew else { continue };
        let at = format!("route[{index}].renew");
        let Some(matcher) = found.take(&at, Matcher::new(path, true)) else { continue };
        if !matcher.names.is_empty() {
            found.wrong(
                &at,
                "it has a `{name}`",
                "a plain path, as \"/ws/renew\": the token says whose sessions are meant",
            );
            continue;
        }
        // What else is wrong with the route, its hosts too, was told.
        let Some(route) = routes.iter().find(|route| route.index == index) else { continue };
        for matcher in at_hosts(typed, &matcher) {
            let taken = |(other, _): &&(Matcher, Arc<Route>)| matcher.place.is_at(&other.place);
            if let Some((_, first)) = ranked.iter().find(taken) {
                let message = format!("route[{}] has the same host and path", first.index);
                found.wrong(&at, message, "a path of its own, as \"/ws/renew\"");
            } else if let Some((_, first)) = renewals.iter().find(taken) {
                let message = format!("route[{}] has the same `renew` at the same host", first.index);
                found.wrong(&at, message, "a path of its own: the path says whose sessions are meant");
            } else {
                renewals.push((matcher, route.clone()));
                continue;
            }
            break;
        }
    }
    renewals.sort_by(|(one, _), (other, _)| one.place.compare(&other.place));
    renewals
}

fn at_hosts(typed: &config::Route, any: &Matcher) -> Vec<Matcher> {
    match &typed.host {
        None => vec![any.clone()],
        Some(hosts) => hosts.0.iter().filter_map(|host| any.at(host).ok()).collect(),
    }
}
