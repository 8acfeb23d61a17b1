//! What one gateway holds of a budget that several share: it fetches a part ahead, and spends that without asking.
//!
//! Redis has the bucket. A [`Lease`] has units that are charged there already (`credit`), and what the bucket looked like
//! when it was last told (`known`). A hit spends credit. Without credit it is judged by `known`: what that refuses is
//! refused, since others can only have charged more; what that lets in passes ahead of the next answer, as a debt that is
//! charged whatever the burst. The debt has a bound, one chunk: who outruns lease and debt is not judged on a guess, but
//! looks again when the answer is there. Time is an argument, and so are Redis' answers.
//!
//! With G gateways, in any T ms, and answers that take at most R ms, what passes is at most
//! `1 + burst + rate * (T + R) + G * (most + chunk)`; where a single hit costs more than a chunk, that in place of the chunk.
//! For what is charged in T is at most `1 + burst + rate * T` beyond what passes ahead; `most` is what each gateway may have
//! fetched before; and each is at most one chunk ahead of what it was told, R ms late.

pub mod table;
pub mod wishes;

use super::bucket::{self, Bucket, Limit, Verdict};
use super::remote::OnError;
use crate::config::value::Rate;

/// A chunk is about what the rate gives in this time: so many milliseconds of it may be held by a gateway that needs it no more.
const CHUNK_MS: u64 = 100;

/// Nothing is asked for so long after no answer. It is no call over the network while Redis is known not to answer.
const AWAY_MS: u64 = 250;

/// The longest rest after an answer that there is nothing: Redis may have forgotten meanwhile what is owed.
const REST_MS: u64 = 1000;

/// How the budget of one zone is fetched; the same for all of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What drains.
    pub rate: Rate,
    /// Units of excess up to which is leased.
    pub burst: u64,
    /// What hits without credit get while Redis does not answer.
    pub on_error: OnError,
    /// Units that are fetched at a time, and that may be owed.
    chunk: u64,
    /// Units that are fetched where a chunk was outrun: no gateway holds more.
    most: u64,
}

impl Terms {
    /// Of a budget that is leased up to this burst. Where rules of several bursts share it, to the least: what is fetched
    /// then passes each of them, and what is beyond is judged by each rule's own.
    #[must_use]
    pub fn new(rate: Rate, burst: u64, on_error: OnError) -> Self {
        let whole = |units: u64| (units / Rate::ONE * Rate::ONE).max(Rate::ONE);
        let most = whole(burst.saturating_add(Rate::ONE) / 4);
        let chunk = whole(bucket::drained(rate, CHUNK_MS)).min(most);
        Self { rate, burst, on_error, chunk, most }
    }

    /// The most units that may be held.
    #[must_use]
    pub const fn most(&self) -> u64 {
        self.most
    }

    /// The most units that may be owed, but for a single hit that costs more.
    #[must_use]
    pub const fn chunk(&self) -> u64 {
        self.chunk
    }
}

/// What becomes of one hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ruling {
    /// It passes at once.
    Pass,
    /// It was charged, and passes after this many milliseconds.
    Wait(u64),
    /// It exceeds the burst. It was not charged.
    Reject,
    /// That is told by an answer which is under way. It was not charged.
    Again,
    /// Redis does not answer, and without it nothing passes. It was not charged.
    Away,
}

impl From<Verdict> for Ruling {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Wait(ms) => Self::Wait(ms),
            Verdict::Reject { .. } => Self::Reject,
        }
    }
}

/// What is held of one key's budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Units that may be spent, and are charged already.
    credit: u64,
    /// Units that passed ahead, and that Redis was not told of. Never beside credit.
    debt: u64,
    /// Units of debt in the question under way.
    told: u64,
    /// The bucket as it was last told, with the debt since then on top.
    known: Option<Bucket>,
    /// When the question under way was asked.
    asked: Option<u64>,
    /// Credit is not asked for before.
    rest_until: u64,
    /// Whether a chunk did not last until the answer.
    outrun: bool,
    /// Whether the last question had no answer.
    away: bool,
}

/// What Redis is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Units to grant.
    pub want: u64,
    /// Units to charge whatever the burst.
    pub debt: u64,
    /// Units to give back.
    pub back: u64,
}

/// What Redis says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Units granted.
    pub units: u64,
    /// Milliseconds until there is room for one more; 0 where all that was wanted was granted.
    pub retry_ms: u64,
    /// Units of excess in the bucket, those granted among them.
    pub excess: u64,
}

