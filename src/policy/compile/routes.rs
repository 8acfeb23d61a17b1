//! The routes: each compiled by itself, then compared with the others.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;

use super::limits::OfRoute;
use super::{Findings, Named, caps, certificates, limits, nearest, token_from, upward};
use crate::config::value::{OneOrMany, Origins as TypedOrigins};
use crate::config::{self, Config};
use crate::now::millis;
use crate::policy::origin::{Origins, Pattern};
use crate::policy::require::Require;
use crate::policy::route::{Matcher, Route, Terms, TokenRule};
use crate::policy::target::{self, Target};
use crate::policy::token::Verifier;

/// Every host and path that leads to a route.
type Places = Vec<(Matcher, Arc<Route>)>;

/// The routes in the order of the file, and the places that lead to them.
pub(super) fn compile(config: &Config, named: &Named<'_>, found: &mut Findings) -> (Vec<Arc<Route>>, Places) {
    let mut routes = Vec::new();
    let mut ranked = Vec::new();
    let mut names = HashMap::new();
    let mut places = HashMap::new();
    for (index, typed) in config.route.iter().enumerate() {
        let at = format!("route[{index}]");
        let name = name_of(typed);
        if name == "none" || name.is_empty() || name.len() > 128 || name.contains(char::is_control) {
            found.wrong(
                format!("{at}.name"),
                format!("`{name}` can't be a name"),
                "1 to 128 characters, and not `none`",
            );
        }
        let matchers = matchers(typed, &at, found);
        let twice = matchers
            .iter()
            .find_map(|(matcher, key)| places.insert(matcher.place.clone(), index).map(|first| (first, key)));
        if let Some((first, key)) = twice {
            let message = format!("route[{first}] has the same host and path");
            found.wrong(format!("{at}.{key}"), message, "the second would never be reached; remove one");
        } else if let Some(first) = names.insert(name.clone(), index) {
            let message = format!("`{name}` is route[{first}]'s name too");
            found.wrong(format!("{at}.name"), message, "give one of them a `name` of its own");
        }
        if let Some(route) = one(typed, index, &name, &matchers, &at, named, found).map(Arc::new) {
            ranked.extend(matchers.into_iter().map(|(matcher, _)| (matcher, route.clone())));
            routes.push(route);
        }
    }
    (routes, ranked)
}

fn one(
    typed: &config::Route,
    index: usize,
    name: &str,
    matchers: &[(Matcher, &str)],
    at: &str,
    named: &Named<'_>,
    found: &mut Findings,
) -> Option<Route> {
    let before = found.problems.len();
    let target = target(typed, at, named, found);
    let certificate = certificates::rule(typed, at, named.asks_for_certificates, found);
    let token = token(typed, at, named, found);
    let renew = super::renew::of_route(typed, token.as_ref(), at, found);
    let require = require(typed, matchers, at, found);
    let upward = upward::route(typed, at, named, found);
    let origins = origins(typed, at, found);
    let name: Arc<str> = name.into();
    let captures: Vec<&str> =
        matchers.first().into_iter().flat_map(|(m, _)| m.names.iter().map(|name| &**name)).collect();
    let of_route = OfRoute { typed, name: &name, at, captures: &captures };
    let handshakes = limits::handshakes(&of_route, named, found);
    let relay = super::relay::of_route(&of_route, named, found);
    let flow = super::flow::compile(&of_route, named, found);
    let caps = caps::of_route(&of_route, named, found);
    let terms = terms(typed, at, found);
    // Without a place the path or a host is wrong already, and said to be.
    let (matcher, _) = matchers.first()?;
    if found.problems.len() > before {
        return None;
    }
    Some(Route {
        slot: found.call.route(&name),
        name,
        index,
        segments: matcher.segments(),
        captures: matcher.names.clone(),
        captures_host: matcher.captures_host(),
        target: target?,
        pass_upstream_errors: typed.pass_upstream_errors,
        certificate,
        token,
        renew,
        require,
        upward: upward?,
        origins,
        proxy_protocol: typed.proxy_protocol,
        deny: typed.deny,
        on_reload: typed.on_reload,
        handshakes,
        relay,
        flow,
        caps,
        terms,
    })
}

