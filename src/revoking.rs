//! What an operator revokes and lifts: here at once, in live sessions too, on the disk, and with `[revocation] store =
//! "redis"` at every gateway that shares it. All of it happens on the thread that carries no traffic.

mod follow;
mod freeze;
mod inbox;
mod sharing;
mod tell;

use std::sync::Arc;

use parking_lot::Mutex;

use crate::books::Books;
use crate::config::OnError;
use crate::deny::Deny;
use crate::metrics::RevocationCounts;
use crate::policy::revocation::entry::{Entry, Id};
use crate::policy::revocation::wanted::Wanted;
use crate::policy::revocation::{Full, Revocations};
use crate::revocation_file::RevocationFile;
use crate::session::live::ending;
use crate::session::live::order::Order;
use crate::store::{Heard, Redis};
use sharing::Sharing;

/// One gateway's revocations, and all who have to hear of them.
pub struct Revoking {
    books: Arc<Books>,
    revocations: Arc<Revocations>,
    file: Option<RevocationFile>,
    sharing: Option<Sharing>,
    /// Another process has the list, or is about to: nothing is taken in here. Held while something is, so that it is either
    /// in what that process gets or refused.
    frozen: Mutex<bool>,
}

/// Why a revocation was not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room.
    Full,
    /// Another process takes over.
    Frozen,
}

/// A revocation that was taken in.
pub struct Done {
    /// As it stands in the list now.
    pub entry: Entry,
    /// Whether the list did not have it yet.
    pub is_new: bool,
    /// Live sessions that are being ended for it here.
    pub sessions: usize,
    /// Whether it is on the disk; none without a file.
    pub saved: Option<bool>,
    /// Whether other gateways can know of it; none where each has its own list.
    pub published: Option<bool>,
}

/// What became of lifting one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifted {
    /// It is lifted, at every gateway that shares it.
    Done,
    /// There is none of this name.
    Unknown,
    /// It is lifted, and the file still has it.
    NotSaved,
    /// The store does not answer: it stands as it stood.
    NotShared,
    /// Another process takes over: it stands as it stood.
    Frozen,
}

impl Revoking {
    /// Of one gateway; `redis` where the list is shared.
    #[must_use]
    pub fn new(
        books: Arc<Books>,
        revocations: Arc<Revocations>,
        file: Option<RevocationFile>,
        redis: Option<(Redis, Arc<RevocationCounts>)>,
    ) -> Self {
        let clock = books.clock.clone();
        let sharing = redis.map(|(redis, counts)| Sharing::new(redis, revocations.clone(), clock, counts));
        Self { books, revocations, file, sharing, frozen: Mutex::new(false) }
    }

    /// The list.
    #[must_use]
    pub fn list(&self) -> &Revocations {
        &self.revocations
    }

    /// Takes a revocation in, and has the sessions end that it hits.
    ///
    /// # Errors
    /// Why not; nothing was changed.
    pub async fn revoke(&self, wanted: Wanted) -> Result<Done, Refused> {
        let wall = self.books.clock.now().wall;
        let revoked = self.unless_frozen(|| self.revocations.revoke(wanted, wall)).ok_or(Refused::Frozen)?;
        let revoked = revoked.map_err(|Full| Refused::Full)?;
        let key = self.sharing.as_ref().map(|sharing| sharing.said(revoked.entry.clone()));
        // The list first, the sessions then: who is in neither yet looks at the list once it is among the sessions.
        let mut lives = self.books.sessions.all();
        lives.retain(|live| live.holder.bearing(|bearer| revoked.covers(bearer)));
        let sessions = ending::end(lives, &Order::from(Deny::TokenRevoked));
        let mut saved = self.save().await;
        let mut done = Done { entry: revoked.entry, is_new: revoked.is_new, sessions, saved: None, published: None };
        if let (Some(sharing), Some(key)) = (&self.sharing, key) {
            let published = sharing.push(&[key]).await.is_ok();
            if !published {
                // The next try need not wait for the next look.
                sharing.inbox.ring();
            }
            done.published = Some(published);
            // What others said of it may be in it now.
            if self.settle() {
                saved = self.save().await;
            }
            done.entry = sharing.entry(key).unwrap_or(done.entry);
        }
        done.saved = saved;
        Ok(done)
    }

    /// Lifts one: tokens that it alone revoked hold again. A list that is shared is changed for all or for nobody.
    pub async fn lift(&self, id: Id) -> Lifted {
        let wall = self.books.clock.now().wall;
        match &self.sharing {
            None => match self.unless_frozen(|| self.revocations.lift(id, wall)) {
                Some(true) => {}
                Some(false) => return Lifted::Unknown,
                None => return Lifted::Frozen,
            },
            Some(sharing) => {
                let Some(entry) = self.revocations.get(id, wall) else { return Lifted::Unknown };
                let lifted = sharing.lift(&entry).await;
                self.settle();
                if lifted.is_err() {
                    return Lifted::NotShared;
                }
            }
        }
        if self.save().await == Some(false) { Lifted::NotSaved } else { Lifted::Done }
    }

    /// To be told what the store hears. Never waits.
    pub fn hear(&self, heard: &Heard<'_>) {
        if let Some(sharing) = &self.sharing {
            sharing.inbox.put(heard);
        }
    }

    /// Why this gateway lets in whom others may have thrown out, if it must not: with `on_error = "closed"`, until it has
    /// seen the list that is shared.
    #[must_use]
    pub fn missing(&self) -> Option<&'static str> {
        let sharing = self.sharing.as_ref()?;
        let waits = sharing.redis.on_error() == OnError::Closed && !sharing.was_loaded();
        waits.then_some("the revocations were not loaded from Redis yet")
    }

    /// Has [`Revoking::follow`] look at the clock, which was moved.
    pub fn wake(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.inbox.ring();
        }
    }

    /// Ends the sessions that what was heard revokes; whether anything was heard that is to be on the disk.
    fn settle(&self) -> bool {
        let Some(news) = self.sharing.as_ref().map(Sharing::news) else { return false };
        if news.revoked > 0 {
            let wall = self.books.clock.now().wall;
            let mut lives = self.books.sessions.all();
            // By the list, which has all of them: one look at each session, however many there are.
            lives.retain(|live| live.holder.bearing(|bearer| self.revocations.check(bearer, wall).is_some()));
            let sessions = ending::end(lives, &Order::from(Deny::TokenRevoked));
            tracing::info!(revocations = news.revoked, sessions, "tokens were revoked at another gateway");
        }
        if news.lifted > 0 {
            tracing::info!(revocations = news.lifted, "revocations were lifted at another gateway");
        }
        news.revoked + news.lifted > 0
    }

    /// Writes the list to its file; none where there is no file.
    async fn save(&self) -> Option<bool> {
        let saved = self.file.as_ref()?.save(&self.revocations, self.books.clock.now().wall).await;
        if let Err(error) = &saved {
            self.books.metrics.revocation_file_failed();
            tracing::error!(%error, "the revocations can't be written to their file: they hold until a restart");
        }
        Some(saved.is_ok())
    }
}
