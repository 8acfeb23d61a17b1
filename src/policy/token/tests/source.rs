//! Where a token is found, and when none is believed.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL};
use proptest::prelude::*;

use crate::config::value::TokenFrom;
use crate::deny::Deny;
use crate::policy::token::source::find;

fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
}

fn cookie() -> TokenFrom {
    TokenFrom::Cookie("tok".to_owned())
}

fn query() -> TokenFrom {
    TokenFrom::Query("tok".to_owned())
}

/// The token alone.
fn token(from: &[TokenFrom], list: &[(HeaderName, &str)], query: Option<&str>) -> Result<Option<String>, Deny> {
    Ok(find(from, &headers(list), query)?.map(|found| found.token))
}

fn some(token: &str) -> Result<Option<String>, Deny> {
    Ok(Some(token.to_owned()))
}

#[test]
fn bearer_is_a_scheme_in_any_case() {
    let find = |value| token(&[TokenFrom::Header], &[(AUTHORIZATION, value)], None);
    for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c", "bEaReR\ta.b.c  "] {
        assert_eq!(find(value), some("a.b.c"), "{value}");
    }
    for none in ["Basic YTpi", "Bearer", "Bearer ", "Bearera.b.c", "a.b.c", "Digest Bearer a", "Basic x, Bearer y"] {
        assert_eq!(find(none), Ok(None), "{none}");
    }
    assert_eq!(find("Bearer a b"), some("a b"));
    assert_eq!(token(&[TokenFrom::Header], &[], None), Ok(None));
}

#[test]
fn two_authorization_headers_are_refused_even_if_they_agree() {
    for pair in [["Bearer a", "Bearer a"], ["Bearer a", "Bearer b"], ["Basic x", "Bearer a"]] {
        let list = pair.map(|value| (AUTHORIZATION, value));
        assert_eq!(token(&[TokenFrom::Header], &list, None), Err(Deny::TokenInvalid), "{pair:?}");
    }
}

#[test]
fn a_cookie_is_found_by_its_exact_name() {
    let find = |value| token(&[cookie()], &[(COOKIE, value)], None);
    for value in ["tok=a.b", "x=1; tok=a.b", "x=1;tok=a.b;y=2", "tok = a.b ; y", "tok=\"a.b\"", "=; ;tok=a.b; tok=a.b"]
    {
        assert_eq!(find(value), some("a.b"), "{value}");
    }
    for none in ["", "tok", "tok=", "tok=\"\"", "Tok=a", "xtok=a", "tok2=a", "x=tok=a", "a tok=b"] {
        assert_eq!(find(none), Ok(None), "{none}");
    }
    assert_eq!(find("tok=a=b"), some("a=b"));
}

#[test]
fn cookies_of_one_name_that_differ_are_refused_over_all_headers() {
    assert_eq!(token(&[cookie()], &[(COOKIE, "tok=a; tok=b")], None), Err(Deny::TokenInvalid));
    assert_eq!(token(&[cookie()], &[(COOKIE, "tok=a"), (COOKIE, "tok=b")], None), Err(Deny::TokenInvalid));
    assert_eq!(token(&[cookie()], &[(COOKIE, "tok=a"), (COOKIE, "y=1; tok=a")], None), some("a"));
}

#[test]
fn a_parameter_is_found_however_it_is_escaped() {
    let find = |text| token(&[query()], &[], Some(text));
    for text in ["tok=a.b", "x=1&tok=a.b&y", "%74ok=a%2Eb", "t%6Fk=a%2eb", "&&tok=a.b", "tok=&tok=a.b"] {
        assert_eq!(find(text), some("a.b"), "{text}");
    }
    for none in ["", "tok", "tok=", "Tok=a", "xtok=a", "x=tok=a", "x=%26tok=a"] {
        assert_eq!(find(none), Ok(None), "{none}");
    }
    // What is no escape stays as it is, to be refused with the rest.
    assert_eq!(find("tok=a%2"), some("a%2"));
    assert_eq!(find("tok=a%zz+%"), some("a%zz %"));
    assert_eq!(token(&[query()], &[], None), Ok(None));
}

#[test]
fn parameters_of_one_name_that_differ_or_are_no_text_are_refused() {
    for text in ["tok=a&tok=b", "tok=a&%74ok=b", "tok=%ff"] {
        assert_eq!(token(&[query()], &[], Some(text)), Err(Deny::TokenInvalid), "{text}");
    }
}

#[test]
fn a_subprotocol_carries_a_token_plain_or_in_base64url() {
    let find = |value| token(&[TokenFrom::Subprotocol], &[(SEC_WEBSOCKET_PROTOCOL, value)], None);
    for value in [
        "bearer.a.b.c",
        "chat, bearer.a.b.c",
        "bearer.a.b.c ,chat",
        "base64url.bearer.authorization.k8s.io.YS5iLmM, chat",
        "chat,base64url.bearer.authorization.YS5iLmM",
        "bearer.a.b.c, base64url.bearer.authorization.YS5iLmM",
    ] {
        assert_eq!(find(value), some("a.b.c"), "{value}");
    }
    for none in ["chat", "bearer", "bearer.", "xbearer.a", "Bearer.a", "base64url.bearer.authorization.k8s.io."] {
        assert_eq!(find(none), Ok(None), "{none}");
    }
    for wrong in ["base64url.bearer.authorization.YS5iLmM=", "base64url.bearer.authorization._w", "bearer.a, bearer.b"]
    {
        assert_eq!(find(wrong), Err(Deny::TokenInvalid), "{wrong}");
    }
    let two = [(SEC_WEBSOCKET_PROTOCOL, "bearer.a"), (SEC_WEBSOCKET_PROTOCOL, "bearer.b")];
    assert_eq!(token(&[TokenFrom::Subprotocol], &two, None), Err(Deny::TokenInvalid));
}

