//! What matches, what only looks like it, and what an operator may write.

use super::*;
use proptest::prelude::*;

fn list(patterns: &[&str]) -> Origins {
    let patterns = patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    Origins::List { patterns, allow_missing: false }
}

fn check(pattern: &str, origin: impl AsRef<[u8]>) -> Result<(), Deny> {
    list(&[pattern]).check(Some(origin.as_ref()))
}

#[test]
fn an_origin_matches_by_scheme_host_and_effective_port() {
    let table = [
        ("https://app.example.com", "https://app.example.com"),
        ("https://app.example.com", "https://app.example.com:443"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("https://app.example.com", "HTTPS://APP.example.COM"),
        ("https://App.Example.com", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("http://app.example.com", "http://app.example.com:80"),
        ("wss://app.example.com", "wss://app.example.com:443"),
        ("ws://app.example.com:80", "ws://app.example.com"),
        ("https://*.example.com", "https://app.example.com"),
        ("https://*.example.com", "https://a.b.example.com"),
        ("https://*.Example.com", "https://APP.example.com:443"),
        ("https://*.example.com:8443", "https://app.example.com:8443"),
        ("http://*.localhost", "http://app.localhost"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0::1]", "http://[::1]:80"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://under_score.example", "https://under_score.example"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("app://localhost", "app://localhost"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("app://localhost:8080", "app://localhost:8080"),
        ("null", "null"),
    ];
    for (pattern, origin) in table {
        assert_eq!(check(pattern, origin), Ok(()), "{origin} against {pattern}");
    }
}

#[test]
fn an_origin_that_only_looks_alike_is_forbidden() {
    let table = [
        ("https://app.example.com", "https://app.example.com.evil.com"),
        ("https://app.example.com", "https://evilapp.example.com"),
        ("https://app.example.com", "https://example.com"),
        ("https://app.example.com", "https://evil.com"),
        ("https://app.example.com", "https://sub.app.example.com"),
        ("https://app.example.com", "https://appxexample.com"),
        ("https://app.example.com", "https://app-example.com"),
        ("https://app.example.com", "https://app.example.co"),
        ("https://app.example.com", "http://app.example.com"),
        ("https://app.example.com", "http://app.example.com:443"),
        ("https://app.example.com", "wss://app.example.com"),
        ("https://app.example.com", "https://app.example.com:8443"),
        ("https://app.example.com:8443", "https://app.example.com"),
        ("https://app.example.com:8443", "https://app.example.com:84430"),
        ("https://app.example.com:8443", "https://app.example.com:443"),
        ("https://*.example.com", "https://example.com"),
        ("https://*.example.com", "https://.example.com"),
        ("https://*.example.com", "https://evilexample.com"),
        ("https://*.example.com", "https://app.example.com.evil.com"),
        ("https://*.example.com", "https://app.example.com:8443"),
        ("https://*.example.com", "http://app.example.com"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://*.example.com", "https://a..example.com"),
        ("http://127.0.0.1:3000", "http://127.0.0.1"),
        ("http://127.0.0.1:3000", "http://127.0.0.1.evil.com:3000"),
        ("http://127.0.0.1:3000", "http://2130706433:3000"),
        ("http://[::1]:3000", "http://[::2]:3000"),
        ("http://[::1]:3000", "http://::1:3000"),
        ("http://[::1]:3000", "http://[::1]3000"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmno"),
        ("chrome-extension://abcdefghijklmnop", "moz-extension://abcdefghijklmnop"),
        ("app://Localhost", "app://localhost"),
        ("app://localhost", "app://localhost:80"),
        ("https://app.example.com", "null"),
        ("null", "https://null"),
        ("null", "NULL"),
        ("null", "null "),
    ];
    for (pattern, origin) in table {
        assert_eq!(check(pattern, origin), Err(Deny::OriginForbidden), "{origin} against {pattern}");
    }
}

#[test]
fn a_header_that_is_no_single_origin_is_forbidden() {
    let malformed: &[&[u8]] = &[
        b"",
        b" ",
        b"*",
        b"any",
        b"app.example.com",
        b"//app.example.com",
        b"https:app.example.com",
        b"https:/app.example.com",
        b"https:///app.example.com",
        b"://app.example.com",
        b"1https://app.example.com",
        b"https\\://app.example.com",
        b"https://app.example.com/",
        b"https://app.example.com/path",
        b"https://app.example.com?q",
        b"https://app.example.com#f",
        b"https://app.example.com\\",
        b"https://app.example.com@evil.com",
        b"https://evil.com@app.example.com",
        b"https://user:pass@app.example.com",
        b"https://evil.com/https://app.example.com",
        b"https://evil.com#https://app.example.com",
        b"https://app.example.com.",
        b"https://.app.example.com",
        b"https://app..example.com",
        b"https://app.example.com:",
        b"https://app.example.com:0443",
        b"https://app.example.com:+443",
        b"https://app.example.com:443:443",
        b"https://app.example.com:65979",
        b"https://app.example.com:https",
        b"https://app.example.com,https://evil.com",
        b"https://app.example.com, https://app.example.com",
        b"https://app.example.com https://evil.com",
        b"https://app.example.com ",
        b" https://app.example.com",
        b"\thttps://app.example.com",
        b"https://app.example.com\0",
        b"https://app.example.com\0.evil.com",
        b"https://app%2eexample.com",
        b"https://%61pp.example.com",
        b"https://app.example.com%00.evil.com",
        b"https://app.example.com\xff",
        "https://app\u{3002}example.com".as_bytes(),
        "https://\u{430}pp.example.com".as_bytes(),
        "https://app.ex\u{ad}ample.com".as_bytes(),
        b"https://[app.example.com]",
        b"https://[::1",
        b"https://[::1]x",
        b"https://[::1%25eth0]",
        b"https://[]",
        b"https://",
        b"https://:443",
    ];
    let wide = list(&["https://app.example.com", "https://*.example.com", "https://*.com", "null"]);
    assert_eq!(wide.check(Some(b"https://app.example.com")), Ok(()));
    for origin in malformed {
        let shown = String::from_utf8_lossy(origin);
        assert_eq!(wide.check(Some(origin)), Err(Deny::OriginForbidden), "{shown:?}");
        assert_eq!(Origins::Any.check(Some(origin)), Ok(()), "{shown:?}");
    }
}

#[test]
fn an_origin_of_any_length_is_judged_and_none_longer_than_a_host_can_be_passes() {
    let longest = format!("https://{}example.com", "a.".repeat(121));
    assert_eq!(check("https://*.example.com", longest), Ok(()));
    for count in [200, 1 << 20] {
        let huge = format!("https://{}example.com", "a.".repeat(count));
        assert_eq!(check("https://*.example.com", huge), Err(Deny::OriginForbidden));
    }
}

#[test]
fn a_missing_origin_is_refused_unless_the_route_says_otherwise() {
    let patterns = vec![Pattern::parse("https://app.example.com").unwrap()];
    assert_eq!(list(&["https://app.example.com", "null"]).check(None), Err(Deny::OriginMissing));
    let lenient = Origins::List { patterns, allow_missing: true };
    assert_eq!(lenient.check(None), Ok(()));
    for present in [&b""[..], b"null", b"https://evil.com"] {
        assert_eq!(lenient.check(Some(present)), Err(Deny::OriginForbidden), "missing is not the same as wrong");
    }
}

#[test]
fn any_takes_everyone_and_an_empty_list_nobody() {
    for origin in [None, Some(&b"null"[..]), Some(b"https://evil.com"), Some(b"\xff garbage")] {
        assert_eq!(Origins::Any.check(origin), Ok(()));
        assert!(list(&[]).check(origin).is_err());
    }
}

#[test]
fn one_match_in_the_list_is_enough() {
    let origins = list(&["https://app.example.com", "https://*.preview.example.com", "null"]);
    for origin in ["https://app.example.com", "https://pr-7.preview.example.com", "null"] {
        assert_eq!(origins.check(Some(origin.as_bytes())), Ok(()), "{origin}");
    }
    assert_eq!(origins.check(Some(b"https://preview.example.com")), Err(Deny::OriginForbidden));
}

#[test]
fn a_pattern_that_can_not_match_is_refused_with_what_to_write() {
    let table = [
        ("*", "origins = \"any\""),
        ("app.example.com", "no scheme"),
        ("*.example.com", "no scheme"),
        ("", "no scheme"),
        ("NULL", "no scheme"),
        ("https://app.example.com/", "write \"https://app.example.com\""),
        ("https://app.example.com:8443/chat?x", "write \"https://app.example.com:8443\""),
        ("https://b\u{fc}cher.example", "xn--"),
        ("https://*", "is no origin"),
        ("https://*.", "is no origin"),
        ("https://app.*.example.com", "is no origin"),
        ("https://app*.example.com", "is no origin"),
        ("https://*.*.example.com", "is no origin"),
        ("https://*:443", "is no origin"),
        ("https://app.example.com:*", "is no origin"),
        ("https://app.example.com:70000", "is no origin"),
        ("https://app.example.com.", "is no origin"),
        ("https://user@app.example.com", "is no origin"),
        ("https://app.example.com, https://b.example.com", "has a path"),
        (" https://app.example.com", "is no origin"),
        ("*://app.example.com", "is no origin"),
        ("https://*.0.0.1", "nothing that `*.` could stand for"),
        ("https://*.[::1]", "nothing that `*.` could stand for"),
        ("chrome-extension://*.abc", "nothing that `*.` could stand for"),
    ];
    for (text, advice) in table {
        let message = Pattern::parse(text).expect_err(text);
        assert!(message.contains(advice), "`{text}`: {message}");
        assert!(message.starts_with('`') && !message.ends_with('.'), "{message}");
    }
}

proptest! {
    #[test]
    fn nothing_passes_a_list_but_what_is_spelt_like_it(origin in "(https|HTTPS|http)://[aB.@/]{0,4}(\\.ex\\.com|\\.Ex\\.coM|ex\\.com|\\.ex-com)(:443|:44|/|\\.|)") {
        let passes = check("https://*.ex.com", &origin).is_ok();
        let lower = origin.to_ascii_lowercase();
        let bare = lower.strip_suffix(":443").unwrap_or(&lower);
        let labels = bare.strip_prefix("https://").and_then(|rest| rest.strip_suffix(".ex.com"));
        let spelt = labels.is_some_and(|l| l.split('.').all(|l| !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric())));
        prop_assert_eq!(passes, spelt, "{}", origin);
    }

    #[test]
    fn a_page_below_a_host_passes_and_the_same_below_another_does_not(labels in "([a-z0-9-]{1,9}\\.){1,5}", evil in "[a-z]{1,8}") {
        let (page, beside, beyond) = (
            format!("https://{labels}example.com"),
            format!("https://{labels}{evil}example.com"),
            format!("https://{labels}example.com.{evil}"),
        );
        prop_assert!(check("https://*.example.com", page).is_ok());
        prop_assert!(check("https://*.example.com", beside).is_err());
        prop_assert!(check("https://*.example.com", beyond).is_err());
    }

    #[test]
    fn no_bytes_panic(header in any::<Vec<u8>>(), pattern in any::<String>()) {
        let _ = Pattern::parse(&pattern);
        prop_assert!(list(&["https://app.example.com", "null"]).check(Some(&header)).is_err());
    }
}
