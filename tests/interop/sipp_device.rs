//! SIPp as a device under test: `cscf test --dut` starts it for each case and says what it does
//! wrong. It never refreshes a registration and does not obey a 423; what it does, it does right.
//! Skipped where SIPp is not installed.

use std::path::Path;
use std::process::{Child, Output, Stdio};

use crate::running::{cscf, installed, text};
use tempfile::TempDir;

/// Judges SIPp, as carol, by a case of the suite `registration`.
fn start(folder: &TempDir, case: &str) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp/device.sh");
    let mut command = cscf();
    command
        .current_dir(folder.path())
        .args(["test", "registration", case, "--as", "carol", "--cannot", "reg-event", "--dut"])
        .arg(script)
        .args(["--junit", &format!("{case}.xml")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("starts")
}

fn end(child: Child) -> Output {
    child.wait_with_output().expect("ends")
}

/// What a case came to: the line of the table without the columns' width.
fn row(output: &Output, case: &str) -> String {
    let said = text(&output.stdout);
    let table = said.split_once("\ncase ").map(|(_, table)| table).unwrap_or_default();
    let row = table.lines().find(|line| line.starts_with(case));
    let row = row.unwrap_or_else(|| panic!("{said}\n{}", text(&output.stderr)));
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_the_suite_finds_about_sipp() {
    if !installed("sipp") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    // All at once: each has a network of its own.
    let expected = [
        ("ct-8.1-digest", 0, "passed CT-8.1"),
        ("ct-8.1", 0, "skipped CT-8.1 the device cannot: reg-event"),
        (
            "ct-8.2",
            1,
            "FAILED CT-8.2 did not happen within 34s: dut sends REGISTER between 26s and 34s \
             [34.229-1 8.2; 24.229 5.1.1.4.1]",
        ),
        ("ct-8.3", 0, "passed CT-8.3"),
        (
            "ct-8.4",
            1,
            "FAILED CT-8.4 did not happen within 10s: dut sends REGISTER [34.229-1 8.4; 24.229 \
             5.1.1.2.1; RFC 3261 10.2.8]",
        ),
    ];
    let running: Vec<Child> = expected.iter().map(|(case, ..)| start(&folder, case)).collect();
    for ((case, code, verdict), child) in expected.into_iter().zip(running) {
        let output = end(child);
        assert_eq!(row(&output, case), format!("{case} {verdict}"));
        assert_eq!(output.status.code(), Some(code), "{case}");
        let junit = std::fs::read_to_string(folder.path().join(format!("{case}.xml")));
        let failed = junit.expect("results").contains("<failure");
        assert_eq!(failed, code == 1, "{case}");
    }
    let said = folder.path().join("cscf-out/test/registration/ct-8.4.device.txt");
    let said = std::fs::read_to_string(said).expect("what SIPp wrote");
    assert!(said.contains("423"), "{said}");
}

#[test]
fn two_runs_and_a_test_beside_each_other_do_not_meet() {
    if !installed("sipp") {
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let runs = ["one", "other"].map(|out| {
        let mut command = cscf();
        command.current_dir(folder.path()).args(["run", "volte-call", "--out", out]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
    });
    let test = end(start(&folder, "ct-8.3"));

    assert_eq!(row(&test, "ct-8.3"), "ct-8.3 passed CT-8.3");
    for run in runs {
        let output = end(run);
        assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    }
}
