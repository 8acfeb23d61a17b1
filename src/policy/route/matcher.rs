//! Which requests are a route's own: by host and by whole segments of the decoded path, each as typed or a `{name}`.

use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::captures::{self, Captures, MAX_VALUE};

/// Whom a route is for.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Where it stands among the routes.
    pub place: Place,
    /// What it captures: the host's name first, then the path's from left to right.
    pub names: Arc<[Box<str>]>,
}

/// A host and a path, whatever their `{name}`s are called: two routes at one place could not be told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    host: Host,
    /// Behind the first slash. Without an empty last one, but for a whole path that ends with a slash.
    segments: Box<[Segment]>,
    /// Whether the path is the whole path.
    exact: bool,
}

/// The host of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Whatever the client says.
    Any,
    /// `*.example.com`, kept as `.example.com`: one or more labels before it.
    Under(String),
    /// `{name}.example.com`, kept as `.example.com`: exactly one label before it.
    Label(String),
    /// This one, in lower case.
    Exact(String),
}

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Segment {
    /// This one, decoded.
    Literal(Box<str>),
    /// `{name}`: any one that is not empty.
    Capture,
}

impl Host {
    /// Parses `example.com`, `*.example.com`, `{name}.example.com`, `127.0.0.1`, `[::1]`, with the name if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<(Self, Option<&str>), String> {
        let (first, rest) = text.split_once('.').unwrap_or((text, ""));
        let captured = captures::name(first)?;
        if rest.contains(['{', '}']) || captured.is_some() && rest.is_empty() {
            return Err(format!("`{text}` is no host: a `{{name}}` is its first label, with a name behind it"));
        }
        let name = if first == "*" || captured.is_some() { rest } else { text };
        let Some(name) = crate::policy::request::host_name(name).filter(|n| *n == name.to_ascii_lowercase()) else {
            return Err(format!("`{text}` is no host: a name without scheme, port or path, or `*.` and a name"));
        };
        let host = match first {
            _ if captured.is_some() => Self::Label(format!(".{name}")),
            "*" => Self::Under(format!(".{name}")),
            _ => Self::Exact(name),
        };
        Ok((host, captured))
    }

    /// Whether it is meant, and the label that was captured.
    fn matches<'h>(&self, host: &'h str) -> Option<Option<&'h str>> {
        match self {
            Host::Any => Some(None),
            Host::Exact(name) => (name == host).then_some(None),
            Host::Under(suffix) => (host.len() > suffix.len() && host.ends_with(suffix.as_str())).then_some(None),
            Host::Label(suffix) => {
                let label = host.strip_suffix(suffix.as_str())?;
                (!label.is_empty() && !label.contains('.')).then_some(Some(label))
            }
        }
    }

    /// An exact one before a captured label, before `*.`, before any; the longer first.
    fn rank(&self) -> Reverse<(u8, usize)> {
        Reverse(match self {
            Host::Exact(name) => (3, name.len()),
            Host::Label(suffix) => (2, suffix.len()),
            Host::Under(suffix) => (1, suffix.len()),
            Host::Any => (0, 0),
        })
    }
}

impl Segment {
    fn takes(&self, asked: &str) -> bool {
        match self {
            Segment::Literal(text) => **text == *asked,
            Segment::Capture => !asked.is_empty() && asked.len() <= MAX_VALUE,
        }
    }
}