fn name_of(typed: &config::Route) -> String {
    let host = typed.host.as_ref().and_then(|hosts| hosts.0.first()).map_or("", String::as_str);
    typed.name.clone().unwrap_or_else(|| format!("{host}{}", typed.path))
}

/// A route for several hosts has a matcher for each, with the key to blame.
fn matchers(typed: &config::Route, at: &str, found: &mut Findings) -> Vec<(Matcher, &'static str)> {
    let Some(any) = found.take(format!("{at}.path"), Matcher::new(&typed.path, typed.exact)) else {
        return Vec::new();
    };
    let Some(hosts) = &typed.host else { return vec![(any, "path")] };
    let hosts = hosts.0.iter().filter_map(|host| found.take(format!("{at}.host"), any.at(host)));
    let matchers: Vec<_> = hosts.map(|matcher| (matcher, "host")).collect();
    if matchers.iter().any(|(matcher, _)| matcher.names != matchers[0].0.names) {
        let message = "some of the hosts have a `{name}` that others lack";
        found.wrong(
            format!("{at}.host"),
            message,
            "the same `{name}` in all of them, or a route of its own for the others",
        );
    }
    matchers
}

fn target(typed: &config::Route, at: &str, named: &Named, found: &mut Findings) -> Option<Target> {
    let host_header = match &typed.upstream_host {
        None => None,
        Some(host) => {
            let value = HeaderValue::from_str(host).map_err(|_| format!("`{host}` is no host"));
            Some(found.take(format!("{at}.upstream_host"), value)?)
        }
    };
    let (upstream, path) = named.upstreams.of_route(typed, at, found)?;
    if let Some(path) = path.as_ref().filter(|_| target::is_url(&typed.upstream)) {
        check_path(path, &format!("{at}.upstream"), found);
    }
    let connect_timeout = millis(typed.connect_timeout);
    let response_timeout = millis(typed.response_timeout);
    Some(Target { upstream, path, host_header, connect_timeout, response_timeout })
}

/// The path of an upstream.
pub(super) fn check_path(path: &str, at: &str, found: &mut Findings) {
    if path.contains(['{', '}']) {
        let help = "leave its path out to have the client's as it is; braces that are meant are %7B and %7D";
        found.wrong(at, "a `{name}` is not filled in here", help);
    } else if !path.starts_with('/') || !is_path(path) {
        found.wrong(at, "its path is malformed", "escape what may not stand in a URL");
    }
}

fn is_path(path: &str) -> bool {
    http::uri::PathAndQuery::try_from(path).is_ok() && !path.contains('?')
}

fn token(typed: &config::Route, at: &str, named: &Named<'_>, found: &mut Findings) -> Option<TokenRule> {
    token_from::check_unused(typed, at, found);
    let names = typed.jwt.as_ref()?;
    token_from::check(typed, at, &named.ours, found);
    let (verifiers, status) = verifiers(names, at, named, found)?;
    Some(TokenRule {
        verifiers,
        from: typed.token_from.clone(),
        forward: typed.forward_token,
        require_bound: typed.require_bound_token,
        status,
    })
}

