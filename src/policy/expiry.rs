//! How long a session may last, and what is said before and at its end: the identity's end, and the route's own.
//!
//! Times are [`crate::now::Now::mono`]. A renewal moves the identity's end while the session runs, so nothing here is reckoned in
//! advance: a session asks with what holds at the moment, and remembers only which end it has spoken of.

use std::sync::Arc;

use crate::config::OnExpiry;
use crate::deny::Deny;

/// No end.
pub const NEVER: u64 = u64::MAX;

/// What a route has said of it.
#[derive(Clone, Debug)]
pub struct Expiry {
    /// What the end of the identity does.
    pub on_expiry: OnExpiry,
    /// Milliseconds that a session may last, whatever its token says.
    pub max_lifetime: Option<u64>,
    /// What the client is told before.
    pub notice: Option<Arc<Notice>>,
}

/// A message to the client ahead of the end.
#[derive(Debug)]
pub struct Notice {
    /// Milliseconds.
    pub before: u64,
    /// What it says; `{seconds}` is what is left.
    pub text: String,
}

impl Notice {
    /// The text with so many milliseconds left, which are told as seconds, rounded up.
    #[must_use]
    pub fn with(&self, left: u64) -> String {
        self.text.replace("{seconds}", &left.div_ceil(1000).to_string())
    }
}

/// The ends that a session may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// When it began.
    pub since: u64,
    /// When its token ends, or [`NEVER`].
    pub expires: u64,
    /// When its certificate ends, or [`NEVER`]. No renewal moves that.
    pub certificate: u64,
}

impl Ends {
    /// The end of the identity: the first of the two, and why it is one.
    fn identity(self) -> (u64, Deny) {
        if self.certificate < self.expires {
            (self.certificate, Deny::CertificateExpired)
        } else {
            (self.expires, Deny::TokenExpired)
        }
    }
}

/// Which ends a session has spoken of already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The end that the client was told of, or [`NEVER`].
    notice: u64,
    /// The end of the identity that the log was told of, or [`NEVER`].
    lapse: u64,
}

/// What a session has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// End, for this reason.
    End(Deny),
    /// Write down that its identity has ended, and go on.
    Lapsed,
    /// Tell the client, with so many milliseconds left.
    Notice(u64),
    /// Take back what the client was not told yet: that end has moved.
    Moved,
}

impl Told {
    /// Nothing so far.
    pub const NOTHING: Self = Self { notice: NEVER, lapse: NEVER };
}

impl Expiry {
    /// What is due, once for each end; to be asked until nothing is.
    pub fn look(&self, told: &mut Told, ends: Ends, now: u64) -> Option<Due> {
        let (end, reason) = self.end(ends);
        if now >= end {
            return Some(Due::End(reason));
        }
        if now >= self.lapse(told, ends) {
            told.lapse = ends.identity().0;
            return Some(Due::Lapsed);
        }
        let notice = self.notice.as_ref()?;
        if told.notice != NEVER && told.notice != end {
            told.notice = NEVER;
            return Some(Due::Moved);
        }
        if told.notice == end || now < end.saturating_sub(notice.before) {
            return None;
        }
        told.notice = end;
        Some(Due::Notice(end - now))
    }

    /// The next moment at which [`Expiry::look`] has something to say, if no end moves until then.
    #[must_use]
    pub fn next(&self, told: &Told, ends: Ends) -> u64 {
        let (end, _) = self.end(ends);
        let notice = match &self.notice {
            Some(notice) if told.notice != end => end.saturating_sub(notice.before),
            Some(_) | None => NEVER,
        };
        end.min(notice).min(self.lapse(told, ends))
    }

    /// The first end, and why it is one.
    fn end(&self, ends: Ends) -> (u64, Deny) {
        let lifetime = self.max_lifetime.map_or(NEVER, |most| ends.since.saturating_add(most));
        match self.on_expiry {
            OnExpiry::Close if ends.identity().0 <= lifetime => ends.identity(),
            OnExpiry::Close | OnExpiry::Log => (lifetime, Deny::LifetimeOver),
        }
    }

