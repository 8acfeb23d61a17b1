//! `/connections`: who is connected, and the operator's way to end it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use ipnet::IpNet;
use serde_json::json;

use super::reply::{self, refuse};
use super::{AdminState, query};
use crate::session::live::ending;
use crate::session::live::order::Order;
use crate::session::live::query::Sort;
use crate::session::live::{Id, Live, Query};

/// The page for those who look.
pub(super) fn list(state: &AdminState, query: &str) -> Response<Full<Bytes>> {
    let query = match parse(query) {
        Ok(query) => query,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    reply::json(StatusCode::OK, &state.books.sessions.snapshot(&query, state.books.clock.now()))
}

fn parse(query: &str) -> Result<Query, String> {
    let mut parsed = Query::first(query::DEFAULT_LIMIT);
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*key {
            "limit" => parsed.limit = query::limit(&value)?,
            "offset" => parsed.offset = value.parse().map_err(|_| "offset is a whole number from 0".to_owned())?,
            "route" => parsed.route = Some(value.into_owned()),
            "subject" => parsed.subject = Some(value.into_owned()),
            "client" => parsed.client = Some(network(&value)?),
            "search" => parsed.search = Some(value.to_lowercase()),
            "sort" => parsed.sort = sort(&value)?,
            "order" => parsed.descending = descending(&value)?,
            _ => {
                let known = "limit, offset, route, subject, client, search, sort and order";
                return Err(format!("there is no such parameter: {known} are known"));
            }
        }
    }
    Ok(parsed)
}

fn network(value: &str) -> Result<IpNet, String> {
    let address = value.parse().map(|address: IpAddr| IpNet::from(address.to_canonical()));
    let network = address.or_else(|_| value.parse());
    network.map_err(|_| "client is an address or a network, as 192.0.2.7 or 10.0.0.0/8".to_owned())
}

fn sort(value: &str) -> Result<Sort, String> {
    let known = Sort::ALL.into_iter().find(|(name, _)| *name == value);
    known.map(|(_, sort)| sort).ok_or_else(|| format!("sort is one of {}", Sort::ALL.map(|(name, _)| name).join(", ")))
}

fn descending(value: &str) -> Result<bool, String> {
    match value {
        "asc" => Ok(false),
        "desc" => Ok(true),
        _ => Err("order is asc or desc".to_owned()),
    }
}

/// Which sessions to close, and with which words.
#[derive(Default)]
struct Kick {
    subject: Option<String>,
    route: Option<String>,
    all: bool,
    code: Option<u16>,
    reason: Option<String>,
}

impl Kick {
    /// What is said twice is refused: of two filters nobody knows which was meant.
    fn parse(query: &str) -> Result<Self, String> {
        let mut kick = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let twice = match &*key {
                "subject" => kick.subject.replace(value.into_owned()).is_some(),
                "route" => kick.route.replace(value.into_owned()).is_some(),
                "reason" => kick.reason.replace(value.into_owned()).is_some(),
                "code" => {
                    let code = value.parse().map_err(|_| "code is a number, as 1008 or 4000".to_owned())?;
                    kick.code.replace(code).is_some()
                }
                "all" if value == "true" => std::mem::replace(&mut kick.all, true),
                "all" => return Err("all is true, or is left out".to_owned()),
                _ => {
                    let known = "subject, route, all, code and reason";
                    return Err(format!("there is no such parameter: {known} are known"));
                }
            };
            if twice {
                return Err(format!("{key} is given twice"));
            }
        }
        Ok(kick)
    }

    fn is_of(&self, live: &Live) -> bool {
        self.route.as_deref().is_none_or(|route| *live.route == *route)
            && self.subject.as_deref().is_none_or(|subject| live.holder.subject.as_deref() == Some(subject))
    }
}

/// Closes every session that the query's filters leave, of which there has to be one.
pub(super) fn close_all(state: &AdminState, peer: SocketAddr, query: &str) -> Response<Full<Bytes>> {
    let kick = match Kick::parse(query) {
        Ok(kick) => kick,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    let why = match (kick.all, kick.subject.is_some() || kick.route.is_some()) {
        (false, false) => "which sessions? subject or route, or all=true for everybody",
        (true, true) => "all=true stands beside a filter: keep one",
        _ => return close(state, peer, kick, |kick, live| kick.is_of(live)),
    };
    refuse(StatusCode::BAD_REQUEST, why)
}

/// Closes the session of this id.
pub(super) fn close_one(state: &AdminState, peer: SocketAddr, id: &str, query: &str) -> Response<Full<Bytes>> {
    let kick = match Kick::parse(query) {
        Ok(kick) if kick.all || kick.subject.is_some() || kick.route.is_some() => {
            return refuse(StatusCode::BAD_REQUEST, "an id is one session: no filter stands beside it");
        }
        Ok(kick) => kick,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, &wrong),
    };
    // As it is written at /connections; another spelling is no id of ours.
    let id = u64::from_str_radix(id, 16).ok().map(Id).filter(|known| known.to_string() == id);
    match id.and_then(|id| state.books.sessions.all().into_iter().find(|live| live.id == id)) {
        Some(live) => close(state, peer, kick, |_, other| other.id == live.id),
        None => refuse(StatusCode::NOT_FOUND, "there is no live session of this id: /connections lists them"),
    }
}

fn close(
    state: &AdminState,
    peer: SocketAddr,
    kick: Kick,
    is_meant: impl Fn(&Kick, &Live) -> bool,
) -> Response<Full<Bytes>> {
    let order = match Order::kick(kick.code, kick.reason.clone()) {
        Ok(order) => order,
        Err(wrong) => return refuse(StatusCode::BAD_REQUEST, wrong),
    };
    let meant = state.books.sessions.all().into_iter().filter(|live| is_meant(&kick, live)).collect::<Vec<Arc<Live>>>();
    let code = order.code();
    let closed = ending::end(meant, &order);
    tracing::info!(%peer, closed, code, subject = kick.subject, route = kick.route, "sessions are closed by the operator");
    reply::json(StatusCode::OK, &json!({ "closed": closed }))
}
