//! What one direction of one session is measured by: each frame is charged to all of the accounts that it touches, or to
//! none.
//!
//! It runs once a frame. An account of the session's own takes no lock; one that sessions share takes a short one of its
//! own. Several are locked in the order of their addresses, so that no two sessions wait for each other.

pub mod open;

use std::sync::Arc;

use super::account::Hold;
use super::bucket::{self, Bucket, Limit};
use super::flow::Rule;
use super::lease::table::LeaseHold;
use super::lease::{Lease, Ruling, Terms};
use super::limit::{Action, Exceeded, What};
use crate::config::OnExcess;
use crate::config::value::Rate;
use crate::deny::Deny;

/// How soon a lease may have its answer: a millisecond is the finest that timers know.
const AGAIN_MS: u64 = 1;

/// How often a session that waits for Redis to be back looks.
const AWAY_MS: u64 = 100;

/// A frame, as far as it is charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// Where it stands.
    pub part: Part,
    /// Bytes of header and payload together.
    pub wire: u64,
}

/// Which part of the stream a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first frame of a message.
    Begin,
    /// A later frame of a message.
    Continuation,
    /// A ping or a pong.
    Control,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Answer {
    /// It passes at once.
    Pass,
    /// It was charged, and passes after this many milliseconds, at least 1.
    Wait(u64),
    /// It can't be told before this many milliseconds: then it is to be charged anew. Nothing was charged.
    Again(u64),
    /// It is left out, with the rest of its message. Nothing was charged.
    Drop,
    /// The session ends with this reason. Nothing was charged.
    Close(Deny),
}

/// The accounts of one direction, and the rules that charge them.
#[derive(Debug)]
pub struct Meter {
    /// In the order of their addresses, each once; those of the session's own first.
    purses: Box<[Purse]>,
    /// Whether a rule has something to tell.
    exceeded: bool,
    /// Whose limit it was that had a frame wait the last time.
    held_for: Deny,
}

/// One account.
#[derive(Debug)]
struct Purse {
    owner: Owner,
    /// In the order of the file.
    rules: Vec<Counted>,
}

#[derive(Debug)]
enum Owner {
    /// This direction alone.
    Own(Option<Bucket>),
    /// Whoever has the same key.
    Shared(Hold),
    /// The same, at other gateways too.
    Leased(LeaseHold),
}

impl Owner {
    fn address(&self) -> usize {
        match self {
            Self::Own(_) => 0,
            Self::Shared(hold) => hold.account().address(),
            Self::Leased(hold) => hold.account().address(),
        }
    }
}

/// A rule, and what has exceeded it.
#[derive(Debug)]
struct Counted {
    rule: Arc<Rule>,
    /// Its place in the file.
    place: usize,
    /// What it says of the frame that is looked at.
    said: Said,
    /// Whether, in dry run, it would be leaving out the message under way.
    skips: bool,
    /// Frames that it refused, and that it delayed, since it was last asked.
    refused: u64,
    delayed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Waits,
    Refuses,
}

/// What all rules together say so far.
#[derive(Clone, Copy, Default)]
struct Outcome {
    /// The first that refuses, in the order of the file.
    refused: Option<(usize, OnExcess, Deny)>,
    /// The longest wait.
    wait_ms: u64,
    /// Milliseconds until it can be told, 0 if it is.
    again_ms: u64,
    /// Which limit that is, or the one with the longest wait.
    held_for: Option<Deny>,
    /// Whether any rule has said something.
    noted: bool,
}

impl Meter {
    /// Judges one frame, and charges it unless the answer is no. `now_ms` is [`crate::now::Now::mono`].
    #[inline]
    pub fn charge(&mut self, charge: Charge, now_ms: u64) -> Answer {
        let outcome = settle(&mut self.purses, charge, now_ms, Outcome::default());
        if outcome.noted {
            self.note(&outcome);
        }
        if let Some(deny) = outcome.held_for {
            self.held_for = deny;
        }
        match outcome.refused {
            None if outcome.again_ms > 0 => Answer::Again(outcome.again_ms),
            None if outcome.wait_ms == 0 => Answer::Pass,
            None => Answer::Wait(outcome.wait_ms),
            Some((_, OnExcess::Drop, _)) => Answer::Drop,
            Some((_, OnExcess::Close | OnExcess::Delay, deny)) => Answer::Close(deny),
        }
    }

