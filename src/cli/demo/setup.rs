//! What the terminal and the page are both told: where things are, how tight they are, and tokens.

use std::net::SocketAddr;

use jsonwebtoken::EncodingKey;
use serde_json::{Map, Value, json};

use crate::config::value::Algorithm;
use crate::deny::Deny;
use crate::now::Clock;
use crate::policy::token::mint;

/// The routes: path, what becomes of a message beyond the burst, and how a refusal is told.
pub(super) const ROUTES: [(&str, &str, &str); 4] = [
    ("/ws", "close", "http"),
    ("/ws/delay", "delay", "http"),
    ("/ws/drop", "drop", "http"),
    ("/ws/told", "close", "close"),
];

/// Bytes.
pub(super) const MAX_MESSAGE_SIZE: usize = 64 * 1024;

/// Seconds for which a token holds that is meant to last.
pub(super) const LONG: u64 = 3600;

/// Seconds for which a token holds whose end is to be seen from the page.
pub(super) const SHORT: u64 = 15;

/// Seconds for a token whose end is to be seen from a terminal, where it has to be pasted first.
pub(super) const PASTED: u64 = 50;

/// Where everything listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) admin: Option<SocketAddr>,
    pub(super) page: SocketAddr,
}

impl Places {
    /// What the page's script has to know.
    pub(super) fn json(&self) -> Value {
        let reason = |deny: &Deny| {
            let row = deny.row();
            json!({ "label": row.label, "status": row.status, "close": row.close, "sentence": row.sentence })
        };
        json!({
            "plain": format!("ws://{}", self.plain),
            "tls": format!("wss://{}", self.tls),
            "certificate": format!("https://{}/", self.tls),
            "origin": format!("http://{}", self.page),
            "elsewhere": format!("http://localhost:{}", self.page.port()),
            "short_seconds": SHORT,
            "max_message_size": MAX_MESSAGE_SIZE,
            "reasons": Deny::ALL.iter().filter(|deny| !deny.reserved()).map(reason).collect::<Vec<_>>(),
        })
    }
}

/// Signs the demo's tokens.
pub(super) struct Signer {
    key: EncodingKey,
    clock: Clock,
}

impl Signer {
    pub(super) fn new(secret: &[u8], clock: Clock) -> Result<Self, String> {
        Ok(Self { key: mint::encoding_key(Algorithm::HS256, secret)?, clock })
    }

    /// A token of `subject` that holds for so many seconds from now.
    pub(super) fn token(&self, subject: &str, seconds: u64) -> Result<String, String> {
        let now = self.clock.now().wall / 1000;
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), subject.into());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + seconds).into());
        mint::mint(Algorithm::HS256, &self.key, None, &claims)
    }
}
