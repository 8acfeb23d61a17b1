//! The documentation against the code: every key with its default, every example compiled, every link, every name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

#[path = "docs/vectors.rs"]
mod vectors;

/// What every secret of an example is, and what signs its tokens.
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    String::from_utf8(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// The pages that a person reads, from the root.
fn pages() -> Vec<(PathBuf, String)> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|found| found == "md")).collect();
    paths.extend([root().join("README.md"), root().join("docker/README.md")]);
    paths.sort();
    assert!(paths.len() >= 10, "{paths:?}");
    paths.into_iter().map(|path| (path.strip_prefix(root()).unwrap().to_owned(), read(&path))).collect()
}

/// The fenced blocks whose first line is this.
fn blocks(page: &str, fence: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if kind == fence {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// A folder with every file that the examples name.
fn material() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(vec!["chat.example.com".to_owned()]).unwrap();
    let jwks = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
        {"kty":"EC","crv":"P-256","alg":"ES256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    for (name, text) in [
        ("tls/fullchain.pem", pair.cert.pem()),
        ("tls/privkey.pem", pair.signing_key.serialize_pem()),
        ("tls/devices-ca.pem", pair.cert.pem()),
        ("tls/chat.example.org.pem", pair.cert.pem()),
        ("tls/chat.example.org.key", pair.signing_key.serialize_pem()),
        ("keys/jwks.json", jwks.to_owned()),
        ("keys/assertion.pem", pair.signing_key.serialize_pem()),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// The environment of an example.
fn secrets(name: &str) -> Option<String> {
    matches!(name, "JWT_SECRET" | "ADMIN_TOKEN" | "REDIS_PASSWORD" | "OTLP_AUTHORIZATION").then(|| SECRET.to_owned())
}

fn compile(text: &str, folder: &Path) -> Result<(), String> {
    wsgate::load::text(text, "example", folder, &secrets).map(|_| ()).map_err(|report| report.to_string())
}

/// A fragment with what it takes to be a whole file: a section that it needs, or names, and does not have.
fn completed(fragment: &str) -> String {
    let mut text = fragment.to_owned();
    for (needed, section, addition) in [
        ("", "[[listen]]", "address = \"127.0.0.1:0\""),
        ("", "[[route]]", "upstream = \"http://127.0.0.1:8000\""),
        ("jwt = \"main\"", "[jwt.main]", "algorithms = [\"HS256\"]\nsecret = \"env:JWT_SECRET\""),
        ("store = \"redis\"", "[redis]", "url = \"redis://127.0.0.1:6379/0\""),
    ] {
        if fragment.contains(needed) && !fragment.contains(section) {
            text += &format!("\n{section}\n{addition}\n");
        }
    }
    text
}

#[test]
fn every_example_compiles() {
    let folder = material();
    let (mut whole, mut fragments) = (0, 0);
    for (path, page) in pages() {
        for block in blocks(&page, "toml") {
            assert_eq!(compile(&block, folder.path()), Ok(()), "{}:\n{block}", path.display());
            whole += 1;
        }
        for block in blocks(&page, "toml fragment") {
            assert_eq!(compile(&completed(&block), folder.path()), Ok(()), "{}:\n{block}", path.display());
            fragments += 1;
        }
    }
    for file in ["docker/gateway.toml", "examples/minimal.toml"] {
        assert_eq!(compile(&read(file), folder.path()), Ok(()), "{file}");
    }
    assert!(whole >= 2 && fragments >= 6, "{whole} {fragments}");
}

#[test]
fn the_pages_show_the_files_of_examples_as_they_are() {
    let mut shown = BTreeSet::new();
    for (page, fence, file) in [
        ("README.md", "toml", "minimal.toml"),
        ("docs/http.md", "toml", "socketio.toml"),
        ("docs/authentication.md", "python", "fastapi-identity.py"),
        ("docs/authentication.md", "js", "browser-reconnect.js"),
        ("docs/authentication.md", "python", "reconnect.py"),
    ] {
        let text = read(Path::new("examples").join(file));
        assert!(blocks(&read(page), fence).iter().any(|block| block == text.trim_end()), "{page} shows another {file}");
        shown.insert(file.to_owned());
    }
    let files = fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    // A folder there is what Python leaves of a file that was run.
    let files =
        files.filter(|path| path.is_file()).map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    assert_eq!(shown, files.collect());
}

/// The keys below `about`, dotted, each with its schema and whether it is required. A list of tables counts as its tables.
fn keys(schema: &Value, about: &Value, path: &str, found: &mut BTreeMap<String, (Value, bool)>) {
    let required = |key: &str| about["required"].as_array().is_some_and(|all| all.iter().any(|one| one == key));
    for (key, value) in about["properties"].as_object().unwrap_or_else(|| panic!("{path} is no table")) {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let inner = table(schema, value);
        if inner["properties"].is_object() {
            keys(schema, inner, &path, found);
        } else {
            found.insert(path, (value.clone(), required(key)));
        }
    }
}

/// What a key holds: behind references, lists, and names that an operator chooses.
fn table<'s>(schema: &'s Value, about: &'s Value) -> &'s Value {
    let reference = about.get("$ref").or_else(|| about["allOf"][0].get("$ref")).and_then(Value::as_str);
    if let Some(reference) = reference {
        return table(schema, schema.pointer(reference.trim_start_matches('#')).unwrap());
    }
    // One table or a list of them is a choice of two, the table first.
    let inner = [&about["items"], &about["additionalProperties"], &about["anyOf"][0]];
    let inner = inner.into_iter().find(|inner| inner.is_object());
    inner.map_or(about, |inner| table(schema, inner))
}

#[test]
fn every_key_stands_in_its_section_with_its_default() {
    let schema: Value = serde_json::from_str(&wsgate::config::schema()).unwrap();
    let page = read("docs/configuration.md");
    let mut looked = 0;
    for (heading, section) in [
        ("`[server]`", "server"),
        ("`[access_log]`", "access_log"),
        ("`[[listen]]`", "listen"),
        ("`[jwt.NAME]`", "jwt"),
        ("`[assertion.NAME]`", "assertion"),
        ("`[zone.NAME]`", "zone"),
        ("`[upstream.NAME]`", "upstream"),
        ("`[[route]]`", "route"),
        ("`[redis]`", "redis"),
        ("`[revocation]`", "revocation"),
        ("`[tracing]`", "tracing"),
        ("`[admin]`", "admin"),
    ] {
        let mut wanted = BTreeMap::new();
        keys(&schema, table(&schema, &schema["properties"][section]), "", &mut wanted);
        let text = page.split(&format!("\n## {heading}\n")).nth(1).expect(heading).split("\n## ").next().unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: BTreeMap<&str, Vec<&str>> = rows
            .filter_map(|row| row.split_once("` | "))
            .map(|(key, rest)| (key, rest.split(" | ").collect()))
            .collect();
        for (key, (about, required)) in &wanted {
            let cells = rows.get(key.as_str()).unwrap_or_else(|| panic!("{heading} lacks {key}"));
            if let Some(default) = about.get("default").filter(|_| !required) {
                assert!(cells[1].contains(&default.to_string()), "{heading} {key}: {} for {default}", cells[1]);
            }
            looked += 1;
        }
        // A table may have a row of its own above its keys.
        let known =
            |key: &str| wanted.contains_key(key) || wanted.keys().any(|one| one.starts_with(&format!("{key}.")));
        let unknown: Vec<_> = rows.keys().filter(|key| !known(key)).collect();
        assert!(unknown.is_empty(), "{heading} has {unknown:?}");
    }
    assert!(looked > 50, "{looked}");
}

/// Where the links of a page lead, but for other sites.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.match_indices("](").map(|(at, _)| page[at + 2..].split(')').next().unwrap_or_default());
    targets.filter(|target| !target.starts_with("http"))
}

/// The anchors that headings make: lower case, blanks as `-`, nothing but letters, digits, `-` and `_` beside.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut looked = 0;
    for (path, page) in pages() {
        for link in links(&page) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(root().join(&target).exists(), "{} leads to {link}", path.display());
            if !anchor.is_empty() {
                assert!(anchors(&read(&target)).contains(anchor), "{} leads to {link}", path.display());
            }
            looked += 1;
        }
    }
    assert!(looked > 40, "{looked}");
}

