//! `[redis]`: whether its keys fit together.

use std::time::Duration;

use super::Findings;
use crate::config::Redis;
use crate::config::value::RedisUrl;
use crate::policy::remote::Remote;
use crate::policy::target::Transport;

/// A handshake waits this long for each of its calls: below is no network, above is no limit but a stall.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(1);

/// More are no quorum but a mistake.
const MOST_SENTINELS: usize = 16;

/// What is obeyed of it; `None` where it is wrong, and said to be.
pub(super) fn compile(redis: &Redis, found: &mut Findings) -> Option<Remote> {
    let before = found.problems.len();
    let username = user(redis, found);
    sentinels(redis, found);
    check_words(redis, found);
    let mut servers = Vec::new();
    let mut databases = Vec::new();
    for url in &redis.url.0 {
        match url {
            RedisUrl::Tcp { tls, host, port, database, .. } => {
                servers.push(Transport::Tcp { host: host.clone(), port: *port, tls: *tls });
                databases.push(database.unwrap_or_default());
            }
            RedisUrl::Unix(path) => servers.push(Transport::Unix(path.clone())),
        }
    }
    databases.dedup();
    if databases.len() > 1 {
        found.wrong("redis.url", "the URLs name different databases", "the master has one: the same behind each");
    }
    let tls = |server: &&Transport| matches!(server, Transport::Tcp { tls: true, .. });
    match servers.iter().filter(tls).count() {
        0 if redis.ca.is_some() => found.wrong("redis.ca", "no URL is of TLS", "write rediss:// in `url`"),
        some if (1..servers.len()).contains(&some) => {
            found.wrong("redis.url", "some URLs are of TLS and some are not", "rediss:// for all, or redis:// for all");
        }
        _ => {}
    }
    (found.problems.len() == before).then(|| Remote {
        servers,
        sentinel: redis.sentinel_master.clone(),
        database: databases.first().copied().unwrap_or_default().into(),
        username,
        prefix: redis.prefix.clone(),
        timeout: redis.timeout,
        on_error: redis.on_error,
    })
}

fn user(redis: &Redis, found: &mut Findings) -> Option<String> {
    let mut in_urls = redis.url.0.iter().filter_map(|url| match url {
        RedisUrl::Tcp { user, .. } => user.clone(),
        RedisUrl::Unix(_) => None,
    });
    let in_url = in_urls.next();
    if in_url.is_some() && (redis.username.is_some() || redis.sentinel_master.is_some()) {
        found.wrong("redis.url", "a user stands in the URL", "name it as `username` alone");
    }
    let username = redis.username.clone().or(in_url);
    if username.is_some() && redis.password.is_none() {
        found.wrong("redis", "a user without `password`", "password = \"env:REDIS_PASSWORD\"");
    }
    if redis.username.as_ref().is_some_and(String::is_empty) {
        found.wrong("redis.username", "the name is empty", "leave it out for the default user");
    }
    username
}

fn sentinels(redis: &Redis, found: &mut Findings) {
    let urls = &redis.url.0;
    match &redis.sentinel_master {
        None if urls.len() > 1 => found.wrong(
            "redis.url",
            "several URLs, and no `sentinel_master`",
            "several are Sentinels: name the master that they watch. Redis Cluster is not supported",
        ),
        Some(name) if name.is_empty() => found.wrong("redis.sentinel_master", "the name is empty", ""),
        Some(_) if urls.len() > MOST_SENTINELS => {
            found.wrong(
                "redis.url",
                format!("{} Sentinels are too many", urls.len()),
                &format!("at most {MOST_SENTINELS}"),
            );
        }
        Some(_) if urls.iter().any(|url| matches!(url, RedisUrl::Unix(_))) => {
            found.wrong("redis.url", "a Sentinel is no local socket", "redis:// or rediss://, each with its port");
        }
        _ => {}
    }
}

fn check_words(redis: &Redis, found: &mut Findings) {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    if !(1..=64).contains(&redis.prefix.len()) || !redis.prefix.chars().all(good) {
        found.wrong(
            "redis.prefix",
            "this can't begin a key",
            "1 to 64 letters, digits, -, _, . and :; the braces around it are the gateway's",
        );
    }
    if !TIMEOUTS.contains(&redis.timeout) {
        found.wrong(
            "redis.timeout",
            format!("{} ms is no time for one call", redis.timeout.as_millis()),
            "from \"1ms\" to \"1s\": a handshake waits for it",
        );
    }
}
