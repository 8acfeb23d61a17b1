//! From a zone's `key` to the key of one handshake: which of its facts are counted apart.
//!
//! Each part stands behind its length, so that no two handshakes share a key by the way their parts are cut. What is
//! absent, such as a header that was not sent, is a value of its own: to leave something out is no way round a limit.

use std::net::IpAddr;

use http::HeaderMap;

use super::{Key, KeyHasher};
use crate::config::Store;
use crate::config::value::KeyPart;
use crate::policy::identity::Identity;
use crate::policy::token::source;

/// What is known of a handshake when it is counted.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Whose handshake it is.
    pub client: IpAddr,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The host that it asks for, in lower case, without a port.
    pub host: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// Whose session it will be; none before that is known.
    pub identity: Option<&'a Identity>,
}

/// A zone's `key`, compiled.
#[derive(Clone, Debug)]
pub struct KeyRule {
    parts: Box<[KeyPart]>,
    hash: Hash,
}

/// How a key gets its fixed size.
#[derive(Clone, Debug)]
enum Hash {
    /// Seeded at random: for this gateway alone.
    Seeded(KeyHasher),
    /// The same on every gateway.
    Shared,
}

impl KeyRule {
    /// A key of these parts, never none, for zones in this store.
    #[must_use]
    pub fn new(parts: &[KeyPart], store: Store, hasher: &KeyHasher) -> Self {
        let hash = match store {
            Store::Local => Hash::Seeded(hasher.clone()),
            Store::Redis => Hash::Shared,
        };
        Self { parts: parts.into(), hash }
    }

    /// The parts, in the order of the file.
    #[must_use]
    pub fn parts(&self) -> &[KeyPart] {
        &self.parts
    }

    /// Whether the key can't be told before a token or certificate was judged.
    #[must_use]
    pub fn needs_identity(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, KeyPart::Subject | KeyPart::Claim(_)))
    }

    /// Whether each connection has a key of its own: then there is nothing to look up.
    #[must_use]
    pub fn is_per_connection(&self) -> bool {
        self.parts.contains(&KeyPart::Connection)
    }

    /// Whether the subject is the whole key.
    #[must_use]
    pub fn is_subject(&self) -> bool {
        matches!(*self.parts, [KeyPart::Subject])
    }

    /// The key of this handshake, if all that it is made of is there: for what gives keys a place instead of counting them.
    #[must_use]
    pub fn key_if_there(&self, facts: &Facts<'_>) -> Option<Key> {
        self.parts.iter().all(|part| is_there(part, facts)).then(|| self.key(facts))
    }

    /// The key of this handshake.
    #[must_use]
    pub fn key(&self, facts: &Facts<'_>) -> Key {
        if let [KeyPart::Ip] = *self.parts {
            return Key::of_ip(facts.client);
        }
        let mut text = Vec::with_capacity(64);
        for part in &self.parts {
            write(part, facts, &mut text);
        }
        match &self.hash {
            Hash::Seeded(hasher) => hasher.key(&text),
            Hash::Shared => Key::shared(&text),
        }
    }
}

/// Whether what a part reads is there.
fn is_there(part: &KeyPart, facts: &Facts<'_>) -> bool {
    match part {
        KeyPart::Subject => facts.identity.is_some_and(|identity| identity.subject.is_some()),
        KeyPart::Claim(path) => facts.identity.is_some_and(|identity| identity.claims.get(path).is_some()),
        KeyPart::Header(name) => facts.headers.contains_key(name),
        KeyPart::Cookie(name) => source::cookies(name, facts.headers).next().is_some(),
        KeyPart::Ip | KeyPart::Route | KeyPart::Host | KeyPart::Connection => true,
    }
}

fn write(part: &KeyPart, facts: &Facts<'_>, text: &mut Vec<u8>) {
    match part {
        KeyPart::Ip => {
            let Key { high, low } = Key::of_ip(facts.client);
            put(text, &high.to_be_bytes());
            put(text, &low.to_be_bytes());
        }
        KeyPart::Subject => {
            put_issuer(text, facts);
            put_if(text, facts.identity.and_then(|identity| identity.subject.as_deref()).map(str::as_bytes));
        }
        KeyPart::Claim(path) => {
            put_issuer(text, facts);
            let claim = facts.identity.and_then(|identity| identity.claims.get(path));
            put_if(text, claim.map(|claim| claim.to_string()).as_deref().map(str::as_bytes));
        }
        KeyPart::Header(name) => put_all(text, facts.headers.get_all(name).iter().map(|value| value.as_bytes())),
        KeyPart::Cookie(name) => put_all(text, source::cookies(name, facts.headers)),
        KeyPart::Route => put(text, facts.route.as_bytes()),
        KeyPart::Host => put(text, facts.host.as_bytes()),
        // Its holder asks `is_per_connection`.
        KeyPart::Connection => {}
    }
}

/// Of two issuers each has its own `alice`, and its own `acme`.
fn put_issuer(text: &mut Vec<u8>, facts: &Facts<'_>) {
    put_if(text, facts.identity.and_then(|identity| identity.jwt.as_deref()).map(str::as_bytes));
}

fn put(text: &mut Vec<u8>, value: &[u8]) {
    text.extend_from_slice(&(value.len() as u64).to_be_bytes());
    text.extend_from_slice(value);
}

fn put_if(text: &mut Vec<u8>, value: Option<&[u8]>) {
    put_all(text, value.into_iter());
}

