//! Where lines go, each in its own form: standard output, and files that are opened anew when the operator has moved them.
//!
//! All of this is done by the log's own thread but for the opening. What can't be written is counted and said once; the other
//! places get it all the same.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Format;
use super::shape::shape;

/// The thread flushes when it has caught up, so a buffer saves system calls and delays nothing.
const BUFFER: usize = 64 * 1024;

/// Addresses and subjects are not for everybody on the machine.
const MODE: u32 = 0o640;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Mutex<BufWriter<File>>,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = Mutex::new(append(path)?);
        Ok(Self { path: path.to_owned(), file })
    }

    /// From here on lines go to what stands under the path now. If that can't be opened they go where they went.
    pub(super) fn reopen(&self) {
        let path = self.path.display();
        match append(&self.path) {
            Ok(file) => {
                let before = std::mem::replace(&mut *self.file.lock(), file);
                // What waits belongs to the old file; its drop would write it too, and say nothing.
                if let Err(error) = before.into_inner() {
                    tracing::error!(%path, error = %error.error(), "the last lines of the old access log are lost");
                }
                tracing::info!(%path, "the access log is open anew");
            }
            Err(error) => tracing::error!(%path, %error, "the access log can't be opened anew, and stays where it is"),
        }
    }
}

fn append(path: &Path) -> io::Result<BufWriter<File>> {
    let file = OpenOptions::new().append(true).create(true).mode(MODE).open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("access_log.output: {} can't be opened: {error}", path.display()))
    })?;
    Ok(BufWriter::with_capacity(BUFFER, file))
}

/// What lines are written to.
enum Place {
    Writer(BufWriter<Box<dyn Write + Send>>),
    File(Arc<LogFile>),
}

impl Place {
    fn with(&mut self, act: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        match self {
            Place::Writer(writer) => act(writer),
            Place::File(file) => act(&mut *file.file.lock()),
        }
    }
}

struct Sink {
    format: Format,
    place: Place,
    fails: bool,
}

/// All places, as the log's thread writes to them: one line in JSON at a time.
pub(super) struct Outputs {
    sinks: Vec<Sink>,
    /// The fields that a line has, in this order; none: all that it came with.
    fields: Option<Vec<String>>,
    /// What could not be written.
    errors: Arc<AtomicU64>,
}

impl Outputs {
    pub(super) fn new(fields: Option<Vec<String>>, errors: Arc<AtomicU64>) -> Self {
        Self { sinks: Vec::new(), fields, errors }
    }

    pub(super) fn writer(mut self, format: Format, writer: impl Write + Send + 'static) -> Self {
        let place = Place::Writer(BufWriter::with_capacity(BUFFER, Box::new(writer)));
        self.sinks.push(Sink { format, place, fails: false });
        self
    }

    pub(super) fn file(mut self, format: Format, file: Arc<LogFile>) -> Self {
        self.sinks.push(Sink { format, place: Place::File(file), fails: false });
        self
    }

    fn each(&mut self, act: impl Fn(&mut dyn Write, Format) -> io::Result<()>) {
        for sink in &mut self.sinks {
            let format = sink.format;
            let result = sink.place.with(|place| act(place, format));
            if let Err(error) = &result {
                self.errors.fetch_add(1, Ordering::Relaxed);
                if !sink.fails {
                    tracing::error!(%error, "the access log can't be written");
                }
            }
            sink.fails = result.is_err();
        }
    }
}

impl Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let fields = self.fields.take();
        self.each(|place, format| {
            let shaped: Cow<'_, [u8]> = shape(line, format, fields.as_deref())?;
            place.write_all(&shaped)
        });
        self.fields = fields;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.each(|place, _| place.flush());
        Ok(())
    }
}