impl Matcher {
    /// A path as the operator typed it, at any host.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(path: &str, exact: bool) -> Result<Self, String> {
        let Some(decoded) = crate::policy::request::decode_path(path).filter(|_| !path.contains(['?', '#'])) else {
            return Err(format!(
                "`{path}` is no path: it begins with `/`, and has no empty, `.` or `..` segment and no `?`"
            ));
        };
        // An escaped slash was refused, so the segments as typed and as decoded are as many. As typed, since an escaped
        // brace is a brace that is meant.
        let typed = if exact { path } else { path.trim_end_matches('/') };
        let mut segments = Vec::new();
        let mut names = Vec::new();
        for (typed, decoded) in typed.split('/').zip(decoded.split('/')).skip(1) {
            segments.push(match captures::name(typed)? {
                Some(name) => {
                    names.push(name.into());
                    Segment::Capture
                }
                None => Segment::Literal(decoded.into()),
            });
        }
        let place = Place { host: Host::Any, segments: segments.into(), exact };
        Self { place, names: Arc::default() }.named(names)
    }

    /// The same path at the host that the operator typed.
    ///
    /// # Errors
    /// What is wrong with the host.
    pub fn at(&self, host: &str) -> Result<Self, String> {
        let (host, name) = Host::parse(host)?;
        let matcher = Self { place: Place { host, ..self.place.clone() }, names: Arc::default() };
        matcher.named(name.map(Into::into).into_iter().chain(self.names.iter().cloned()).collect())
    }

    fn named(self, names: Vec<Box<str>>) -> Result<Self, String> {
        let mut seen = HashSet::new();
        match names.iter().find(|name| !seen.insert(*name)) {
            Some(twice) => Err(format!("`{{{twice}}}` stands twice in one route: a name means one place")),
            None => Ok(Self { names: names.into(), ..self }),
        }
    }

    /// Segments of the path.
    #[must_use]
    pub fn segments(&self) -> usize {
        self.place.segments.len()
    }

    /// Whether the host has a `{name}`.
    #[must_use]
    pub fn captures_host(&self) -> bool {
        matches!(self.place.host, Host::Label(_))
    }

    /// Whether a request for this host and decoded path is meant, and what its `{name}`s are then.
    #[must_use]
    pub fn matches(&self, host: &str, path: &str) -> Option<Captures> {
        let label = self.place.host.matches(host)?;
        // A decoded path begins with a slash.
        let mut asked = path.split('/').skip(1);
        let taken = |segment: &Segment| asked.next().is_some_and(|asked| segment.takes(asked));
        if !self.place.segments.iter().all(taken) || self.place.exact && asked.next().is_some() {
            return None;
        }
        let segments = self.place.segments.iter().zip(path.split('/').skip(1));
        let captured = segments.filter(|(segment, _)| **segment == Segment::Capture).map(|(_, asked)| asked);
        Some(Captures::new(&self.names, label.into_iter().chain(captured)))
    }
}

/// As an operator writes it: host and path.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = self.names.iter();
        let mut name = || names.next().map_or("", |name| name);
        match &self.place.host {
            Host::Any => {}
            Host::Under(suffix) => write!(f, "*{suffix}")?,
            Host::Label(suffix) => write!(f, "{{{}}}{suffix}", name())?,
            Host::Exact(host) => f.write_str(host)?,
        }
        for segment in &self.place.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Capture => write!(f, "/{{{}}}", name())?,
            }
        }
        f.write_str(match (self.place.segments.is_empty(), self.place.exact) {
            (true, _) => "/",
            (false, true) => ", exactly",
            (false, false) => "",
        })
    }
}

impl Place {
    /// The order in which places are tried: by host; then a segment as typed before a `{name}` at the first place where
    /// they differ in that; then the longer path; then a whole path before a prefix.
    ///
    /// What is equal here has no request in common, so the order in the file decides nothing.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let mut kinds = self.captured().zip(other.captured()).map(|(one, other)| one.cmp(&other));
        let kinds = kinds.find(|kind| kind.is_ne());
        let by_host = self.host.rank().cmp(&other.host.rank());
        by_host
            .then(kinds.unwrap_or(Ordering::Equal))
            .then(other.segments.len().cmp(&self.segments.len()))
            .then(other.exact.cmp(&self.exact))
    }

    /// Whether both have the same host and path, be it a whole path or a prefix.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.host, &self.segments) == (&other.host, &other.segments)
    }

    fn captured(&self) -> impl Iterator<Item = bool> {
        self.segments.iter().map(|segment| *segment == Segment::Capture)
    }
}

#[cfg(test)]
mod tests;
