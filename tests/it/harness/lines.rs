//! The access log, as it is written, line by line.

use std::io::{self, Write};

use serde_json::Value;
use tokio::sync::watch;

use super::within;

/// What the gateway writes to.
pub struct Writer(watch::Sender<Vec<u8>>);

/// Reads it, each line once.
pub struct Lines {
    written: watch::Receiver<Vec<u8>>,
    read: usize,
}

/// A log and its reader.
pub fn lines() -> (Writer, Lines) {
    let (sender, receiver) = watch::channel(Vec::new());
    (Writer(sender), Lines { written: receiver, read: 0 })
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send_modify(|written| written.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// The next line, once it is there.
    pub async fn next(&mut self) -> Value {
        let read = self.read;
        let line = {
            let waiting = self.written.wait_for(|written| written[read..].contains(&b'\n'));
            let written = within("a line of the access log", waiting).await.unwrap();
            written[read..].split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec()
        };
        self.read += line.len();
        serde_json::from_slice(&line).unwrap()
    }

    /// Everything that was ever written.
    pub fn all(&self) -> String {
        String::from_utf8(self.written.borrow().clone()).unwrap()
    }

    /// What nobody has read yet.
    pub fn unread(&self) -> String {
        self.all()[self.read..].to_owned()
    }
}