    /// The reason of the limit that had a frame wait the last time; of several, the longest wait's.
    #[must_use]
    pub fn held_for(&self) -> Deny {
        self.held_for
    }

    /// Adds up what each rule has said. Of several that refuse only one is counted, and with it those in dry run; who
    /// would have waited did not.
    #[cold]
    fn note(&mut self, outcome: &Outcome) {
        let deciding = outcome.refused.map(|(place, ..)| place);
        let untold = deciding.is_none() && outcome.again_ms > 0;
        for counted in self.purses.iter_mut().flat_map(|purse| &mut purse.rules) {
            match std::mem::replace(&mut counted.said, Said::Nothing) {
                // It will be said again.
                _ if untold => {}
                Said::Waits if deciding.is_none() => counted.delayed += 1,
                Said::Refuses if counted.rule.dry_run || deciding == Some(counted.place) => counted.refused += 1,
                Said::Nothing | Said::Waits | Said::Refuses => {}
            }
        }
        self.exceeded |= !untold;
    }

    /// Tells what has exceeded which limit, and how often, since it was last asked.
    #[inline]
    pub fn take_exceeded(&mut self, mut tell: impl FnMut(Exceeded, u64)) {
        if !std::mem::take(&mut self.exceeded) {
            return;
        }
        for counted in self.purses.iter_mut().flat_map(|purse| &mut purse.rules) {
            let limit = counted.rule.id;
            for (action, count) in
                [(counted.rule.action(), &mut counted.refused), (Action::Delay, &mut counted.delayed)]
            {
                match std::mem::take(count) {
                    0 => {}
                    count => tell(Exceeded { limit, action }, count),
                }
            }
        }
    }
}

/// Judges by the first account and, while it is locked, by the others; then charges it unless one of them has refused.
fn settle(purses: &mut [Purse], charge: Charge, now_ms: u64, so_far: Outcome) -> Outcome {
    let Some((first, rest)) = purses.split_first_mut() else { return so_far };
    let Purse { owner, rules } = first;
    if rules.iter().all(|counted| counted.cost(charge) == 0) {
        return settle(rest, charge, now_ms, so_far);
    }
    match owner {
        Owner::Own(owed) => settle_one(owed, rules, rest, charge, now_ms, so_far),
        Owner::Shared(hold) => settle_one(&mut *hold.account().lock(), rules, rest, charge, now_ms, so_far),
        Owner::Leased(hold) => {
            let account = hold.account();
            let mut books = account.lock();
            let mut drawn = Drawn { lease: books.lease, terms: account.terms() };
            let outcome = settle_one(&mut drawn, rules, rest, charge, now_ms, so_far);
            books.lease = drawn.lease;
            if outcome.again_ms > 0 {
                books.lease.outrun();
            }
            account.ask(&mut books, now_ms);
            outcome
        }
    }
}

/// What a hit is judged by, as a copy that counts only if nobody refuses.
trait Owed: Copy {
    fn hit(&mut self, limit: &Limit, cost: u64, now_ms: u64) -> Ruling;
}

impl Owed for Option<Bucket> {
    #[inline]
    fn hit(&mut self, limit: &Limit, cost: u64, now_ms: u64) -> Ruling {
        bucket::hit(self, limit, cost, now_ms).into()
    }
}

/// A lease with its terms.
#[derive(Clone, Copy)]
struct Drawn<'a> {
    lease: Lease,
    terms: &'a Terms,
}

