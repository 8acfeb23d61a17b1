//! Revocations as JSON: one as it is listed, and all of them as they are kept in a file.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::entry::{self, Entry, LAST_DATE, What};
use crate::now::Timestamp;

/// The one form of the file that there has been.
const VERSION: u32 = 1;

/// Bytes that one entry takes at most in a file: two texts of 1 KiB and a note, each byte escaped by a second one, and
/// the rest.
pub const MAX_ENTRY: u64 = 6 * 1024;

/// An entry's members, each under its own name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    created: Timestamp,
    expires: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl From<Entry> for Record {
    fn from(entry: Entry) -> Self {
        let Entry { id, what, jwt, created, expires, note } = entry;
        let mut record = Self {
            id: id.to_string(),
            jti: None,
            subject: None,
            issued_before: what.issued_before().map(Timestamp),
            claim: None,
            value: None,
            jwt: jwt.map(|name| name.as_ref().to_owned()),
            created: Timestamp(created),
            expires: Timestamp(expires),
            note,
        };
        match what {
            What::Jti(jti) => record.jti = Some(jti),
            What::Subject(subject) | What::SubjectBefore(subject, _) => record.subject = Some(subject),
            What::Claim(name, value) => {
                record.claim = Some(name);
                record.value = Some(value.value().clone());
            }
        }
        record
    }
}

impl TryFrom<Record> for Entry {
    type Error = String;

    fn try_from(record: Record) -> Result<Self, String> {
        let claim = pair(record.claim, record.value)?;
        let what = What::of(record.jti, record.subject, record.issued_before.map(|Timestamp(at)| at), claim)?;
        if record.expires.0 > LAST_DATE {
            return Err("expires is beyond the year 9999".to_owned());
        }
        Ok(Self {
            id: record.id.parse()?,
            what,
            jwt: record.jwt.map(Into::into),
            created: record.created.0,
            expires: record.expires.0,
            note: record.note.map(entry::note).transpose()?,
        })
    }
}

/// A claim and its value stand together.
pub(super) fn pair(claim: Option<String>, value: Option<Value>) -> Result<Option<(String, Value)>, String> {
    match (claim, value) {
        (Some(claim), Some(value)) => Ok(Some((claim, value))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("claim has no value beside it".to_owned()),
        (None, Some(_)) => Err("value has no claim beside it".to_owned()),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "version")]
    version: u32,
    revocations: Vec<Entry>,
}

/// The text of a file.
#[must_use]
pub fn write(revocations: Vec<Entry>) -> String {
    // Structs of texts and numbers always have a JSON form; an empty text would be refused at the next start, not taken.
    let mut text = serde_json::to_string_pretty(&File { version: VERSION, revocations }).unwrap_or_default();
    text.push('\n');
    text
}

/// The entries of a file.
///
/// # Errors
/// What is wrong with it, with line and column.
pub fn read(text: &str) -> Result<Vec<Entry>, String> {
    if !text.trim_start().starts_with('{') {
        return Err("no JSON object begins there at line 1 column 1".to_owned());
    }
    serde_json::from_str(text).map(|File { revocations, .. }| revocations).map_err(|error| error.to_string())
}

fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let found = u32::deserialize(deserializer)?;
    if found != VERSION {
        return Err(D::Error::custom(format!("version {found} is not known here, only {VERSION}")));
    }
    Ok(found)
}
