//! What a route says of ordinary requests, and whether that fits together.

use http::{HeaderName, HeaderValue, Method};

use super::limits::{self, OfRoute};
use super::{Findings, Named};
use crate::config::value::Origins;
use crate::config::{self, Http};
use crate::now::millis;
use crate::policy::relay::Relay;
use crate::policy::relay::cors::{Cors, Said};

pub(super) fn of_route(route: &OfRoute<'_>, named: &Named, found: &mut Findings) -> Option<Relay> {
    let (typed, at) = (route.typed, route.at);
    if typed.http == Http::Refuse {
        for (key, is_there) in [("requests", typed.requests.is_some()), ("cors", typed.cors.is_some())] {
            if is_there {
                let message = "the route passes on no ordinary requests";
                found.wrong(format!("{at}.{key}"), message, "say `http = \"forward\"`, or remove it");
            }
        }
        return None;
    }
    Some(Relay {
        requests: typed.requests.as_ref().map(|_| limits::requests(route, named, found)),
        max_body: typed.max_body_size.0,
        body_timeout: millis(typed.body_timeout),
        read_timeout: millis(typed.read_timeout),
        cors: typed.cors.as_ref().and_then(|cors| self::cors(typed, cors, at, found)),
    })
}

fn cors(route: &config::Route, typed: &config::Cors, at: &str, found: &mut Findings) -> Option<Cors> {
    match &route.origins {
        None => found.wrong(
            format!("{at}.cors"),
            "the route has no `origins`, so no page may read anything",
            "list the pages in `origins`, as \"https://app.example.com\"",
        ),
        Some(Origins::Any) if typed.credentials => found.wrong(
            format!("{at}.cors.credentials"),
            "any page could read what its visitor's cookies open",
            "list the pages in `origins` instead of \"any\", or leave it out",
        ),
        Some(_) => {}
    }
    let methods = each(&typed.allow_methods, at, "allow_methods", found, |word| {
        let method = Method::from_bytes(word.as_bytes()).ok()?;
        // Browsers send none of these (Fetch s2.2.1), and case counts.
        (!matches!(word, "CONNECT" | "TRACE" | "TRACK") && word == word.to_ascii_uppercase()).then_some(method)
    });
    let name = |word: &str| HeaderName::from_bytes(word.as_bytes()).ok();
    let headers = each(&typed.allow_headers, at, "allow_headers", found, name);
    let exposed = each(&typed.expose_headers, at, "expose_headers", found, name);
    // Made of methods and names, so it is a header's value.
    let said = |words: Vec<&str>| HeaderValue::try_from(words.join(", ")).ok();
    let exposed: Vec<&str> = exposed.iter().map(HeaderName::as_str).collect();
    let said = Said {
        allow_methods: said(methods.iter().map(Method::as_str).collect())?,
        allow_headers: said(headers.iter().map(HeaderName::as_str).collect())?,
        expose_headers: said(exposed).filter(|value| !value.is_empty()),
        max_age: HeaderValue::from(typed.max_age.as_secs()),
    };
    Some(Cors { methods, headers, credentials: typed.credentials, said })
}

fn each<T>(words: &[String], at: &str, key: &str, found: &mut Findings, read: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    for (index, word) in words.iter().enumerate() {
        match read(word) {
            Some(value) => all.push(value),
            None => {
                let help = if key == "allow_methods" {
                    "a method in capitals, as \"PUT\""
                } else {
                    "the name of one header, as \"X-Request-Id\"; `*` stands for nothing here"
                };
                found.wrong(format!("{at}.cors.{key}[{index}]"), format!("`{word}` can't be allowed"), help);
            }
        }
    }
    all
}
