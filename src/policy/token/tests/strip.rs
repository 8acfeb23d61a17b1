//! What is gone from a request before the upstream sees it, and what is not.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use proptest::prelude::*;

use crate::config::value::TokenFrom;
use crate::policy::token::source::find;
use crate::policy::token::strip::{remove_lookalikes, strip};

fn everywhere() -> [TokenFrom; 6] {
    let name = || "tok".to_owned();
    [
        TokenFrom::Header,
        TokenFrom::Cookie(name()),
        TokenFrom::Query(name()),
        TokenFrom::Subprotocol,
        TokenFrom::PrefixedSubprotocol("auth.".to_owned()),
        TokenFrom::NamedHeader(HeaderName::from_static("x-api-token")),
    ]
}

/// The values of `name` after a strip of `from`.
fn left(from: &[TokenFrom], name: &HeaderName, values: &[&str]) -> Vec<String> {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    strip(from, &mut headers, "/");
    headers.get_all(name).iter().map(|value| String::from_utf8(value.as_bytes().to_vec()).unwrap()).collect()
}

fn target(path_and_query: &str) -> String {
    strip(&everywhere(), &mut HeaderMap::new(), path_and_query)
}

#[test]
fn a_bearer_token_never_goes_upstream_and_other_credentials_do() {
    for from in [&everywhere()[..], &[], &everywhere()[2..3]] {
        for bearer in ["Bearer a", "bearer a", "BEARER\ta", "Bearer"] {
            assert_eq!(left(from, &AUTHORIZATION, &[bearer]), [""; 0], "{bearer}");
        }
        assert_eq!(left(from, &AUTHORIZATION, &["Basic YTpi"]), ["Basic YTpi"]);
        assert_eq!(left(from, &AUTHORIZATION, &["Basic YTpi", "Bearer a"]), ["Basic YTpi"]);
    }
}

#[test]
fn one_cookie_goes_and_the_others_stay_byte_for_byte() {
    let left = |values: &[&str]| left(&everywhere(), &COOKIE, values);
    assert_eq!(left(&["a=1; tok=x; b=2"]), ["a=1; b=2"]);
    assert_eq!(left(&["tok=x; b=\"2 3\";c"]), ["b=\"2 3\";c"]);
    assert_eq!(left(&["a=1;tok=x"]), ["a=1"]);
    assert_eq!(left(&["tok=x; a=1; tok=y"]), ["a=1"]);
    assert_eq!(left(&["a=1;  b=2 ;ä=ö"]), ["a=1;  b=2 ;ä=ö"]);
    assert_eq!(left(&["tok=x"]), [""; 0]);
    assert_eq!(left(&["tok=x; ", "a=1"]), ["a=1"]);
    assert_eq!(left(&["Tok=x; xtok=y; tok"]), ["Tok=x; xtok=y; tok"]);
}

#[test]
fn a_cookie_stays_where_the_route_takes_no_token_from_it() {
    assert_eq!(left(&[TokenFrom::Header], &COOKIE, &["a=1; tok=x"]), ["a=1; tok=x"]);
}

#[test]
fn one_parameter_goes_and_the_others_stay_byte_for_byte() {
    for (before, after) in [
        ("/ws?tok=x", "/ws"),
        ("/ws?a=1&tok=x&b=%2F+", "/ws?a=1&b=%2F+"),
        ("/ws?tok=x&a", "/ws?a"),
        ("/ws?%74ok=x&tok=y&t%6fk&a=?", "/ws?a=?"),
        ("/ws?a=1&&b", "/ws?a=1&&b"),
        ("/ws?", "/ws?"),
        ("/tok=x", "/tok=x"),
        ("/ws?xtok=x&Tok=y", "/ws?xtok=x&Tok=y"),
        ("/a%20b/?q=tok%3Dx", "/a%20b/?q=tok%3Dx"),
    ] {
        assert_eq!(target(before), after);
    }
    assert_eq!(strip(&[TokenFrom::Header], &mut HeaderMap::new(), "/ws?tok=x"), "/ws?tok=x");
}