/// The texts of every test there is, in Rust and in Python.
fn tests() -> String {
    let mut folders = vec![root().join("src"), root().join("tests")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let is = |ending| path.extension().is_some_and(|found| found == ending);
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if is("rs") || is("py") {
                all += &read(path);
            }
        }
    }
    all
}

#[test]
fn every_test_that_a_page_names_exists() {
    let all = tests();
    let mut looked = 0;
    for page in ["docs/security.md", "docs/architecture.md"] {
        let page = read(page);
        // A test's name is the only thing in code style that has this many underscores.
        let names = page.split('`').filter(|word| word.matches('_').count() >= 4 && !word.contains([' ', '\n', '|']));
        for name in names {
            assert!(all.contains(&format!("fn {name}(")) || all.contains(&format!("def {name}(")), "{name}");
            looked += 1;
        }
    }
    assert!(looked > 30, "{looked}");
}

#[test]
fn every_alert_has_its_row_in_the_table_of_alarms() {
    let page = read("docs/operations.md");
    let table = page.split("\n## Alarms\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let rules = read("docker/prometheus/wsgate.rules.yml");
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 30, "{alerts:?}");
    assert_eq!(rows, alerts);
    // Each says where that table is.
    assert_eq!(rules.matches("\n          runbook: docs/operations.md#alarms\n").count(), alerts.len());
}

#[test]
fn every_metric_that_a_page_an_alert_or_the_dashboard_names_exists() {
    let table = read("docs/metrics.md");
    let table = table.split("<!-- table: end -->").next().unwrap();
    let mut looked = 0;
    let shown = ["docker/prometheus/wsgate.rules.yml", "docker/grafana/dashboards/wsgate.json"];
    for (path, page) in pages().into_iter().chain(shown.map(|path| (path.into(), read(path)))) {
        for (at, _) in page.match_indices("wsgate_") {
            let name = page[at..].split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            let name = name.trim_end_matches("_bucket");
            assert!(table.contains(&format!("`{name}`")), "{} names {name}", path.display());
            looked += 1;
        }
    }
    assert!(looked > 50, "{looked}");
}
