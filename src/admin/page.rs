//! The operator's page: its files, as they are built into the program, and what a browser may do with them.
//!
//! Nothing that the gateway knows stands in them: the page's script asks for that, with the token. The page loads from
//! this listener alone, and makes no HTML of text: what a client chose to be called stays text.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderMap, VARY};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::reply::{self, TEXT};

/// Where the page's files are.
pub(super) const FOLDER: &str = "/page/";

/// With `require-trusted-types-for` a browser refuses to take text for HTML, wherever the script would have it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// By name, with the type.
const FILES: &[(&str, &str, &str)] = &[
    ("icon.svg", SVG, include_str!("page/icon.svg")),
    ("style.css", CSS, include_str!("page/style.css")),
    ("api.js", SCRIPT, include_str!("page/api.js")),
    ("chart.js", SCRIPT, include_str!("page/chart.js")),
    ("config.js", SCRIPT, include_str!("page/config.js")),
    ("connections.js", SCRIPT, include_str!("page/connections.js")),
    ("dom.js", SCRIPT, include_str!("page/dom.js")),
    ("fill.js", SCRIPT, include_str!("page/fill.js")),
    ("format.js", SCRIPT, include_str!("page/format.js")),
    ("health.js", SCRIPT, include_str!("page/health.js")),
    ("main.js", SCRIPT, include_str!("page/main.js")),
    ("poll.js", SCRIPT, include_str!("page/poll.js")),
    ("question.js", SCRIPT, include_str!("page/question.js")),
    ("rates.js", SCRIPT, include_str!("page/rates.js")),
    ("reasons.js", SCRIPT, include_str!("page/reasons.js")),
    ("refusals.js", SCRIPT, include_str!("page/refusals.js")),
    ("rows.js", SCRIPT, include_str!("page/rows.js")),
    ("traffic.js", SCRIPT, include_str!("page/traffic.js")),
    ("upstreams.js", SCRIPT, include_str!("page/upstreams.js")),
];

/// The page for a browser, and for others what there is, as text.
pub(super) fn index(headers: &HeaderMap, text: &'static str) -> Response<Full<Bytes>> {
    let wants_html = |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept.contains("text/html"));
    let mut answer = if headers.get_all(ACCEPT).iter().any(wants_html) {
        let mut page = reply::page(StatusCode::OK, HTML, include_str!("page/index.html"));
        page.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        page
    } else {
        reply::page(StatusCode::OK, TEXT, text)
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// One of the page's files.
pub(super) fn file(name: &str) -> Option<Response<Full<Bytes>>> {
    let (_, content_type, text) = FILES.iter().find(|(known, ..)| *known == name)?;
    Some(reply::page(StatusCode::OK, content_type, *text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_built_in_and_every_import_among_them_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/page");
        let there = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let there: BTreeSet<String> =
            there.filter(|name| name != "index.html" && !name.ends_with(".test.js")).collect();
        let known: BTreeSet<String> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        assert_eq!(there, known);
        let mut imports = 0;
        for (name, _, text) in FILES {
            for (at, _) in text.match_indices("from \"./") {
                let other = text[at + 8..].split('"').next().unwrap();
                assert!(known.contains(other), "{name} imports {other}");
                imports += 1;
            }
        }
        assert!(imports > 10, "{imports}");
    }

    /// Without an `integrity` of its own or a script in the page, nothing but the files is ever run.
    #[test]
    fn the_page_has_no_script_and_no_style_in_line_and_asks_nobody_else() {
        let html = include_str!("page/index.html");
        for wrong in [" style=", " onclick", "<style", "javascript:", "://"] {
            assert!(!html.contains(wrong), "{wrong}");
        }
        assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=\"/page/").count());
        for (name, _, text) in FILES.iter().filter(|(_, kind, _)| *kind == SCRIPT) {
            for wrong in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(wrong), "{name}: {wrong}");
            }
        }
    }
}
