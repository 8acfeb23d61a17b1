use std::path::Path;

use super::*;

/// A route with these lines.
fn route(lines: &str) -> std::sync::Arc<Route> {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[jwt.a]\nalgorithms = [\"HS256\"]\nsecret = \"env:S\"\n\
         [[route]]\npath = \"/ws\"\nupstream = \"http://127.0.0.1:1/app\"\norigins = \"any\"\n{lines}\n"
    );
    let loaded = crate::load::text(&text, "test", Path::new("."), &|_| Some("s".repeat(32))).unwrap();
    loaded.policy.routes[0].clone()
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

/// The headers and the target that an upstream of a route with these lines gets.
fn sent(lines: &str, caller: Caller<'_>, headers: &[(&str, &str)]) -> (HeaderMap, String) {
    request(&route(lines), &map(headers), "/ws/1?access_token=t&x=1", &caller)
}

fn caller(peer: &str) -> Caller<'static> {
    let peer = peer.parse().unwrap();
    Caller {
        id: Id(0xabc),
        peer,
        trusted: false,
        believed: ForwardedHeader::XForwardedFor,
        forwarded: Box::leak(Box::new(Forwarded { client: peer, proto: None, host: None })),
        secure: true,
        vouched: Box::leak(Box::default()),
    }
}

/// The same for a trusted proxy that is believed in this header.
fn proxy(believed: ForwardedHeader, forwarded: Forwarded) -> Caller<'static> {
    Caller { trusted: true, believed, forwarded: Box::leak(Box::new(forwarded)), secure: false, ..caller("10.0.0.1") }
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn a_subject_that_a_client_made_up_is_removed_on_a_route_without_a_token_too() {
    let spoofed =
        [("X-Auth-Subject", "root"), ("x_auth_subject", "root"), ("X-Auth_Subject", "root"), ("x-other", "1")];
    for route in ["", "jwt = \"a\""] {
        let (headers, _) = sent(route, caller("192.0.2.1"), &spoofed);
        assert!(!headers.values().any(|value| value == "root"), "{route:?}: {headers:?}");
        assert_eq!(all(&headers, "x-other"), ["1"]);
    }
}

