//! `[revocation]`: whether its bounds and its claims make sense.

use super::Findings;
use crate::config::{Config, Redis, Store};
use crate::now::millis;
use crate::policy::revocation::{MAX_ENTRIES, Settings};

/// Each is a mark of 16 bytes or more in every session.
const MAX_CLAIMS: usize = 16;

pub(super) fn settings(config: &Config, found: &mut Findings) -> Settings {
    let section = &config.revocation;
    if section.store == Store::Redis && config.redis.is_none() {
        found.problems.push(Redis::missing("revocation.store"));
    }
    if section.entries > MAX_ENTRIES {
        let help = format!("at most {MAX_ENTRIES}: revoke a subject instead of its tokens one by one");
        found.wrong("revocation.entries", format!("{} is too many", section.entries), &help);
    }
    if section.claims.len() > MAX_CLAIMS {
        let help = format!("at most {MAX_CLAIMS}: every session keeps a mark for each");
        found.wrong("revocation.claims", format!("{} claims are too many", section.claims.len()), &help);
    }
    for (at, claim) in section.claims.iter().enumerate() {
        let path = format!("revocation.claims[{at}]");
        match claim.as_str() {
            "" => found.wrong(path, "a claim without a name", "the claim's name, as \"device\" or \"tenant.id\""),
            "jti" | "sub" | "sid" => {
                found.wrong(path, format!("tokens may be revoked by their {claim} anyway"), "leave it out");
            }
            _ if section.claims[..at].contains(claim) => found.wrong(path, format!("`{claim}` stands twice"), ""),
            _ => {}
        }
    }
    Settings {
        entries: section.entries,
        ttl: millis(section.ttl),
        claims: section.claims.clone(),
        issuers: config.jwt.keys().cloned().collect(),
    }
}