/// The `[jwt.NAME]`s of a route, and the status of its refusals: 401 if one of them says so.
fn verifiers(
    names: &OneOrMany,
    at: &str,
    named: &Named<'_>,
    found: &mut Findings,
) -> Option<(Vec<Arc<Verifier>>, u16)> {
    let at = format!("{at}.jwt");
    let mut verifiers: Vec<Arc<Verifier>> = Vec::new();
    let mut status = 403;
    let mut whole = true;
    for name in &names.0 {
        let Some((verifier, of_refusal)) = named.verifiers.get(name) else {
            whole = false;
            if !named.typed_jwt.contains(name) {
                found.wrong(&at, format!("there is no [jwt.{name}]"), &nearest(name, named.typed_jwt.iter()));
            }
            continue;
        };
        if names.0.len() > 1 && verifier.issuers().next().is_none() {
            let message = format!("[jwt.{name}] has no `issuer`, so nothing tells its tokens from those of the others");
            found.wrong(&at, message, "give each of them the `issuer` of its tokens");
            whole = false;
        }
        let taken = |issuer: &&str| verifiers.iter().any(|other| other.is_of(issuer));
        if let Some(issuer) = verifier.issuers().find(taken) {
            let message = format!("[jwt.{name}] has the issuer `{issuer}`, as one before it");
            found.wrong(&at, message, "one block for each issuer");
            whole = false;
        }
        status = status.min(*of_refusal);
        verifiers.push(verifier.clone());
    }
    whole.then_some((verifiers, status))
}

/// What a token must claim; nothing, if something is wrong with it.
fn require(typed: &config::Route, matchers: &[(Matcher, &str)], at: &str, found: &mut Findings) -> Require {
    if !typed.require.0.is_empty() && typed.jwt.is_none() {
        found.wrong(format!("{at}.require"), "without `jwt` there are no claims", "add `jwt`, or remove it");
    }
    // Without a place the path or a host is wrong already, and said to be; all hosts of a route have the same names.
    let Some((matcher, _)) = matchers.first() else { return Require::default() };
    let names: Vec<&str> = matcher.names.iter().map(|name| &**name).collect();
    Require::compile(&typed.require, &names).unwrap_or_else(|problems| {
        for (claim, message) in problems {
            found.wrong(
                format!("{at}.require.{claim}"),
                message,
                "\"{name}\" is a part of the route's `path` or `host`",
            );
        }
        Require::default()
    })
}

fn origins(typed: &config::Route, at: &str, found: &mut Findings) -> Option<Origins> {
    match &typed.origins {
        None => {
            if typed.allow_missing_origin {
                found.wrong(
                    format!("{at}.allow_missing_origin"),
                    "there is no `origins` to make an exception from",
                    "add `origins`, or remove it",
                );
            }
            // A token that no browser adds by itself keeps strange pages out; a cookie was refused above.
            // A certificate does not: a browser shows it to the listener whatever page asks, as it sends a cookie.
            if typed.jwt.is_none() {
                let message = if certificates::has_identity(typed) {
                    "no Origin is looked at: a page anywhere can connect with its visitor's certificate and cookies"
                } else {
                    "no Origin is looked at: a page anywhere can connect with its visitor's cookies"
                };
                found.warn(at, message, "add `origins`, or say `origins = \"any\"`");
            }
            None
        }
        Some(TypedOrigins::Any) => Some(Origins::Any),
        Some(TypedOrigins::List(list)) => {
            if list.is_empty() {
                found.wrong(
                    format!("{at}.origins"),
                    "the list is empty: nobody could connect",
                    "list pages as \"https://app.example.com\", or say \"any\"",
                );
            }
            let parse =
                |(index, text): (usize, &String)| found.take(format!("{at}.origins[{index}]"), Pattern::parse(text));
            let patterns = list.iter().enumerate().filter_map(parse).collect();
            Some(Origins::List { patterns, allow_missing: typed.allow_missing_origin })
        }
    }
}

fn terms(typed: &config::Route, at: &str, found: &mut Findings) -> Terms {
    if typed.ping_interval.is_some_and(|interval| interval >= typed.idle_timeout) {
        found.wrong(
            format!("{at}.ping_interval"),
            "the idle timeout comes first",
            "a time shorter than `idle_timeout`",
        );
    }
    Terms {
        max_message_size: typed.max_message_size.0,
        idle_timeout: millis(typed.idle_timeout),
        ping_interval: typed.ping_interval.map(millis),
        ping_timeout: millis(typed.ping_timeout),
        send_timeout: millis(typed.send_timeout),
        close_timeout: millis(typed.close_timeout),
        expiry: super::expiry::compile(typed, at, found),
    }
}