    /// When the end of the identity is to be written down, without being one of the session.
    fn lapse(&self, told: &Told, ends: Ends) -> u64 {
        let (end, _) = ends.identity();
        if self.on_expiry == OnExpiry::Log && told.lapse != end { end } else { NEVER }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expiry(on_expiry: OnExpiry, max_lifetime: Option<u64>, before: Option<u64>) -> Expiry {
        let notice = before.map(|before| Arc::new(Notice { before, text: "{seconds} s left".into() }));
        Expiry { on_expiry, max_lifetime, notice }
    }

    /// Everything that is due at this moment.
    fn all(expiry: &Expiry, told: &mut Told, expires: u64, now: u64) -> Vec<Due> {
        let mut due = vec![];
        while let Some(one) = expiry.look(told, Ends { since: 1000, expires, certificate: NEVER }, now) {
            due.push(one);
            if let Due::End(_) = one {
                break;
            }
            assert!(due.len() < 5, "it is never satisfied: {due:?}");
        }
        due
    }

    #[test]
    fn the_first_of_the_two_ends_counts_and_says_which_it_is() {
        let both = expiry(OnExpiry::Close, Some(500), None);
        assert_eq!(all(&both, &mut Told::NOTHING.clone(), 1400, 1399), []);
        assert_eq!(all(&both, &mut Told::NOTHING.clone(), 1400, 1400), [Due::End(Deny::TokenExpired)]);
        assert_eq!(all(&both, &mut Told::NOTHING.clone(), 1600, 1499), []);
        assert_eq!(all(&both, &mut Told::NOTHING.clone(), 1600, 1500), [Due::End(Deny::LifetimeOver)]);
        // A worker that comes late to both.
        assert_eq!(all(&both, &mut Told::NOTHING.clone(), 1600, 9999), [Due::End(Deny::LifetimeOver)]);
    }

    #[test]
    fn a_certificate_that_ends_before_the_token_is_what_ends_the_session_and_no_renewal_moves_it() {
        let close = expiry(OnExpiry::Close, None, None);
        let ends = |expires, certificate| Ends { since: 1000, expires, certificate };
        let look = |expiry: &Expiry, ends, now| expiry.look(&mut Told::NOTHING.clone(), ends, now);
        for expires in [1400, 9999, NEVER] {
            assert_eq!(look(&close, ends(expires, 1300), 1299), None);
            assert_eq!(close.next(&Told::NOTHING, ends(expires, 1300)), 1300);
            assert_eq!(look(&close, ends(expires, 1300), 1300), Some(Due::End(Deny::CertificateExpired)));
        }
        assert_eq!(look(&close, ends(1200, 1300), 1200), Some(Due::End(Deny::TokenExpired)));
        let log = expiry(OnExpiry::Log, None, None);
        assert_eq!(look(&log, ends(1400, 1300), 1300), Some(Due::Lapsed));
    }

    #[test]
    fn without_an_end_nothing_is_ever_due() {
        for on_expiry in [OnExpiry::Close, OnExpiry::Log] {
            let expiry = expiry(on_expiry, None, Some(60));
            assert_eq!(all(&expiry, &mut Told::NOTHING.clone(), NEVER, NEVER - 100), []);
        }
    }

    #[test]
    fn an_identity_that_only_lapses_is_said_to_once_and_once_more_after_a_renewal() {
        let log = expiry(OnExpiry::Log, Some(5000), None);
        let mut told = Told::NOTHING;
        assert_eq!(all(&log, &mut told, 2000, 1999), []);
        assert_eq!(all(&log, &mut told, 2000, 2000), [Due::Lapsed]);
        assert_eq!(all(&log, &mut told, 2000, 2500), []);
        assert_eq!(all(&log, &mut told, 3000, 2600), []);
        assert_eq!(all(&log, &mut told, 3000, 3000), [Due::Lapsed]);
        assert_eq!(all(&log, &mut told, 3000, 6000), [Due::End(Deny::LifetimeOver)]);
    }

    #[test]
    fn a_notice_comes_once_for_each_end_and_is_taken_back_when_that_moves() {
        let noticed = expiry(OnExpiry::Close, None, Some(60));
        let mut told = Told::NOTHING;
        assert_eq!(all(&noticed, &mut told, 2000, 1939), []);
        assert_eq!(all(&noticed, &mut told, 2000, 1950), [Due::Notice(50)]);
        assert_eq!(all(&noticed, &mut told, 2000, 1960), []);
        assert_eq!(all(&noticed, &mut told, 3000, 1970), [Due::Moved]);
        assert_eq!(all(&noticed, &mut told, 3000, 2940), [Due::Notice(60)]);
        assert_eq!(all(&noticed, &mut told, 2960, 2941), [Due::Moved, Due::Notice(19)]);
    }

    #[test]
    fn a_notice_is_of_the_end_that_comes_first() {
        let both = expiry(OnExpiry::Close, Some(1000), Some(60));
        let mut told = Told::NOTHING;
        assert_eq!(all(&both, &mut told, 3000, 1940), [Due::Notice(60)]);
        assert_eq!(all(&both, &mut told, 4000, 1950), [], "the end that was told of has not moved");
        let log = expiry(OnExpiry::Log, None, Some(60));
        assert_eq!(all(&log, &mut Told::NOTHING.clone(), 3000, 2950), [], "no end is near");
    }

    #[test]
    fn the_seconds_that_are_left_are_rounded_up() {
        let notice = Notice { before: 0, text: "{seconds}/{seconds}".into() };
        assert_eq!((notice.with(60_000), notice.with(59_001)), ("60/60".to_owned(), "60/60".to_owned()));
        assert_eq!(notice.with(1), "1/1");
    }

    proptest! {
        #[test]
        fn something_is_due_exactly_when_it_was_said_to_be(
            close in any::<bool>(),
            lifetime in prop::option::of(1_u64..400),
            before in prop::option::of(1_u64..200),
            expires in prop_oneof![Just(NEVER), 1001_u64..1400],
        ) {
            let expiry = expiry(if close { OnExpiry::Close } else { OnExpiry::Log }, lifetime, before);
            let mut told = Told::NOTHING;
            for now in 1000..1500 {
                let due = now >= expiry.next(&told, Ends { since: 1000, expires, certificate: NEVER });
                let found = all(&expiry, &mut told, expires, now);
                prop_assert_eq!(due, !found.is_empty(), "at {}: {:?}", now, found);
                if let Some(Due::End(_)) = found.last() {
                    break;
                }
            }
        }
    }
}
