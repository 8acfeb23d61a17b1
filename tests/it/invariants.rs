//! What the code must not become, read from the code itself: who may use whom, what decisions may not know, and how long
//! a file may be. No lint can keep these.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file with its text without comments, by its path below `src`.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![src.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push((below(&src, &path), code(&path)));
            }
        }
    }
    assert!(found.len() > 60, "{} files", found.len());
    found
}

fn below(src: &Path, path: &Path) -> String {
    path.strip_prefix(src).unwrap().to_string_lossy().into_owned()
}

fn code(path: &PathBuf) -> String {
    let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules that `text` names behind `crate::`.
fn used(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("crate::").map(|(at, prefix)| {
        let rest = &text[at + prefix.len()..];
        rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

#[test]
fn a_file_uses_lower_floors_and_siblings_only() {
    let sources = sources();
    let (_, lib) = sources.iter().find(|(path, _)| path == "lib.rs").unwrap();
    let mut floors = HashMap::new();
    for (floor, group) in lib.split("\n\n").enumerate() {
        for module in group.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
            floors.insert(module.trim_end_matches(';'), floor);
        }
    }
    assert!(floors.len() > 15, "{floors:?}");
    let mut looked = 0;
    for (path, text) in &sources {
        let module = path.split(['/', '.']).next().unwrap();
        // `lib.rs` and `main.rs` stand on no floor, and tests may look up.
        let Some(floor) = floors.get(module).filter(|_| !path.contains("tests")) else { continue };
        for other in used(text) {
            // A macro of the crate's own has no floor.
            let Some(above) = floors.get(other) else { continue };
            assert!(above <= floor, "src/{path} uses {other}, which stands above it");
            looked += 1;
        }
    }
    assert!(looked > 100, "{looked} uses");
}

#[test]
fn decisions_know_no_runtime_no_wire_no_file_and_no_clock() {
    const UNKNOWN: [&str; 9] = [
        "tokio::",
        "hyper::",
        "tracing::",
        "std::fs",
        "std::env",
        "Instant",
        "SystemTime",
        "TcpStream",
        "crate::metrics",
    ];
    let pure = |path: &str| {
        let decides = path.starts_with("policy")
            || ["deny.rs", "session/frame.rs", "session/judge.rs", "session/own.rs"].contains(&path);
        decides && !path.contains("tests")
    };
    let mut looked = 0;
    for (path, text) in sources().iter().filter(|(path, _)| pure(path)) {
        for unknown in UNKNOWN {
            assert!(!text.contains(unknown), "src/{path} decides, and knows {unknown}");
        }
        looked += 1;
    }
    assert!(looked > 20, "{looked} files");
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
    for (path, text) in sources() {
        assert_eq!(careless_matches(&text), [""; 0], "src/{path}");
    }
}

#[test]
fn a_file_says_its_duty_first_and_is_no_longer_than_450_lines() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (path, _) in sources() {
        let text = String::from_utf8(fs::read(src.join(&path)).unwrap()).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 450, "src/{path} has {lines} lines");
        assert!(path.contains("tests") || text.starts_with("//! "), "src/{path} does not say what it is for");
    }
}
