//! What reading and writing a message costs, in instructions: a count does not depend on what else
//! the machine does, as a time would. `tests/bench/instructions.json` holds the counts of the
//! builds that `.ci/run` makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::running::installed;

/// More than the counts of one compiler differ from those of the next.
const TOLERANCE: f64 = 1.10;
/// The operations that are guarded, and how often each is repeated.
const GUARDED: [(&str, u64); 9] = [
    ("parse-invite", 200),
    ("parse-edit-serialize-invite", 200),
    ("read-invite", 200),
    ("parse-register", 200),
    ("read-register", 200),
    ("transaction", 200),
    ("route-decision", 200),
    ("respond", 200),
    ("parse-credentials", 200),
];

/// Instructions of a run of the program that repeats an operation.
fn counted(operation: &str, count: u64) -> u64 {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env!("CARGO_BIN_EXE_instructions"))
        .args([operation, &count.to_string()])
        .output()
        .expect("valgrind runs");
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn reading_and_writing_a_message_take_no_more_instructions_than_recorded() {
    if std::env::var_os("CSCF_COUNT_INSTRUCTIONS").is_none() {
        eprintln!("skipped: the counts hold for the builds of .ci/run (CSCF_COUNT_INSTRUCTIONS=1)");
        return;
    }
    if !installed("valgrind") {
        return;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/instructions.json");
    let each: BTreeMap<String, u64> = GUARDED
        .into_iter()
        .map(|(name, count)| (name.to_owned(), (counted(name, count) - counted(name, 0)) / count))
        .collect();
    if std::env::var_os("CSCF_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&each).expect("JSON");
        std::fs::write(&path, text + "\n").expect("written");
    }
    let text = std::fs::read_to_string(&path).expect("bench/instructions.json");
    let recorded: BTreeMap<String, u64> = serde_json::from_str(&text).expect("JSON");
    let mut worse = String::new();
    for (name, now) in each {
        let was = recorded.get(&name).copied().unwrap_or_default();
        println!("{name}: {now} instructions, {was} recorded");
        if now as f64 > was as f64 * TOLERANCE {
            worse.push_str(&format!("{name}: {now} instructions, {was} recorded\n"));
        }
    }
    assert!(worse.is_empty(), "{worse}CSCF_BLESS=1 records what is meant to be so");
}
