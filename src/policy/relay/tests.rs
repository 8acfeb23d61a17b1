use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};

use super::headers::is_event_stream;
use super::names_websocket;

fn one(name: http::HeaderName, values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(&name, HeaderValue::try_from(*value).unwrap());
    }
    headers
}

#[test]
fn whatever_names_a_websocket_is_a_handshake_and_nothing_else_is() {
    let names = |values: &[&str]| names_websocket(&one(UPGRADE, values));
    for values in
        [&["websocket"][..], &["WebSocket"], &["h2c, websocket"], &["h2c", " websocket/13"], &["websocket ,x"]]
    {
        assert!(names(values), "{values:?}");
    }
    for values in [&[][..], &["h2c"], &["websockets"], &["x-websocket"], &["TLS/1.0, HTTP/1.1"], &[""]] {
        assert!(!names(values), "{values:?}");
    }
}

#[test]
fn a_stream_of_events_is_known_by_its_type_alone() {
    let is = |value: &str| is_event_stream(&one(CONTENT_TYPE, &[value]));
    assert!(is("text/event-stream") && is("Text/Event-Stream; charset=utf-8"));
    assert!(!is("text/plain") && !is("text/event-streams") && !is("") && !is_event_stream(&HeaderMap::new()));
}
