//! `/upstreams`: how the servers are, and the operator's way to take one out and let it in again.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::reply::{self, refuse};
use super::{AdminState, drain};
use crate::now::millis;
use crate::pool::drain::{UpstreamStatus, close_sessions};

/// What is asked of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Drain,
    Undrain,
}

/// The page for those who look.
pub(super) fn list(state: &AdminState) -> Response<Full<Bytes>> {
    let all: Vec<UpstreamStatus> = state.pools.all().iter().map(|pool| pool.fill().into()).collect();
    reply::json(StatusCode::OK, &json!({ "upstreams": all }))
}

/// The upstream, the server and the act of a path behind `/upstreams/`. Names are percent-encoded where they have a slash.
pub(super) fn parse(rest: &str) -> Option<(String, String, Act)> {
    let (names, act) = rest.rsplit_once('/')?;
    let (upstream, server) = names.split_once('/')?;
    let act = match act {
        "drain" => Act::Drain,
        "undrain" => Act::Undrain,
        _ => return None,
    };
    Some((decode(upstream)?, decode(server)?, act))
}

fn decode(text: &str) -> Option<String> {
    // In a form a plus is a blank; in a path it is itself.
    let query = format!("name={}", text.replace('+', "%2B"));
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.next().map(|(_, value)| value.into_owned()).filter(|value| !value.is_empty())
}

/// Takes a server out, or lets it in again.
pub(super) fn act(
    state: &AdminState,
    peer: SocketAddr,
    (upstream, server, act): (String, String, Act),
    query: &str,
) -> Response<Full<Bytes>> {
    if act == Act::Undrain && !query.is_empty() {
        return refuse(StatusCode::BAD_REQUEST, "there are no parameters here");
    }
    let window = match drain::window(query) {
        Ok(window) => window.map_or_else(&state.drain_timeout, millis),
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    let Some((pool, found)) = state.pools.find(&upstream, &server) else {
        return refuse(StatusCode::NOT_FOUND, "there is no such server: /upstreams lists them");
    };
    let changed = pool.drain(&found, act == Act::Drain);
    let sessions = state.books.sessions.all();
    let sessions = sessions.iter().filter(|live| std::sync::Arc::ptr_eq(&live.server, &found)).count();
    let word = if act == Act::Drain { "drain" } else { "undrain" };
    tracing::info!(%peer, upstream, server, act = word, changed, sessions, "an operator asked for a server");
    if changed && act == Act::Drain {
        tokio::task::spawn_local(close_sessions(state.books.clone(), found, window));
    }
    let drained = act == Act::Drain;
    let body =
        json!({ "upstream": upstream, "server": server, "drained": drained, "changed": changed, "sessions": sessions });
    reply::json(StatusCode::OK, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_upstream_a_server_and_what_to_do() {
        let of = |path: &str| parse(path);
        let drain = |upstream: &str, server: &str| Some((upstream.to_owned(), server.to_owned(), Act::Drain));
        assert_eq!(of("chat/10.0.0.1:80/drain"), drain("chat", "10.0.0.1:80"));
        assert_eq!(of("chat/[::1]:80/undrain"), Some(("chat".into(), "[::1]:80".into(), Act::Undrain)));
        assert_eq!(of("chat/unix:%2Frun%2Fa+b.sock/drain"), drain("chat", "unix:/run/a+b.sock"));
        assert_eq!(of("http:%2F%2Fa:80/a:80/drain"), drain("http://a:80", "a:80"));
        for path in ["", "chat", "chat/drain", "chat//drain", "/a/drain", "chat/a/b", "chat/a/stop"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
