//! The invariants of `docs/architecture.md` that no lint can keep: who may use whom, and what decisions may not know.

#![allow(clippy::unwrap_used, reason = "a test")]

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
            } else {
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
        let decides = path.starts_with("policy") || ["deny.rs", "session/frame.rs", "session/judge.rs"].contains(&path);
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