#[test]
fn a_prefix_of_the_operators_takes_the_place_of_bearer() {
    let from = [TokenFrom::PrefixedSubprotocol("auth.".to_owned())];
    let find = |value| token(&from, &[(SEC_WEBSOCKET_PROTOCOL, value)], None);
    for value in ["auth.a.b.c", "chat, auth.a.b.c", "auth, auth.a.b.c", "auth.a.b.c, bearer.x"] {
        assert_eq!(find(value), some("a.b.c"), "{value}");
    }
    for none in ["auth", "auth.", "bearer.a.b.c", "Auth.a.b.c", "xauth.a"] {
        assert_eq!(find(none), Ok(None), "{none}");
    }
    assert_eq!(find("auth.a, auth.b"), Err(Deny::TokenInvalid));
}

#[test]
fn a_marker_is_no_token_also_where_it_begins_as_one() {
    for value in
        ["base64url.bearer.authorization.k8s.io, base64url.bearer.authorization.k8s.io.YS5iLmM", "bearer, bearer.a.b.c"]
    {
        assert_eq!(
            token(&[TokenFrom::Subprotocol], &[(SEC_WEBSOCKET_PROTOCOL, value)], None),
            some("a.b.c"),
            "{value}"
        );
    }
}

#[test]
fn a_named_header_holds_the_token_alone_or_behind_bearer() {
    let name = HeaderName::from_static("x-api-token");
    let find = |values: &[&str]| {
        let list: Vec<_> = values.iter().map(|value| (name.clone(), *value)).collect();
        token(&[TokenFrom::NamedHeader(name.clone())], &list, None)
    };
    for value in ["a.b.c", " a.b.c ", "Bearer a.b.c", "bearer\ta.b.c"] {
        assert_eq!(find(&[value]), some("a.b.c"), "{value}");
    }
    for none in [&[][..], &[""], &["Bearer"], &["bearer  "]] {
        assert_eq!(find(none), Ok(None), "{none:?}");
    }
    assert_eq!(find(&["Basic YTpi"]), some("Basic YTpi"), "which is then judged, and refused");
    assert_eq!(find(&["a", "a"]), Err(Deny::TokenInvalid));
}

#[test]
fn a_header_alike_the_named_one_is_no_token_and_makes_it_ambiguous() {
    let (name, alike) = (HeaderName::from_static("x-api-token"), HeaderName::from_static("x_api_token"));
    let from = [TokenFrom::NamedHeader(name.clone())];
    assert_eq!(token(&from, &[(alike.clone(), "a")], None), Ok(None));
    assert_eq!(token(&from, &[(name, "a"), (alike, "a")], None), Err(Deny::TokenInvalid));
}

#[test]
fn the_first_place_of_the_list_is_named_and_all_places_are_looked_at() {
    let from = [cookie(), TokenFrom::Header, query(), TokenFrom::Subprotocol];
    let list = [(AUTHORIZATION, "Bearer a"), (COOKIE, "tok=a"), (SEC_WEBSOCKET_PROTOCOL, "bearer.a")];
    let found = find(&from, &headers(&list), Some("tok=a")).unwrap().unwrap();
    assert_eq!((found.token.as_str(), &found.from), ("a", &cookie()));
    assert_eq!(token(&from, &list, Some("tok=b")), Err(Deny::TokenInvalid));
    assert_eq!(token(&from, &[(AUTHORIZATION, "Bearer a"), (COOKIE, "tok=b")], None), Err(Deny::TokenInvalid));
    assert_eq!(token(&from, &[(AUTHORIZATION, "Bearer a"), (COOKIE, "tok=")], Some("x=1")), some("a"));
}

#[test]
fn a_place_that_is_not_configured_is_not_looked_at() {
    let list = [(AUTHORIZATION, "Bearer a"), (COOKIE, "tok=a"), (SEC_WEBSOCKET_PROTOCOL, "bearer.a")];
    assert_eq!(token(&[query()], &list, None), Ok(None));
    assert_eq!(token(&[], &list, Some("tok=a")), Ok(None));
}

#[test]
fn what_was_found_does_not_print_its_token() {
    let found = find(&[TokenFrom::Header], &headers(&[(AUTHORIZATION, "Bearer hunter2")]), None).unwrap().unwrap();
    assert!(!format!("{found:?}").contains("hunter2"));
}

proptest! {
    #[test]
    fn any_request_at_all_gives_an_answer(bytes in proptest::collection::vec(32_u8..=126, 0..80), text in "\\PC{0,60}") {
        let value = HeaderValue::from_bytes(&bytes).unwrap();
        let named = HeaderName::from_static("x-api-token");
        let names = [AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL, named.clone()];
        let headers = names.into_iter().map(|name| (name, value.clone())).collect();
        let from = [TokenFrom::Header, TokenFrom::NamedHeader(named), cookie(), query(), TokenFrom::Subprotocol];
        let _ = find(&from, &headers, Some(&text));
    }
}
