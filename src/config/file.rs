//! Reads the files that an operator names, with a bound: a path may lead to a device or a log by mistake.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The most that any one file may hold, in bytes.
pub const MOST: u64 = 1 << 20;

/// Reads a file whole.
///
/// # Errors
///
/// Those of opening and reading, and a file of more than [`MOST`] bytes.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, MOST)
}

/// The same with another bound, in bytes.
///
/// # Errors
///
/// Those of opening and reading, and a file of more than that.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // Opening a folder works, and reading one says nothing that helps.
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {} MiB", most >> 20)));
    }
    Ok(bytes)
}

/// Reads a file of text.
///
/// # Errors
///
/// Those of [`read`], and bytes that are no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    read(path).and_then(text)
}

/// What was read as text.
///
/// # Errors
///
/// Bytes that are no UTF-8.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8 text"))
}
