use super::*;
use proptest::prelude::*;

fn matcher(host: &str, path: &str, exact: bool) -> Matcher {
    let any = Matcher::new(path, exact).unwrap();
    if host == "any" { any } else { any.at(host).unwrap() }
}

fn takes(matcher: &Matcher, host: &str, path: &str) -> bool {
    matcher.matches(host, path).is_some()
}

/// What is captured, as `name=value`.
fn captured(matcher: &Matcher, host: &str, path: &str) -> Option<Vec<String>> {
    let captures = matcher.matches(host, path)?;
    Some(captures.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

#[test]
fn a_prefix_ends_at_a_segment() {
    let ws = matcher("any", "/ws", false);
    assert!(takes(&ws, "a", "/ws") && takes(&ws, "a", "/ws/") && takes(&ws, "a", "/ws/1"));
    assert!(!takes(&ws, "a", "/wsx") && !takes(&ws, "a", "/w") && !takes(&ws, "a", "/"));
    assert!(takes(&matcher("any", "/ws/", false), "a", "/ws"), "a slash at the end changes nothing");
}

#[test]
fn a_slash_is_every_path() {
    let all = matcher("any", "/", false);
    assert!(takes(&all, "a", "/") && takes(&all, "a", "/x/y"));
    let root = matcher("any", "/", true);
    assert!(takes(&root, "a", "/") && !takes(&root, "a", "/x"));
}

#[test]
fn an_exact_path_has_nothing_below_it() {
    let ws = matcher("any", "/ws", true);
    assert!(takes(&ws, "a", "/ws") && !takes(&ws, "a", "/ws/") && !takes(&ws, "a", "/ws/1"));
    let slash = matcher("any", "/ws/", true);
    assert!(takes(&slash, "a", "/ws/") && !takes(&slash, "a", "/ws"));
}

#[test]
fn a_starred_host_wants_a_label_more() {
    let host = matcher("*.example.com", "/", false);
    assert!(takes(&host, "a.example.com", "/") && takes(&host, "a.b.example.com", "/"));
    assert!(!takes(&host, "example.com", "/") && !takes(&host, "evilexample.com", "/"));
    assert!(!takes(&host, "a.example.com.evil.org", "/") && !takes(&host, ".example.com", "/"));
}

#[test]
fn a_captured_host_wants_exactly_one_label() {
    let host = matcher("{tenant}.example.com", "/", false);
    assert_eq!(captured(&host, "acme.example.com", "/"), Some(vec!["tenant=acme".into()]));
    for other in ["example.com", ".example.com", "a.b.example.com", "acmeexample.com", "acme.example.com.evil.org"] {
        assert_eq!(host.matches(other, "/"), None, "{other}");
    }
}

#[test]
fn a_captured_segment_is_exactly_one_that_is_not_empty() {
    let rooms = matcher("any", "/rooms/{room}", false);
    for (path, found) in [
        ("/rooms/7", Some("room=7")),
        ("/rooms/7/", Some("room=7")),
        ("/rooms/7/members", Some("room=7")),
        ("/rooms/ж x", Some("room=ж x")),
        ("/rooms/{room}", Some("room={room}")),
        ("/rooms", None),
        ("/rooms/", None),
        ("/roomsx/7", None),
        ("/x/rooms/7", None),
    ] {
        assert_eq!(captured(&rooms, "a", path), found.map(|found| vec![found.to_owned()]), "{path}");
    }
    let members = matcher("{t}.example.com", "/{a}/members/{b}", true);
    let found = captured(&members, "acme.example.com", "/7/members/ann");
    assert_eq!(found, Some(vec!["t=acme".into(), "a=7".into(), "b=ann".into()]));
    assert_eq!(captured(&members, "acme.example.com", "/7/members/ann/x"), None);
    assert_eq!(captured(&members, "acme.example.com", "/7/others/ann"), None);
}

#[test]
fn a_captured_segment_has_at_most_256_bytes() {
    let rooms = matcher("any", "/rooms/{room}", false);
    assert!(takes(&rooms, "a", &format!("/rooms/{}", "x".repeat(256))));
    assert!(!takes(&rooms, "a", &format!("/rooms/{}", "x".repeat(257))));
    assert!(!takes(&rooms, "a", &format!("/rooms/{}", "ж".repeat(129))), "bytes, not characters");
}

#[test]
fn an_escaped_brace_is_a_brace() {
    let literal = matcher("any", "/%7Broom%7D/x%7By%7D", false);
    assert_eq!(captured(&literal, "a", "/{room}/x{y}"), Some(vec![]));
    assert_eq!(captured(&literal, "a", "/7/x{y}"), None);
}

/// Host, path, and a `!` behind an exact one, in the order in which they are tried.
fn order(typed: &[(&str, &str)]) -> Vec<String> {
    let place = |(host, path): &(&str, &str)| matcher(host, path.trim_end_matches('!'), path.ends_with('!')).place;
    let mut places: Vec<(Place, String)> = typed.iter().map(|t| (place(t), format!("{} {}", t.0, t.1))).collect();
    places.sort_by(|(one, _), (other, _)| one.compare(other));
    places.into_iter().map(|(_, typed)| typed).collect()
}

#[test]
fn the_most_particular_route_is_tried_first() {
    let wanted = [
        ("chat.example.com", "/"),
        ("{t}.example.com", "/"),
        ("*.example.com", "/rooms/lobby"),
        ("any", "/rooms/lobby/members"),
        ("any", "/rooms/lobby!"),
        ("any", "/rooms/lobby"),
        ("any", "/rooms/{room}/members/{who}"),
        ("any", "/rooms/{room}/{what}"),
        ("any", "/rooms/{room}!"),
        ("any", "/rooms/{room}"),
        ("any", "/rooms"),
        ("any", "/{x}/lobby"),
        ("any", "/{x}"),
        ("any", "/"),
    ];
    let expected: Vec<String> = wanted.iter().map(|(host, path)| format!("{host} {path}")).collect();
    for turn in 0..wanted.len() {
        let mut typed = wanted;
        typed.rotate_left(turn);
        assert_eq!(order(&typed), expected);
        typed.reverse();
        assert_eq!(order(&typed), expected);
    }
}

#[test]
fn a_name_alone_makes_no_other_place() {
    assert_eq!(matcher("any", "/rooms/{a}", false).place, matcher("any", "/rooms/{b}/", false).place);
    assert_eq!(matcher("{a}.x.org", "/", false).place, matcher("{b}.x.org", "/", false).place);
    assert_ne!(matcher("any", "/rooms/{a}", false).place, matcher("any", "/rooms/a", false).place);
    assert_ne!(matcher("any", "/rooms/{a}", false).place, matcher("any", "/rooms/{a}", true).place);
    assert_ne!(matcher("any", "/rooms/{a}", false).place, matcher("any", "/rooms/%7Ba%7D", false).place);
}

#[test]
fn what_is_no_host_or_path_is_refused() {
    let any = Matcher::new("/", false).unwrap();
    for host in ["", "*", "*.", "a.*.b", "http://a", "a:80", "a/b", "a b", "a..b", "UP.example.com "] {
        assert!(any.at(host).is_err(), "{host:?}");
    }
    for host in ["{t}", "{t}.", "{t}.{u}", "a.{t}.b", "a.{t}", "x{t}.b", "{T}.b", "{t}.*.b", "{t.b", "*.{t}.b"] {
        assert!(any.at(host).is_err(), "{host:?}");
    }
    for path in ["", "ws", "/a//b", "/a/../b", "/a?b", "/a#b", "/%2e%2e/x", "/%zz", "/rooms/{", "/x{y}z", "/{a}/{a}"] {
        assert!(Matcher::new(path, false).is_err(), "{path:?}");
    }
    let twice = Matcher::new("/{a}", false).unwrap().at("{a}.example.com").unwrap_err();
    assert!(twice.contains("`{a}` stands twice"), "{twice}");
}

/// `a`, `b` or `{name}`, so that places and paths meet often.
fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![3 => Just("a".to_owned()), 1 => Just("b".into()), 3 => Just("{}".into())], 0..4)
        .prop_map(|all| {
            let name =
                |(at, piece): (usize, &String)| if piece == "{}" { format!("/{{n{at}}}") } else { format!("/{piece}") };
            let path: String = all.iter().enumerate().map(name).collect();
            if path.is_empty() { "/".to_owned() } else { path }
        })
}

fn any_place() -> impl Strategy<Value = Matcher> {
    let host = prop::sample::select(&["any", "a.x", "{h}.x", "*.x"][..]);
    (host, any_path(), any::<bool>()).prop_map(|(host, path, exact)| matcher(host, &path, exact))
}

proptest! {
    /// Else the order of the file would decide which of two takes a request.
    #[test]
    fn of_two_places_that_take_one_request_one_comes_first(
        one in any_place(), other in any_place(), path in "(/a){1,3}", host in "(a\\.)?a\\.x"
    ) {
        let both = one.matches(&host, &path).is_some() && other.matches(&host, &path).is_some();
        if both && one.place != other.place {
            prop_assert!(one.place.compare(&other.place).is_ne(), "{:?} {:?}", one, other);
        }
    }

    #[test]
    fn the_order_of_places_is_an_order(one in any_place(), two in any_place(), three in any_place()) {
        prop_assert_eq!(one.place.compare(&two.place), two.place.compare(&one.place).reverse());
        let (first, second) = (one.place.compare(&two.place), two.place.compare(&three.place));
        if first.is_le() && second.is_le() {
            prop_assert!(one.place.compare(&three.place).is_le());
        }
    }
}