#[test]
fn the_subprotocol_that_is_a_token_goes_and_the_others_stay() {
    let left = |values: &[&str]| left(&everywhere(), &SEC_WEBSOCKET_PROTOCOL, values);
    assert_eq!(left(&["chat, bearer.x, v2"]), ["chat, v2"]);
    assert_eq!(left(&["bearer.x,chat"]), ["chat"]);
    assert_eq!(left(&["base64url.bearer.authorization.k8s.io.eA, v4.channel.k8s.io"]), ["v4.channel.k8s.io"]);
    assert_eq!(left(&["base64url.bearer.authorization.eA"]), [""; 0]);
    // A token that could not even be decoded is none to pass on either.
    assert_eq!(left(&["base64url.bearer.authorization.==", "chat"]), ["chat"]);
    assert_eq!(left(&["auth.x, chat, bearer.x"]), ["chat"]);
}

#[test]
fn a_marker_beside_its_token_goes_and_a_word_like_it_stays() {
    let left = |values: &[&str]| left(&everywhere(), &SEC_WEBSOCKET_PROTOCOL, values);
    assert_eq!(left(&["bearer, bearer.x"]), [""; 0]);
    assert_eq!(left(&["bearer, chat, bearer.x"]), ["chat"]);
    assert_eq!(left(&["auth", "chat, auth.x"]), ["chat"]);
    assert_eq!(left(&["base64url.bearer.authorization.k8s.io, base64url.bearer.authorization.k8s.io.eA, v4"]), ["v4"]);
    assert_eq!(left(&["bearer, chat"]), ["bearer, chat"]);
    assert_eq!(left(&["auth, bearer.x"]), ["auth"]);
}

#[test]
fn a_named_header_goes_with_all_that_a_backend_could_take_for_it() {
    let name = HeaderName::from_static("x-api-token");
    assert_eq!(left(&everywhere(), &name, &["t", "u"]), [""; 0]);
    assert_eq!(left(&everywhere(), &HeaderName::from_static("x_api_token"), &["t"]), [""; 0]);
    assert_eq!(left(&[TokenFrom::Header], &name, &["t"]), ["t"]);
}

#[test]
fn a_header_that_a_backend_could_take_for_the_gateways_is_removed() {
    let name = HeaderName::from_static("x-auth-subject");
    let mut headers = HeaderMap::new();
    for alike in ["X-Auth-Subject", "x_auth_subject", "X_Auth-Subject", "x-auth_SUBJECT", "x.auth.subject"] {
        headers.append(HeaderName::from_bytes(alike.as_bytes()).unwrap(), HeaderValue::from_static("admin"));
        headers.append(HeaderName::from_bytes(alike.as_bytes()).unwrap(), HeaderValue::from_static("root"));
    }
    for other in ["x-auth-subjects", "xauthsubject", "x-auth", "x--auth-subject"] {
        headers.append(HeaderName::from_static(other), HeaderValue::from_static("kept"));
    }
    remove_lookalikes(&mut headers, &name);
    assert_eq!(headers.len(), 4);
    assert!(headers.values().all(|value| value == "kept"));
}

proptest! {
    #[test]
    fn after_a_strip_no_token_is_found(
        cookie in "[tok=; \"a]{0,20}", query in "[tok=&%746f]{0,20}", protocol in "(bearer\\.?|auth\\.?|tok|,| |x){0,6}", scheme in "(?i)bearer[ \t]?x?"
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in [(AUTHORIZATION, &scheme), (COOKIE, &cookie), (SEC_WEBSOCKET_PROTOCOL, &protocol)] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let target = strip(&everywhere(), &mut headers, &format!("/?{query}"));
        let query = target.split_once('?').map(|(_, query)| query);
        prop_assert_eq!(find(&everywhere(), &headers, query), Ok(None));
    }

    #[test]
    fn what_holds_no_token_passes_byte_for_byte(cookie in "[abc=;\" ]{0,20}", query in "[abc=&%+?]{0,20}") {
        let target = format!("/x?{query}");
        prop_assert_eq!(strip(&everywhere(), &mut HeaderMap::new(), &target), target);
        if !cookie.trim_matches(' ').is_empty() {
            prop_assert_eq!(left(&everywhere(), &COOKIE, &[&cookie]), [cookie]);
        }
    }
}
