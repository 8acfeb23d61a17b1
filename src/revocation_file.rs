//! The revocations in a file, so that a restart does not forget them: read whole at the start, written whole after each
//! change.
//!
//! What stands under the file's name is always one whole list. A new one is written beside it, forced to the disk, and
//! takes its place by a rename.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

use crate::config::file;
use crate::policy::revocation::entry::Entry;
use crate::policy::revocation::{MAX_ENTRIES, Revocations, record};

/// Bytes: what a full list of the longest entries takes, so that what was written can be read.
pub(crate) const MOST: u64 = (MAX_ENTRIES as u64 + 1) * record::MAX_ENTRY;

/// The owner alone: subjects stand in it.
const MODE: u32 = 0o600;

/// The entries of a file; none where there is no file yet.
///
/// # Errors
/// It can't be read, or is no whole list: as one line, with line and column.
pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    let bytes = match file::read_at_most(path, MOST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("`{}` can't be read: {error}", path.display())),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("`{}` is not UTF-8 text", path.display()))?;
    record::read(&text).map_err(|error| format!("`{}` is no whole list of revocations: {error}", path.display()))
}

/// The folder in which the file would be written, if it is missing.
#[must_use]
pub fn missing_folder(path: &Path) -> Option<&Path> {
    // A bare name has the empty path as its folder, which stands for where the process runs.
    path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir())
}

/// The file of one gateway, which alone writes to it.
#[derive(Debug)]
pub struct RevocationFile {
    path: PathBuf,
    /// What stands in it. Whoever writes holds it, also when nobody waits any more.
    written: Arc<Mutex<Written>>,
}

/// What is known of the file.
#[derive(Debug)]
struct Written {
    /// The number of the last change that stands in it.
    generation: u64,
    /// Another process writes it from now on, and has written all that this one knew.
    given_away: bool,
}

/// While it lives, nobody writes.
#[derive(Debug)]
pub struct Held(OwnedMutexGuard<Written>);

impl Held {
    /// Leaves the file to another process: what waited to be written is in it.
    pub fn give_away(mut self) {
        self.0.given_away = true;
    }
}

impl RevocationFile {
    /// Writes what was restored from it, which shows at the start whether it can be written at all.
    ///
    /// # Errors
    /// It can't, said of the key that names it.
    pub fn open(path: PathBuf, revocations: &Revocations, wall: u64) -> io::Result<Self> {
        let (generation, entries) = revocations.state(wall);
        replace(&path, &record::write(entries)).map_err(|error| {
            io::Error::new(error.kind(), format!("revocation.file: `{}` can't be written: {error}", path.display()))
        })?;
        let written = Written { generation, given_away: false };
        Ok(Self { path, written: Arc::new(Mutex::new(written)) })
    }

    /// Returns once all that changed before the call is on the disk. Changes that come at once are written at once: who
    /// waited while another wrote may find that its own is there.
    ///
    /// # Errors
    /// It could not be written; what stood there still does.
    pub async fn save(&self, revocations: &Arc<Revocations>, wall: u64) -> io::Result<()> {
        let wanted = revocations.generation();
        let mut written = self.written.clone().lock_owned().await;
        if written.generation >= wanted || written.given_away {
            return Ok(());
        }
        let (revocations, path) = (revocations.clone(), self.path.clone());
        let writing = spawn_blocking(move || {
            let (generation, entries) = revocations.state(wall);
            replace(&path, &record::write(entries))?;
            written.generation = generation;
            Ok(())
        });
        writing.await.map_err(io::Error::other)?
    }
}

impl RevocationFile {
    /// Waits until nobody writes, and keeps it so. Not to be called where a runtime runs.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held(self.written.clone().blocking_lock_owned())
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(".new");
    let beside = folder.join(name);
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The next try removes it too; until then it only takes room.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The rename itself is on the disk once the folder is.
    File::open(folder)?.sync_all()
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // One that an earlier life left behind. Made anew, so that its mode is ours and it is no link.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
