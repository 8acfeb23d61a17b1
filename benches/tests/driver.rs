//! The driver with its own programs: it measures, it reports, and it leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "the files read are the driver's own")]

use std::process::Command;

fn bench(args: &[&str]) -> (std::process::Output, serde_json::Value) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("result.json");
    let quick = ["--quick", "--rounds", "2", "--sizes", "64,2048", "--length-ms", "60", "--idle", "5", "25"];
    let output =
        Command::new(env!("CARGO_BIN_EXE_bench")).args(quick).args(args).arg("--json").arg(&json).output().unwrap();
    let report = std::fs::read_to_string(json).ok().and_then(|text| serde_json::from_str(&text).ok());
    (output, report.unwrap_or_default())
}

#[test]
fn a_run_over_the_floor_gives_every_figure() {
    let (output, report) = bench(&["--only", "floor"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples = report["samples"].as_array().unwrap();
    // One slope of memory; in each of two rounds two sizes and handshakes.
    assert_eq!(samples.len(), 1 + 2 * 3, "{report}");
    assert!(samples.iter().skip(1).all(|s| s["value"].as_f64().unwrap() > 0.0), "{report}");
    let tables = String::from_utf8(output.stdout).unwrap();
    assert!(tables.contains("**1.00** (1.00 to 1.00)"), "{tables}");
}

#[test]
fn a_gateway_that_does_not_start_is_told_with_what_it_said() {
    let (output, _) = bench(&["--only", "wsgate", "--wsgate", "/bin/ls"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("wsgate ended before it listened") && said.contains("--config"), "{said}");
}
