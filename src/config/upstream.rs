//! `[upstream.NAME]`: several servers behind one name, which of them gets a handshake, and when one is left out.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::value::{self, KeyPart, ServerAddress};
use super::{five_seconds, ten_seconds};

/// `[upstream.NAME]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers: `host:port`, `unix:/path`, or a table with an `address` and terms of its own. Every address of a host
    /// name is a server.
    pub servers: Vec<Server>,
    /// Which server gets a handshake: `round_robin`, `least_connections` or `hash`.
    #[serde(default)]
    pub balance: Balance,
    /// What `balance = "hash"` goes by: `ip`, `subject`, `claim:PATH`, `header:NAME` or `cookie:NAME`.
    pub hash: Option<KeyPart>,
    /// What takes the place of the route's path, as in nginx's `proxy_pass`. Default: the path is kept.
    pub path: Option<String>,
    /// Whether the servers are spoken to over TLS.
    #[serde(default)]
    pub tls: bool,
    /// PEM file of the authorities that may sign the servers' certificates. Default: the system's.
    pub ca: Option<PathBuf>,
    /// The name that the servers' certificates are for. Default: the host as it stands in `servers`.
    pub server_name: Option<String>,
    /// How many further servers a handshake is tried on whose connection could not be made. At most 16.
    #[serde(default = "two")]
    #[schemars(range(max = 16))]
    pub retries: u32,
    /// After how many failures in a row a server is left out. 0: never.
    #[serde(default = "three")]
    pub max_fails: u32,
    /// For how long: twice as long each time in a row, at most 5m. Failures that lie further apart do not add up.
    #[serde(default = "ten_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub fail_timeout: Duration,
    /// Present: a server that is back gets its full share of handshakes only after this long.
    #[serde(default, with = "value::optional_duration")]
    #[schemars(with = "Option<value::TimeText>")]
    pub slow_start: Option<Duration>,
    /// How many handshakes may wait while every server has its `max_connections`. At most 100000.
    #[serde(default)]
    #[schemars(range(max = 100_000))]
    pub queue: usize,
    /// How long one may wait.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub queue_timeout: Duration,
    /// How often host names are looked up anew. At least 1s.
    #[serde(default = "thirty_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub resolve: Duration,
    /// Present: the servers are asked whether they are well, whether or not anybody connects.
    pub health: Option<Health>,
}

/// Which server gets a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn, by weight: nginx's smooth round robin.
    #[default]
    RoundRobin,
    /// The one with the fewest sessions for its weight.
    LeastConnections,
    /// The same one for the same key, as long as it is there.
    Hash,
}

/// A server with terms of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTable {
    /// `host:port`, or `unix:/path`.
    pub address: ServerAddress,
    /// Its share of the handshakes. 1 to 1000.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Sessions that it may have at once, handshakes under way included. Default: no bound.
    #[serde(default, deserialize_with = "value::positive_option")]
    #[schemars(range(min = 1))]
    pub max_connections: Option<usize>,
    /// Whether it is used only while none of the others can be.
    #[serde(default)]
    pub backup: bool,
}

/// One of `servers`: an address, or a table.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "ServerTyped")]
pub struct Server(pub ServerTable);

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum ServerTyped {
    Table(ServerTable),
    Address(ServerAddress),
}

// By hand, since serde's untagged enums lose what was wrong and where.
impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ServerVisitor;

        impl<'de> Visitor<'de> for ServerVisitor {
            type Value = Server;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text as \"10.0.0.1:8000\", or a table as { address = \"10.0.0.1:8000\", weight = 2 }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Server, E> {
                let address = text.parse().map_err(E::custom)?;
                Ok(Server(ServerTable { address, weight: 1, max_connections: None, backup: false }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Server, A::Error> {
                ServerTable::deserialize(MapAccessDeserializer::new(map)).map(Server)
            }
        }

        deserializer.deserialize_any(ServerVisitor)
    }
}

/// `health = { .. }` of an upstream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// What is tried: `tcp` connects (with `tls` the TLS handshake too), `http` asks for a 2xx or 3xx, `websocket` for a
    /// 101 that is checked whole.
    #[serde(rename = "type")]
    pub kind: HealthKind,
    /// The path that `http` and `websocket` ask for. Default: `/`.
    pub path: Option<String>,
    /// The `Host` that they name. Default: the server's own address.
    pub host: Option<String>,
    /// How often each server is asked. At least 100ms.
    #[serde(default = "five_seconds", with = "value::duration")]
    #[schemars(with = "value::TimeText")]
    pub interval: Duration,
    /// How long a check may take, connecting included. At most `interval`. Default: 2s, or `interval` if that is less.
    #[serde(default, with = "value::optional_duration")]
    #[schemars(with = "Option<value::TimeText>")]
    pub timeout: Option<Duration>,
    /// After how many good checks in a row a server that was down is up.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub rise: u32,
    /// After how many bad checks in a row a server that was up is down. The first check of all decides alone.
    #[serde(default = "three")]
    #[schemars(range(min = 1))]
    pub fall: u32,
}

/// What a check tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// A connection.
    Tcp,
    /// A `GET`, and an answer of 2xx or 3xx.
    Http,
    /// A WebSocket, closed again at once.
    Websocket,
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}
