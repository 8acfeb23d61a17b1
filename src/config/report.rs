//! Prints problems as a compiler does: file, line and column, the line itself with carets, and what to do.
//!
//! A line is never printed with a secret in it, also where the secret stands by mistake or the file is no TOML.

use std::fmt::{self, Write as _};
use std::ops::Range;

use toml::de::DeTable;

use super::place;
use super::problem::Problem;

/// Problems of one file, in the order of the file.
pub struct Report {
    /// The file's name as the operator gave it.
    file: String,
    text: String,
    problems: Vec<Problem>,
    /// "error" or "warning".
    word: &'static str,
}

impl Report {
    /// A report of errors.
    pub fn errors(file: impl Into<String>, text: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self { file: file.into(), text: text.into(), problems, word: "error" }
    }

    /// A report of things that work and are unwise.
    pub fn warnings(file: impl Into<String>, text: impl Into<String>, problems: Vec<Problem>) -> Self {
        Self { word: "warning", ..Self::errors(file, text, problems) }
    }

    /// The problems, in no order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for Report {}

// `main` prints an error's Debug form, and the text may hold a secret: so there is only one form.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = Source::new(&self.text);
        let mut placed: Vec<_> = self.problems.iter().map(|problem| (source.place(problem), problem)).collect();
        // Those without a place come first: they are about the file as a whole.
        placed.sort_by_key(|(span, problem)| (span.as_ref().map(|span| span.start), &problem.path));
        for (span, problem) in &placed {
            write!(f, "{}", self.file)?;
            if let Some(span) = span {
                let (line, column) = source.line_and_column(span.start);
                write!(f, ":{line}:{column}")?;
            }
            write!(f, ": {}", self.word)?;
            if !problem.path.is_empty() {
                write!(f, " in {}", problem.path)?;
            }
            writeln!(f, ": {}", problem.message)?;
            let gutter = match span {
                Some(span) => source.print_line(f, span)?,
                None => 1,
            };
            for remark in problem.help.iter().flat_map(|help| help.lines()) {
                writeln!(f, "{:gutter$} = {remark}", "")?;
            }
            writeln!(f)?;
        }
        let count = placed.len();
        let noun = if self.word == "error" { "problem" } else { self.word };
        write!(f, "{count} {noun}{}", if count == 1 { "" } else { "s" })
    }
}

/// The text of a file, and what is known about its bytes.
struct Source<'t> {
    text: &'t str,
    document: DeTable<'t>,
    secrets: Vec<Range<usize>>,
    is_toml: bool,
}

impl<'t> Source<'t> {
    fn new(text: &'t str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let document = document.into_inner();
        Self { text, secrets: place::of_secrets(&document), document, is_toml: errors.is_empty() }
    }

    fn place(&self, problem: &Problem) -> Option<Range<usize>> {
        let span = problem.span.clone().or_else(|| place::of_path(&self.document, &problem.path))?;
        // A parser's error may stand inside a character.
        let start = self.text.floor_char_boundary(span.start);
        Some(start..self.text.ceil_char_boundary(span.end).max(start))
    }

