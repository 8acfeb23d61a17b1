use std::path::Path;

use http::HeaderMap;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What a route with `x = "X-Claim"` tells of a claim `x`, or why it can't.
fn told(x: Value) -> Result<Option<String>, &'static str> {
    let upward = Upward {
        subject: HeaderName::from_static("x-auth-subject"),
        claims: vec![("x".to_owned(), HeaderName::from_static("x-claim"))],
        assertion: None,
        connection_id: None,
        ours: Arc::default(),
    };
    let claims = Map::from_iter([("x".to_owned(), x)]);
    let vouched = upward.vouch(&Identity { claims: claims.into(), ..Identity::default() })?;
    Ok(vouched.headers.first().map(|(_, value)| value.to_str().unwrap().to_owned()))
}

#[track_caller]
fn tells(x: Value, header: &str) {
    assert_eq!(told(x), Ok(Some(header.to_owned())));
}

#[test]
fn a_claim_is_told_as_text_and_what_a_header_can_t_hold_is_encoded() {
    tells(json!("ann@example.com"), "ann@example.com");
    tells(json!(""), "");
    tells(json!("a\r\nX-Admin: 1"), "a%0D%0AX-Admin:%201");
    tells(json!("100%"), "100%25");
    tells(json!("жü"), "%D0%B6%C3%BC");
    tells(json!("Doe, Ann"), "Doe%2C%20Ann");
}

#[test]
fn numbers_and_booleans_are_told_as_json_has_them() {
    for (value, header) in
        [(json!(true), "true"), (json!(-7), "-7"), (json!(1.5), "1.5"), (json!(u64::MAX), "18446744073709551615")]
    {
        tells(value, header);
    }
}

#[test]
fn a_number_that_was_rounded_is_not_told_as_another() {
    let beyond: Value = serde_json::from_str("18446744073709551616").unwrap();
    assert!(told(beyond).is_err() && told(json!([1e300])).is_err() && told(json!(9_007_199_254_740_992.0)).is_err());
    tells(json!(9_007_199_254_740_991.0), "9007199254740991.0");
}

#[test]
fn a_list_has_commas_between_its_elements_and_nowhere_else() {
    tells(json!(["a", "b"]), "a,b");
    tells(json!(["a,b"]), "a%2Cb");
    tells(json!(["a", 2, true, ""]), "a,2,true,");
    tells(json!(["только"]), "%D1%82%D0%BE%D0%BB%D1%8C%D0%BA%D0%BE");
}

#[test]
fn what_is_no_text_nor_a_list_of_texts_has_no_header() {
    for value in [json!(null), json!({ "a": 1 }), json!([]), json!([["a"]]), json!(["a", null]), json!([{}])] {
        assert_eq!(told(value.clone()), Ok(None), "{value}");
    }
}

#[test]
fn a_claim_of_more_than_4_kib_is_refused_whatever_it_was_before() {
    tells(json!("x".repeat(4096)), &"x".repeat(4096));
    assert!(told(json!("x".repeat(4097))).is_err());
    assert!(told(json!("ж".repeat(683))).is_err(), "683 times 6 bytes are 4098");
    assert!(told(json!(vec!["xxxx"; 820])).is_err());
}

/// A gateway's routes with these lines, and what each tells of a client that made everything up.
fn heads(routes: &[&str]) -> Vec<HeaderMap> {
    let mut text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[jwt.a]\nalgorithms = [\"HS256\"]\nsecret = \"env:S\"\n\
                    [assertion.up]\nalgorithm = \"HS256\"\nsecret = \"env:T\"\n"
        .to_owned();
    for (at, route) in routes.iter().enumerate() {
        text +=
            &format!("[[route]]\npath = \"/{at}\"\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n{route}\n");
    }
    let loaded = crate::load::text(&text, "test", Path::new("."), &|name| Some(name.repeat(32))).unwrap();
    let claims = json!({ "email": "ann@example.com", "tenant": { "id": "acme" } });
    let identity = Identity {
        subject: Some("ж ann".into()),
        claims: claims.as_object().unwrap().clone().into(),
        ..Identity::default()
    };
    let of_route = |route: &Arc<crate::policy::route::Route>| {
        let mut headers = HeaderMap::new();
        for name in ["X-Auth-Email", "x_auth_email", "X.Auth.Email", "x_auth_assertion", "X-Auth-Subject", "x-other"] {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::from_static("root"));
        }
        let mut vouched = route.upward.vouch(&identity).unwrap();
        vouched.sign(&route.upward, &identity, Now { mono: 0, wall: 0 }).unwrap();
        route.upward.set(&mut headers, &vouched, Id(0xabc));
        headers
    };
    loaded.policy.routes.iter().map(of_route).collect()
}

