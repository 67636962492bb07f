//! What comes out of a run beside its ladder on the terminal: annotations and the summary of a step
//! for GitHub, the summaries and the page in its folder, and `cscf ladder` of what was saved.

use std::process::Command;

use crate::running::{cscf, installed, output, text};

/// A scenario whose third step is not met.
const UNMET: &str = "scenario: a call that nobody makes
steps:
  - alice registers
  - alice is registered
  - s1 receives INVITE within 1s
";

#[test]
fn github_is_told_the_line_and_standard_output_stays_the_same() {
    let home = tempfile::tempdir().expect("folder");
    let (file, summary) = (home.path().join("unmet.yaml"), home.path().join("summary"));
    std::fs::write(&file, UNMET).expect("written");
    let run = |github: bool| {
        let mut command = cscf();
        command.args(["run", "--virtual", "register-aka"]).arg(&file);
        command.arg("--out").arg(home.path().join("out"));
        if github {
            command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary);
        }
        output(&mut command)
    };
    let (alone, there) = (run(false), run(true));
    assert_eq!(alone.status.code(), Some(1));
    assert_eq!(text(&alone.stdout), text(&there.stdout));
    assert!(!text(&alone.stderr).contains("::error"));
    let said = text(&there.stderr);
    let annotation = said.lines().find(|line| line.starts_with("::error ")).expect("annotation");
    let place = format!("::error file={},line=5,col=5,title=unmet failed::", file.display());
    assert!(annotation.starts_with(&place), "{annotation}");
    assert!(annotation.contains("did not happen within 1s: s1 receives INVITE"), "{annotation}");
    let summary = std::fs::read_to_string(summary).expect("summary");
    assert!(summary.starts_with("### cscf run: 1 passed, 1 failed\n"), "{summary}");
    assert!(summary.contains("| register-aka | passed | "), "{summary}");
    assert!(summary.contains("\n5 |   - s1 receives INVITE"), "the place is shown: {summary}");
}

#[test]
fn a_folder_has_the_summary_and_what_is_saved_is_drawn_again() {
    let home = tempfile::tempdir().expect("folder");
    let folder = home.path().join("out");
    let mut command = cscf();
    command.args(["run", "--virtual", "volte-call", "--out"]).arg(&folder);
    assert!(output(&mut command).status.success());
    let summary = std::fs::read_to_string(folder.join("summary.txt")).expect("summary");
    for expected in ["volte-call: passed", "Gm alice > p1", "REGISTER x2", "TS 24.229 §5.4.3.2"] {
        assert!(summary.contains(expected), "{expected} is not in\n{summary}");
    }
    let page = std::fs::read_to_string(folder.join("summary.md")).expect("summary");
    assert!(page.contains("| hop | requests | answers |\n| --- | --- | --- |\n"), "{page}");

    let ladder = |file: &str, further: &[&str]| {
        let mut command = cscf();
        output(command.arg("ladder").arg(folder.join(file)).args(further))
    };
    let arrows = |text: &str| text.matches("->").count() + text.matches("<-").count();
    let printed = std::fs::read_to_string(folder.join("ladder.txt")).expect("ladder");
    for file in ["trace.jsonl", "trace.pcapng"] {
        let again = ladder(file, &[]);
        assert!(again.status.success(), "{file}: {}", text(&again.stderr));
        let again = text(&again.stdout);
        assert!(again.lines().next().is_some_and(|names| names.contains("alice")), "{again}");
        assert_eq!(arrows(&again), arrows(&printed), "{file}\n{again}");
    }
    let drawn = home.path().join("again.html");
    let made = ladder("trace.jsonl", &["--html", drawn.to_str().expect("text")]);
    assert!(made.status.success() && made.stdout.is_empty(), "{}", text(&made.stderr));
    let drawn = std::fs::read_to_string(drawn).expect("page");
    for expected in ["\"columns\":[\"alice\",\"p1\"", "\"Mw\"", "\"Cx\"", "\"clause\":\"TS 24.229"]
    {
        assert!(drawn.contains(expected), "{expected}");
    }
    let refused = ladder("ladder.txt", &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stdout));
}

#[test]
fn xmllint_reads_the_page() {
    if !installed("xmllint") {
        return;
    }
    let home = tempfile::tempdir().expect("folder");
    let folder = home.path().join("out");
    let mut command = cscf();
    command.args(["run", "--virtual", "call-busy", "--out"]).arg(&folder);
    assert!(output(&mut command).status.success());
    let mut command = Command::new("xmllint");
    let read = output(command.args(["--html", "--noout"]).arg(folder.join("ladder.html")));
    // Its parser is older than these elements.
    let said = text(&read.stderr);
    let faults: Vec<&str> = said.lines().filter(|line| line.contains("parser error")).collect();
    let known = |line: &&&str| !["header", "main", "aside"].iter().any(|it| line.contains(it));
    assert_eq!(faults.iter().find(known), None, "{said}");
}