impl Owed for Drawn<'_> {
    #[inline]
    fn hit(&mut self, limit: &Limit, cost: u64, now_ms: u64) -> Ruling {
        self.lease.hit(self.terms, limit, cost, now_ms)
    }
}

fn settle_one(
    owed: &mut impl Owed,
    rules: &mut [Counted],
    rest: &mut [Purse],
    charge: Charge,
    now_ms: u64,
    mut so_far: Outcome,
) -> Outcome {
    let mut charged = *owed;
    for counted in rules {
        counted.judge(&mut charged, charge, now_ms, &mut so_far);
    }
    let outcome = settle(rest, charge, now_ms, so_far);
    if outcome.refused.is_none() && outcome.again_ms == 0 {
        *owed = charged;
    }
    outcome
}

impl Counted {
    fn new(rule: Arc<Rule>, place: usize) -> Self {
        Self { rule, place, said: Said::Nothing, skips: false, refused: 0, delayed: 0 }
    }

    /// Units; 0 is none of its business.
    #[inline]
    fn cost(&self, charge: Charge) -> u64 {
        match (self.rule.what, charge.part) {
            (What::Messages, Part::Begin) | (What::Control, Part::Control) => Rate::ONE,
            (What::Bytes, _) => charge.wire.saturating_mul(Rate::ONE),
            _ => 0,
        }
    }

    /// Judges a frame by this rule, on top of what those before it have charged to the same account.
    #[inline]
    fn judge(&mut self, owed: &mut impl Owed, charge: Charge, now_ms: u64, outcome: &mut Outcome) {
        let (cost, Rule { limit, on_excess, dry_run, .. }) = (self.cost(charge), &*self.rule);
        if charge.part == Part::Begin {
            self.skips = false;
        }
        let goes_on = charge.part == Part::Continuation && *on_excess == OnExcess::Drop;
        if cost == 0 || (goes_on && self.skips) {
            return;
        }
        // A message that has begun to pass is no longer dropped: half of it would be worse than all of it.
        let burst = if goes_on { u64::MAX } else { limit.burst };
        match owed.hit(&Limit { burst, ..*limit }, cost, now_ms) {
            Ruling::Pass => {}
            Ruling::Wait(wait_ms) => {
                (self.said, outcome.noted) = (Said::Waits, true);
                if !dry_run && wait_ms > outcome.wait_ms {
                    outcome.wait_ms = wait_ms;
                    outcome.held_for = Some(reason(self.rule.what));
                }
            }
            Ruling::Reject => self.refuse(charge, reason(self.rule.what), outcome),
            // In dry run it passes uncharged: it must not wait.
            Ruling::Again | Ruling::Away if *dry_run => {}
            Ruling::Again => outcome.again(AGAIN_MS, self.rule.what),
            Ruling::Away if *on_excess == OnExcess::Delay => outcome.again(AWAY_MS, self.rule.what),
            Ruling::Away => self.refuse(charge, Deny::StoreUnavailable, outcome),
        }
    }

    fn refuse(&mut self, charge: Charge, deny: Deny, outcome: &mut Outcome) {
        let Rule { on_excess, dry_run, .. } = &*self.rule;
        (self.said, outcome.noted) = (Said::Refuses, true);
        if *dry_run {
            self.skips |= *on_excess == OnExcess::Drop && charge.part == Part::Begin;
        } else if outcome.refused.is_none_or(|(place, ..)| self.place < place) {
            outcome.refused = Some((self.place, *on_excess, deny));
        }
    }
}

impl Outcome {
    fn again(&mut self, ms: u64, what: What) {
        self.again_ms = self.again_ms.max(ms);
        self.held_for = Some(reason(what));
    }
}

const fn reason(what: What) -> Deny {
    match what {
        What::Bytes => Deny::ByteRate,
        What::Control => Deny::ControlRate,
        What::Fragments => Deny::TooManyFragments,
        What::Handshakes | What::Requests | What::Messages | What::Connections => Deny::MessageRate,
    }
}

#[cfg(test)]
pub(crate) mod tests;
