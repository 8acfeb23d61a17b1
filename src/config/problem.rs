//! What is wrong with a config, and where.

/// One thing that is wrong, said of a key by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path as the operator would write it: `route[0].jwt`, `jwt.main.secret`.
    pub path: String,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What is allowed, or what to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), help: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
