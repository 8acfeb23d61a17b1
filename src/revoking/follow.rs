//! The task that keeps this gateway's list in step with the store: by what is published, by whole loads when something was
//! missed, and by a look now and then, since nobody says that a message was lost.

use std::time::Duration;

use tokio::time::sleep_until;

use super::Revoking;
use super::inbox::News;
use super::sharing::Sharing;
use crate::now::millis;
use crate::store::{State, Unavailable};

/// Between two looks at the name of the last change: so late is noticed at most that something was missed.
const LOOK: Duration = Duration::from_secs(30);

/// Between two tries, and between two whole loads however often something is missed.
const AGAIN: Duration = Duration::from_secs(1);

/// For the first connection, before it is said that there is none.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where this gateway stands.
struct Place {
    /// The name of the last change that it knows of.
    change: Vec<u8>,
    /// Whether something was missed since, or the list was never loaded.
    stale: bool,
    /// When the store is looked at next.
    due: u64,
    /// When it was last.
    looked: u64,
}

impl Revoking {
    /// Follows the store, for ever. Returns at once where the list is not shared. Needs a local runtime, or a `LocalSet`.
    pub async fn follow(&self) {
        let Some(sharing) = &self.sharing else { return };
        let clock = &self.books.clock;
        let begin = clock.mono();
        let mut place =
            Place { change: Vec::new(), stale: true, due: begin.saturating_add(millis(PATIENCE)), looked: begin };
        loop {
            tokio::select! {
                () = sharing.inbox.rung() => {}
                () = sleep_until(clock.instant(place.due).into()) => {}
            }
            place.hear(sharing, sharing.inbox.take(), clock.mono());
            self.settle_and_save().await;
            if clock.mono() >= place.due {
                place.looked = clock.mono();
                let wait = match place.look(sharing).await {
                    Ok(()) => {
                        sharing.counts.loaded(clock.now().wall);
                        sharing.teller().in_step(self.revocations.len());
                        LOOK
                    }
                    Err(_) => {
                        sharing.teller().behind(self.revocations.len());
                        AGAIN
                    }
                };
                place.due = place.looked.saturating_add(millis(wait));
                self.settle_and_save().await;
            }
        }
    }

    async fn settle_and_save(&self) {
        if self.settle() {
            self.save().await;
        }
    }
}

impl Place {
    fn hear(&mut self, sharing: &Sharing, news: News, now: u64) {
        for message in &news.messages {
            let Some([before, name, field, value]) = parts(message) else {
                sharing.counts.broken();
                continue;
            };
            if sharing.take(field, value).is_none() {
                continue;
            }
            if before == self.change {
                name.clone_into(&mut self.change);
            } else if name != self.change {
                self.stale = true;
            }
        }
        self.stale |= news.lost;
        // What was missed before the connection has another name than the last change that is known here.
        if news.connected {
            self.due = now;
        } else if self.stale || sharing.counts.unpublished_count() > 0 {
            self.due = self.due.min(self.looked.saturating_add(millis(AGAIN)));
        }
    }

    /// Loads the list if it changed in a way that was not heard; else only what did not get through goes out.
    async fn look(&mut self, sharing: &Sharing) -> Result<(), Unavailable> {
        sharing.tidy();
        if sharing.redis.state() != State::Closed {
            return Err(Unavailable::Open);
        }
        // Before the list: what changes meanwhile is published after this name.
        let change = sharing.redis.last_change().await?;
        if !self.stale && change == self.change {
            return sharing.push_unpublished().await;
        }
        let broken = sharing.counts.broken_count();
        sharing.load().await?;
        sharing.teller().anew(sharing.counts.broken_count() > broken);
        self.change = change;
        self.stale = false;
        Ok(())
    }
}

/// `BEFORE NAME FIELD VALUE`; before the first change there is none.
fn parts(message: &[u8]) -> Option<[&[u8]; 4]> {
    let mut parts = message.splitn(4, |byte| *byte == b' ');
    let parts = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
    // A name is as short as those who write it make it.
    (parts[0].len() <= 64 && (1..=64).contains(&parts[1].len())).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_four_parts_and_the_last_may_have_spaces() {
        assert_eq!(parts(b"a b c {\"d\": 1}"), Some([&b"a"[..], b"b", b"c", b"{\"d\": 1}"]));
        assert_eq!(parts(b" b c d"), Some([&b""[..], b"b", b"c", b"d"]));
        for broken in [&b""[..], b"a b c", b"a  c d", &[b'x'; 9000], &[b' '; 9000]] {
            assert_eq!(parts(broken), None, "{broken:?}");
        }
    }
}
