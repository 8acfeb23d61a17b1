//! Which requests are renewals, which token they bring, and whose sessions it is good for.

use std::path::Path;

use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE};
use serde_json::{Value, json};

use super::*;
use crate::config::value::Algorithm;
use crate::load;
use crate::policy::token::mint;

const SECRET: &str = "a secret of at least 32 bytes for tests";
const NOW: Now = Now { mono: 5000, wall: 1_800_000_000_000 };

/// A policy with these routes behind two issuers of one key.
fn policy(routes: &str) -> Policy {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [jwt.main]\nalgorithms = [\"HS256\"]\nsecret = \"env:SECRET\"\nstatus = 401\n\
         [jwt.other]\nalgorithms = [\"HS256\"]\nsecret = \"env:SECRET\"\nstatus = 401\n{routes}"
    );
    let env = |_: &str| Some(SECRET.to_owned());
    load::text(&text, "test.toml", Path::new("."), &env).unwrap_or_else(|report| panic!("{report}")).policy
}

fn route(name: &str, rest: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\nupstream = \"http://127.0.0.1:1\"\njwt = \"main\"\n{rest}\n")
}

fn opening(host: &str, path: &str) -> Opening {
    Opening { host: host.into(), path: path.into() }
}

/// The name of the route that is renewed there.
fn at<'p>(policy: &'p Policy, host: &str, path: &str) -> Option<&'p str> {
    policy.renewal(&opening(host, path)).map(|route| &*route.name)
}

fn sign(claims: Value) -> String {
    let key = mint::encoding_key(Algorithm::HS256, SECRET.as_bytes()).unwrap();
    mint::mint(Algorithm::HS256, &key, None, claims.as_object().unwrap()).unwrap()
}

