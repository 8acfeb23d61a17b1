//! What the code must not become, read from the code itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The order of `lib.rs` is the order of the floors; a blank line is a ceiling.
const LIB: &str = include_str!("../../src/lib.rs");

/// Longer ones hold more than one duty.
const MAX_LINES: usize = 450;

/// A source file: where it stands under `src/`, and its code without comments and tests.
struct File {
    path: String,
    code: String,
    lines: usize,
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push(File { code: code(&path, &text), lines: text.lines().count(), path });
            }
        }
    }
    assert!(files.len() > 50, "the walk went astray: {}", files.len());
    files
}

/// Without comments, and without tests, which may use what they like.
fn code(path: &str, text: &str) -> String {
    if path.ends_with("tests.rs") || path.contains("tests/") {
        return String::new();
    }
    let product = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = product.lines().map(|line| line.split("// ").next().unwrap_or_default());
    lines.filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The words of Rust in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

#[test]
fn decisions_know_no_socket_no_clock_no_file_and_no_log() {
    let banned =
        ["tokio", "hyper", "tracing", "metrics", "access_log", "fs", "Instant", "SystemTime", "Clock", "spawn"];
    let pure =
        |path: &str| path.starts_with("policy") || ["deny.rs", "session/frame.rs", "session/judge.rs"].contains(&path);
    let pure: Vec<File> = files().into_iter().filter(|file| pure(&file.path)).collect();
    assert!(pure.iter().filter(|file| !file.code.is_empty()).count() > 15, "nothing was looked at");
    for file in pure {
        let found: Vec<_> = words(&file.code).filter(|word| banned.contains(word)).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.path);
    }
}

#[test]
fn a_file_uses_no_module_of_a_higher_floor() {
    let floors: BTreeMap<&str, usize> = LIB
        .split("\n\n")
        .enumerate()
        .flat_map(|(floor, group)| {
            let modules = group.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
            modules.map(move |module| (module, floor))
        })
        .collect();
    assert!(
        floors["deny"] < floors["policy"]
            && floors["policy"] < floors["session"]
            && floors["session"] < floors["gateway"]
    );
    let mut uses = 0;
    for file in files().iter().filter(|file| !matches!(file.path.as_str(), "lib.rs" | "main.rs")) {
        let own = file.path.split(['/', '.']).next().unwrap();
        let Some(floor) = floors.get(own) else { panic!("{} is in no module of lib.rs", file.path) };
        for used in file.code.split("crate::").skip(1) {
            let used = words(used).next().unwrap_or_default();
            let Some(theirs) = floors.get(used) else { continue };
            uses += 1;
            assert!(theirs <= floor, "{} uses {used}, which stands above it", file.path);
        }
    }
    assert!(uses > 100, "{uses}");
}

/// The lines of each `match` over a reason that have an arm for anything else. Relies on rustfmt's indentation.
fn careless_matches(code: &str) -> Vec<String> {
    let lines: Vec<&str> = code.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut careless = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("match ") && line.ends_with('{')) {
        let inside = lines[at + 1..].iter().take_while(|inner| inner.trim().is_empty() || indent(inner) > indent(line));
        let arms: Vec<&str> = inside.filter(|inner| indent(inner) == indent(line) + 4).map(|arm| arm.trim()).collect();
        let pattern = |arm: &str| arm.split("=>").next().unwrap_or_default().to_owned();
        let over_reasons = arms.iter().any(|arm| pattern(arm).contains("Deny::"));
        if over_reasons && arms.iter().any(|arm| arm.starts_with("_ =>") || arm.starts_with("_ if")) {
            careless.push((*line).to_owned());
        }
    }
    careless
}

#[test]
fn no_match_over_the_reasons_has_an_arm_for_all_others() {
    let careless = "match deny {\n    Deny::Kicked => 1,\n    _ => 2,\n}\n";
    assert_eq!(careless_matches(careless), ["match deny {"], "the test itself");
    assert_eq!(careless_matches(&careless.replace("_ =>", "Deny::Draining =>")), [""; 0]);
    for file in files() {
        assert_eq!(careless_matches(&file.code), [""; 0], "{}", file.path);
    }
}

#[test]
fn no_file_is_longer_than_450_lines() {
    for file in files() {
        assert!(file.lines <= MAX_LINES, "{} has {}", file.path, file.lines);
    }
}

#[test]
fn every_file_says_its_duty_first() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in files().iter().filter(|file| !file.code.is_empty()) {
        let text = String::from_utf8(std::fs::read(root.join(&file.path)).unwrap()).unwrap();
        assert!(text.starts_with("//! "), "{}", file.path);
    }
}
