//! Text to [`Config`], or everything that is wrong with it.
//!
//! serde stops at the first error. So the part that it complains about is struck out of the parsed document and the rest
//! is read again, until it reads: then all complaints are known.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::Config;
use super::problem::Problem;
use super::report::Report;
use super::wording;

/// After so many problems the rest is left for the next run: each costs one reading of the file.
const MOST: usize = 50;

/// Reads a config; `file` is its name for the report. A config that is given back may still not fit together.
///
/// # Errors
///
/// All that is wrong with the text: where it is no TOML, has unknown keys, lacks one or has a value that can't be.
pub fn parse(text: &str, file: &str) -> Result<Config, Report> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(Report::errors(file, text, wording::of_syntax(text, errors)));
    }
    let whole = DeValue::Table(document.into_inner());
    let mut left = whole.clone();
    let mut problems = Vec::new();
    let mut struck = BTreeSet::new();
    while problems.len() < MOST {
        let reader = ValueDeserializer::from(Spanned::new(0..text.len(), left.clone()));
        let mut track = serde_path_to_error::Track::new();
        let error = match Config::deserialize(serde_path_to_error::Deserializer::new(reader, &mut track)) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => break,
            Err(error) => error,
        };
        let path = track.path();
        let steps: Vec<Step> = path.iter().filter_map(Step::new).collect();
        let (path, found) = trace(&whole, &left, &steps);
        let problem = complain(&path, &steps, &error, found);
        // A key that was struck out is missing for our sake, not for the operator's.
        if !struck.contains(&problem.path) {
            problems.push(problem);
        }
        struck.insert(path);
        if !strike(&mut left, &steps) {
            break;
        }
    }
    Err(Report::errors(file, text, problems))
}

/// One step of a path, as serde counts: in what is left of the document.
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Step<'p> {
    fn new(segment: &'p Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Key(key)),
            Segment::Seq { index } => Some(Self::Index(*index)),
            // The word of an enum is a value, not a step.
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

/// What is wrong at `path`, pointing at the key where the key is what is wrong.
fn complain(path: &str, steps: &[Step], error: &toml::de::Error, found: Option<&DeValue>) -> Problem {
    let key = steps.iter().rev().find_map(|step| match step {
        Step::Key(key) => Some(*key),
        Step::Index(_) => None,
    });
    let problem = wording::of_serde(path, key.unwrap_or_default(), error.message(), found);
    let is_key = error.message().starts_with("unknown field ");
    problem.at(if is_key { error.span() } else { None })
}

/// The path as the operator counts, struck elements included, and the value that stands there.
fn trace<'v, 'i>(whole: &DeValue, left: &'v DeValue<'i>, steps: &[Step]) -> (String, Option<&'v DeValue<'i>>) {
    let mut path = String::new();
    let (mut whole, mut left) = (Some(whole), Some(left));
    for step in steps {
        match step {
            Step::Key(key) => {
                path += if path.is_empty() { "" } else { "." };
                path += key;
                whole = whole.and_then(|value| value.get(*key)).map(Spanned::get_ref);
                left = left.and_then(|value| value.get(*key)).map(Spanned::get_ref);
            }
            Step::Index(index) => {
                let element = left.and_then(|value| value.get(*index));
                let same = |other: &Spanned<DeValue>| element.is_some_and(|element| element.span() == other.span());
                let list = whole.and_then(DeValue::as_array);
                let number = list.and_then(|list| list.iter().position(same)).unwrap_or(*index);
                path += &format!("[{number}]");
                whole = list.and_then(|list| list.get(number)).map(Spanned::get_ref);
                left = element.map(Spanned::get_ref);
            }
        }
    }
    (path, left)
}

/// Takes what `steps` lead to out of the document. Says whether there was such a thing.
fn strike(value: &mut DeValue, steps: &[Step]) -> bool {
    match (value, steps) {
        (DeValue::Table(table), [Step::Key(key)]) => table.remove(*key).is_some(),
        (DeValue::Table(table), [Step::Key(key), rest @ ..]) => {
            table.get_mut(*key).is_some_and(|inner| strike(inner.get_mut(), rest))
        }
        (DeValue::Array(list), [Step::Index(index)]) if *index < list.len() => {
            let mut elements: Vec<_> = list.iter().cloned().collect();
            elements.remove(*index);
            *list = DeArray::from_iter(elements);
            true
        }
        (DeValue::Array(list), [Step::Index(index), rest @ ..]) => {
            list.get_mut(*index).is_some_and(|inner| strike(inner.get_mut(), rest))
        }
        _ => false,
    }
}
