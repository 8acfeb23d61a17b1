//! The list, as it is given to a process that takes over: from then on nothing is taken in here, or it would be known here
//! alone and written over there.

use super::Revoking;
use crate::policy::revocation::record;
use crate::revocation_file::Held;

/// While it lives, nothing is revoked or lifted here by an operator, and nobody writes the file.
pub struct Frozen<'r> {
    revoking: &'r Revoking,
    text: String,
    file: Option<Held>,
    given_away: bool,
}

impl Revoking {
    /// Ends what changes the list, until what is returned drops. Waits for the disk where it is being written, so it is not
    /// to be called where a runtime runs.
    #[must_use]
    pub fn freeze(&self) -> Frozen<'_> {
        *self.frozen.lock() = true;
        let file = self.file.as_ref().map(|file| file.hold());
        let (_, entries) = self.revocations.state(self.books.clock.now().wall);
        Frozen { revoking: self, text: record::write(entries), file, given_away: false }
    }

    /// What changes the list, unless that is frozen; it is not frozen in the midst of it.
    pub(super) fn unless_frozen<T>(&self, change: impl FnOnce() -> T) -> Option<T> {
        let frozen = self.frozen.lock();
        (!*frozen).then(change)
    }
}

impl Frozen<'_> {
    /// The list, as it stands in a file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Another process has it for good.
    pub fn give_away(mut self) {
        self.given_away = true;
        if let Some(file) = self.file.take() {
            file.give_away();
        }
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if !self.given_away {
            *self.revoking.frozen.lock() = false;
        }
    }
}
