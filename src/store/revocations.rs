//! The revocations that several gateways share: a hash with a field for each, and one for the name of the last change.
//!
//! What a record says is none of the store's business: gateways work out what is to stand there, and the store sees to it
//! that nobody's is overwritten unseen. Every change is published with the name of the one before, so that who missed one
//! knows it.

use super::{Redis, Unavailable, name, script};
use crate::metrics::Operation;
use crate::policy::revocation::shared::MAX_RECORD;

/// The channel of the changes: `BEFORE NAME FIELD VALUE`.
pub const CHANNEL: &str = "revocations";

/// The field with the name of the last change. It goes with the records: a store that forgets one forgets the other.
const CHANGE: &str = "change";

/// Records in one answer, about: some hundred kilobytes of the longest, for the time of one call.
const PAGE: usize = 64;

/// Some of all records.
#[derive(Debug)]
pub struct Page {
    /// Where the next page begins; none after the last.
    pub next: Option<Vec<u8>>,
    /// Fields and their values, empty where they are too long. One may come twice.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One record in the place of another.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The field.
    pub field: String,
    /// What stands there, as [`Redis::look`] said.
    pub old: Vec<u8>,
    /// What is to stand there. Empty: nothing.
    pub new: String,
}

impl Redis {
    /// The name of the last change; empty if there was none, as after the store forgot everything.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn last_change(&self) -> Result<Vec<u8>, Unavailable> {
        Ok(self.look(&[CHANGE.to_owned()]).await?.pop().unwrap_or_default())
    }

    /// The page that begins at `cursor`; the first one is at `0`. Whatever stands there from the first page to the last is
    /// in one of them.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn page(&self, cursor: &[u8]) -> Result<Page, Unavailable> {
        let mut call = script::PAGE.key(self.key(&["revocations"]));
        call.arg(cursor).arg(PAGE).arg(MAX_RECORD);
        let answer: Vec<Vec<u8>> = self.call(&call).await?;
        let mut answer = answer.into_iter();
        let next = answer.next().filter(|cursor| cursor != b"0");
        let mut records = Vec::new();
        while let (Some(field), Some(value)) = (answer.next(), answer.next()) {
            records.push((field, value));
        }
        Ok(Page { next, records })
    }

    /// The values of these fields; empty where there is none, `?` where it is too long.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn look(&self, fields: &[String]) -> Result<Vec<Vec<u8>>, Unavailable> {
        let mut call = script::LOOK.key(self.key(&["revocations"]));
        call.arg(MAX_RECORD).arg(fields);
        let answer: Vec<Vec<u8>> = self.call(&call).await?;
        if answer.len() == fields.len() { Ok(answer) } else { Err(self.0.link.misunderstood(Operation::Revocations)) }
    }

    /// Writes and publishes each whose `old` still stands there; says of each whether it did.
    ///
    /// # Errors
    /// There is no answer. It may have been done all the same.
    pub async fn swap(&self, swaps: &[Swap]) -> Result<Vec<bool>, Unavailable> {
        let mut call = script::SWAP.key(self.key(&["revocations"]));
        call.arg(MAX_RECORD).arg(self.key(&["channel", CHANNEL]));
        for Swap { field, old, new } in swaps {
            call.arg(field).arg(old.as_slice()).arg(new).arg(&*name());
        }
        let answer: Vec<bool> = self.call(&call).await?;
        if answer.len() == swaps.len() { Ok(answer) } else { Err(self.0.link.misunderstood(Operation::Revocations)) }
    }

    async fn call<T: redis::FromRedisValue>(&self, call: &redis::ScriptInvocation<'_>) -> Result<T, Unavailable> {
        self.0.link.ask(Operation::Revocations, async |connection| call.invoke_async(connection).await).await
    }
}