fn made_up(headers: &HeaderMap) -> Vec<&str> {
    headers.iter().filter(|(_, value)| *value == "root").map(|(name, _)| name.as_str()).collect()
}

#[test]
fn what_a_client_made_up_is_removed_on_the_routes_that_tell_nothing_too() {
    let tells =
        "jwt = \"a\"\nclaim_headers = { email = \"X-Auth-Email\", \"tenant.id\" = \"X-Tenant\" }\nassertion = \"up\"";
    let heads = heads(&[tells, ""]);
    assert_eq!(heads[0]["x-auth-email"], "ann@example.com");
    assert_eq!(heads[0]["x-tenant"], "acme");
    assert!(heads[0]["x-auth-assertion"].to_str().unwrap().matches('.').count() == 2);
    for headers in &heads {
        assert_eq!(made_up(headers), ["x-other"]);
        assert_eq!(headers["x-auth-subject"], "%D0%B6%20ann");
    }
    // With the name of the connection, which every upstream gets.
    assert_eq!(heads[1].len(), 3);
}

#[test]
fn a_claim_that_is_absent_leaves_no_room_for_a_claimed_one() {
    let heads = heads(&["jwt = \"a\"\nclaim_headers = { mail = \"X-Auth-Email\" }"]);
    assert_eq!(made_up(&heads[0]), ["x-other"]);
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from)
    ]
}

proptest! {
    #[test]
    fn nothing_but_visible_ascii_is_ever_told(text in any::<String>(), list in prop::collection::vec(scalar(), 0..4)) {
        for value in [json!(text), json!(list)] {
            if let Some(header) = told(value).unwrap() {
                prop_assert!(header.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{}", header);
            }
        }
    }

    #[test]
    fn what_was_escaped_is_read_back(list in prop::collection::vec(any::<String>(), 1..4)) {
        let header = told(json!(list)).unwrap().unwrap();
        // Another's decoder, in which `+` would be a blank, if one were told.
        let read = |piece: &str| form_urlencoded::parse(piece.replace('+', "%2B").as_bytes()).next().map(|(name, _)| name.into_owned());
        let pieces: Vec<String> = header.split(',').map(|piece| read(&piece.replace('&', "%26").replace('=', "%3D")).unwrap_or_default()).collect();
        prop_assert_eq!(pieces, list);
    }

    #[test]
    fn no_two_texts_look_alike(one in "[%,a\r2Cж ]{0,6}", other in "[%,a\r2Cж ]{0,6}") {
        prop_assert_eq!(told(json!(one)) == told(json!(other)), one == other);
        prop_assert_eq!(escape(&one, b"") == escape(&other, b""), one == other);
    }
}

#[test]
fn what_is_told_of_somebody_is_not_printed() {
    let claims = Map::from_iter([("x".to_owned(), json!("a private claim"))]);
    let vouched = Vouched {
        headers: vec![(HeaderName::from_static("x-auth-assertion"), HeaderValue::from_static("eyJ.signed"))],
        copied: claims,
    };
    let printed = format!("{vouched:?}");
    assert!(printed.contains("x-auth-assertion") && printed.contains('x'), "{printed}");
    assert!(!printed.contains("eyJ.signed") && !printed.contains("private"), "{printed}");
}
