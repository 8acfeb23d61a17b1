//! One revocation as several gateways share it: what each knows of it, and what two make of what they know.
//!
//! A record is named by its words, so that the same said at two gateways meets in one. It says when it was revoked last and
//! when it was lifted last, and the later counts. So it makes no difference in which order, how often, or from where it is
//! heard. That it was lifted is remembered until it would have been over anyway: so what was lifted is told from what a
//! store forgot.

use serde::{Deserialize, Serialize};

use super::entry::{Entry, LAST_DATE, What};
use super::record;
use crate::policy::key::Key;

/// Bytes of a record in JSON: an entry, and its dates.
pub const MAX_RECORD: u64 = record::MAX_ENTRY + 256;

/// What is known of one revocation. All times are milliseconds of a wall clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub struct Record {
    /// When it was lifted last; 0 if it never was.
    lifted: u64,
    standing: Standing,
}

#[derive(Clone, Debug, PartialEq)]
enum Standing {
    /// It counts, since `revoked`.
    Live { revoked: u64, entry: Entry },
    /// It does not. Nobody who remembers it as live does so beyond `until`.
    Lifted { until: u64 },
}

/// The name under which gateways share an entry: all that it says but its dates, its note and its id.
#[must_use]
pub fn words(entry: &Entry) -> Key {
    let dated = [u8::from(entry.what.issued_before().is_some())];
    let (name, (kind, value)) = match &entry.what {
        What::Jti(value) | What::Subject(value) | What::SubjectBefore(value, _) => ("", (b't', value.into())),
        What::Claim(name, value) => (name.as_str(), value.canonical()),
    };
    let what = match &entry.what {
        What::Jti(_) => b"j",
        What::Subject(_) | What::SubjectBefore(..) => b"s",
        What::Claim(..) => b"c",
    };
    let jwt = entry.jwt.as_deref().map_or([0].as_slice(), str::as_bytes);
    let mut bytes = Vec::new();
    for part in [what.as_slice(), &dated, name.as_bytes(), &[kind], value.as_bytes(), jwt] {
        // Each has its length before it, so that no two lists of parts make the same bytes.
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend(part);
    }
    Key::shared(&bytes)
}

impl Record {
    /// Of an entry that was revoked at `revoked`, and never lifted as far as anybody here knows.
    #[must_use]
    pub fn live(entry: Entry, revoked: u64) -> Self {
        Self { lifted: 0, standing: Standing::Live { revoked, entry } }
    }

    /// The entry, while it counts.
    #[must_use]
    pub fn entry(&self) -> Option<&Entry> {
        match &self.standing {
            Standing::Live { entry, .. } => Some(entry),
            Standing::Lifted { .. } => None,
        }
    }

    /// From when on nobody needs to know of it any more.
    #[must_use]
    pub fn until(&self) -> u64 {
        match &self.standing {
            Standing::Live { entry, .. } => entry.expires,
            Standing::Lifted { until } => *until,
        }
    }

    /// The same, revoked once more at `wall`: nothing that is known of it by now lifts it.
    #[must_use]
    pub fn revoked_again(&self, entry: Entry, wall: u64) -> Self {
        let revoked = self.revoked().max(wall).max(self.lifted);
        Self { lifted: self.lifted, standing: Standing::Live { revoked, entry } }
    }

    /// The same where it is live, as if it had been revoked after `other` was lifted: what was said here and did not get
    /// through yet comes after all that got through.
    #[must_use]
    pub fn said_after(self, other: &Self) -> Self {
        match self.standing {
            Standing::Live { revoked, entry } => {
                Self { standing: Standing::Live { revoked: revoked.max(other.lifted), entry }, ..self }
            }
            Standing::Lifted { .. } => self,
        }
    }

    /// The same, lifted at `wall`: after all that is known of it by now.
    #[must_use]
    pub fn lifted(&self, wall: u64) -> Self {
        let after = self.revoked().max(self.lifted).saturating_add(1);
        Self { lifted: wall.max(after).min(LAST_DATE), standing: Standing::Lifted { until: self.until() } }
    }

    /// What two who know of it know together. What was revoked at two places, and not lifted since, has the later dates of
    /// both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let lifted = self.lifted.max(other.lifted);
        let until = self.until().max(other.until());
        let live = |record: Self| match record.standing {
            Standing::Live { revoked, entry } if revoked >= lifted => Some((revoked, entry)),
            Standing::Live { .. } | Standing::Lifted { .. } => None,
        };
        let standing = match (live(self), live(other)) {
            (Some(one), Some(two)) => both(one, two),
            (Some((revoked, entry)), None) | (None, Some((revoked, entry))) => Standing::Live { revoked, entry },
            (None, None) => Standing::Lifted { until },
        };
        Self { lifted, standing }
    }

    /// As it is stored and published.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts and numbers always have a JSON form; an empty text is no record to anybody.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What was stored under the name `field`. None if it is no record, or that of something else: whoever may write there
    /// may write anything.
    #[must_use]
    pub fn read(field: &[u8], json: &[u8]) -> Option<(Key, Self)> {
        if json.len() as u64 > MAX_RECORD {
            return None;
        }
        let key = std::str::from_utf8(field).ok().and_then(Key::from_hex)?;
        let record: Self = serde_json::from_slice(json).ok()?;
        record.entry().is_none_or(|entry| words(entry) == key).then_some((key, record))
    }

    /// 0 while it does not count.
    fn revoked(&self) -> u64 {
        match &self.standing {
            Standing::Live { revoked, .. } => *revoked,
            Standing::Lifted { .. } => 0,
        }
    }
}

/// The same revoked at two places. Which of the two comes first makes no difference.
fn both(one: (u64, Entry), two: (u64, Entry)) -> Standing {
    let rank = |said: &(u64, Entry)| (said.0, format!("{:?}", said.1));
    let (newer, older) = if rank(&one) >= rank(&two) { (one, two) } else { (two, one) };
    let (revoked, newer) = newer;
    let (_, older) = older;
    let what = match (newer.what, older.what.issued_before()) {
        (What::SubjectBefore(subject, before), Some(other)) => What::SubjectBefore(subject, before.max(other)),
        (what, _) => what,
    };
    let entry = Entry {
        id: newer.id.min(older.id),
        what,
        jwt: newer.jwt,
        created: newer.created.min(older.created),
        expires: newer.expires.max(older.expires),
        note: newer.note.or(older.note),
    };
    Standing::Live { revoked, entry }
}

/// A record's members.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    lifted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<Entry>,
}

impl From<Record> for Wire {
    fn from(record: Record) -> Self {
        let lifted = record.lifted;
        match record.standing {
            Standing::Live { revoked, entry } => {
                Self { lifted, until: None, revoked: Some(revoked), entry: Some(entry) }
            }
            Standing::Lifted { until } => Self { lifted, until: Some(until), revoked: None, entry: None },
        }
    }
}

impl TryFrom<Wire> for Record {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let lifted = wire.lifted;
        let standing = match (wire.until, wire.revoked, wire.entry) {
            (None, Some(revoked), Some(entry)) if revoked >= lifted => Standing::Live { revoked, entry },
            (Some(until), None, None) if lifted > 0 => Standing::Lifted { until },
            _ => return Err("neither a revocation nor that one was lifted"),
        };
        let dates = [lifted, wire.until.unwrap_or_default(), wire.revoked.unwrap_or_default()];
        if dates.iter().any(|date| *date > LAST_DATE) {
            return Err("a date beyond the year 9999");
        }
        Ok(Self { lifted, standing })
    }
}
