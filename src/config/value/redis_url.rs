//! Where Redis is: `redis://`, `rediss://` for TLS, or `unix:/path`; one, or a list of Sentinels. Never with a password.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::url::host_and_port;
use super::{Typed, typed_value};

/// Redis' own port.
const PORT: u16 = 6379;

const AS: &str = "as \"redis://127.0.0.1:6379/0\", \"rediss://redis.internal\" for TLS, or \"unix:/run/redis.sock\"";

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisUrl {
    /// Over TCP.
    Tcp {
        /// Whether TLS is spoken.
        tls: bool,
        /// The ACL user.
        user: Option<String>,
        /// A name, or an address without brackets.
        host: String,
        /// The port.
        port: u16,
        /// The number of the database; none where it was left out.
        database: Option<u16>,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for RedisUrl {
    type Err = String;

    // A password may stand in it by mistake, so no message repeats the text.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("this is no URL of Redis: {what}\n{AS}"));
        if let Some(path) = text.strip_prefix("unix:") {
            if !path.starts_with('/') {
                return wrong("a socket's path begins with a slash");
            }
            return Ok(Self::Unix(path.into()));
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return wrong("it begins with none of redis://, rediss:// and unix:/"),
        };
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) if user.contains(':') => {
                let _ = rest;
                return Err("a password does not stand in this file\n\
                            name where it does as `password`, as \"env:REDIS_PASSWORD\" or \"file:/run/secrets/redis\""
                    .into());
            }
            Some((user, rest)) if is_user(user) => (Some(user.to_owned()), rest),
            Some(_) => return wrong("the user in front of the @ is malformed"),
            None => (None, rest),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let Some((host, port)) = host_and_port(authority, PORT) else {
            return wrong("host or port is malformed");
        };
        let database = match database {
            "" => None,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) && number.len() <= 4 => number.parse().ok(),
            _ => return wrong("behind the host stands the number of a database, and nothing else"),
        };
        Ok(Self::Tcp { tls, user, host, port, database })
    }
}

/// What an ACL user may be called without being escaped in a URL.
fn is_user(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
}

impl Typed for RedisUrl {
    const EXPECTED: &'static str = "a URL as \"redis://127.0.0.1:6379/0\", \"rediss://..\" or \"unix:/path\"";
}

typed_value!(RedisUrl, types: "string", pattern: "^(rediss?://([A-Za-z0-9_.~-]+@)?[^@/]+(/[0-9]*)?|unix:/.+)$",
    description: "Where Redis is: redis://, rediss:// (TLS) or unix:/path, without a password");

/// One server, or a list of Sentinels. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "RedisUrlsTyped")]
pub struct RedisUrls(pub Vec<RedisUrl>);

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only the schema's form of it")]
enum RedisUrlsTyped {
    One(RedisUrl),
    Many(#[schemars(length(min = 1))] Vec<RedisUrl>),
}

impl<'de> Deserialize<'de> for RedisUrls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UrlsVisitor;

        impl<'de> Visitor<'de> for UrlsVisitor {
            type Value = Vec<RedisUrl>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                write!(f, "{}, or a list of them", RedisUrl::EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<RedisUrl>, E> {
                text.parse().map(|url| vec![url]).map_err(E::custom)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<RedisUrl>, A::Error> {
                let mut urls = Vec::new();
                while let Some(url) = list.next_element()? {
                    urls.push(url);
                }
                Ok(urls)
            }
        }

        let urls = deserializer.deserialize_any(UrlsVisitor)?;
        if urls.is_empty() {
            return Err(D::Error::custom("the list is empty\nname one server, or several Sentinels"));
        }
        Ok(Self(urls))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(tls: bool, user: Option<&str>, host: &str, port: u16, database: Option<u16>) -> RedisUrl {
        RedisUrl::Tcp { tls, user: user.map(str::to_owned), host: host.to_owned(), port, database }
    }

    #[test]
    fn a_url_is_taken_apart() {
        assert_eq!("redis://127.0.0.1:6379/0".parse(), Ok(tcp(false, None, "127.0.0.1", 6379, Some(0))));
        assert_eq!("rediss://Redis.internal".parse(), Ok(tcp(true, None, "redis.internal", 6379, None)));
        assert_eq!("redis://app@[::1]:7000/15".parse(), Ok(tcp(false, Some("app"), "::1", 7000, Some(15))));
        assert_eq!("unix:/run/redis.sock".parse(), Ok(RedisUrl::Unix("/run/redis.sock".into())));
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in [
            "redis://app:hunter2@a",
            "redis://:hunter2@a",
            "rediss://app:hun@ter2@a",
            "redis://a/hunter2",
            "redis://hunter2/@a",
            "hunter2@a",
            "redis://a:hunter2",
        ] {
            let message = text.parse::<RedisUrl>().unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn what_is_no_place_of_redis_is_refused() {
        for text in [
            "",
            "a:6379",
            "http://a",
            "redis+sentinel://a",
            "redis:/a",
            "redis://",
            "redis://a:0",
            "unix:a",
            "redis://a/1x",
            "redis://a/0?x=1",
            "redis://@a",
        ] {
            assert!(text.parse::<RedisUrl>().is_err(), "{text}");
        }
    }
}
