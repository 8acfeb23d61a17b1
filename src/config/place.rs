//! Where things stand in the text of a file: the bytes of a path, and the bytes that must never be printed.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::Secret;

/// The bytes of the value at `path`, as `route[0].origins[1]`; where it is absent, of the nearest table above that is
/// there. `None` where only the root is left.
pub(super) fn of_path(root: &DeTable, path: &str) -> Option<Range<usize>> {
    let mut found = None;
    let mut step = in_table(root, path);
    while let Some((value, rest)) = step {
        found = Some(value.span());
        step = match value.get_ref() {
            DeValue::Table(table) => in_table(table, rest.strip_prefix('.').unwrap_or(rest)),
            DeValue::Array(list) => in_list(list, rest),
            _ => None,
        };
    }
    found
}

/// One step down by a key. A name may hold dots itself (`[jwt."id.example.com"]`), so the longest key that fits wins.
fn in_table<'t, 'i, 'p>(table: &'t DeTable<'i>, path: &'p str) -> Option<(&'t Spanned<DeValue<'i>>, &'p str)> {
    table
        .iter()
        .filter_map(|(key, value)| Some((value, path.strip_prefix(key.get_ref().as_ref())?)))
        .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
        .min_by_key(|(_, rest)| rest.len())
}

/// One step down by an index.
fn in_list<'t, 'i, 'p>(list: &'t [Spanned<DeValue<'i>>], path: &'p str) -> Option<(&'t Spanned<DeValue<'i>>, &'p str)> {
    let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
    Some((list.get(index.parse::<usize>().ok()?)?, rest))
}

/// The bytes of every value that may be a secret typed by mistake: under a key that means `secret`, and not a reference
/// to where it stands.
pub(super) fn of_secrets(table: &DeTable) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (key, value) in table.iter() {
        match value.get_ref() {
            // Of `[tracing]`: whatever a collector wants to see.
            DeValue::Table(headers) if key.get_ref() == "headers" => {
                headers.iter().for_each(|(_, value)| collect_secrets(value, true, &mut found));
            }
            _ => collect_secrets(value, means_secret(key.get_ref()), &mut found),
        }
    }
    found
}

fn collect_secrets(value: &Spanned<DeValue>, secret: bool, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => found.extend(of_secrets(table)),
        DeValue::Array(list) => list.iter().for_each(|element| collect_secrets(element, secret, found)),
        DeValue::String(text) if text.parse::<Secret>().is_ok() => {}
        // A URL with a password in it.
        DeValue::String(text) if text.contains("://") && text.contains('@') => found.push(value.span()),
        _ if secret => found.push(value.span()),
        _ => {}
    }
}

/// From where on a line of a file that is no TOML must not be printed: there nobody knows where a value ends, nor what a
/// line without a key belongs to.
pub(super) fn of_secret_in_line(line: &str) -> Option<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if let Some(word) = line.split(|c| !is_word(c)).find(|word| means_secret(word)) {
        // `word` is a part of `line`, so this is the offset behind it.
        let behind = word.as_ptr().addr() - line.as_ptr().addr() + word.len();
        let value = line[behind..].trim_start_matches(['"', '\'', ' ', '\t', '=', ':']);
        return Some(line.len() - value.len());
    }
    let (key, _) = line.split_once('=')?;
    let letters: String = key.chars().filter(char::is_ascii_alphanumeric).collect();
    (letters.is_empty() || means_secret(&letters)).then_some(key.len() + 1)
}

/// `secret`, what one types instead of it (`secrets`, `secert`, `jwt_secret`), and other words for the same.
fn means_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["secret", "passw", "passphrase", "hmac", "private", "authoriz"].iter().any(|word| key.contains(word))
        || strsim::normalized_damerau_levenshtein(&key, "secret") >= 0.6
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
[server]
connections.total = 5

[jwt."id.example.com"]
secret = "env:S"

[[route]]
path = "/a"

[[route]]
path = "/b"
origins = ["https://a.example", "https://b.example"]
[route.messages]
rate = "1r/s"
"#;

    fn at(path: &str) -> Option<&'static str> {
        let document = DeTable::parse(TEXT).unwrap();
        of_path(document.get_ref(), path).map(|span| &TEXT[span])
    }

    #[test]
    fn a_path_leads_to_its_value() {
        assert_eq!(at("server.connections.total"), Some("5"));
        assert_eq!(at("route[1].origins[1]"), Some("\"https://b.example\""));
        assert_eq!(at("route[1].messages.rate"), Some("\"1r/s\""));
        assert_eq!(at("jwt.id.example.com.secret"), Some("\"env:S\""));
    }

    #[test]
    fn an_absent_key_leads_to_the_table_that_lacks_it() {
        assert_eq!(at("route[1].messages.burst"), Some("[route.messages]"));
        assert_eq!(at("route[0].upstream"), Some("[[route]]"));
        assert_eq!(at("jwt.id.example.com.algorithms[0]"), Some("[jwt.\"id.example.com\"]"));
        assert_eq!(at("route[7].path"), Some("[[route]]"));
        assert_eq!(at("listen[0].address"), None);
        assert_eq!(at(""), None);
    }

    #[test]
    fn what_may_be_a_secret_is_found_under_misspelt_keys_too() {
        let text = "[jwt.a]\nsecret = 'a1'\n[jwt.b]\nsecrets = ['a2', 3]\n[jwt.c]\nsecert = 4\nissuer = 'x'\n\
                    [jwt.d]\nsecret = 'env:S'\n[jwt.secret]\nissuer = 'y'\n\
                    [assertion.e]\nprivate_key = 'a5'\n[assertion.f]\nprivate_key = 'file:k'\n\
                    [tracing]\nheaders = { x-team = 'a6', b = 'env:B' }\n";
        let document = DeTable::parse(text).unwrap();
        let mut found: Vec<_> = of_secrets(document.get_ref()).into_iter().map(|span| &text[span]).collect();
        found.sort_unstable();
        assert_eq!(found, ["'a1'", "'a2'", "'a5'", "'a6'", "3", "4"]);
    }

    #[test]
    fn a_line_that_is_no_toml_is_cut_where_a_secret_may_begin() {
        for line in [
            "secret = 'hunter2",
            "main = { secret: hunter2",
            "secert hunter2 = 1",
            "\"secret\"=hunter2",
            "sec[ret =hunter2",
            "=hunter2",
        ] {
            let at = of_secret_in_line(line).unwrap();
            assert!(line[at..].starts_with("hunter2"), "{line}");
        }
        assert_eq!(of_secret_in_line("path = /ws"), None);
    }
}
