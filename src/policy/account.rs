//! What sessions of one key owe together, and a session's hold on it.
//!
//! A session looks its accounts up once, when it is admitted, and holds them as long as it lives: a message then takes one
//! short lock and no look-up. While an account is held it keeps its entry in the zone; the last session to go leaves what
//! is owed there, so that to connect anew is no way round a limit.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::bucket::Bucket;
use super::key::Key;
use super::zone::table::Table;

/// What the sessions of one key owe. Without a bucket nothing was charged so far.
#[derive(Debug, Default)]
pub struct Account {
    owed: Mutex<Option<Bucket>>,
}

impl Account {
    /// One that owes this already.
    #[must_use]
    pub fn new(owed: Option<Bucket>) -> Self {
        Self { owed: Mutex::new(owed) }
    }

    /// What is owed, while nobody else can charge. Whoever holds several at once locks them in the order of
    /// [`Account::address`].
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.owed.lock()
    }

    /// What tells it from all others.
    #[must_use]
    pub fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// One session's hold on an account. What is held is counted, and given back by the drop.
#[derive(Debug)]
pub struct Hold {
    account: Arc<Account>,
    /// None for an account within the session.
    home: Option<(Arc<Table>, Key)>,
}

impl Hold {
    /// Of an account that no other session can find.
    #[must_use]
    pub fn within_session(account: Arc<Account>) -> Self {
        Self { account, home: None }
    }

    /// Of an account in a zone, which has counted this hold.
    pub(super) fn of_zone(account: Arc<Account>, table: Arc<Table>, key: Key) -> Self {
        Self { account, home: Some((table, key)) }
    }

    /// The account.
    #[must_use]
    #[inline]
    pub fn account(&self) -> &Account {
        &self.account
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some((table, key)) = &self.home {
            table.release(*key);
        }
    }
}

#[cfg(test)]
mod tests;
