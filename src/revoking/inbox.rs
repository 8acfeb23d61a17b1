//! What the store heard and nobody has read yet: bounded, since whoever may publish there may publish at any rate.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::policy::revocation::shared::MAX_RECORD;
use crate::store::{Heard, REVOCATIONS};

/// Messages that may wait: some megabytes of the longest. Beyond, the whole list is loaded instead.
const MOST: usize = 1024;

/// Bytes of a message: a record, its name and the names of two changes.
const LONGEST: usize = MAX_RECORD as usize + 256;

/// What came since it was looked at last.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Changes, in their order.
    pub(super) messages: VecDeque<Vec<u8>>,
    /// Whether the connection is new: what was published before it was missed.
    pub(super) connected: bool,
    /// Whether some of the messages were too many, or too long.
    pub(super) lost: bool,
}

#[derive(Debug, Default)]
pub(super) struct Inbox {
    news: Mutex<News>,
    bell: Notify,
}

impl Inbox {
    pub(super) fn put(&self, heard: &Heard<'_>) {
        let mut news = self.news.lock();
        match heard {
            Heard::Connected => news.connected = true,
            Heard::Message { channel, payload } if *channel == REVOCATIONS => {
                if news.messages.len() < MOST && payload.len() <= LONGEST {
                    news.messages.push_back(payload.to_vec());
                } else {
                    news.lost = true;
                }
            }
            Heard::Message { .. } | Heard::Evict { .. } => return,
        }
        drop(news);
        self.ring();
    }

    pub(super) fn take(&self) -> News {
        std::mem::take(&mut self.news.lock())
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_messages_is_a_whole_load_and_no_more_memory() {
        let inbox = Inbox::default();
        for _ in 0..MOST {
            inbox.put(&Heard::Message { channel: REVOCATIONS, payload: b"a b c d" });
            inbox.put(&Heard::Message { channel: "else", payload: b"x" });
        }
        inbox.put(&Heard::Connected);
        let news = inbox.take();
        assert_eq!((news.messages.len(), news.connected, news.lost), (MOST, true, false));
        for _ in 0..=MOST {
            inbox.put(&Heard::Message { channel: REVOCATIONS, payload: b"a b c d" });
        }
        let news = inbox.take();
        assert_eq!((news.messages.len(), news.connected, news.lost), (MOST, false, true));
        inbox.put(&Heard::Message { channel: REVOCATIONS, payload: &vec![b'x'; LONGEST + 1] });
        let news = inbox.take();
        assert_eq!((news.messages.len(), news.lost), (0, true));
    }
}
