//! What is wrong with a config, and where.

use std::ops::Range;

/// One thing that is wrong, said of a key by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path as the operator would write it: `route[0].jwt`, `jwt.main.secret`. Empty where none is known.
    pub path: String,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What is allowed, or what to do. Each line of it is printed as one remark.
    pub help: Option<String>,
    /// The bytes of the file that it is about, where the path alone does not say it: a key instead of its value, or a
    /// place in a file that is no TOML.
    pub(super) span: Option<Range<usize>>,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: None, span: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, pointing at these bytes of the file.
    #[must_use]
    pub(super) fn at(mut self, span: Option<Range<usize>>) -> Self {
        self.span = span;
        self
    }
}
