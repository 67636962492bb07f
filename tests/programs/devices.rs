//! `cscf test` as a command: what it says without a suite, of a program that ends at once, and to
//! GitHub.

use tempfile::TempDir;

use crate::running::{cscf, output, text};

/// What `cscf test` with these words says, and how it exits.
fn test(folder: &TempDir, words: &[&str]) -> (i32, String, String) {
    let summary = folder.path().join("summary.md");
    let mut command = cscf();
    command.current_dir(folder.path()).arg("test").args(words);
    let out = output(command.env("GITHUB_STEP_SUMMARY", summary));
    (out.status.code().expect("an exit code"), text(&out.stdout), text(&out.stderr))
}

#[test]
fn without_a_suite_it_says_which_there_are_and_what_they_need() {
    let folder = tempfile::tempdir().expect("folder");
    let (code, out, err) = test(&folder, &[]);
    assert_eq!(code, 2, "{out}");
    assert!(err.contains("say which suite, or `all`"), "{err}");
    let row = |suite: &str| out.lines().find(|line| line.starts_with(suite)).expect("a row");
    assert!(row("mo-call").contains("calls"), "{out}");
    assert!(row("registration").contains("aka (") && row("sms").contains("sms"), "{out}");
    assert!(out.contains("--dut") && out.contains("--can"), "{out}");
}

#[test]
fn a_program_that_ends_at_once_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().expect("folder");
    let case = ["registration", "ct-8.1-digest", "--as", "carol"];
    let said = folder.path().join("cscf-out/test/registration/ct-8.1-digest.device.txt");
    let words = [&case[..], &["--github", "--dut", "sh -c 'echo no such option; exit 3'"]].concat();
    let (code, out, err) = test(&folder, &words);
    assert_eq!(code, 2, "{out}{err}");
    let told = "the program of the device ended before it sent anything: exit status: 3";
    assert!(out.contains(told) && out.contains("inconclusive"), "{out}");
    let annotation = err.lines().find(|line| line.starts_with("::error ")).expect("an annotation");
    assert!(annotation.contains("ct-8.1-digest.yaml") && annotation.contains(told), "{err}");
    assert!(annotation.contains("%0Ano such option"), "{annotation}");
    assert_eq!(std::fs::read_to_string(&said).expect("what it wrote"), "no such option\n");
    let summary = std::fs::read_to_string(folder.path().join("summary.md")).expect("a summary");
    let counts = "### cscf test: 0 passed, 0 failed, 1 inconclusive, 0 skipped\n";
    assert!(summary.starts_with(counts), "{summary}");
    assert!(summary.contains("| ct-8.1-digest | inconclusive | CT-8.1 |"), "{summary}");
    assert!(folder.path().join("cscf-out/test/registration/ct-8.1-digest/trace.jsonl").is_file());

    let words = [&case[..], &["--dut", "sh -c 'exit 77'"]].concat();
    let (code, out, err) = test(&folder, &words);
    assert!(code == 0 && out.contains("skipped"), "{out}");
    assert!(!err.contains("::error"), "{err}");
    assert!(!said.exists(), "what an earlier device wrote is gone");
}
