//! One session among those of its key, where the oldest has to go when there is no room: its place in the order, and how
//! it is told.
//!
//! A session is told at most once, whether it has begun by then or is still a handshake.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::deny::Deny;

/// What can be told to end.
pub trait Leave: fmt::Debug + Send + Sync {
    /// Ends for this reason, soon.
    fn leave(&self, why: Deny);
}

/// One session, or handshake, that holds places which a newer one may take over.
#[derive(Debug)]
pub struct Seat {
    number: u64,
    /// Whether it has given its places back, or is about to.
    left: AtomicBool,
    standing: Mutex<Standing>,
    elsewhere: Mutex<Option<Box<dyn Elsewhere>>>,
}

/// Slots that are held outside of this gateway, given back by their drop.
pub trait Elsewhere: fmt::Debug + Send + Sync {}

impl<T: fmt::Debug + Send + Sync> Elsewhere for T {}

#[derive(Debug)]
enum Standing {
    /// A handshake.
    Coming,
    /// A session.
    Here(Weak<dyn Leave>),
    /// Its place is another's.
    Told(Deny),
}

impl Seat {
    /// That of a handshake which is the `number`th to be admitted.
    #[must_use]
    pub fn new(number: u64) -> Arc<Self> {
        Arc::new(Self {
            number,
            left: AtomicBool::new(false),
            standing: Mutex::new(Standing::Coming),
            elsewhere: Mutex::new(None),
        })
    }

    /// Its place in the order of admission.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The handshake became this session. It is told at once if its place is another's by now.
    pub fn begun(&self, session: &Arc<impl Leave + 'static>) {
        let mut standing = self.standing.lock();
        match *standing {
            Standing::Told(why) => session.leave(why),
            Standing::Coming | Standing::Here(_) => {
                let session: Weak<dyn Leave> = Arc::downgrade(&(session.clone() as Arc<dyn Leave>));
                *standing = Standing::Here(session);
            }
        }
    }

    /// Why its place is another's, if it is.
    #[must_use]
    pub fn told(&self) -> Option<Deny> {
        match *self.standing.lock() {
            Standing::Told(why) => Some(why),
            Standing::Coming | Standing::Here(_) => None,
        }
    }

    /// Tells it that its place is another's. The first reason stands.
    pub fn tell(&self, why: Deny) {
        let mut standing = self.standing.lock();
        let before = match &*standing {
            Standing::Told(_) => return,
            Standing::Here(session) => session.upgrade(),
            Standing::Coming => None,
        };
        *standing = Standing::Told(why);
        drop(standing);
        if let Some(session) = before {
            session.leave(why);
        }
    }

    /// Keeps slots until the session ends, or until somebody elsewhere takes its place.
    pub fn hold(&self, slots: Box<dyn Elsewhere>) {
        *self.elsewhere.lock() = Some(slots);
    }

    /// Gives back what is held elsewhere.
    pub fn let_go(&self) {
        let held = self.elsewhere.lock().take();
        drop(held);
    }

    // Relaxed: both sides hold the lock of the place that they ask about, see `keyed`.
    pub(super) fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
        self.let_go();
    }

    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Session(Mutex<Vec<Deny>>);

    impl Leave for Session {
        fn leave(&self, why: Deny) {
            self.0.lock().push(why);
        }
    }

    #[test]
    fn a_session_is_told_once_and_the_first_reason_stands() {
        let (seat, session) = (Seat::new(1), Arc::new(Session::default()));
        seat.begun(&session);
        assert_eq!(seat.told(), None);
        seat.tell(Deny::IpCap);
        seat.tell(Deny::SubjectCap);
        assert_eq!((seat.told(), &**session.0.lock()), (Some(Deny::IpCap), &[Deny::IpCap][..]));
    }

    #[test]
    fn a_handshake_that_was_told_ends_as_soon_as_it_begins() {
        let (seat, session) = (Seat::new(1), Arc::new(Session::default()));
        seat.tell(Deny::ZoneCap);
        assert_eq!(seat.told(), Some(Deny::ZoneCap));
        seat.begun(&session);
        assert_eq!(*session.0.lock(), [Deny::ZoneCap]);
    }

    #[test]
    fn a_session_that_is_gone_is_not_kept_alive_by_its_seat() {
        let (seat, session) = (Seat::new(1), Arc::new(Session::default()));
        seat.begun(&session);
        let gone = Arc::downgrade(&session);
        drop(session);
        assert!(gone.upgrade().is_none());
        seat.tell(Deny::IpCap);
    }
}
