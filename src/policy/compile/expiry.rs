//! What a route says of a session's length, and whether its parts fit together.

use std::sync::Arc;

use super::Findings;
use crate::config::{self, OnExpiry};
use crate::now::millis;
use crate::policy::expiry::{Expiry, Notice};

pub(super) fn compile(typed: &config::Route, at: &str, found: &mut Findings) -> Expiry {
    let has_token = typed.jwt.is_some();
    if typed.on_expiry == OnExpiry::Log && !has_token {
        found.wrong(format!("{at}.on_expiry"), "without `jwt` nothing expires", "add `jwt`, or remove it");
    }
    if let Some(notice) = &typed.expiry_notice {
        let at = format!("{at}.expiry_notice");
        let token_ends_it = has_token && typed.on_expiry == OnExpiry::Close;
        if !token_ends_it && typed.max_lifetime.is_none() {
            let help = "add `max_lifetime`, or `jwt` with on_expiry = \"close\", or remove it";
            found.wrong(&at, "nothing ends a session here that could be told ahead", help);
        }
        if typed.max_lifetime.is_some_and(|most| most <= notice.before) {
            found.wrong(format!("{at}.before"), "no session lasts that long", "a time shorter than `max_lifetime`");
        }
    }
    Expiry {
        on_expiry: typed.on_expiry,
        max_lifetime: typed.max_lifetime.map(millis),
        notice: typed
            .expiry_notice
            .as_ref()
            .map(|notice| Arc::new(Notice { before: millis(notice.before), text: notice.text.clone() })),
    }
}
