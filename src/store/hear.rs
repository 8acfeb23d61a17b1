//! What other gateways publish, taken apart. Whoever may publish in Redis may say anything: what makes no sense is nothing.

use redis::{PushInfo, PushKind, Value};

use super::{Heard, Listener, Redis};
use crate::policy::key::Key;

impl Redis {
    pub(super) fn hear(&self, pushed: &PushInfo, listener: &Listener) {
        let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) =
            (&pushed.kind, pushed.data.as_slice())
        else {
            return;
        };
        let all = self.key(&[""]);
        let Some(channel) = std::str::from_utf8(channel).ok().and_then(|channel| channel.strip_prefix(&all)) else {
            return;
        };
        match channel.split_once(':') {
            Some(("channel", channel)) => listener(Heard::Message { channel, payload }),
            Some(("node", _)) => {
                if let Some((key, cap)) = evicted(payload) {
                    listener(Heard::Evict { cap, key });
                }
            }
            _ => {}
        }
    }
}

/// `evict KEY CAP`
fn evicted(payload: &[u8]) -> Option<(Key, &str)> {
    let (key, cap) = std::str::from_utf8(payload).ok()?.strip_prefix("evict ")?.split_once(' ')?;
    Some((Key::from_hex(key)?, cap))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eviction_names_a_key_and_a_cap_and_anything_else_is_nothing() {
        let key = Key::shared(b"alice");
        let told = format!("evict {} my cap", key.to_hex());
        assert_eq!(evicted(told.as_bytes()), Some((key, "my cap")));
        for other in ["", "evict", "evict x y", "revoke 0 a", &told[..38], "\u{0}"] {
            assert_eq!(evicted(other.as_bytes()), None, "{other}");
        }
        assert_eq!(evicted(b"evict \xff\xff"), None);
    }
}