#[test]
fn what_concerns_one_connection_does_not_travel_on() {
    let hop = [
        ("connection", "keep-alive, Upgrade, X-Secret-Hop"),
        ("upgrade", "websocket"),
        ("keep-alive", "5"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("x-secret-hop", "1"),
        ("content-length", "0"),
        ("cookie", "a=b"),
    ];
    let (headers, target) = sent("", caller("192.0.2.1"), &hop);
    for gone in ["keep-alive", "proxy-authorization", "te", "x-secret-hop", "content-length"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
    assert_eq!(all(&headers, "connection"), ["Upgrade"]);
    assert_eq!(all(&headers, "upgrade"), ["websocket"]);
    assert_eq!(all(&headers, "cookie"), ["a=b"]);
    assert_eq!(target, "/app/1?access_token=t&x=1", "without a token rule the query is the application's own");
}

#[test]
fn a_token_leaves_the_query_unless_it_is_forwarded() {
    let rule = "jwt = \"a\"\ntoken_from = [\"query:access_token\"]";
    assert_eq!(sent(rule, caller("192.0.2.1"), &[]).1, "/app/1?x=1");
    let forwarded = format!("{rule}\nforward_token = true");
    assert_eq!(sent(&forwarded, caller("192.0.2.1"), &[]).1, "/app/1?access_token=t&x=1");
}

#[test]
fn what_a_stranger_says_of_itself_is_replaced() {
    let said = [
        ("host", "chat.example.com"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.example.com"),
        ("x-forwarded-user", "root"),
        ("client-cert", ":MIIB:"),
        ("client_cert_chain", ":MIIB:"),
        ("client.cert", ":MIIB:"),
        ("x.forwarded!for", "10.0.0.1"),
        ("x-forwarded-client-cert", "Subject=\"CN=root\""),
    ];
    let (headers, _) = sent("", caller("2001:db8::1"), &said);
    assert_eq!(all(&headers, "x-forwarded-for"), ["2001:db8::1"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["chat.example.com"]);
    assert_eq!(all(&headers, "forwarded"), ["for=\"[2001:db8::1]\";proto=https;host=\"chat.example.com\""]);
    assert!(!headers.values().any(|value| value.as_bytes().windows(8).any(|w| w == b"10.0.0.1")), "{headers:?}");
    for gone in ["x-forwarded-user", "client-cert", "client_cert_chain", "client.cert", "x-forwarded-client-cert"] {
        assert!(!headers.contains_key(gone), "{gone}");
    }
}

#[test]
fn a_trusted_proxys_words_are_kept_and_continued() {
    let said = [("host", "chat.example.com"), ("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https")];
    let proxy = Caller { trusted: true, secure: false, ..caller("10.0.0.1") };
    let (headers, _) = sent("", proxy, &said);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7, 10.0.0.1"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
}

/// What `{tenant}` stands for was judged; a proxy that passes on whatever a client says must not undo that.
#[test]
fn where_a_host_is_captured_the_upstream_is_told_of_no_other() {
    let said = [
        ("host", "acme.example.com"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-host", "other.example.com"),
        ("forwarded", "for=192.0.2.7;host=other.example.com"),
    ];
    let proxy = Caller { trusted: true, ..caller("10.0.0.1") };
    let (headers, _) = sent("host = \"{tenant}.example.com\"", proxy, &said);
    assert_eq!(all(&headers, "x-forwarded-host"), ["acme.example.com"]);
    assert_eq!(all(&headers, "forwarded"), ["for=10.0.0.1;proto=https;host=\"acme.example.com\""]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7, 10.0.0.1"]);
    let (headers, _) = sent("host = \"acme.example.com\"", proxy, &said);
    assert_eq!(all(&headers, "x-forwarded-host"), ["other.example.com"]);
}

/// A proxy that writes one of the two headers passes on what a client made up in the other.
#[test]
fn of_the_header_that_is_not_believed_nothing_is_kept() {
    let said = [
        ("host", "chat.example.com"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "www.example.com"),
        ("x-real-ip", "192.0.2.7"),
        ("forwarded", "for=6.6.6.6, for=\"[2001:db8::7]\";proto=https;host=www.example.com"),
    ];
    let by_x = Forwarded { client: "192.0.2.7".parse().unwrap(), proto: None, host: None };
    let (headers, _) = sent("", proxy(ForwardedHeader::XForwardedFor, by_x), &said);
    assert_eq!(all(&headers, "x-forwarded-for"), ["6.6.6.6, 192.0.2.7, 10.0.0.1"]);
    assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7, for=10.0.0.1;proto=http;host=\"chat.example.com\""]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["www.example.com"]);
    assert_eq!(all(&headers, "x-real-ip"), ["192.0.2.7"]);

    let by_rfc = Forwarded {
        client: "2001:db8::7".parse().unwrap(),
        proto: Some("https"),
        host: Some("other.example.com".to_owned()),
    };
    let (headers, _) = sent("", proxy(ForwardedHeader::Forwarded, by_rfc.clone()), &said);
    assert_eq!(all(&headers, "x-forwarded-for"), ["2001:db8::7, 10.0.0.1"]);
    let kept = "for=6.6.6.6, for=\"[2001:db8::7]\";proto=https;host=www.example.com";
    let own = "for=10.0.0.1;proto=http;host=\"chat.example.com\"";
    assert_eq!(all(&headers, "forwarded"), [format!("{kept}, {own}")]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&headers, "x-forwarded-host"), ["other.example.com"]);
    assert!(!headers.contains_key("x-real-ip"));

    let captured = "host = \"{tenant}.example.com\"";
    let (headers, _) = sent(captured, proxy(ForwardedHeader::Forwarded, by_rfc), &said);
    assert_eq!(all(&headers, "x-forwarded-host"), ["chat.example.com"]);
    assert_eq!(all(&headers, "forwarded"), [format!("for=\"[2001:db8::7]\", {own}")]);
}

#[test]
fn only_permessage_deflate_is_offered() {
    let offers =
        [("sec-websocket-extensions", "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits, foo")];
    let (headers, _) = sent("", caller("192.0.2.1"), &offers);
    assert_eq!(all(&headers, "sec-websocket-extensions"), ["permessage-deflate; client_max_window_bits"]);
    let (headers, _) = sent("", caller("192.0.2.1"), &[("sec-websocket-extensions", "foo")]);
    assert!(!headers.contains_key("sec-websocket-extensions"));
}

#[test]
fn a_101_names_the_allowed_origin_and_drops_the_upstreams_hops() {
    let upstream = map(&[
        ("connection", "upgrade, x-hop"),
        ("x-hop", "1"),
        ("set-cookie", "a=b"),
        ("vary", "Cookie"),
        ("access-control-allow-origin", "*"),
    ]);
    let origin = HeaderValue::from_static("https://app.example.com");
    let headers = answer(&route(""), &HeaderMap::new(), &upstream, Some(&origin));
    assert_eq!(all(&headers, "access-control-allow-origin"), ["https://app.example.com"]);
    assert_eq!(all(&headers, "vary"), ["Cookie", "Origin"]);
    assert_eq!(all(&headers, "set-cookie"), ["a=b"]);
    assert!(!headers.contains_key("x-hop"));
}

const FROM_SUBPROTOCOL: &str = "jwt = \"a\"\ntoken_from = [\"subprotocol\", \"subprotocol:auth.\"]";

/// The subprotocol of the client's 101 where it offered `offered` and the upstream chose `chosen`.
fn settled(lines: &str, offered: &str, chosen: Option<&str>) -> Option<String> {
    let client = map(&[("sec-websocket-protocol", offered)]);
    let upstream: Vec<_> = chosen.into_iter().map(|chosen| ("sec-websocket-protocol", chosen)).collect();
    let headers = answer(&route(lines), &client, &map(&upstream), None);
    let values = all(&headers, "sec-websocket-protocol");
    assert!(values.len() <= 1, "{values:?}");
    values.first().map(|value| (*value).to_owned())
}

#[test]
fn the_marker_answers_a_browser_whose_upstream_chose_nothing_and_only_then() {
    let settled = |offered, chosen| settled(FROM_SUBPROTOCOL, offered, chosen);
    for (offered, marker) in [
        ("bearer, bearer.x", "bearer"),
        ("bearer.x,bearer", "bearer"),
        ("chat, auth, auth.x", "auth"),
        ("base64url.bearer.authorization, base64url.bearer.authorization.eA", "base64url.bearer.authorization"),
        (
            "base64url.bearer.authorization.k8s.io.eA, base64url.bearer.authorization.k8s.io",
            "base64url.bearer.authorization.k8s.io",
        ),
        ("bearer, bearer.", "bearer"),
    ] {
        assert_eq!(settled(offered, None).as_deref(), Some(marker), "{offered}");
        assert_eq!(settled(offered, Some("chat")).as_deref(), Some("chat"), "{offered}");
    }
    // Without its token's entry, or with another's, it is no marker; and no other entry is ever chosen for the upstream.
    for offered in ["bearer", "bearer, chat", "chat, bearer.x", "bearer.x", "auth, bearer.x", "Bearer, bearer.x"] {
        assert_eq!(settled(offered, None), None, "{offered}");
    }
}

#[test]
fn a_route_that_takes_no_token_from_a_subprotocol_has_no_marker() {
    for lines in ["", "jwt = \"a\""] {
        assert_eq!(settled(lines, "bearer, bearer.x", None), None);
        assert_eq!(settled(lines, "bearer, bearer.x", Some("bearer")).as_deref(), Some("bearer"));
    }
}

#[test]
fn a_token_s_entry_is_never_the_answer_also_where_the_upstream_gets_it() {
    let forwarded = format!("{FROM_SUBPROTOCOL}\nforward_token = true");
    let offered = [("sec-websocket-protocol", "bearer, bearer.x, chat")];
    let (headers, _) = sent(&forwarded, caller("192.0.2.1"), &offered);
    assert_eq!(all(&headers, "sec-websocket-protocol"), ["bearer.x, chat"]);
    assert_eq!(settled(&forwarded, "bearer, bearer.x", Some("bearer.x")).as_deref(), Some("bearer"));
    assert_eq!(settled(&forwarded, "bearer.x", Some("bearer.x")), None);
}

#[test]
fn a_header_alike_the_token_s_does_not_go_up_in_its_place() {
    let rule = "jwt = \"a\"\ntoken_from = [\"header:X-Api-Token\"]";
    let said = [("x-api-token", "t"), ("x_api_token", "u"), ("x-other", "1")];
    let (headers, _) = sent(rule, caller("192.0.2.1"), &said);
    assert!(!headers.contains_key("x-api-token") && !headers.contains_key("x_api_token"));
    let (headers, _) = sent(&format!("{rule}\nforward_token = true"), caller("192.0.2.1"), &said);
    assert_eq!(all(&headers, "x-api-token"), ["t"]);
    assert!(!headers.contains_key("x_api_token"));
    assert_eq!(all(&headers, "x-other"), ["1"]);
}

#[test]
fn a_trace_goes_on_and_one_that_is_malformed_does_not() {
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let passed = |parent: &str| {
        let (headers, _) = sent("", caller("192.0.2.1"), &[("traceparent", parent), ("tracestate", "vendor=1")]);
        ["traceparent", "tracestate"].map(|name| all(&headers, name).join(", "))
    };
    assert_eq!(passed(GOOD), [GOOD, "vendor=1"]);
    assert_eq!(passed("00-nothing"), ["", ""]);
}