fn good(more: Value) -> String {
    let mut claims = json!({ "sub": "alice", "exp": NOW.wall / 1000 + 60 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sign(claims)
}

/// What becomes of a renewal with these headers, query and body.
fn renew(policy: &Policy, headers: &[(http::HeaderName, &str)], query: &str, body: &[u8]) -> Result<Renewal, Denial> {
    let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
    let opening = opening("a", "/ws/renew");
    let ask = Ask {
        opening: &opening,
        query: Some(query),
        headers: &headers,
        client: [127, 0, 0, 1].into(),
        certificate: None,
    };
    policy.renew(&policy.routes[0], &ask, body, NOW)
}

#[test]
fn a_renewal_is_asked_for_at_that_very_path_of_the_routes_own_hosts() {
    let hosts = "host = [\"a.example.com\", \"*.b.example.com\"]\npath = \"/ws\"\nrenew = \"/renew\"";
    let policy = policy(&(route("hosts", hosts) + &route("any", "path = \"/ws\"\nrenew = \"/ws/renew\"")));
    assert!(policy.renews());
    for host in ["a.example.com", "x.b.example.com"] {
        assert_eq!(at(&policy, host, "/renew"), Some("hosts"));
    }
    assert_eq!(at(&policy, "c.example.com", "/ws/renew"), Some("any"));
    assert_eq!(at(&policy, "c.example.com", "/renew"), None);
    for path in ["/ws", "/ws/renew/", "/ws/renew/x", "/ws/renewal", "/"] {
        assert_eq!(at(&policy, "c.example.com", path), None, "{path}");
    }
}

#[test]
fn a_route_of_a_more_particular_host_keeps_its_paths() {
    let named = route("named", "host = \"a.example.com\"\npath = \"/ws\"");
    let policy = policy(&(route("any", "path = \"/ws/{room}\"\nrenew = \"/ws/renew\"") + &named));
    assert_eq!(at(&policy, "a.example.com", "/ws/renew"), None);
    assert_eq!(at(&policy, "b.example.com", "/ws/renew"), Some("any"), "a path as typed comes before a `{{name}}`");
}

#[test]
fn the_token_is_looked_for_where_the_route_says_and_in_the_body() {
    let places = "token_from = [\"header\", \"header:X-Token\", \"cookie:session\", \"query:t\", \"subprotocol\"]\norigins = \"any\"";
    let policy = policy(&route("ws", &format!("path = \"/ws\"\nrenew = \"/ws/renew\"\n{places}")));
    let token = good(json!({}));
    let bearer = format!("Bearer {token}");
    let cookie = format!("session={token}");
    let named = http::HeaderName::from_static("x-token");
    let listed: Vec<&str> = policy.routes[0].renew.iter().flat_map(Renew::headers).collect();
    assert_eq!(listed, ["authorization", "content-type", "x-token"]);
    let good = [
        renew(&policy, &[(AUTHORIZATION, &bearer)], "", b""),
        renew(&policy, &[(named, &token)], "", b""),
        renew(&policy, &[(COOKIE, &cookie)], "", b" \r\n"),
        renew(&policy, &[], &format!("t={token}"), b""),
        renew(&policy, &[], "", token.as_bytes()),
        renew(&policy, &[(AUTHORIZATION, &bearer), (COOKIE, &cookie)], "", format!("{token}\n").as_bytes()),
    ];
    for renewal in good {
        let renewal = renewal.unwrap();
        assert_eq!((renewal.identity.subject.as_deref(), renewal.expires), (Some("alice"), Some(5000 + 65_000)));
    }
    let refused = |result: Result<Renewal, Denial>| {
        let denial = result.unwrap_err();
        (denial.deny, denial.status)
    };
    let protocol = (http::header::SEC_WEBSOCKET_PROTOCOL, &*format!("bearer.{token}"));
    assert_eq!(refused(renew(&policy, &[protocol], "", b"")), (Deny::TokenMissing, 401));
    assert_eq!(refused(renew(&policy, &[(AUTHORIZATION, &bearer)], "", b"x")), (Deny::TokenInvalid, 401));
    assert_eq!(refused(renew(&policy, &[], "", b"\xff")), (Deny::TokenInvalid, 401));
    let nobody = sign(json!({ "exp": NOW.wall / 1000 + 60 }));
    assert_eq!(refused(renew(&policy, &[], "", nobody.as_bytes())), (Deny::BadRenewal, 400));
    let late = sign(json!({ "sub": "alice", "exp": NOW.wall / 1000 - 60 }));
    assert_eq!(refused(renew(&policy, &[], "", late.as_bytes())), (Deny::TokenExpired, 401));
}

#[test]
fn a_lineage_is_issuer_subject_and_session_and_nothing_else() {
    let policy = policy(&route("ws", "renew = \"/renew\""));
    let lineage = |jwt: &str, subject: &str, more: Value| {
        let claims = more.as_object().unwrap().clone().into();
        let subject = Some(subject).filter(|subject| !subject.is_empty()).map(Into::into);
        policy.lineage(&Identity { subject, jwt: Some(jwt.into()), claims, ..Identity::default() })
    };
    let own = lineage("main", "alice", json!({ "iss": "A", "sid": "1" }));
    assert!(own.is_some());
    assert_eq!(own, lineage("main", "alice", json!({ "iss": "A", "sid": "1", "jti": "2", "exp": 3, "scope": "x" })));
    let others = [
        lineage("other", "alice", json!({ "iss": "A", "sid": "1" })),
        lineage("main", "bob", json!({ "iss": "A", "sid": "1" })),
        lineage("main", "alice", json!({ "iss": "B", "sid": "1" })),
        lineage("main", "alice", json!({ "iss": "A", "sid": "2" })),
        lineage("main", "alice", json!({ "iss": "A", "sid": 1 })),
        lineage("main", "alice", json!({ "iss": "A" })),
        lineage("main", "alice", json!({ "sid": "1" })),
        lineage("main", "alice", json!({ "iss": "A", "sid": null })),
    ];
    for (at, other) in others.iter().enumerate() {
        assert!(other.is_some() && *other != own, "{at}");
    }
    assert_eq!(lineage("main", "", json!({ "iss": "A", "sid": "1" })), None, "nobody has no sessions");
}

#[test]
fn only_a_text_or_a_jwt_is_a_token() {
    let check = |typed: &str| {
        let headers = [(CONTENT_TYPE, HeaderValue::from_str(typed).unwrap())].into_iter().collect();
        check_type(&headers).map_err(|denial| denial.status)
    };
    for typed in ["text/plain", "TEXT/PLAIN", "text/plain; charset=utf-8", "application/jwt", "application/jwt;x=y"] {
        assert_eq!(check(typed), Ok(()), "{typed}");
    }
    for typed in
        ["", "text/html", "text/plain2", "application/json", "application/x-www-form-urlencoded", ";text/plain"]
    {
        assert_eq!(check(typed), Err(415), "{typed}");
    }
    assert_eq!(check_type(&HeaderMap::new()).map_err(|denial| denial.status), Err(415));
}

#[test]
fn what_is_neither_a_post_nor_a_preflight_is_no_renewal() {
    let form = |method: &str, version, headers: &[(http::HeaderName, &str)]| {
        let headers: HeaderMap = headers.iter().fold(HeaderMap::new(), |mut all, (name, value)| {
            all.append(name, HeaderValue::from_str(value).unwrap());
            all
        });
        check_form(&method.parse().unwrap(), version, &headers).map_err(|denial| denial.status)
    };
    assert_eq!(form("POST", Version::HTTP_11, &[(HOST, "a"), (ORIGIN, "b")]), Ok(()));
    assert_eq!(form("OPTIONS", Version::HTTP_11, &[]), Ok(()));
    for method in ["GET", "PUT", "post", "HEAD"] {
        assert_eq!(form(method, Version::HTTP_11, &[]), Err(405), "{method}");
    }
    assert_eq!(form("POST", Version::HTTP_10, &[]), Err(400));
    for name in [HOST, ORIGIN, CONTENT_TYPE] {
        assert_eq!(form("POST", Version::HTTP_11, &[(name.clone(), "a"), (name, "a")]), Err(400));
    }
}
