//! `wsgate reasons`: the table of `deny`, for a person and for the docs.

use super::{Failure, print};
use crate::deny::Deny;

pub(super) fn run(markdown: bool) -> Result<(), Failure> {
    print(&if markdown { self::markdown() } else { text() })
}

fn text() -> String {
    let mut lines = format!("{:<18} {:>6} {:>6}  {:<9} {}\n", "REASON", "STATUS", "CLOSE", "FAULT", "MEANING");
    for deny in Deny::ALL {
        let row = deny.row();
        let reserved = if deny.reserved() { " (reserved)" } else { "" };
        lines += &format!(
            "{:<18} {:>6} {:>6}  {:<9} {}{reserved}\n",
            row.label,
            code(row.status),
            code(row.close),
            row.fault.to_string(),
            row.sentence
        );
    }
    lines
}

/// The table of `docs/reasons.md`, with what stands before and behind it.
#[must_use]
pub(super) fn markdown() -> String {
    let mut lines = String::from(INTRODUCTION);
    lines += "\n| reason | HTTP status before the 101 | close code after it | whose doing | meaning |\n|---|---|---|---|---|\n";
    for deny in Deny::ALL {
        let row = deny.row();
        let reserved = if deny.reserved() { " *(reserved: nothing raises it yet)*" } else { "" };
        lines += &format!(
            "| `{}` | {} | {} | {} | {}{reserved} |\n",
            row.label,
            code(row.status),
            code(row.close),
            row.fault,
            row.sentence
        );
    }
    lines += NOTES;
    lines
}

fn code(code: Option<u16>) -> String {
    code.map_or_else(String::new, |code| code.to_string())
}

const INTRODUCTION: &str = "\
# Reasons

Every handshake or renewal that is refused and every session that ends has exactly one reason. It is the same word everywhere: the
first word of the HTTP response's body, the reason of the Close frame, `reason` in the log line, `result` or `reason` on the
metric. This page is printed by `wsgate reasons --markdown`.
";

const NOTES: &str = "
An ordinary end has the reason `closed`, and `side` says who closed first. The statuses of the token's failures are 403, or
401 with `WWW-Authenticate` where `[jwt.NAME]` says `status = 401`; that of `handshake_rate` is `status` of `handshakes`. An
upstream's own 4xx is passed on under `upstream_refused` unless `pass_upstream_errors = false`. 499 is nginx's number for a
client that left before its answer: it stands in the log only.

`bad_renewal` and `no_session` are answers to a renewal alone (`renew` of a route).

A browser's script does not see the status of a refused handshake: it sees close code 1006. Look at the network tab of its
developer tools, or at the log.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_reasons_md_is_what_the_command_prints() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");
        if std::env::var_os("WSGATE_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let written = String::from_utf8(std::fs::read(path).unwrap()).unwrap();
        assert_eq!(written, markdown(), "run the tests with WSGATE_BLESS=1 to write it anew");
    }

    #[test]
    fn the_table_as_text_has_a_line_for_each_reason() {
        assert_eq!(text().lines().count(), Deny::ALL.len() + 1);
    }
}