impl Lease {
    /// Charges one hit of this cost, by this limit, if it passes.
    #[inline]
    pub fn hit(&mut self, terms: &Terms, limit: &Limit, cost: u64, now_ms: u64) -> Ruling {
        if let Some(rest) = self.credit.checked_sub(cost) {
            self.credit = rest;
            return Ruling::Pass;
        }
        self.hit_ahead(terms, limit, cost, now_ms)
    }

    fn hit_ahead(&mut self, terms: &Terms, limit: &Limit, cost: u64, now_ms: u64) -> Ruling {
        match terms.on_error {
            OnError::Open if self.away => return Ruling::Pass,
            OnError::Closed if self.away => return Ruling::Away,
            _ => {}
        }
        let ahead = cost - self.credit;
        let mut known = self.known;
        let ruling = bucket::hit(&mut known, limit, ahead, now_ms).into();
        let owed = self.debt.saturating_add(self.told);
        match ruling {
            Ruling::Pass if !self.away && owed > 0 && owed.saturating_add(ahead) > terms.chunk => return Ruling::Again,
            Ruling::Pass | Ruling::Wait(_) => {}
            Ruling::Reject | Ruling::Again | Ruling::Away => return ruling,
        }
        (self.known, self.credit) = (known, 0);
        // Without Redis this is a bucket of this gateway's own.
        if !self.away {
            self.debt = self.debt.saturating_add(ahead);
        }
        ruling
    }

    /// Notes that a hit has to look again.
    pub fn outrun(&mut self) {
        self.outrun = true;
    }

    /// Whether to ask now. If so, it counts as asked: there is one question at a time.
    #[inline]
    pub fn asks(&mut self, terms: &Terms, now_ms: u64) -> bool {
        if self.asked.is_some() {
            return false;
        }
        let runs_low = self.credit.saturating_mul(2) < terms.chunk && now_ms >= self.rest_until;
        let owes = !self.away && (self.outrun || (self.debt > 0 && self.debt.saturating_mul(2) >= terms.chunk));
        if runs_low || owes {
            self.asked = Some(now_ms);
        }
        runs_low || owes
    }

    /// One of a key whose last lease was given up while Redis did not answer, and was [`Lease::left`] so.
    #[must_use]
    pub fn owing(left: Option<Bucket>) -> Self {
        Self { known: left, ..Self::default() }
    }

    /// What this gateway has counted alone, while Redis does not answer.
    #[must_use]
    pub fn left(&self) -> Option<Bucket> {
        self.known.filter(|_| self.away)
    }

    /// Whether a question is under way.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Nobody could be asked after all.
    pub fn unask(&mut self) {
        self.asked = None;
    }

    /// What to ask, and then to be [`Lease::answered`].
    pub fn question(&mut self, terms: &Terms) -> Question {
        let aim = if std::mem::take(&mut self.outrun) { terms.most } else { terms.chunk };
        self.told = std::mem::take(&mut self.debt);
        Question { want: aim.saturating_sub(self.credit), debt: self.told, back: 0 }
    }

    /// What to ask when nobody holds it any more: the books are closed. None: there is nothing to say.
    pub fn last_question(&mut self) -> Option<Question> {
        let question = Question { want: 0, debt: self.debt, back: self.credit };
        *self = Self::default();
        (question.debt > 0 || question.back > 0).then_some(question)
    }

    /// Takes an answer. It is counted from when it was asked for: from then on it can only have drained. More than was asked
    /// for is no answer of Redis', and is not taken.
    pub fn answered(&mut self, terms: &Terms, told: Told, now_ms: u64) {
        let asked = self.asked.take().unwrap_or(now_ms);
        (self.told, self.away) = (0, false);
        // What passed meanwhile is paid at once with what was granted.
        let credit = self.credit.saturating_add(told.units).min(terms.most);
        let paid = credit.min(self.debt);
        self.debt -= paid;
        self.credit = credit - paid;
        self.known = Some(Bucket::owing(told.excess.saturating_add(self.debt), asked));
        let rest = match told.retry_ms {
            0 => 0,
            // Not for each single one: half a chunk is worth a question.
            ms => ms.max(bucket::time_of(terms.rate, terms.chunk / 2)).min(REST_MS),
        };
        self.rest_until = asked.saturating_add(rest);
    }

    /// There was no answer. What was told may have been charged or not; it is told again, since the limit comes first.
    pub fn unanswered(&mut self, now_ms: u64) {
        self.asked = None;
        self.debt = self.debt.saturating_add(std::mem::take(&mut self.told));
        self.away = true;
        self.rest_until = now_ms.saturating_add(AWAY_MS);
    }
}

#[cfg(test)]
mod tests;
