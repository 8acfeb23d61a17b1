//! Turns what the TOML parser and serde say into what an operator reads. Never repeats a value that could be a secret.
//!
//! serde hands its messages on as text only, so they are taken apart here, and passed on as they are where one has a
//! shape that is not known. The fixtures in `tests/configs/invalid` hold the shapes.

use toml::de::{DeValue, Error};

use super::problem::Problem;

/// Words of a list that is shown although the right one was guessed.
const READ_AT_A_GLANCE: usize = 12;

/// What serde says of the value `found` at `path`.
pub(super) fn of_serde(path: &str, key: &str, message: &str, found: Option<&DeValue>) -> Problem {
    if let Some(missing) = quoted_behind(message, "missing field ") {
        let path = if path.is_empty() { missing.to_owned() } else { format!("{path}.{missing}") };
        return Problem::new(path, "this key is missing");
    }
    if let Some(allowed) = message.strip_prefix(&format!("unknown field `{key}`, expected ")) {
        if path == "server.access_log" {
            return Problem::new(path, "this key has moved").help("it is `format` in [access_log]");
        }
        return unknown(Problem::new(path, "unknown key"), key, allowed);
    }
    if message.starts_with("unknown variant ")
        && let Some(DeValue::String(word)) = found
        && let Some(allowed) = message.strip_prefix(&format!("unknown variant `{word}`, expected "))
    {
        return unknown(Problem::new(path, format!("`{word}` is not known here")), word, allowed);
    }
    if let Some((problem, expected)) = message.split_once(", expected ") {
        let is_list = expected == "a sequence" && matches!(found, Some(DeValue::Table(_)));
        let allowed = format!("allowed: {}", expectation(expected));
        let help = if is_list { format!("{allowed}, each written as [[{key}]]") } else { allowed };
        if problem.starts_with("invalid type: ") {
            return Problem::new(path, format!("wrong type: {}", found.map_or("another", kind))).help(help);
        }
        if problem.starts_with("invalid value: ") {
            return Problem::new(path, "out of range").help(help);
        }
    }
    // What toml says where a word of a fixed list is wanted.
    if message == "wanted string or table" {
        return Problem::new(path, format!("wrong type: {}", found.map_or("another", kind))).help("allowed: a text");
    }
    match message.split_once('\n') {
        Some((message, help)) => Problem::new(path, message).help(help),
        None => Problem::new(path, message),
    }
}

/// The key that was meant by the unknown one that `message` is about.
pub(super) fn meant<'m>(key: &str, message: &'m str) -> Option<&'m str> {
    nearest(key, &words(message.strip_prefix(&format!("unknown field `{key}`, expected "))?))
}

/// What the parser says of a file that is no TOML. Errors behind one that broke the structure are mostly its echo, so only
/// those are told that do not disturb what follows, up to the line of the first that does, and then that.
pub(super) fn of_syntax(text: &str, mut errors: Vec<Error>) -> Vec<Problem> {
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut problems: Vec<Problem> = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        let here = text.get(span.clone()).unwrap_or_default();
        let line = text.get(..span.start).unwrap_or_default().rfind('\n').map_or(0, |newline| newline + 1);
        let problem = match error.message() {
            "duplicate key" => Problem::new("", format!("`{here}` stands here a second time")).help(match here {
                "listen" | "route" => format!("several are written as [[{here}]], each of them"),
                _ => "leave one of the two".to_owned(),
            }),
            // The word is not repeated: it may be a secret.
            message if !here.is_empty() && is_of_a_bare_word(message) => {
                Problem::new("", "a value that is no number, no true or false, and has no quotes")
                    .help("a text stands in quotes, as \"30s\"")
            }
            message => {
                problems.retain(|earlier| earlier.span.as_ref().is_none_or(|span| span.start < line));
                problems.push(Problem::new("", message).at(error.span()));
                break;
            }
        };
        problems.push(problem.at(error.span()));
    }
    problems
}

/// What toml says of a value without quotes depends on its first letters: `t` is a boolean begun, `0` a number.
fn is_of_a_bare_word(message: &str) -> bool {
    let is_number = message.starts_with("invalid ") && !message.contains("string");
    is_number || message.starts_with("string values must be quoted")
}

/// A word that is not one of `allowed`, which is serde's list: "`a`, `b`", "`a` or `b`" or "one of `a`, `b`".
fn unknown(problem: Problem, word: &str, allowed: &str) -> Problem {
    let allowed = words(allowed);
    let list = format!("allowed: {}", allowed.join(", "));
    problem.help(match nearest(word, &allowed) {
        // All keys of a route would bury it.
        Some(nearest) if allowed.len() > READ_AT_A_GLANCE => format!("did you mean `{nearest}`?"),
        Some(nearest) => format!("did you mean `{nearest}`?\n{list}"),
        None => list,
    })
}

/// What stands in backticks.
fn words(list: &str) -> Vec<&str> {
    list.split('`').skip(1).step_by(2).collect()
}

/// The most similar word, if it is similar at all.
fn nearest<'w>(word: &str, allowed: &[&'w str]) -> Option<&'w str> {
    let word = word.to_ascii_lowercase();
    let near = |other: &str| strsim::normalized_damerau_levenshtein(&word, &other.to_ascii_lowercase());
    let nearest = allowed.iter().copied().max_by(|a, b| near(a).total_cmp(&near(b)))?;
    (near(nearest) >= 0.6).then_some(nearest)
}

fn quoted_behind<'m>(message: &'m str, prefix: &str) -> Option<&'m str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.strip_suffix('`')
}

/// What stands in the file, in words.
fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or a time of day",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// What serde expects, in words. Our own values say it themselves.
fn expectation(expected: &str) -> &str {
    match expected {
        "a string" | "path string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "f64" => "a number",
        _ if expected.starts_with("struct ") => "a table",
        own => own,
    }
}
