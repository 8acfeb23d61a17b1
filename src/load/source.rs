//! Where a config comes from, and is read from again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Loaded;
use crate::config::{self, Problem, Report};
use crate::gateway::Edition;
use crate::material::Seen;

/// What `env:NAME` is looked up in.
type Env = dyn Fn(&str) -> Option<String> + Send + Sync;

/// A config file, and what `env:NAME` in it looks things up in.
#[derive(Clone)]
pub struct Source {
    path: PathBuf,
    env: Arc<Env>,
}

/// What came of reading it once.
pub struct Attempt {
    /// The config; or all that is wrong with it.
    pub result: Result<Loaded, Report>,
    /// Every file that was looked at for it, the config among them.
    pub seen: Seen,
}

impl Source {
    /// This file, and the process's environment. Paths in it are relative to its folder.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::with(path, |name| std::env::var(name).ok())
    }

    /// The same with another environment.
    #[must_use]
    pub fn with(path: &Path, env: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { path: path.to_owned(), env: Arc::new(env) }
    }

    /// Reads all of it, to follow what is obeyed now, if the gateway runs.
    #[must_use]
    pub fn load(&self, previous: Option<&Edition>) -> Attempt {
        let name = self.path.display().to_string();
        let mut seen = Seen::default();
        let read = config::file::read(&self.path);
        seen.note(&self.path, &read);
        let text = read.and_then(config::file::text).map_err(|error| {
            Report::errors(&name, "", vec![Problem::new("", format!("the file can't be read: {error}"))])
        });
        let base = self.path.parent().unwrap_or(Path::new("."));
        let result = text.and_then(|text| super::compile(&text, &name, base, &*self.env, previous, &mut seen));
        let result = result.map(|loaded| Loaded { source: Some(self.clone()), seen: seen.clone(), ..loaded });
        Attempt { result, seen }
    }
}
