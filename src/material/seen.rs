//! What files held when they were read, so that it can be asked later whether they hold the same.
//!
//! A path is looked at anew each time: where a folder is swapped by a symbolic link, as Kubernetes does with what it mounts,
//! the path stays and what is behind it changes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use crate::config::file;

/// Files by their paths, each with the SHA-256 of its bytes; none of one that could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(BTreeMap<PathBuf, Option<Box<[u8]>>>);

impl Seen {
    /// Notes what was read.
    pub fn note(&mut self, path: &Path, read: &io::Result<Vec<u8>>) {
        self.0.insert(path.to_owned(), read.as_ref().ok().map(|bytes| hash(bytes)));
    }

    /// The same files as they are now.
    #[must_use]
    pub fn look(&self) -> Self {
        let mut now = Self::default();
        for path in self.0.keys() {
            now.note(path, &file::read(path));
        }
        now
    }

    /// Takes in what another has noted.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// One hash of all, in hexadecimal: two gateways that show the same one obey the same bytes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let all: Vec<u8> = self.0.values().flatten().flat_map(|hash| hash.iter().copied()).collect();
        hash(&all).iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a `String` does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

fn hash(bytes: &[u8]) -> Box<[u8]> {
    digest(&SHA256, bytes).as_ref().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_goes_or_is_swapped_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "one").unwrap();
        let mut seen = Seen::default();
        seen.note(&path, &file::read(&path));
        assert_eq!(seen.look(), seen);
        std::fs::write(&path, "two").unwrap();
        let changed = seen.look();
        assert!(changed != seen && changed.fingerprint() != seen.fingerprint());
        std::fs::remove_file(&path).unwrap();
        assert!(seen.look() != seen && seen.look() != changed);
        std::fs::write(dir.path().join("other"), "one").unwrap();
        std::os::unix::fs::symlink(dir.path().join("other"), &path).unwrap();
        assert_eq!(seen.look(), seen, "the same bytes behind the same path");
    }
}