/// However many there are, behind their number: two headers are not one that holds both.
fn put_all<'a>(text: &mut Vec<u8>, values: impl Iterator<Item = &'a [u8]>) {
    let at = text.len();
    text.extend_from_slice(&[0; 8]);
    let mut count = 0_u64;
    for value in values {
        put(text, value);
        count += 1;
    }
    text[at..at + 8].copy_from_slice(&count.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::claims::Claims;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn facts<'a>(headers: &'a HeaderMap, identity: Option<&'a Identity>) -> Facts<'a> {
        Facts { client: [192, 0, 2, 1].into(), headers, host: "a.example.com", route: "chat", identity }
    }

    fn rule(parts: &[&str], store: Store) -> KeyRule {
        let parts: Vec<KeyPart> = parts.iter().map(|part| part.parse().unwrap()).collect();
        KeyRule::new(&parts, store, &KeyHasher::default())
    }

    fn identity(jwt: &str, subject: &str, claims: &str) -> Identity {
        let claims: serde_json::Map<_, _> = serde_json::from_str(claims).unwrap();
        let claims = Claims::from(claims);
        Identity { subject: Some(subject.into()), jwt: Some(Arc::from(jwt)), claims, ..Identity::default() }
    }

    #[test]
    fn each_part_tells_its_own_value_apart_and_nothing_else() {
        for store in [Store::Local, Store::Redis] {
            let (one, other) = (identity("a", "x", r#"{"plan":"free"}"#), identity("a", "y", r#"{"plan":"paid"}"#));
            let (h1, h2) =
                (headers(&[("x-k", "1"), ("cookie", "s=1")]), headers(&[("x-k", "2"), ("cookie", "a=1; s=2")]));
            let base = facts(&h1, Some(&one));
            let changed = [
                ("ip", Facts { client: [192, 0, 2, 2].into(), ..base }),
                ("subject", Facts { identity: Some(&other), ..base }),
                ("claim:plan", Facts { identity: Some(&other), ..base }),
                ("header:x-k", Facts { headers: &h2, ..base }),
                ("cookie:s", Facts { headers: &h2, ..base }),
                ("route", Facts { route: "other", ..base }),
                ("host", Facts { host: "b.example.com", ..base }),
            ];
            for (part, change) in &changed {
                let rule = rule(&[part], store);
                assert_eq!(rule.key(&base), rule.key(&base), "{part}");
                assert_ne!(rule.key(&base), rule.key(change), "{part}");
                let blind_to = changed.iter().filter(|(_, other)| rule.key(&base) == rule.key(other)).count();
                // The token of another subject has another plan too, and the other headers another cookie.
                let seen = if matches!(*part, "ip" | "route" | "host") { 1 } else { 2 };
                assert_eq!(blind_to, changed.len() - seen, "{part} sees what is not its own");
            }
        }
    }

    #[test]
    fn a_combination_tells_apart_what_any_part_does() {
        let none = headers(&[]);
        let rule = rule(&["ip", "route"], Store::Local);
        let base = facts(&none, None);
        assert_ne!(rule.key(&base), rule.key(&Facts { route: "other", ..base }));
        assert_ne!(rule.key(&base), rule.key(&Facts { client: [192, 0, 2, 2].into(), ..base }));
    }

    #[test]
    fn parts_can_t_be_cut_another_way() {
        let rule = rule(&["host", "route"], Store::Local);
        let none = headers(&[]);
        let base = facts(&none, None);
        assert_ne!(
            rule.key(&Facts { host: "ab", route: "c", ..base }),
            rule.key(&Facts { host: "a", route: "bc", ..base })
        );
    }

    #[test]
    fn what_is_absent_is_one_key_and_is_not_what_is_empty() {
        let rule = rule(&["header:x-k"], Store::Local);
        let (none, empty, twice) = (headers(&[]), headers(&[("x-k", "")]), headers(&[("x-k", ""), ("x-k", "")]));
        let keys = [&none, &empty, &twice].map(|headers| rule.key(&facts(headers, None)));
        assert_eq!(keys[0], rule.key(&facts(&none, None)));
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    }

    #[test]
    fn what_is_not_there_gives_no_key_to_be_placed_by() {
        let (none, some) = (headers(&[]), headers(&[("x-k", "1"), ("cookie", "s=1")]));
        let one = identity("a", "x", r#"{"plan":"free"}"#);
        for part in ["subject", "claim:plan", "header:x-k", "cookie:s"] {
            let rule = rule(&[part], Store::Redis);
            assert_eq!(rule.key_if_there(&facts(&none, None)), None, "{part}");
            let there = facts(&some, Some(&one));
            assert_eq!(rule.key_if_there(&there), Some(rule.key(&there)), "{part}");
        }
        assert!(rule(&["ip"], Store::Redis).key_if_there(&facts(&none, None)).is_some());
    }

    #[test]
    fn two_issuers_share_no_subject_and_no_claim() {
        let none = headers(&[]);
        let (one, other) = (identity("a", "x", r#"{"t":1}"#), identity("b", "x", r#"{"t":1}"#));
        for part in ["subject", "claim:t"] {
            let rule = rule(&[part], Store::Local);
            assert_ne!(rule.key(&facts(&none, Some(&one))), rule.key(&facts(&none, Some(&other))), "{part}");
        }
    }

    #[test]
    fn keys_in_redis_are_the_same_on_every_gateway_and_local_ones_are_not() {
        let none = headers(&[]);
        let key = |store| rule(&["host"], store).key(&facts(&none, None));
        assert_eq!(key(Store::Redis), key(Store::Redis));
        assert_ne!(key(Store::Local), key(Store::Local));
    }
}