    /// Both from 1; columns in characters, as editors count.
    fn line_and_column(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// Prints the line on which `span` begins, with carets. Gives the width of the line's number back.
    fn print_line(&self, f: &mut fmt::Formatter<'_>, span: &Range<usize>) -> Result<usize, fmt::Error> {
        let number = self.line_and_column(span.start).0.to_string();
        let gutter = number.len();
        let start = self.text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[start..].lines().next().unwrap_or_default();
        let mark = span.start - start..span.end - start;
        let (shown, carets) = draw(line, &mark, &self.hidden(line, start));
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{}", format_args!("{number} | {shown}").to_string().trim_end())?;
        writeln!(f, "{:gutter$} | {carets}", "")?;
        Ok(gutter)
    }

    /// What of a line, which begins at byte `start` of the file, must not be printed.
    fn hidden(&self, line: &str, start: usize) -> Vec<Range<usize>> {
        let end = start + line.len();
        let inside = |secret: &&Range<usize>| secret.start < end && secret.end > start;
        let clip = |secret: &Range<usize>| secret.start.saturating_sub(start)..secret.end.min(end) - start;
        let mut hidden: Vec<_> = self.secrets.iter().filter(inside).map(clip).collect();
        if !self.is_toml {
            hidden.extend(place::of_secret_in_line(line).map(|from| from..line.len()));
        }
        hidden
    }
}

/// The line as it may be shown, and the carets under `mark`, column by column. Tabs stay tabs in both, so that they line
/// up whatever a tab's width is; other control characters do not reach the operator's terminal.
fn draw(line: &str, mark: &Range<usize>, hidden: &[Range<usize>]) -> (String, String) {
    const SECRET: &str = "[secret]";
    let (mut shown, mut carets) = (String::new(), String::new());
    let mut in_secret = false;
    for (at, c) in line.char_indices() {
        let is_marked = mark.contains(&at) || at == mark.start;
        if hidden.iter().any(|range| range.contains(&at)) {
            if !in_secret {
                shown.push_str(SECRET);
                let touched = hidden.iter().any(|range| range.start <= mark.start && mark.start < range.end);
                let _ = write!(carets, "{}", if touched { "^" } else { " " }.repeat(SECRET.len()));
            }
            in_secret = true;
            continue;
        }
        in_secret = false;
        shown.push(if c.is_control() && c != '\t' { '\u{fffd}' } else { c });
        carets.push(match c {
            _ if is_marked => '^',
            '\t' => '\t',
            _ => ' ',
        });
    }
    if !carets.contains('^') {
        carets.push('^');
    }
    carets.truncate(carets.rfind('^').map_or(0, |last| last + 1));
    (shown, carets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_mark_and_beyond_tabs_and_wide_bytes() {
        assert_eq!(draw("\tä = 5", &(6..7), &[]), ("\tä = 5".into(), "\t    ^".into()));
        assert_eq!(draw("a = [", &(5..5), &[]), ("a = [".into(), "     ^".into()));
        assert_eq!(draw("a = \"\"\"", &(4..90), &[]), ("a = \"\"\"".into(), "    ^^^".into()));
        assert_eq!(draw("a\u{1b}[2J", &(0..1), &[]), ("a\u{fffd}[2J".into(), "^".into()));
    }

    #[test]
    fn a_secret_gives_neither_its_text_nor_its_length() {
        let secret = std::slice::from_ref(&(9..12));
        let (shown, carets) = draw("secret = 'a' # b", &(9..12), secret);
        assert_eq!((shown.as_str(), carets.as_str()), ("secret = [secret] # b", "         ^^^^^^^^"));
        let (shown, carets) = draw("secret = 'a' # b", &(15..16), secret);
        assert_eq!((shown.as_str(), carets.as_str()), ("secret = [secret] # b", "                    ^"));
    }

    #[test]
    fn problems_are_printed_in_the_order_of_the_file_whatever_is_found_first() {
        let text = "[[route]]\npath = 1\n[admin]\n";
        let problems =
            vec![Problem::new("admin.address", "c"), Problem::new("route[0].path", "b"), Problem::new("listen", "a")];
        let printed = Report::errors("x.toml", text, problems).to_string();
        let heads: Vec<_> = printed.lines().filter(|line| line.starts_with("x.toml")).collect();
        assert_eq!(
            heads,
            [
                "x.toml: error in listen: a",
                "x.toml:2:8: error in route[0].path: b",
                "x.toml:3:1: error in admin.address: c"
            ]
        );
        assert!(printed.ends_with("\n3 problems"), "{printed}");
    }

    #[test]
    fn a_span_beyond_the_last_line_is_printed_too() {
        let at_end = Problem::new("", "unclosed").at(Some(4..4));
        let printed = Report::errors("x.toml", "a=[\n", vec![at_end]).to_string();
        assert!(printed.starts_with("x.toml:2:1: error: unclosed\n  |\n2 |\n  | ^\n\n"), "{printed}");
    }
}
