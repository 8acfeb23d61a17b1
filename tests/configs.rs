//! The files under `tests/configs`: each valid one reads, each invalid one prints exactly what stands beside it. And the
//! example: it names every key there is, with its real default.
//!
//! `UPDATE_EXPECTED=1 cargo test --test configs` writes what is printed now; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wsgate::config;

/// Whether the gateway would take this text, and what it prints if not.
fn judge(text: &str, file: &str) -> Result<(), String> {
    config::parse(text, file).map(|_| ()).map_err(|report| report.to_string())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    String::from_utf8(fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// The files of a folder with this ending, in order.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn every_valid_file_is_taken() {
    let mut valid = files("tests/configs/valid", "toml");
    assert!(valid.len() >= 3, "{valid:?}");
    valid.extend(files("examples", "toml"));
    valid.push(root().join("gateway.toml.example"));
    for path in valid {
        assert_eq!(judge(&read(&path), &name(&path)), Ok(()), "{}", path.display());
    }
}

/// `make bench` is not run with the tests, and its config is written for the gateway of its day.
#[test]
fn the_config_that_is_measured_is_taken() {
    let mut text = read("benches/config/wsgate.toml");
    for (place, address) in ["@PLAIN@", "@TLS@", "@UPSTREAM@", "@ADMIN@"].into_iter().zip(1..) {
        assert!(text.contains(place), "{place}");
        text = text.replace(place, &format!("127.0.0.1:{address}"));
    }
    text = text.replace("@CERTIFICATE@", "chat.pem").replace("@KEY@", "chat.key");
    assert_eq!(judge(&text, "wsgate.toml"), Ok(()));
}

#[test]
fn every_invalid_file_is_refused_in_the_words_beside_it() {
    every_file_is_refused("tests/configs/invalid", 30, &judge);
}

#[test]
fn every_file_whose_parts_do_not_fit_is_refused_in_the_words_beside_it() {
    every_file_is_refused("tests/configs/unfit", 10, &|text, file| {
        assert_eq!(judge(text, file), Ok(()), "{file} is to be wrong only across its keys");
        compile(text, file)
    });
}

#[test]
fn the_sample_of_the_design_compiles() {
    let path = "tests/configs/valid/design.toml";
    assert_eq!(compile(&read(path), path), Ok(()));
}

/// Whether a gateway could be made of it, in a folder and with an environment that the fixtures know.
fn compile(text: &str, file: &str) -> Result<(), String> {
    let env = |name: &str| match name {
        "SECRET" => Some("hunter2-hunter2-hunter2-hunter2-hunter2".to_owned()),
        "OTHER" => Some("hunter2-hunter2-hunter2-hunter2-another".to_owned()),
        "SHORT" => Some("hunter2".to_owned()),
        _ => None,
    };
    let loaded = wsgate::load::text(text, file, &root().join("tests/configs/unfit"), &env);
    // A path of this machine in a message would differ on the next one.
    let folder = format!("{}/tests/configs/", root().display());
    loaded.map(|_| ()).map_err(|report| report.to_string().replace(&folder, ""))
}

fn every_file_is_refused(folder: &str, at_least: usize, judge: &dyn Fn(&str, &str) -> Result<(), String>) {
    let invalid = files(folder, "toml");
    assert!(invalid.len() >= at_least, "{invalid:?}");
    let expected: Vec<_> = invalid.iter().map(|path| path.with_extension("stderr")).collect();
    let mut wrong = Vec::new();
    for (path, expected) in invalid.iter().zip(&expected) {
        let printed = judge(&read(path), &name(path)).expect_err(&name(path)) + "\n";
        assert!(!printed.contains("hunter2") && !printed.contains("42424242"), "a secret is printed:\n{printed}");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::write(expected, &printed).unwrap();
        }
        let expected = fs::read(expected).ok().map(|bytes| String::from_utf8(bytes).unwrap());
        if expected.as_deref() != Some(&printed) {
            wrong.push(format!("{}: expected\n{}\nprinted\n{printed}", name(path), expected.unwrap_or_default()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(files(folder, "stderr"), expected, "expected words without a file");
}

/// A damaged file is refused or taken, but never a panic, and never shows the secret in it.
#[test]
fn a_file_cut_or_damaged_anywhere_is_still_judged() {
    let secrets = read("tests/configs/invalid/secret-in-the-file.toml");
    let whole = format!("{secrets}{}", read("tests/configs/valid/every-spelling.toml"));
    let mut judged = 0;
    // Everywhere around the secrets; of the rest a sample is enough.
    for (at, _) in whole.char_indices().filter(|(at, _)| *at < secrets.len() || at % 5 == 0) {
        for damage in ["", "\"", "[", "ä"] {
            let text = format!("{}{damage}{}", &whole[..at], if damage.is_empty() { "" } else { &whole[at..] });
            let Err(printed) = judge(&text, "x.toml") else { continue };
            assert!(!printed.contains("hunter2"), "damaged by {damage:?} at {at}:\n{printed}");
            judged += 1;
        }
    }
    assert!(judged > 1000, "{judged}");
}

#[test]
fn the_example_is_valid_with_every_setting_taken_in() {
    assert_eq!(judge(&uncommented(&read("gateway.toml.example")), "uncommented"), Ok(()));
}

#[test]
fn the_example_names_every_key_with_its_real_default() {
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let example: toml::Table = with_defaults(&uncommented(&read("gateway.toml.example"))).parse().unwrap();
    let example = serde_json::to_value(example).unwrap();
    let mut walk = Walk { schema: &schema, missing: BTreeSet::new(), stated: BTreeMap::new() };
    walk.table(&schema, &[&example], "");
    assert_eq!(walk.missing, BTreeSet::new(), "keys that the example lacks");
    assert!(walk.stated.len() > 30, "{:?}", walk.stated);
    for (path, (stated, real)) in walk.stated {
        assert_eq!(stated[0], real, "{path}: the example states the first");
    }
}

/// The example with all settings set: `#key = ..` and `#[table]` lose their `#`, prose (`# ..`) stays.
fn uncommented(example: &str) -> String {
    let setting = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => setting.to_owned(),
        _ => line.to_owned(),
    };
    example.lines().map(setting).collect::<Vec<_>>().join("\n")
}

/// The same with the values that a `# default: ..` behind them names.
fn with_defaults(example: &str) -> String {
    let stated = |line: &str| match (line.split_once(" = "), line.split_once("# default: ")) {
        (Some((key, _)), Some((_, default))) if !line.starts_with('#') => format!("{key} = {default}"),
        _ => line.to_owned(),
    };
    example.lines().map(stated).collect::<Vec<_>>().join("\n")
}

/// Goes through the schema and the example side by side.
struct Walk<'s> {
    schema: &'s Value,
    missing: BTreeSet<String>,
    /// By path: what the example states wherever the key stands in it, and the real default.
    stated: BTreeMap<String, (Vec<Value>, Value)>,
}

impl<'s> Walk<'s> {
    /// `found`: all the tables of this kind in the example, as both routes.
    fn table(&mut self, schema: &'s Value, found: &[&Value], path: &str) {
        let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{path} is no table: {schema}"));
        for (key, about) in properties {
            let path = format!("{path}.{key}");
            let values: Vec<&Value> = found.iter().filter_map(|table| table.get(key)).collect();
            if values.is_empty() {
                self.missing.insert(path);
                continue;
            }
            if let Some(default) = about.get("default") {
                self.stated
                    .insert(path.clone(), (values.iter().map(|value| (*value).clone()).collect(), default.clone()));
            }
            let mut inner = self.resolve(about);
            let mut values = values;
            // One table or a list of them is a choice of two, the table first.
            if let Some(one) =
                inner["anyOf"].get(0).map(|one| self.resolve(one)).filter(|one| one["properties"].is_object())
            {
                inner = one;
                let several = |value: &'_ Value| value.as_array().is_some();
                values = values
                    .into_iter()
                    .flat_map(
                        |value| if several(value) { value.as_array().unwrap().iter().collect() } else { vec![value] },
                    )
                    .collect();
            }
            if inner.get("properties").is_some() {
                self.table(inner, &values, &path);
            } else if let Some(named) = inner.get("additionalProperties").map(|named| self.resolve(named))
                && named.get("properties").is_some()
            {
                let tables: Vec<&Value> = values.iter().flat_map(|value| value.as_object().unwrap().values()).collect();
                self.table(named, &tables, &path);
            } else if let Some(items) = inner.get("items").map(|items| self.resolve(items)) {
                // Each may be a table or a text, the table first.
                let table = items["anyOf"].get(0).map_or(items, |one| self.resolve(one));
                if table.get("properties").is_some() {
                    let all = values.iter().flat_map(|value| value.as_array().unwrap());
                    let tables: Vec<&Value> = all.filter(|value| value.is_object()).collect();
                    self.table(table, &tables, &path);
                }
            }
        }
    }

    fn resolve(&self, about: &'s Value) -> &'s Value {
        let reference = about.get("$ref").or_else(|| about["allOf"][0].get("$ref"));
        match reference.and_then(Value::as_str) {
            Some(reference) => self.schema.pointer(reference.trim_start_matches('#')).unwrap(),
            None => about,
        }
    }
}
